"""An answer as its words come."""

import json
from collections import deque
from collections.abc import Mapping
from typing import Any, Self, cast

from hindsight_async.call.answered import with_http
from hindsight_async.call.codec import readers
from hindsight_async.call.request import Call
from hindsight_async.call.streaming import ReplyStream
from hindsight_async.call.values import UnreadableError
from hindsight_async.errors import OutcomeUnknownError
from hindsight_async.resources.responses.event_stream import EventStreamParser, ServerSentEvent
from hindsight_async.resources.responses.models import (
    AssistantMessage,
    Citation,
    CitationEvent,
    ContentDelta,
    Response,
    ResponseEvent,
    UnknownEvent,
)

EVENT_STREAM = "text/event-stream"


class ResponseStream:
    """The events of one answer, in their order: `async for` gives each as it comes, `final_response` all of it.

    Reached by `session.responses.stream`, and read inside its block. The end of the answer is the end of the iteration;
    one that breaks off raises OutcomeUnknownError, whose `received` has what was said so far, in the form of a whole answer.
    """

    def __init__(self, reply: ReplyStream, call: Call[ReplyStream]) -> None:
        self._reply = reply
        self._call = call
        self._parser = EventStreamParser()
        self._here: deque[ServerSentEvent] = deque()
        """What has come and was not given out yet."""
        self._content: list[str] = []
        self._citations: list[Citation] = []
        self._state: str | OutcomeUnknownError = "open"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ResponseEvent:
        """Return the next event.

        Raises:
            OutcomeUnknownError: The answer broke off, or nothing came for `Timeouts.read` seconds.
            RuntimeError: The block of the stream was left before the answer's end.

        """
        while not self._here:
            await self._read_on()
        event = self._here.popleft()
        document = _document_in(event.data)
        kind = _type_of(event, document)
        if kind == "error" or ("type" not in document and document.get("error")):
            raise self._broken_off(f"the server broke the answer off: {_reason(document) or event.data}")
        return self._noted(_read_event(kind, document) or UnknownEvent(type=kind, data=event.data))

    async def final_response(self) -> Response:
        """Read what is still to come, and return the whole answer.

        Returns:
            All that was said, also what was given out as events before.

        Raises:
            OutcomeUnknownError: As from the iteration.
            RuntimeError: As from the iteration.

        """
        async for _ in self:
            pass
        message = AssistantMessage(content="".join(self._content), citations=list(self._citations))
        return with_http(Response(message=message), self._reply.http)

    def close(self) -> None:
        """Note that the block is left."""
        if self._state == "open":
            self._state = "left"
            self._here.clear()

    async def _read_on(self) -> None:
        """Wait for more; raises what the iteration ends with."""
        if isinstance(self._state, OutcomeUnknownError):
            raise self._state
        if self._state == "left":
            raise RuntimeError("the stream was left before its end: read it inside its `async with` block")
        if self._state == "ended":
            raise StopAsyncIteration
        if self._reply.content_type != EVENT_STREAM:
            raise self._broken_off(f"the answer is no event stream but {self._reply.content_type}")
        try:
            piece = await anext(self._reply)
        except StopAsyncIteration:
            self._state = "ended"
            raise
        except OutcomeUnknownError as cut:
            raise self._with_what_was_said(cut) from cut.__cause__
        self._here.extend(self._parser.feed(piece))

    def _noted(self, event: ResponseEvent) -> ResponseEvent:
        if isinstance(event, ContentDelta):
            self._content.append(event.content)
        elif isinstance(event, CitationEvent):
            self._citations.append(event.citation)
        return event

    def _broken_off(self, why: str) -> OutcomeUnknownError:
        endpoint = self._call.endpoint
        cut = OutcomeUnknownError(
            why, status=self._reply.status, method=endpoint.method, path=self._call.path, attempts=1
        )
        self._reply.close()
        return self._with_what_was_said(cut)

    def _with_what_was_said(self, cut: OutcomeUnknownError) -> OutcomeUnknownError:
        cut.received = {
            "message": {
                "role": "assistant",
                "content": "".join(self._content),
                "citations": [_plain(citation) for citation in self._citations],
            }
        }
        cut.http = self._reply.http
        self._state = cut
        self._here.clear()
        return cut


def _document_in(data: str) -> Mapping[str, Any]:
    try:
        document: object = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return cast("Mapping[str, Any]", document) if isinstance(document, dict) else {}


def _type_of(event: ServerSentEvent, document: Mapping[str, Any]) -> str:
    kind = document.get("type")
    return kind if isinstance(kind, str) else event.name


def _read_event(kind: str, document: Mapping[str, Any]) -> ContentDelta | CitationEvent | None:
    if kind == "content_delta" and isinstance(content := document.get("content"), str):
        return ContentDelta(content=content, extra=_others(document, "content"))
    if kind == "citation":
        try:
            citation = readers[Citation](document.get("citation"), Citation)
        except UnreadableError:
            return None
        return CitationEvent(citation=citation, extra=_others(document, "citation"))
    return None


def _others(document: Mapping[str, Any], known: str) -> Mapping[str, Any]:
    return {name: value for name, value in document.items() if name not in {"type", known}}


def _reason(document: Mapping[str, Any]) -> str | None:
    error: object = document.get("error", document)
    said = cast("Mapping[str, Any]", error).get("message") if isinstance(error, dict) else error
    return said if isinstance(said, str) else None


def _plain(citation: Citation) -> dict[str, Any]:
    fields = ("document_id", "document_name", "deal_id", "deal_name", "url", "excerpt")
    return {name: getattr(citation, name) for name in fields} | dict(citation.extra)
