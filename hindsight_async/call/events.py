"""What happens to a call, as small values: no body, no address, no key, and of the path only the route.

All events of a call have its `call`, a number that no other call of the session has. Seconds are those of the event loop's clock.
`delivery` is None where nothing failed, and `status` where no answer came.
"""

from attrs import frozen

from hindsight_async.errors import Delivery
from hindsight_async.rate import Lane


@frozen(kw_only=True)
class CallStarted:
    """A call begins: its arguments are in order, and nothing was sent."""

    call: int
    route: str
    lane: Lane


@frozen(kw_only=True)
class WaitingForBudget:
    """A request has to wait for the rate budget, at a guess for so many `seconds`."""

    call: int
    route: str
    attempt: int
    seconds: float


@frozen(kw_only=True)
class AttemptSent:
    """A request is handed to the network; `waited` are the seconds for the budget since the call began."""

    call: int
    route: str
    attempt: int
    waited: float


@frozen(kw_only=True)
class AttemptEnded:
    """A request has its answer, of a stream its head, or will have none; `seconds` are those since it was sent.

    `error` names the class of what was raised, None where a whole answer came, whatever its status.
    """

    call: int
    route: str
    attempt: int
    status: int | None
    delivery: Delivery | None
    error: str | None
    seconds: float


@frozen(kw_only=True)
class Paused:
    """The call is tried again after so many `seconds`; after a 429, whenever the budget lets it."""

    call: int
    route: str
    attempt: int
    status: int | None
    delivery: Delivery
    seconds: float


@frozen(kw_only=True)
class OutcomeUnknown:
    """What must not be sent twice may have taken effect, or did so without a readable answer; its CallEnded follows.

    So also where the call was cancelled after it left, and its caller hears nothing.
    """

    call: int
    route: str
    attempt: int
    status: int | None
    seconds: float
    """Since the call began."""


@frozen(kw_only=True)
class CallEnded:
    """The call is over; of a stream, its head is here. `error` names the class of what was raised, None for a result."""

    call: int
    route: str
    attempts: int
    status: int | None
    delivery: Delivery | None
    error: str | None
    waited: float
    """Seconds for the budget, over all attempts."""
    sent: float
    """Seconds on the network, over all attempts."""
    total: float
    """Seconds since the call began."""


CallEvent = CallStarted | WaitingForBudget | AttemptSent | AttemptEnded | Paused | OutcomeUnknown | CallEnded
"""What `on_event` is called with."""
