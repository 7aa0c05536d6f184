"""What JSON's plain values stand for: ids, texts, numbers, moments, members; nothing is coerced."""

import enum
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any, Self

LARGEST_ID = 2**63 - 1
"""The largest id that a database's integer column holds."""

_ID_KIND = "a non-negative 64-bit integer"
_DIGITS = re.compile(r"0*[0-9]{1,19}")
_FLOATS_ARE_EXACT_BELOW = 2.0**53

_JSON_KINDS: dict[type[Any], str] = {
    dict: "an object",
    list: "a list",
    str: "text",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
}


class UnreadableError(ValueError):
    """Something is not of the kind that belongs there. The text says what is wrong, never the value itself; `place` is the way to it from where it was read."""

    def __init__(self, problem: str, place: str = "") -> None:
        super().__init__(problem)
        self.place = place


def wrong_kind(expected: str, found: object) -> UnreadableError:
    """Return the error that names the kind of a value and what would be right."""
    kind = "null" if found is None else _JSON_KINDS[type(found)]
    return UnreadableError(f"found {kind} where {expected} belongs")


def read_id(value: object, _type: Any) -> int:
    """Return an id."""
    if type(value) is not int or not 0 <= value <= LARGEST_ID:
        raise wrong_kind(_ID_KIND, value)
    return value


def id_spelled_otherwise(value: object) -> int | None:
    """Return the id that a text of digits or a whole float stands for, else None."""
    if type(value) is float and 0 <= value < _FLOATS_ARE_EXACT_BELOW and value.is_integer():
        return int(value)
    # The pattern comes first, since `int` refuses very long texts.
    if type(value) is str and _DIGITS.fullmatch(value) and (number := int(value[-19:])) <= LARGEST_ID:
        return number
    return None


def read_text(value: object, _type: Any) -> str:
    """Return text."""
    if type(value) is not str:
        raise wrong_kind("text", value)
    return value


def read_text_or_nothing(value: object, _type: Any) -> str | None:
    """Return text, or None for null: most fields are that."""
    if value is not None and type(value) is not str:
        raise wrong_kind("text", value)
    return value


def read_boolean(value: object, _type: Any) -> bool:
    """Return true or false."""
    if type(value) is not bool:
        raise wrong_kind("a boolean", value)
    return value


def read_number(value: object, _type: Any) -> float:
    """Return a number as it came."""
    if type(value) is not float and type(value) is not int:
        raise wrong_kind("a number", value)
    return value


def read_integer_or_nothing(value: object, _type: Any) -> int | None:
    """Return a whole number that is no id, or None for null."""
    if value is not None and type(value) is not int:
        raise wrong_kind("an integer", value)
    return value


_TIME_KIND = "an RFC 3339 date-time"
_DATE_KIND = "a date such as 2026-07-24"
_LEAP_SECOND = re.compile(r"(?<=[T ][0-9]{2}:[0-9]{2}:)60")


def read_datetime(value: object, _type: Any) -> datetime:
    """Return an aware moment; what names no zone is UTC."""
    if type(value) is not str:
        raise wrong_kind(_TIME_KIND, value)
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
        raise wrong_kind(_TIME_KIND, text) from None


def read_date(value: object, _type: Any) -> date:
    """Return a day; of a date-time, the day that it is written with."""
    if type(value) is not str:
        raise wrong_kind(_DATE_KIND, value)
    day, separator, time = value[:10], value[10:11], value[11:]
    try:
        if not value[10:] or (separator in "T " and time):
            return date.fromisoformat(day)
    except ValueError:
        pass
    raise wrong_kind(_DATE_KIND, value)


class OpenEnum(enum.StrEnum):
    """Members of which the API may have more: a text that names none becomes a member of its own."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = value
        member._value_ = value
        return member


@cache
def _members(kind: type[enum.StrEnum]) -> Mapping[str, enum.StrEnum]:
    return {member.value: member for member in kind}


def read_member(value: object, kind: type[enum.StrEnum]) -> enum.StrEnum:
    """Return a member; an open class makes one of any text."""
    if type(value) is not str:
        raise wrong_kind("text", value)
    if (member := _members(kind).get(value)) is not None:
        return member
    try:
        return kind(value)
    except ValueError:
        raise wrong_kind(f"one of {sorted(_members(kind))}", value) from None
