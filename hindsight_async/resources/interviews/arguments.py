"""What the calls of interviews take, checked before anything else is done with it."""

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import fields_dict

from hindsight_async.resources.interviews.models import UpdateInterview

T = TypeVar("T")

Update = tuple[int, UpdateInterview]
"""An interview request id, and what to change."""


def of_type(request: T, expected: type[T]) -> T:
    """Return the request; TypeError where it is another thing."""
    if not isinstance(request, expected):
        raise TypeError(f"request must be {expected.__name__}, not {type(request).__name__}")
    return request


def request_of(expected: type[T], request: T | None, fields: Mapping[str, Any]) -> T:
    """Return the request that is given, or the one that its fields make.

    Raises:
        TypeError: Both are given or none, the request is another thing, or there is no such field.
        ValueError: As from `expected`.

    """
    if not fields:
        if request is None:
            raise TypeError(f"give a {expected.__name__}, or its fields as keywords")
        return of_type(request, expected)
    if request is not None:
        raise TypeError(f"give a {expected.__name__} or its fields as keywords, not both")
    names = fields_dict(cast("Any", expected))
    if unknown := fields.keys() - names.keys():
        raise TypeError(f"{min(unknown)} is no field of {expected.__name__}, which has {', '.join(names)}")
    return expected(**fields)


def checked_id(interview_request_id: int) -> int:
    """Return the id; TypeError or ValueError where it is none."""
    if type(interview_request_id) is not int:
        raise TypeError(f"interview_request_id must be an int, not {type(interview_request_id).__name__}")
    if interview_request_id < 0:
        raise ValueError("interview_request_id must not be negative")
    return interview_request_id
