"""What can be said of calls: how long the network may take, what a view leaves as it is, and how options are checked."""

from types import NoneType
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


def check_type(name: str, value: object, expected: type | tuple[type, ...]) -> None:
    """Raise TypeError where an option is of none of these types."""
    if not isinstance(value, expected) or isinstance(value, bool):
        kinds = expected if isinstance(expected, tuple) else (expected,)
        names = " or ".join("None" if kind is NoneType else kind.__name__ for kind in kinds)
        raise TypeError(f"{name} must be {names}, not {type(value).__name__}")


def check_whole_number(name: str, value: object, *, least: int) -> None:
    """Raise ValueError where an option is no whole number of at least so many."""
    if type(value) is not int or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}")


def check_callable(name: str, value: object) -> None:
    """Raise TypeError where an option can neither be called nor is None."""
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be callable, not {type(value).__name__}")
