"""A call goes down and a reply comes up, both plain values."""

from collections.abc import Mapping
from typing import Generic, TypeVar

from attrs import define, field, frozen

from hindsight_async.call.converter import NOTHING_KNOWN

T = TypeVar("T")


@frozen(kw_only=True)
class Endpoint(Generic[T]):
    """One thing that the API does, and what its answer is.

    `route` names method and path without ids; `repeatable` says that sending a request twice does what sending it once
    does; `status_suffices` that a 2xx alone answers it, so that whatever its body is, `Call.known` makes the reply.
    """

    method: str
    route: str
    reply_type: type[T]
    repeatable: bool
    status_suffices: bool = False


@define(eq=False)
class Call(Generic[T]):
    """One request to make.

    `request` is what the caller passed; `known` has the fields of the reply that the request named, such as the id of
    what it is about.
    """

    endpoint: Endpoint[T]
    path: str
    body: bytes | None = field(default=None, repr=False)
    request: object = field(default=None, repr=False)
    known: Mapping[str, object] = NOTHING_KNOWN


@define(eq=False)
class Reply:
    """One HTTP answer, unread. `headers` has case-insensitive names."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
