"""Questions, and the answers that are scripted for them, whole or as a stream of events."""

import json
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

from hindsight_async.emulator.answers import Answer, json_answer, wrong_request

ROLES = {"user", "assistant", "system"}


@frozen
class ScriptedResponse:
    """What is answered to one question."""

    content: str
    citations: Sequence[Mapping[str, Any]] = ()
    tool_calls: Sequence[str] = ()
    stream: Sequence[bytes] | None = field(default=None, repr=False)
    pause: float = 0.0


class ScriptedResponses:
    """The answers to come, in order; a question for which none is left is answered by an echo of itself."""

    def __init__(self) -> None:
        self.pending: deque[ScriptedResponse] = deque()

    def say(
        self,
        content: str,
        *,
        citations: Sequence[Mapping[str, Any]] = (),
        tool_calls: Sequence[str] = ("search_across_deals",),
        stream: Sequence[bytes] | None = None,
        pause: float = 0.0,
    ) -> None:
        """Answer the next question without an answer with this.

        Args:
            content: What is said; in a stream word by word.
            citations: The sources, each with its documented fields.
            tool_calls: What was searched; a stream does not tell.
            stream: What a stream consists of instead, each piece as it leaves: for what is not documented.
            pause: Seconds between two pieces of a stream.

        """
        self.pending.append(ScriptedResponse(content, citations, tool_calls, stream, pause))


def answer_to(body: Mapping[str, Any], responses: ScriptedResponses) -> Answer:
    """Answer a question with what is scripted.

    Raises:
        WrongRequestError: It is wrong (400).

    """
    question = _checked(body)
    scripted = (
        responses.pending.popleft() if responses.pending else ScriptedResponse(f"You asked: {question}")
    )
    if body.get("stream"):
        pieces = events_of(scripted) if scripted.stream is None else scripted.stream
        headers = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
        return Answer(200, b"".join(pieces), headers, pieces=tuple(pieces), pause=scripted.pause)
    message = {
        "role": "assistant",
        "content": scripted.content,
        "citations": [dict(one) for one in scripted.citations],
    }
    return json_answer(200, {"message": message, "tool_calls": [*scripted.tool_calls]})


def events_of(scripted: ScriptedResponse) -> list[bytes]:
    """Return an answer as the events of a stream: each word, then each source."""
    words = scripted.content.split(" ")
    deltas = [word if number == len(words) else f"{word} " for number, word in enumerate(words, 1)]
    documents: list[dict[str, Any]] = [{"type": "content_delta", "content": delta} for delta in deltas]
    documents += [{"type": "citation", "citation": dict(one)} for one in scripted.citations]
    return [f"data: {json.dumps(document, ensure_ascii=False)}\n\n".encode() for document in documents]


def _checked(body: Mapping[str, Any]) -> str:
    """Return what was asked last."""
    if unknown := sorted(body.keys() - {"messages", "stream"}):
        raise wrong_request(400, f"Not accepted here: {', '.join(unknown)}", unknown_fields=unknown)
    messages: Any = body.get("messages")
    if not isinstance(body.get("messages"), list) or not messages:
        raise wrong_request(400, "messages must hold at least one message", missing_fields=["messages"])
    if not isinstance(body.get("stream", False), bool):
        raise wrong_request(400, "stream must be true or false", invalid_fields=["stream"])
    asked = ""
    for message in messages:
        if not _is_message(message):
            raise wrong_request(400, "A message has a role and a content", invalid_fields=["messages"])
        asked = message["content"]
    return asked


def _is_message(message: Any) -> bool:
    return (
        isinstance(message, dict)
        and message.keys() == {"role", "content"}
        and message["role"] in ROLES
        and isinstance(message["content"], str)
    )
