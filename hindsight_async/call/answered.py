"""What models of answers have in common: the answer that they came in, and what of it no field knows."""

from collections.abc import Mapping
from typing import Any, TypeVar, cast

import attrs

from hindsight_async.errors import HindsightError, HTTPInfo

T = TypeVar("T")

AnswerFields = tuple[int, Mapping[str, str], int, float]
"""The fields of an HTTPInfo, which is made for whoever asks for it: hardly anybody does."""


class Answered:
    """What an answer of the API holds, together with that answer.

    The answer is no field, and so stays out of equality, hashing, repr and what is made of the fields, as by `attrs.asdict`;
    a copy has None.
    """

    __slots__ = ("_http",)

    @property
    def http(self) -> HTTPInfo | None:
        """The HTTP answer that it came in; None of what did not come from the API."""
        http: HTTPInfo | AnswerFields | None = getattr(self, "_http", None)
        return HTTPInfo(*http) if isinstance(http, tuple) else http


def with_http(value: T, http: HTTPInfo | AnswerFields | None) -> T:
    """Return the value after noting the answer that brought it, where it is a model, a list of models or an error."""
    noted: object = value
    if isinstance(noted, Answered):
        object.__setattr__(noted, "_http", http)  # models are frozen
    elif isinstance(noted, HindsightError):
        noted.http = HTTPInfo(*http) if isinstance(http, tuple) else http
    elif type(noted) is list:
        for one in cast("list[object]", noted):
            with_http(one, http)
    return value


EXTRA = "extra"
"""The field of a response for what the others do not know or cannot hold."""


def extra_field() -> Any:
    """Return the attrs field for `extra`, which shows its names alone: what its values mean is unknown, perhaps secret."""
    return attrs.field(factory=_nothing, repr=_names_only, hash=False)


def _nothing() -> dict[str, Any]:
    # Calling `dict[str, Any]` takes seven times as long, because the alias makes a note on what it made.
    return {}


def _names_only(extra: Mapping[str, Any]) -> str:
    return repr(sorted(extra))


NOT_ON_THE_WIRE: Mapping[str, bool] = {"hindsight_async.not_on_the_wire": True}
"""The metadata of a field of ours that no answer fills."""

NOTHING_KNOWN: Mapping[str, object] = {}
