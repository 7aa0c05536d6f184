"""The root of the tree, whether a failed request may have taken effect, and how a text is put together."""

import enum
from typing import Any, ClassVar

from hindsight_async.errors.endings import Ending
from hindsight_async.errors.http_info import HTTPInfo
from hindsight_async.redaction import harmless, without_secret


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

    Attributes:
        method: The call's HTTP method, None where there was no call.
        path: The call's path below the API's address, None where there was no call.
        attempts: How many times it was tried.
        delivery: Whether it may have taken effect.
        is_earlier: Whether not this call was sent but an earlier one, of which the ledger tells.
        was_refused: Whether the server refused an attempt before the last.
        ended_run: Whether it is about a bulk run, which it ended, and not about the one row that met it.
        http: The answer that it came of, None where there was none.

    """

    _usual_delivery: ClassVar[Delivery] = Delivery.NOT_SENT
    _if_not_sent: ClassVar[Ending] = Ending.NOTHING_SENT

    http: HTTPInfo | None = None

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
        self.was_refused = False
        self.ended_run = False

    def __str__(self) -> str:
        call = f"{self.method} {self.path}: " if self.method else ""
        call += "an earlier call: " if self.is_earlier else ""
        counted = f" (after {self.attempts} attempt{'s' * (self.attempts != 1)})"
        tried = counted if self.attempts and not self.ended_run else ""
        return f"{call}{self.summary}; {self._ending()}{tried}"

    @property
    def summary(self) -> str:
        """What happened, made harmless, without the call and what it means."""
        return harmless(self._what_happened())

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"

    def hide(self, secret: str, word: str = "<api key>") -> None:
        """Put a word for a secret wherever it stands in this error; what nests too deep to be copied is left out."""
        self.args = without_secret(self.args, secret, word)
        self.__dict__.update(without_secret(self.__dict__, secret, word))
        if self.http is not None:
            self.http = self.http.without(secret, word)

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are rebuilt by calling the class with `args`, which keyword-only fields break.
        return _rebuild, (type(self), self.args, self.__dict__.copy())

    def _what_happened(self) -> str:
        return str(self.args[0]) or type(self).__name__

    def _ending(self) -> str:
        if self.ended_run:
            return Ending.RUN_ENDED
        if self.delivery is Delivery.NOT_SENT and not self.was_refused:
            return self._if_not_sent
        if self.delivery is not Delivery.UNKNOWN:
            return Ending.NO_EFFECT
        return Ending.READ if self.method == "GET" else self._if_unknown()

    def _if_unknown(self) -> str:
        return Ending.UNKNOWN


def _rebuild(cls: type[HindsightError], args: tuple[Any, ...], state: dict[str, Any]) -> HindsightError:
    error = cls.__new__(cls)
    error.args = args  # which an error that is a TimeoutError too does not take from `__new__`
    error.__dict__.update(state)
    return error
