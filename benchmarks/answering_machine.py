"""A loopback server that costs next to nothing: `python -m benchmarks.answering_machine` prints its port and answers.

It reads no more of a request than where it ends, and answers with one of three bodies that were written down
beforehand, under headers like Hindsight's.
"""

import asyncio
import importlib.util
import json
import time
from collections.abc import Callable
from email.utils import formatdate

LIMIT = 1_000_000
"""Requests per minute it claims to allow: more than any client here makes."""

CREATED = {
    "interview_request_id": 4821,
    "contact_id": "contact_abc123",
    "deal_id": "deal_xyz789",
    "status": "sent",
    "survey_url": "https://app.usehindsight.com/survey?token=tok_0123456789abcdef",
    "survey_token": "tok_0123456789abcdef",
}
ANSWERS: dict[bytes, tuple[str, dict[str, object]]] = {
    b"api": ("201 Created", CREATED),
    # Two clients only take their own service's answers for a success.
    b"slack": ("200 OK", {"ok": True, **CREATED}),
    b"v1": ("200 OK", {"object": "customer", "id": "cus_4821", "metadata": CREATED}),
}
END_OF_HEAD = b"\r\n\r\n"


class Answers:
    """The bytes of each answer, made anew each second because of the Date."""

    def __init__(self) -> None:
        self._second = 0
        self._by_folder: dict[bytes, bytes] = {}

    def to(self, request: bytes) -> bytes:
        """Find the answer by the first folder of the request's path."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._by_folder = {folder: _answer(*answer, second) for folder, answer in ANSWERS.items()}
        return self._by_folder[request.split(b"/", 2)[1]]


def _answer(status: str, document: dict[str, object], second: int) -> bytes:
    body = json.dumps(document).encode()
    head = (
        f"HTTP/1.1 {status}",
        f"Date: {formatdate(second, usegmt=True)}",
        "Content-Type: application/json",
        f"X-RateLimit-Limit: {LIMIT}",
        f"X-RateLimit-Remaining: {LIMIT - 1}",
        f"X-RateLimit-Reset: {(second + 60) * 1000}",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join(head).encode() + END_OF_HEAD + body


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request that is complete."""
        unread = self._unread + data
        while (end := unread.find(END_OF_HEAD)) >= 0:
            whole = end + len(END_OF_HEAD) + _length_of_body(unread[:end])
            if len(unread) < whole:
                break
            self._transport.write(self._answers.to(unread))  # type: ignore[attr-defined]
            unread = unread[whole:]
        self._unread = unread


def _length_of_body(head: bytes) -> int:
    lowered = head.lower()
    start = lowered.find(b"content-length:")
    return 0 if start < 0 else int(lowered[start:].partition(b":")[2].partition(b"\r\n")[0])


def fastest_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Take uvloop where there is one: the server is not what is measured."""
    return importlib.import_module("uvloop").new_event_loop if importlib.util.find_spec("uvloop") else None


async def main() -> None:
    """Serve until killed."""
    answers = Answers()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(answers), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=fastest_loop()) as runner:
        runner.run(main())
