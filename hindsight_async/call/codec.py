"""The one cattrs converter: requests to JSON bytes, JSON bytes to responses; a wrong kind is kept, never coerced."""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

import attrs
from cattrs import Converter
from cattrs.fns import identity
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from hindsight_async.errors import DecodeError
from hindsight_async.resources.interviews.models import (
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

_NOT_ON_THE_WIRE = frozenset({"extra", "created_now"})
"""Fields of responses that no answer fills."""

_JSON_KINDS: dict[type[Any], str] = {
    dict: "an object",
    list: "a list",
    str: "text",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
}


LARGEST_ID = 2**63 - 1
"""The largest id that a database's integer column holds."""

_ID = "interview_request_id"
_ID_KIND = "a non-negative 64-bit integer"
_DIGITS = re.compile(r"0*[0-9]{1,19}")
_FLOATS_ARE_EXACT_BELOW = 2.0**53


class _UnreadableError(ValueError):
    """The text says what is wrong, never the value itself."""


def _wrong_kind(expected: str, found: object) -> _UnreadableError:
    kind = "null" if found is None else _JSON_KINDS[type(found)]
    return _UnreadableError(f"found {kind} where {expected} belongs")


def _structure_id(value: object, _type: type[int]) -> int:
    if type(value) is not int or not 0 <= value <= LARGEST_ID:
        raise _wrong_kind(_ID_KIND, value)
    return value


def _id_spelled_otherwise(value: object) -> int | None:
    """Return the id that a text of digits or a whole float stands for, else None."""
    if type(value) is float and 0 <= value < _FLOATS_ARE_EXACT_BELOW and value.is_integer():
        return int(value)
    # The pattern comes first, since `int` refuses very long texts.
    if type(value) is str and _DIGITS.fullmatch(value) and (number := int(value[-19:])) <= LARGEST_ID:
        return number
    return None


def _structure_text(value: object, _type: type[str]) -> str:
    if type(value) is not str:
        raise _wrong_kind("text", value)
    return value


def _structure_text_or_nothing(value: object, _type: Any) -> str | None:
    if value is not None and type(value) is not str:
        raise _wrong_kind("text", value)
    return value


_STATUSES: dict[str, InterviewStatus] = {status.value: status for status in InterviewStatus}


def _structure_status(value: object, _type: Any) -> InterviewStatus | None:
    if type(value) is str:
        return _STATUSES.get(value) or InterviewStatus(value)
    if value is None:
        return None
    raise _wrong_kind("text", value)


_TIME_KIND = "an RFC 3339 date-time"
_LEAP_SECOND = re.compile(r"(?<=[T ][0-9]{2}:[0-9]{2}:)60")


def _structure_datetime(value: object, _type: Any) -> datetime | None:
    if value is None:
        return None
    if type(value) is not str:
        raise _wrong_kind(_TIME_KIND, value)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        moment = _unusual_moment(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _unusual_moment(text: str) -> datetime:
    """Read what RFC 3339 allows and Python does not: small letters, and a leap second (as the second after it)."""
    without_leap, leaps = _LEAP_SECOND.subn("59", text.upper(), count=1)
    try:
        return datetime.fromisoformat(without_leap) + timedelta(seconds=leaps)
    except (ValueError, OverflowError):
        raise _wrong_kind(_TIME_KIND, text) from None


def _structure_response(converter: Converter, cls: type[T]) -> Any:
    """Compile the reader of one response class; what it does not know goes to `extra`."""
    known = frozenset(field.name for field in attrs.fields(cast("Any", cls))) - _NOT_ON_THE_WIRE
    structure_known: Any = make_dict_structure_fn(
        cls,
        converter,
        _cattrs_detailed_validation=False,
        **cast("Any", dict.fromkeys(_NOT_ON_THE_WIRE, override(omit=True))),
    )

    def structure(value: object, _type: type[T]) -> T:
        if not isinstance(value, dict):
            raise _wrong_kind("an object", value)
        document: dict[str, Any] = value  # pyright: ignore[reportUnknownVariableType]
        try:
            result: T = structure_known(document, cls)
        except Exception:  # noqa: BLE001  cattrs and the hooks raise errors of many classes
            return _read_field_by_field(document, cls)
        if known.issuperset(document):
            return result
        extra = {name: document[name] for name in document.keys() - known}
        with_extra: T = attrs.evolve(cast("Any", result), extra=extra)
        return with_extra

    return structure


def _read_field_by_field(document: Mapping[str, Any], cls: type[T], asked_id: int | None = None) -> T:
    """Read what can be read, and keep all else in `extra` as it came.

    Raises _UnreadableError only where that leaves out what has no default: an id, or a transcript's text.
    """
    of_class = attrs.fields(cast("Any", cls))
    readable: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for field in of_class:
        if field.name not in _NOT_ON_THE_WIRE and field.name in document:
            try:
                readable[field.name] = _converter.structure(document[field.name], field.type)
            except _UnreadableError as error:
                problems[field.name] = str(error)
    extra = {name: value for name, value in document.items() if name not in readable}
    spelled = _id_spelled_otherwise(document.get(_ID))
    own_id = asked_id if spelled is None else spelled
    if own_id is not None and hasattr(of_class, _ID):
        readable.setdefault(_ID, own_id)
    for field in of_class:
        if field.default is attrs.NOTHING and field.name not in readable:
            problem = problems.get(field.name, "a required field is missing")
            raise _UnreadableError(f"{problem} @ $.{field.name}")
    return cast("Any", cls)(**readable, extra=extra)  # type: ignore[no-any-return]


def _structure_transcript(value: object, _type: Any) -> Transcript | None:
    return None if value is None else _converter.structure(value, Transcript)


def _build_converter() -> Converter:
    converter = Converter(detailed_validation=False)
    hooks: dict[Any, Any] = {
        int: _structure_id,
        str: _structure_text,
        str | None: _structure_text_or_nothing,
        InterviewStatus | None: _structure_status,
        datetime | None: _structure_datetime,
        Transcript | None: _structure_transcript,
    }
    for kind, hook in hooks.items():
        converter.register_structure_hook(kind, hook)
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


_converter = _build_converter()

_WRITERS: dict[type[Any], Any] = {cls: _converter.get_unstructure_hook(cls) for cls in _REQUESTS}
_READERS: dict[type[Any], Any] = {cls: _converter.get_structure_hook(cls) for cls in _RESPONSES}

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
    writer = _WRITERS.get(type(request)) or _converter.get_unstructure_hook(type(request))
    document: dict[str, Any] = writer(request)
    # A mapping may hold numbers, which the libraries spell differently; all else is text.
    holds_text_only = type(document.get("contact_context")) is not dict
    return _json_of_texts(document) if holds_text_only else _standard_json_of(document)


def decode(body: bytes, reply_type: type[T], *, asked_id: int | None = None) -> T:
    """Read a response body.

    Args:
        body: The whole body.
        reply_type: The class of the answer.
        asked_id: The interview request id that the request named, which the answer then need not repeat.

    Returns:
        What the body says; what is not of the kind that belongs there stays in `extra`.

    Raises:
        DecodeError: It is no JSON object, or has no id and none was asked for; the text names the wrong place, never
            its value. An update whose id was asked for never raises: that it was done is all that its answer says.

    """
    try:
        text = body.decode().strip(_WHITESPACE)
        document, end = _read_json(text)
        if end == len(text):
            result: T = _READERS[reply_type](document, reply_type)
            return result
    except Exception:  # noqa: BLE001, S110  read again below, to say what is wrong
        pass
    try:
        return _decode_with_care(body, reply_type, asked_id)
    except DecodeError:
        if reply_type is UpdatedInterview and asked_id is not None:
            return cast("T", UpdatedInterview(interview_request_id=asked_id))
        raise


def _decode_with_care(body: bytes, reply_type: type[T], asked_id: int | None) -> T:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise _decode_error(f"the body of {len(body)} bytes is not JSON") from None
    if not isinstance(document, dict):
        raise _decode_error(f"{_wrong_kind('an object', document)} @ $")
    try:
        return _read_field_by_field(cast("dict[str, Any]", document), reply_type, asked_id)
    except _UnreadableError as error:
        raise _decode_error(str(error)) from None


def _decode_error(problem: str) -> DecodeError:
    return DecodeError(f"the answer cannot be read: {problem}", problems=(problem,))


def fields_of(body: bytes) -> dict[str, Any]:
    """Return the fields of the JSON object that a body is or begins with, none where it does not."""
    text = body.decode(json.detect_encoding(body), "replace").strip(_WHITESPACE)
    try:
        document, _ = _read_json(text)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", document) if isinstance(document, dict) else {}
