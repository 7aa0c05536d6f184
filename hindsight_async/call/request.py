"""A call goes down and a reply comes up, both plain values."""

from collections.abc import Mapping
from typing import Generic, TypeVar

from attrs import define, field, frozen

T = TypeVar("T")


@frozen(kw_only=True)
class Endpoint(Generic[T]):
    """One thing that the API does, and what its answer is.

    `route` names method and path without ids; `repeatable` says that sending a request twice does what sending it once
    does.
    """

    method: str
    route: str
    reply_type: type[T]
    repeatable: bool


@define(eq=False)
class Call(Generic[T]):
    """One request to make; `request` is what the caller passed, `interview_request_id` what it is about, if it has one."""

    endpoint: Endpoint[T]
    path: str
    body: bytes | None = field(default=None, repr=False)
    request: object = field(default=None, repr=False)
    interview_request_id: int | None = None


@define(eq=False)
class Reply:
    """One HTTP answer, unread. `headers` has case-insensitive names."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
