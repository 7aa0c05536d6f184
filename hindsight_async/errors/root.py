"""The root of the tree, and whether a failed request may have taken effect."""

import enum
from typing import Any, ClassVar

from hindsight_async.redaction import without_addresses, without_secret


class Delivery(enum.Enum):
    """Whether a failed request may have taken effect."""

    NOT_SENT = "not_sent"
    """It never reached the server: sending it again is safe."""

    REJECTED = "rejected"
    """The server refused it: nothing happened there."""

    UNKNOWN = "unknown"
    """It left, and may have taken effect: after a create, a person may have been emailed."""


class HindsightError(Exception):
    """The root of the tree; catch it to catch everything this package raises of its own.

    `method` and `path` name the call (None where there was none), `attempts` says how many
    times it was tried, and `delivery` whether it may have taken effect. `is_earlier` says that not this
    call was sent but an earlier one, of which the ledger tells.
    """

    _usual_delivery: ClassVar[Delivery] = Delivery.NOT_SENT

    def __init__(
        self,
        summary: str,
        *,
        method: str | None = None,
        path: str | None = None,
        attempts: int = 0,
        delivery: Delivery | None = None,
        is_earlier: bool = False,
    ) -> None:
        super().__init__(summary)
        self.method = method
        self.path = path
        self.attempts = attempts
        self.delivery = delivery or self._usual_delivery
        self.is_earlier = is_earlier

    def __str__(self) -> str:
        call = f"{self.method} {self.path}: " if self.method else ""
        call += "an earlier call: " if self.is_earlier else ""
        tried = f" (after {self.attempts} {'attempt' if self.attempts == 1 else 'attempts'})"
        happened = without_addresses(self._what_happened()[:LONGEST_TEXT])
        return f"{call}{happened}{self._what_it_means()}{tried if self.method or self.attempts else ''}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"

    def hide(self, secret: str) -> None:
        """Replace a secret wherever it stands in this error; what nests too deep to be copied is left out."""
        self.args = without_secret(self.args, secret)
        self.__dict__.update(without_secret(self.__dict__, secret))

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are rebuilt by calling the class with `args`, which keyword-only fields break.
        return _rebuild, (type(self), self.args, self.__dict__.copy())

    def _what_happened(self) -> str:
        return str(self.args[0]) or type(self).__name__

    def _what_it_means(self) -> str:
        return _WHAT_IT_MEANS[self.delivery]


_WHAT_IT_MEANS = {
    Delivery.NOT_SENT: "; nothing was sent",
    Delivery.REJECTED: "; it had no effect",
    Delivery.UNKNOWN: "; it may have taken effect",
}

LONGEST_TEXT = 1000
"""How many characters of what a server says go into an error's text; its field has them all."""


def _rebuild(cls: type[HindsightError], args: tuple[Any, ...], state: dict[str, Any]) -> HindsightError:
    error = cls.__new__(cls)
    error.args = args  # which an error that is a TimeoutError too does not take from `__new__`
    error.__dict__.update(state)
    return error
