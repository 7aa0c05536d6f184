"""The responses resource: questions to answers, whole or as they come."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import cast

from attrs import frozen

from hindsight_async.call.codec import encode
from hindsight_async.call.execute import Executor
from hindsight_async.call.request import Call, Endpoint
from hindsight_async.call.streaming import ReplyStream
from hindsight_async.resources.responses.models import AssistantMessage, Message, Response, Role
from hindsight_async.resources.responses.stream import EVENT_STREAM, ResponseStream

_PATH = "/responses"

# A question has no effect, but counts against the month: it is asked again only where it provably was not answered.
_CREATE = Endpoint(method="POST", route="POST /responses", reply_type=Response, repeatable=False)
_STREAM = Endpoint(
    method="POST", route="POST /responses", reply_type=ReplyStream, repeatable=False, accepts=EVENT_STREAM
)


@frozen(kw_only=True)
class _Question:
    messages: list[Message]
    stream: bool = False


class Responses:
    """Ask Hindsight; reached as `session.responses`.

    Args:
        executor: Takes calls to their answers.

    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    async def create(self, messages: Iterable[Message | AssistantMessage]) -> Response:
        """Ask, and wait for the whole answer (page responses).

        An answer takes its time: what takes longer than `Timeouts.read` is best asked for as a stream.

        Args:
            messages: What was said so far, oldest first, at least one; the `message` of an earlier answer may be among them.

        Returns:
            The answer.

        Raises:
            TypeError: `messages` holds anything else.
            ValueError: It is empty.
            HindsightError: No answer came; where `delivery` is UNKNOWN it may have been counted.

        """
        call = Call(_CREATE, _PATH, encode(_Question(messages=_checked(messages))))
        return await self._executor.run(call, lane="interactive", deadline=self._executor.deadline)

    def stream(
        self, messages: Iterable[Message | AssistantMessage]
    ) -> AbstractAsyncContextManager[ResponseStream]:
        """Ask, and read the answer as its words come (page responses).

        The session's deadline counts until the answer begins. From then on it is not asked for again; `Timeouts.read` ends
        a silence, and leaving the block closes the connection. An open stream is one of the requests in flight, of which
        streams take at most half.

        Args:
            messages: As for `create`.

        Returns:
            The stream, to be entered with `async with` and read inside that block; entering raises what `create` does.

        Raises:
            TypeError: As from `create`.
            ValueError: As from `create`.

        """
        question = _Question(messages=_checked(messages), stream=True)
        return self._stream(Call(_STREAM, _PATH, encode(question)))

    @asynccontextmanager
    async def _stream(self, call: Call[ReplyStream]) -> AsyncGenerator[ResponseStream]:
        opened = self._executor.stream(call, lane="interactive", deadline=self._executor.deadline)
        async with opened as reply:
            stream = ResponseStream(reply, call)
            try:
                yield stream
            finally:
                stream.close()


def _checked(messages: Iterable[Message | AssistantMessage]) -> list[Message]:
    wrong = 'messages must be Message objects, such as [Message(role="user", content="...")]'
    if isinstance(messages, str) or not isinstance(messages, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"{wrong}, not {type(messages).__name__}")
    checked: list[Message] = []
    for message in messages:
        if isinstance(message, AssistantMessage):
            checked.append(Message(role=cast("Role", message.role), content=message.content))
        elif isinstance(message, Message):  # pyright: ignore[reportUnnecessaryIsInstance]
            checked.append(message)
        else:
            raise TypeError(f"{wrong}; one of them is {type(message).__name__}")
    if not checked:
        raise ValueError("messages must hold at least one message")
    return checked
