"""The one cattrs converter: requests to JSON bytes, JSON bytes to responses, nothing coerced."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar, cast

import attrs
from cattrs import Converter, transform_error
from cattrs.fns import identity
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


_STATUSES: dict[str, InterviewStatus] = {status.value: status for status in InterviewStatus}


def _structure_status(value: object, _type: type[InterviewStatus]) -> InterviewStatus:
    if type(value) is not str:
        raise _WrongKindError("text", value)
    return _STATUSES.get(value) or InterviewStatus(value)


def _structure_datetime(value: object, _type: type[datetime]) -> datetime:
    if type(value) is not str:
        raise _WrongKindError("an ISO 8601 date-time", value)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise _WrongKindError("an ISO 8601 date-time", value) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _structure_text_or_nothing(value: object, _type: Any) -> str | None:
    if value is not None and type(value) is not str:
        raise _WrongKindError("text", value)
    return value


def _structure_response(converter: Converter, cls: type[T]) -> Any:
    """Compile the reader of one response class; what it does not know goes to `extra`."""
    known = frozenset(field.name for field in attrs.fields(cast("Any", cls))) - {"extra"}
    structure_known: Any = make_dict_structure_fn(
        cls,
        converter,
        _cattrs_detailed_validation=converter.detailed_validation,
        extra=override(omit=True),
    )

    def structure(value: object, _type: type[T]) -> T:
        if not isinstance(value, dict):
            raise _WrongKindError("an object", value)
        document: dict[str, Any] = value  # pyright: ignore[reportUnknownVariableType]
        result: T = structure_known(document, cls)
        if known.issuperset(document):
            return result
        extra = {name: document[name] for name in document.keys() - known}
        with_extra: T = attrs.evolve(cast("Any", result), extra=extra)
        return with_extra

    return structure


def _build_converter(*, detailed_validation: bool) -> Converter:
    converter = Converter(detailed_validation=detailed_validation)
    for primitive in (str, int, bool, float):
        converter.register_structure_hook(primitive, _exactly(primitive))
    converter.register_structure_hook(str | None, _structure_text_or_nothing)
    converter.register_structure_hook(InterviewStatus, _structure_status)
    converter.register_structure_hook(datetime, _structure_datetime)
    for response in _RESPONSES:
        converter.register_structure_hook(response, _structure_response(converter, response))
    for request in _REQUESTS:
        # All is text; the context was copied into plain JSON types when the request was made.
        as_they_are = {field.name: override(unstruct_hook=identity) for field in attrs.fields(request)}
        unstructure: Any = make_dict_unstructure_fn(
            request, converter, _cattrs_omit_if_default=True, **cast("Any", as_they_are)
        )
        converter.register_unstructure_hook(request, unstructure)
    return converter


_quick = _build_converter(detailed_validation=False)


@cache
def _explaining() -> Converter:
    return _build_converter(detailed_validation=True)


_WRITERS: dict[type[Any], Any] = {cls: _quick.get_unstructure_hook(cls) for cls in _REQUESTS}
_READERS: dict[type[Any], Any] = {cls: _quick.get_structure_hook(cls) for cls in _RESPONSES}

_standard_text_of = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_read_json = json.JSONDecoder().raw_decode

_WHITESPACE = " \t\r\n"


def _standard_json_of(document: Any) -> bytes:
    return _standard_text_of(document).encode()


def _fastest_writer() -> Callable[[Any], bytes]:
    try:
        # Only to write: where it was measured, its reader slowed down the code that ran after it by more than it saved.
        from orjson import dumps  # noqa: PLC0415  the extra `speedups`
    except ImportError:
        return _standard_json_of
    return dumps


_json_of_texts = _fastest_writer()


def encode(request: CreateInterview | UpdateInterview) -> bytes:
    """Return the request's JSON body; a field that is None is left out."""
    writer = _WRITERS.get(type(request)) or _quick.get_unstructure_hook(type(request))
    document: dict[str, Any] = writer(request)
    # A mapping may hold numbers, which the libraries spell differently; all else is text.
    holds_text_only = type(document.get("contact_context")) is not dict
    return _json_of_texts(document) if holds_text_only else _standard_json_of(document)


def decode(body: bytes, reply_type: type[T]) -> T:
    """Read a response body; raises DecodeError naming each wrong place, never its value."""
    try:
        text = body.decode().strip(_WHITESPACE)
        document, end = _read_json(text)
        if end == len(text):
            result: T = _READERS[reply_type](document, reply_type)
            return result
    except Exception:  # noqa: BLE001, S110  read again below, to say what is wrong
        pass
    return _decode_with_care(body, reply_type)


def _decode_with_care(body: bytes, reply_type: type[T]) -> T:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise _decode_error(f"the body of {len(body)} bytes is not JSON") from None
    try:
        return _explaining().structure(document, reply_type)
    except Exception as error:  # noqa: BLE001  cattrs raises groups and plain errors of many classes
        raise _decode_error(*transform_error(error, format_exception=_describe)) from None


def _decode_error(*problems: str) -> DecodeError:
    return DecodeError(f"the answer cannot be read: {'; '.join(problems)}", problems=problems)


def _describe(error: BaseException, _type: type[Any] | None) -> str:
    if isinstance(error, KeyError):
        return "a required field is missing"
    return str(error) if isinstance(error, _WrongKindError) else f"it cannot be read ({type(error).__name__})"
