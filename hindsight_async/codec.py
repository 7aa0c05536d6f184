"""The one cattrs converter: requests to JSON bytes, JSON bytes to responses, nothing coerced."""

import json
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

import attrs
from cattrs import Converter, transform_error
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from hindsight_async.errors import DecodeError
from hindsight_async.models import (
    CreatedInterview,
    CreateInterview,
    Interview,
    InterviewStatus,
    Transcript,
    UpdatedInterview,
    UpdateInterview,
)

T = TypeVar("T")

_REQUESTS = (CreateInterview, UpdateInterview)
_RESPONSES = (Transcript, CreatedInterview, UpdatedInterview, Interview)

_JSON_KINDS: dict[type[Any], str] = {
    dict: "an object",
    list: "a list",
    str: "text",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
}


class _WrongKindError(ValueError):
    """The text says what was found and what belongs there, never the value itself."""

    def __init__(self, expected: str, found: object) -> None:
        kind = "null" if found is None else _JSON_KINDS[type(found)]
        super().__init__(f"found {kind} where {expected} belongs")


def _exactly(kind: type[T]) -> Any:
    def structure(value: object, _type: type[T]) -> T:
        if type(value) is not kind:
            raise _WrongKindError(_JSON_KINDS[kind], value)
        return value

    return structure


def _structure_status(value: object, _type: type[InterviewStatus]) -> InterviewStatus:
    if type(value) is not str:
        raise _WrongKindError("text", value)
    return InterviewStatus(value)


def _structure_datetime(value: object, _type: type[datetime]) -> datetime:
    if type(value) is not str:
        raise _WrongKindError("an ISO 8601 date-time", value)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise _WrongKindError("an ISO 8601 date-time", value) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _structure_response(converter: Converter, cls: type[T]) -> Any:
    """Compile the reader of one response class; what it does not know goes to `extra`."""
    known = {field.name for field in attrs.fields(cast("Any", cls))} - {"extra"}
    structure_known: Any = make_dict_structure_fn(cls, converter, extra=override(omit=True))

    def structure(value: object, _type: type[T]) -> T:
        if not isinstance(value, dict):
            raise _WrongKindError("an object", value)
        document = cast("dict[str, Any]", value)
        result: T = structure_known(document, cls)
        extra = {name: document[name] for name in document.keys() - known}
        return attrs.evolve(cast("Any", result), extra=extra) if extra else result

    return structure


def _build_converter() -> Converter:
    converter = Converter()
    for primitive in (str, int, bool, float):
        converter.register_structure_hook(primitive, _exactly(primitive))
    converter.register_structure_hook(InterviewStatus, _structure_status)
    converter.register_structure_hook(datetime, _structure_datetime)
    for response in _RESPONSES:
        converter.register_structure_hook(response, _structure_response(converter, response))
    for request in _REQUESTS:
        # The context was copied into plain JSON types when the request was made.
        unstructure: Any = make_dict_unstructure_fn(
            request,
            converter,
            _cattrs_omit_if_default=True,
            contact_context=override(unstruct_hook=_as_it_is),
        )
        converter.register_unstructure_hook(request, unstructure)
    return converter


def _as_it_is(value: T) -> T:
    return value


_converter = _build_converter()
_to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def encode(request: CreateInterview | UpdateInterview) -> bytes:
    """Return the request's JSON body; a field that is None is left out."""
    return _to_json(_converter.unstructure(request)).encode()


def decode(body: bytes, reply_type: type[T]) -> T:
    """Read a response body; raises DecodeError naming each wrong place, never its value."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise _decode_error(f"the body of {len(body)} bytes is not JSON") from None
    try:
        return _converter.structure(document, reply_type)
    except Exception as error:  # noqa: BLE001  cattrs raises groups and plain errors of many classes
        raise _decode_error(*transform_error(error, format_exception=_describe)) from None


def _decode_error(*problems: str) -> DecodeError:
    return DecodeError(f"the answer cannot be read: {'; '.join(problems)}", problems=problems)


def _describe(error: BaseException, _type: type[Any] | None) -> str:
    if isinstance(error, KeyError):
        return "a required field is missing"
    return str(error) if isinstance(error, _WrongKindError) else f"it cannot be read ({type(error).__name__})"
