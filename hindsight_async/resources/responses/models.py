"""What is asked and what is answered, with the API's own field names, and the events of an answer as it comes."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from attrs import Attribute, field, frozen

from hindsight_async.call.answered import Answered, extra_field
from hindsight_async.resources.interviews.context import sendable_text

Role = Literal["user", "assistant", "system"]


def _role(_message: object, attribute: "Attribute[Any]", value: object) -> None:
    if value not in get_args(Role):
        raise ValueError(f"{attribute.name} must be one of {', '.join(get_args(Role))}, not {value!r}")


def _text(_message: object, attribute: "Attribute[Any]", value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{attribute.name} must be text (str), not {type(value).__name__}")
    sendable_text(value, attribute.name)


@frozen(kw_only=True)
class Message:
    """One message of a conversation (page responses).

    Args:
        role: Who says it: "user", "assistant" or "system".
        content: What is said.

    Raises:
        TypeError: `content` is no text.
        ValueError: Another role, or a text that UTF-8 cannot carry.

    """

    role: Role = field(validator=_role)
    content: str = field(validator=_text, repr=False)


@frozen(kw_only=True)
class Citation:
    """A document that an answer goes by (page responses); `deal_id` and `deal_name` are None where it belongs to no deal."""

    document_id: str | None = None
    document_name: str | None = None
    deal_id: str | None = None
    deal_name: str | None = None
    url: str | None = field(default=None, repr=False)
    excerpt: str | None = field(default=None, repr=False)
    extra: Mapping[str, Any] = extra_field()


@frozen(kw_only=True)
class AssistantMessage:
    """What Hindsight says: text with links to its sources in it, and the sources. It may be a message of the next question."""

    content: str = field(repr=False)
    role: str = "assistant"
    citations: list[Citation] = field(factory=list[Citation], hash=False)
    extra: Mapping[str, Any] = extra_field()


@frozen(kw_only=True)
class Response(Answered):
    """An answer (page responses); `tool_calls` names what was searched, and is empty in one that came as a stream."""

    message: AssistantMessage
    tool_calls: list[str] = field(factory=list[str], hash=False)
    extra: Mapping[str, Any] = extra_field()


@frozen(kw_only=True)
class ContentDelta:
    """The next words of an answer."""

    content: str = field(repr=False)
    extra: Mapping[str, Any] = extra_field()


@frozen(kw_only=True)
class CitationEvent:
    """The next source of an answer."""

    citation: Citation
    extra: Mapping[str, Any] = extra_field()


@frozen(kw_only=True)
class UnknownEvent:
    """An event that this version does not know or cannot read: what it calls itself, "" for nothing, and its data as it came."""

    type: str
    data: str = field(repr=False)


ResponseEvent = ContentDelta | CitationEvent | UnknownEvent
"""What a stream gives."""
