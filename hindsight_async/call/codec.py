"""Requests to JSON bytes, and JSON bytes to what they hold."""

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar, cast

import attrs

from hindsight_async.call.answered import NOTHING_KNOWN
from hindsight_async.call.values import UnreadableError
from hindsight_async.errors import DecodeError

T = TypeVar("T")

_standard_text_of = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_read_json = json.JSONDecoder().raw_decode

_WHITESPACE = " \t\r\n"


def json_of(document: Any) -> bytes:
    """Return the JSON of plain JSON types, in UTF-8 and without white space."""
    return _standard_text_of(document).encode()


@cache
def _fastest_writer() -> Callable[[Any], bytes]:
    try:
        # Only to write: where it was measured, its reader slowed down the code that ran after it by more than it saved.
        from orjson import dumps  # noqa: PLC0415  later, and of the extra `speedups`
    except ImportError:
        return json_of
    return dumps


_TEXT = frozenset({str})


class _Readers(dict[Any, Callable[[object, Any], Any]]):
    def __missing__(self, kind: Any) -> Callable[[object, Any], Any]:
        from hindsight_async.call.converter import reader_of  # noqa: PLC0415  later, with cattrs

        hook = self[kind] = reader_of(kind)
        return hook


class _Writers(dict[Any, Callable[[Any], dict[str, Any]]]):
    def __missing__(self, model: Any) -> Callable[[Any], dict[str, Any]]:
        from hindsight_async.call.converter import writer_of  # noqa: PLC0415  later, with cattrs

        hook = self[model] = writer_of(model)
        return hook


# Plain lookups, each call making two, cost a third of those of `functools.cache`.
readers = _Readers()
"""By type, what makes a value of it of what JSON holds; it raises UnreadableError, or what cattrs raises."""
writers = _Writers()
"""By model, what makes plain JSON types of an instance."""


def encode(request: object) -> bytes:
    """Return a request's JSON body; a field that is at its default, such as None, is left out.

    Args:
        request: An instance of an attrs class whose fields hold what JSON can carry, or other such instances.

    Returns:
        The JSON in UTF-8, without white space.

    """
    document = writers[type(request)](request)
    # Anything else may be or hold a number, which the libraries spell differently.
    return (
        _fastest_writer()(document) if _TEXT.issuperset(map(type, document.values())) else json_of(document)
    )


def decode(body: bytes, reply_type: type[T], *, known: Mapping[str, object] = NOTHING_KNOWN) -> T:
    """Read a response body.

    Args:
        body: The whole body.
        reply_type: What it holds: a model, a list of models, a bare value (`int`, `str`), `bytes` for the body itself, or
            `Any` for whatever JSON holds, None where there is no body.
        known: Fields of a model that the request named, such as its id, which the answer then need not repeat.

    Returns:
        What the body says; what a model's fields cannot hold stays in its `extra`.

    Raises:
        DecodeError: It is no JSON of that kind, or lacks a required field that is not known; the text names the wrong
            place, never its value.

    """
    if reply_type is bytes:
        return cast("T", body)
    try:
        text = body.decode().strip(_WHITESPACE)
        document, end = _read_json(text)
        if end == len(text):
            result: T = readers[reply_type](document, reply_type)
            return result
    except Exception:  # noqa: BLE001, S110  read again below, to say what is wrong
        pass
    return _decode_with_care(body, reply_type, known)


def _decode_with_care(body: bytes, reply_type: type[T], known: Mapping[str, object]) -> T:
    from hindsight_async.call.converter import read_field_by_field  # noqa: PLC0415  later, with cattrs

    if cast("Any", reply_type) is Any and not body.strip():
        return cast("T", None)
    try:
        document: object = json.loads(body)
    except (ValueError, RecursionError):
        raise _decode_error(f"the body of {len(body)} bytes is not JSON") from None
    is_model = attrs.has(cast("Any", reply_type)) and type(cast("Any", document)) is dict
    try:
        if is_model:
            return read_field_by_field(cast("dict[str, Any]", document), reply_type, known)
        result: T = readers[reply_type](document, reply_type)
    except UnreadableError as error:
        raise _decode_error(f"{error} @ ${error.place}") from None
    return result


def _decode_error(problem: str) -> DecodeError:
    return DecodeError(f"the answer cannot be read: {problem}", problems=(problem,))


def fields_of(body: bytes) -> dict[str, Any]:
    """Return the fields of the JSON object that a body is or begins with, those that are whole where it breaks off."""
    text = body.decode(json.detect_encoding(body), "replace").strip(_WHITESPACE)
    try:
        document, _ = _read_json(text)
    except ValueError:
        return _whole_fields_of(text)
    except RecursionError:
        return {}
    return cast("dict[str, Any]", document) if isinstance(document, dict) else {}


_NAME = re.compile(r'[{,][ \t\r\n]*(?=")')
_COLON = re.compile(r"[ \t\r\n]*:[ \t\r\n]*")
_BEHIND_VALUE = re.compile(r"[ \t\r\n]*(?=[,}])")


def _whole_fields_of(text: str) -> dict[str, Any]:
    """Return the fields before the place at which an object breaks off."""
    fields: dict[str, Any] = {}
    position = 0
    while begins := _NAME.match(text, position):
        try:
            name, position = _read_json(text, begins.end())
            colon = _COLON.match(text, position)
            value, position = _read_json(text, colon.end() if colon else len(text))
        except (ValueError, RecursionError):
            break
        # What stands behind it tells a whole number from the beginning of one.
        behind = _BEHIND_VALUE.match(text, position)
        if behind is None:
            break
        fields[name], position = value, behind.end()
    return fields
