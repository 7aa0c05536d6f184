"""A server that a test scripts byte by byte."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from attrs import define, field

OK_BODY = b'{"interview_request_id":7}'
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(OK_BODY) + OK_BODY
CREATED_BODY = b'{"interview_request_id":7,"contact_id":"c","status":"sent"}'
CREATED = b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n" % len(CREATED_BODY) + CREATED_BODY

CERTIFICATE = Path(__file__).with_name("localhost.pem")
"""Made for these tests, signed by itself, for `localhost` and 127.0.0.1, with its key."""


def server_context():
    """Return what a server needs to speak TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def client_context():
    """Return what a client needs to trust that server."""
    return ssl.create_default_context(cafile=CERTIFICATE)


@define
class Connection:
    """One accepted connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int
    server: "RawServer"

    async def request(self) -> bytes:
        """Read one whole request; empty where the client has gone."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""
        length = next(
            (
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            ),
            0,
        )
        whole = head + await self.reader.readexactly(length)
        self.server.requests.append(whole)
        return whole

    def drop(self) -> None:
        """Cut the connection hard."""
        self.writer.transport.abort()


@define
class RawServer:
    """Where it listens, and the requests it has read."""

    port: int
    scheme: str = "http"
    requests: list[bytes] = field(factory=list)
    connections: int = 0

    @property
    def base_url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/api/v1"


@asynccontextmanager
async def raw_server(
    script: Callable[[Connection], Awaitable[None]], *, tls: bool = False
) -> AsyncIterator[RawServer]:
    """Serve every connection with `script`, and leave nothing behind."""
    tasks: set[asyncio.Task[None]] = set()
    server = RawServer(0, "https" if tls else "http")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        task = asyncio.current_task()
        tasks.add(task)
        try:
            await script(Connection(reader, writer, server.connections, server))
        except (asyncio.CancelledError, ConnectionError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context() if tls else None)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for task in list(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
