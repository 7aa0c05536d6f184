"""How long things last in a fleet."""

from attrs import frozen

from hindsight_async.rate.counting import CLOCK_MARGIN, WINDOW_SECONDS


@frozen
class Timing:
    """All in seconds; the processes of a fleet must agree on `window` and `lease`. Shorter ones are for tests."""

    window: float = WINDOW_SECONDS
    """Over which the server counts."""

    lease: float = 15.0
    """For which a permit is good unless its process renews it: to send, and to be answered."""

    heartbeat: float = 2.0
    """Between two requests of a process that has permits: to renew them, and to notice a Redis that lost its data."""

    idle_heartbeat: float = 20.0
    """The same for one that has none."""

    impatience: float = 1.0
    """Between two requests of a process whose callers wait, at most."""

    telling: float = 0.1
    """From when an answer comes until the others are told of it, at most."""

    poll: float = 0.02
    """Between two requests of a process that has to wait for what another one does."""

    claim: float = 3.0
    """For which callers of a process count as waiting without another request from it."""

    shortest_pause: float = 0.005
    """Between two requests of which the first was not issued all that it wanted."""

    call: float = 1.0
    """For Redis to take a connection, or to answer one call; then it counts as away."""

    retry: float = 0.5
    """Between two attempts to reach a Redis that is away."""

    recovery: float = 3.0
    """After a return of Redis in which each process takes only what it gives back, until all have told what they have."""

    leave: float = 2.0
    """For the last request of a process that has nothing more to do."""

    @property
    def scale(self) -> float:
        """How many seconds of the policy, which knows windows of a minute, one second is."""
        return WINDOW_SECONDS / self.window

    @property
    def kept_after_answer(self) -> float:
        """How long Redis keeps a permit after the answer."""
        return self.window + CLOCK_MARGIN
