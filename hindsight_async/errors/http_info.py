"""The HTTP answer that a value or an error came of."""

from collections.abc import Mapping
from typing import Any, Self, cast

from attrs import evolve, field, frozen

REQUEST_ID_HEADERS = ("X-Request-Id", "Request-Id", "X-Correlation-Id", "X-Vercel-Id", "CF-Ray")
"""Where servers and what stands before them name a request, the usual one first: the API documents none."""


@frozen(eq=False)
class HTTPInfo:
    """The HTTP answer that a model or an error came of.

    Args:
        status: Its HTTP status.
        headers: By case-insensitive names, as they came; what they hold may be secret, so no repr shows them.
        attempts: How many times the request was sent until this answer came.
        waited: Seconds that the call waited for the rate budget, over all its attempts.

    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    attempts: int
    waited: float

    @property
    def request_id(self) -> str | None:
        """What the server calls this request, to tell its support; None where it names it nothing."""
        return next((self.headers[name] for name in REQUEST_ID_HEADERS if name in self.headers), None)

    def without(self, secret: str, word: str) -> Self:
        """Return this with a word for a secret in the headers, should the server have repeated it."""
        wrong = [name for name, value in self.headers.items() if secret in value]
        if not wrong:
            return self
        headers = self._copied_headers()
        for name in wrong:
            headers[name] = headers[name].replace(secret, word)
        return evolve(self, headers=headers)

    def __reduce__(self) -> tuple[Any, ...]:
        # The mapping of an answer of aiohttp is a view, which can be neither pickled nor copied deeply.
        return type(self), (self.status, self._copied_headers(), self.attempts, self.waited)

    def _copied_headers(self) -> dict[str, str]:
        return cast("dict[str, str]", cast("Any", self.headers).copy())
