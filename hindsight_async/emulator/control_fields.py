"""Which fields the remote control takes, and what is said of the others. Pure."""

import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, cast, get_args

from attrs import frozen

from hindsight_async.emulator.answers import WrongRequestError, wrong_request
from hindsight_async.emulator.faults import ANY_ROUTE, At, How
from hindsight_async.emulator.limits import Window
from hindsight_async.emulator.routes import ROUTES
from hindsight_async.rate import Plan

LARGEST_NUMBER = 1_000_000_000
"""Of requests, times, bytes or seconds: beyond it a clock or a counter breaks before it makes sense."""

_HEADER_NAME = re.compile(r"[A-Za-z0-9_-]+")


@frozen
class Kind:
    """The values that a field takes, and their description for whoever sent another."""

    takes: Callable[[Any], bool]
    expected: str


def _number(least: int) -> Kind:
    def takes(value: Any) -> bool:
        return type(value) in (int, float) and math.isfinite(value) and least <= value <= LARGEST_NUMBER

    return Kind(takes, f"a number from {least}")


def _whole(least: int, most: int = LARGEST_NUMBER) -> Kind:
    bounds = f"from {least}" if most == LARGEST_NUMBER else f"from {least} to {most}"
    return Kind(lambda value: type(value) is int and least <= value <= most, f"a whole number {bounds}")


def _one_of(choices: Collection[str]) -> Kind:
    return Kind(lambda value: isinstance(value, str) and value in choices, f"one of {', '.join(choices)}")


def _or_null(kind: Kind) -> Kind:
    return Kind(lambda value: value is None or kind.takes(value), f"{kind.expected}, or null")


def _either(one: Kind, other: Kind) -> Kind:
    return Kind(lambda value: one.takes(value) or other.takes(value), f"{one.expected}, or {other.expected}")


def _fits_header(value: Any) -> bool:
    return isinstance(value, str) and value.isascii() and value.isprintable()


def _is_headers(value: Any) -> bool:
    headers = cast("dict[str, Any]", value) if isinstance(value, dict) else {"": None}
    return all(_HEADER_NAME.fullmatch(name) and _fits_header(text) for name, text in headers.items())


def _is_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)  # pyright: ignore[reportUnknownVariableType]


_TEXT = Kind(lambda value: isinstance(value, str), "a text")
_HEADER_TEXT = Kind(_fits_header, "a text of one line, in ASCII")
_TRUTH = Kind(lambda value: isinstance(value, bool), "true or false")
_STATUS = _whole(200, 599)

SETTINGS_FIELDS: Final[Mapping[str, Kind]] = {
    "plan": _one_of([plan.value for plan in Plan]),
    "requests_per_minute": _or_null(_whole(1)),
    "window": _one_of(get_args(Window)),
    "refusals_cached": _TRUTH,
    "monthly_limit": _or_null(_whole(0)),
    "latency": _number(0),
}
"""The fields of `PATCH /settings`."""

FAULT_FIELDS: Final[Mapping[str, Kind]] = {
    "route": _one_of([*ROUTES, ANY_ROUTE]),
    "how": _either(_STATUS, _one_of(get_args(How))),
    "at": _or_null(_one_of(get_args(At))),
    "times": _or_null(_whole(1)),
    "seconds": _or_null(_number(0)),
    "status": _or_null(_STATUS),
    "to": _or_null(_HEADER_TEXT),
    "body": Kind(lambda _value: True, "any JSON"),
    "headers": _or_null(Kind(_is_headers, "an object of header names and texts, in ASCII")),
    "retry_after": _or_null(_either(_number(0), _HEADER_TEXT)),
}
"""The fields of `POST /faults`."""

COMPLETE_FIELDS: Final[Mapping[str, Kind]] = {"transcript": _TEXT}
DEAL_LIST_FIELDS: Final[Mapping[str, Kind]] = {"deals": Kind(_is_objects, "a list of objects")}
NO_FIELDS: Final[Mapping[str, Kind]] = {}


def checked(
    body: Mapping[str, Any], fields: Mapping[str, Kind], required: Collection[str] = ()
) -> dict[str, Any]:
    """Return a body whose fields are all known and as they should be.

    Raises:
        WrongRequestError: One is not, or is missing (400); the details name it, and what is expected.

    """
    for name, value in body.items():
        if name not in fields:
            known = f"one of {', '.join(fields)}" if fields else "no field"
            raise wrong_request(400, f"There is no field {name!r}: {known}", field=name, expected=known)
        if not fields[name].takes(value):
            raise wrong_field(name, fields[name].expected, value)
    for name in required:
        if name not in body:
            expected = fields[name].expected
            raise wrong_request(400, f"{name} is missing: {expected}", field=name, expected=expected)
    return dict(body)


def wrong_field(name: str, expected: str, given: object) -> WrongRequestError:
    """Return the error to raise for a field with a wrong value: it tells the kind of the value, or a short one itself."""
    return wrong_request(
        400, f"{name} must be {expected}, not {_shown(given)}", field=name, expected=expected
    )


LONGEST_SHOWN = 40
"""Characters of a wrong value that are shown again."""


def _shown(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return repr(value if len(value) <= LONGEST_SHOWN else f"{value[:LONGEST_SHOWN]}…")
        case int() | float():
            return "a number that large" if abs(value) > LARGEST_NUMBER else str(value)
        case list():
            return "a list"
        case _:
            return "an object"
