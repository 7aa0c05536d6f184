"""How long things last in a fleet."""

from attrs import frozen

from hindsight_async.rate.other_clients import WINDOW_SECONDS


@frozen
class Timing:
    """Seconds. All processes of a fleet must agree on `window` and `lease`; tests make them shorter."""

    window: float = WINDOW_SECONDS
    """Over which the server counts."""

    lease: float = 15.0
    """For which a permit is good without word from its holder: to send, and to be answered or renewed."""

    heartbeat: float = 2.0
    """Between two words of a process that holds permits: to renew, and to notice a Redis that lost its data."""

    idle_heartbeat: float = 20.0
    """The same for one that holds none."""

    impatience: float = 1.0
    """Between two words of a process whose callers wait, at most."""

    claim: float = 3.0
    """For which it is known that callers of a process wait, without another word from it."""

    shortest_pause: float = 0.005
    """Between two questions of which the first was not answered in full."""

    call: float = 1.0
    """For Redis to take a connection, or to answer one call; then it counts as away."""

    retry: float = 0.5
    """Between two attempts to reach a Redis that is away."""

    recovery: float = 3.0
    """After a return of Redis in which each process takes only what it gives back, until all have told what they hold."""

    leave: float = 2.0
    """For the last word of a process that has nothing more to do."""

    @property
    def held_after_answer(self) -> float:
        """A permit stays held this long after the answer; the millisecond is for clocks that do not run equally fast."""
        return self.window + 0.001
