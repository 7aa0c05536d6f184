"""What can be said of calls: how long the network may take, and what a view of a session leaves as it is."""

from typing import Any

from attrs import field, frozen, validators


class _Unchanged:
    def __repr__(self) -> str:
        return "unchanged"


UNCHANGED: Any = _Unchanged()
"""The default of an option of which None says something."""


@frozen(kw_only=True)
class Timeouts:
    """How long the network may take.

    Args:
        connect: Seconds to look up the name and connect; through a proxy, until the connection behind it stands, and on
            a lent session with the wait for one of its connections.
        read: Seconds from then until the whole answer is there. Of a create they count from the moment when it leaves,
            and nothing else ends the wait for its answer.

    Raises:
        ValueError: A number is not above 0; the text names the argument.

    """

    connect: float = field(default=5.0, validator=validators.gt(0))
    read: float = field(default=30.0, validator=validators.gt(0))
