"""A call goes down and a reply comes up, both plain values."""

import io
import os
from collections.abc import AsyncIterable, Callable, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, TypeVar

from attrs import Attribute, define, field, frozen

from hindsight_async.call.answered import NOTHING_KNOWN

if TYPE_CHECKING:
    from hindsight_async.call.streaming import ReplyStream
    from hindsight_async.call.trace import CallTrace
    from hindsight_async.errors import DecodeError, OutcomeUnknownError

T = TypeVar("T")

JSON = "application/json"


@frozen(kw_only=True, eq=False)
class Endpoint(Generic[T]):
    """One thing that the API does, and what its answer is.

    Args:
        method: The HTTP verb.
        route: Method and path without ids.
        reply_type: What the answer holds: a model, a list of models, a bare value (`int`, `str`), `bytes`, or
            `ReplyStream` for one that is read as it comes.
        repeatable: Whether sending a request twice does what sending it once does.
        status_suffices: Whether a 2xx alone answers it, so that `Call.known` makes a reply of a body that cannot be read.
        accepts: The media type of the answer.

    """

    method: str
    route: str
    reply_type: type[T]
    repeatable: bool
    status_suffices: bool = False
    accepts: str = JSON


def _printable(_upload: object, attribute: "Attribute[Any]", value: str) -> None:
    # A line end would begin a header of its own.
    if not value or not value.isprintable():
        raise ValueError(f"{attribute.name} must be printable text, and not empty")


@frozen(kw_only=True, eq=False)
class FileUpload:
    """A file in a multipart body.

    Args:
        content: Its bytes, where it lies, or a file opened in binary mode, of which is sent what lies behind its position.
            It is read anew for each attempt, and closed only where it was given as a path. Or pieces that come as they
            are asked for, and only once: such a call is sent again only where nothing of it left.
        name: What the server is told that it is called.
        content_type: Its media type.
        on_progress: Called after each piece with the bytes of it that have left in this attempt, and with how many there
            are, None where only the end will tell; what it raises is logged.

    Raises:
        TypeError: `content` is none of these.
        ValueError: `content` is a file that cannot be read from the start again, or a text has line ends in it.

    """

    content: bytes | os.PathLike[str] | BinaryIO | AsyncIterable[bytes] = field(repr=False)
    name: str = field(validator=_printable)
    content_type: str = field(validator=_printable)
    on_progress: Callable[[int, int | None], object] | None = field(default=None, repr=False)
    start: int = field(init=False, default=0, repr=False)

    def __attrs_post_init__(self) -> None:
        if isinstance(self.content, (bytes, os.PathLike, AsyncIterable)):
            return
        if isinstance(self.content, io.TextIOBase) or not hasattr(self.content, "read"):
            raise TypeError(
                f"content must be bytes, a Path, or a file opened in binary mode, not {type(self.content).__name__}"
            )
        if not self.content.seekable():
            raise ValueError(
                "content must be a file that can be read again, since a refused request is sent again"
            )
        object.__setattr__(self, "start", self.content.tell())


@frozen(kw_only=True, eq=False)
class Multipart:
    """A multipart/form-data body: texts by their field's name, then files by theirs."""

    fields: Mapping[str, str] = field(factory=dict[str, str], repr=False)
    files: Mapping[str, FileUpload] = field(factory=dict[str, FileUpload])

    @property
    def leaves_once(self) -> bool:
        """Whether some of it can be read only once, so that nothing is there to be sent again, whatever the server said."""
        return any(isinstance(upload.content, AsyncIterable) for upload in self.files.values())


Query = Mapping[str, str | int | bool | None]
"""What stands behind the `?`, in this order; what is None is left out."""

NO_QUERY: Query = {}


def spelled(query: Query) -> dict[str, str | int]:
    """Spell booleans as JSON does, and leave out what is None."""
    return {
        name: ("false", "true")[value] if isinstance(value, bool) else value
        for name, value in query.items()
        if value is not None
    }


@define(eq=False)
class Call(Generic[T]):
    """One request to make.

    Args:
        endpoint: What is asked for.
        path: Where, below the base URL, with ids; errors show it.
        body: JSON as it is sent, a form, or None for no body.
        request: What the caller passed, which an error gives back.
        known: Fields of the reply that the request named, such as the id of what it is about.
        query: Never shown, since it may hold what is private.
        url: A link that an answer named, in place of base URL and path; redirects from it are followed. Never shown,
            since it may open what it leads to. Only the API's own origin gets the key.
        on_reply: Called with each answer, whatever its status, before that is read.

    """

    endpoint: Endpoint[T]
    path: str
    body: bytes | Multipart | None = field(default=None, repr=False)
    request: object = field(default=None, repr=False)
    known: Mapping[str, object] = NOTHING_KNOWN
    query: Query = field(default=NO_QUERY, repr=False)
    url: str | None = field(default=None, repr=False)
    trace: "CallTrace | None" = field(default=None, init=False, repr=False)
    """Follows this call; None while nobody listens."""
    waited: float = field(default=0.0, init=False)
    """Seconds for the rate budget so far, over all attempts."""
    on_reply: "Callable[[Reply], object] | None" = field(default=None, repr=False)

    @property
    def on_wait(self) -> Callable[[float], object] | None:
        """What is to be told that it has to wait for the rate budget."""
        return None if self.trace is None else self.trace.waits


@define(eq=False)
class Reply:
    """One HTTP answer, unread.

    Args:
        status: What the server says became of the request.
        headers: By case-insensitive names; none where they could not be read.
        body: As far as it came and could be unpacked.
        stream: What the body is still to come from.
        elsewhere: Whether it came of a link, from another server than the API, which knows nothing of the plan.
        flaw: Why `body` may be less than what was sent; None where it is all.

    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    stream: "ReplyStream | None" = field(default=None, repr=False)
    elsewhere: bool = False
    flaw: "DecodeError | OutcomeUnknownError | None" = field(default=None, repr=False)
