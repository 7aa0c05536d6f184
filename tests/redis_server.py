"""A real Redis server for tests: on a unix socket of its own, or on a free port; and a way to it that loses answers."""

import asyncio
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from attrs import define, field

EXECUTABLE = shutil.which("redis-server")
PATIENCE = 10.0
"""Real seconds for the server to answer, or to end."""


@define(eq=False)
class RedisServer:
    """Start it, stop it, freeze it, kill it; the address stays the same."""

    options: list[str] = field(factory=list[str])
    tcp: bool = False
    port: int = 0
    folder: tempfile.TemporaryDirectory[str] = field(
        factory=lambda: tempfile.TemporaryDirectory(prefix="redis")
    )
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        """Where it listens, unless on a port."""
        return Path(self.folder.name, "socket")

    @property
    def url(self) -> str:
        """What to give a client."""
        return f"redis://127.0.0.1:{self.port}/0" if self.tcp else f"unix://{self.socket}"

    def start(self) -> "RedisServer":
        """Start it, with nothing in it; on a port that is taken meanwhile, on another one."""
        Path(self.folder.name, "dump.rdb").unlink(missing_ok=True)
        while True:
            if self.tcp and not self.port:
                self.port = free_port()
            where = ["--port", str(self.port)] if self.tcp else ["--port", "0", "--unixsocket", self.socket]
            self.process = subprocess.Popen(
                [
                    EXECUTABLE,
                    *where,
                    "--save",
                    "",
                    "--appendonly",
                    "no",
                    "--dir",
                    self.folder.name,
                    *self.options,
                ],
                stdout=subprocess.DEVNULL,
            )
            if self._answers():
                return self
            if not self.tcp:
                raise RuntimeError("redis-server does not start")
            self.port = 0

    def _answers(self) -> bool:
        until = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < until:
            try:
                reply = self.command("PING")
            except OSError:
                time.sleep(0.005)
            else:
                return reply.startswith((b"+PONG", b"-NOAUTH"))
        return False

    def command(self, *words: str) -> bytes:
        """Send one command past all clients, and return the raw reply (as much as comes at once)."""
        family = socket.AF_INET if self.tcp else socket.AF_UNIX
        with socket.socket(family) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(("127.0.0.1", self.port) if self.tcp else str(self.socket))
            parts = b"".join(b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()) for word in words)
            connection.sendall(b"*%d\r\n%s" % (len(words), parts))
            return connection.recv(1 << 20)

    def freeze(self) -> None:
        """Stop it in its tracks: connections are taken, and nothing is answered."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, with all that was in it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE)
            self.process = None
            self.socket.unlink(missing_ok=True)

    def renew(self) -> None:
        """Make it as it was when it was new: running, with nothing in it, and nobody connected."""
        if self.process is None or self.options:
            self.kill()
            self.options.clear()
            self.start()
        for command in ("CLIENT KILL TYPE normal", "REPLICAOF NO ONE", "FLUSHALL", "SCRIPT FLUSH"):
            self.command(*command.split())

    def close(self) -> None:
        """End it for good."""
        self.kill()
        self.folder.cleanup()


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def running(*options: str, tcp: bool = False) -> Iterator[RedisServer]:
    """Run one for as long as a fixture lasts; skip the test where there is none to run."""
    if EXECUTABLE is None:
        pytest.skip("redis-server is not installed (apt-get install redis-server)")
    server = RedisServer(list(options), tcp=tcp)
    try:
        yield server.start()
    finally:
        server.close()


LOST = b""
"""In place of an answer: Redis runs the script, and the connection breaks before anybody hears what came of it."""


@define(eq=False)
class RedisProxy:
    """Between a client and a Redis: it passes everything on but the next calls of a script, for which it has answers."""

    redis: RedisServer
    port: int = 0
    answers: deque[bytes] = field(factory=deque[bytes])
    """A line that Redis might say, or LOST; with none left, calls go to Redis."""
    calls: list[list[bytes]] = field(factory=list[list[bytes]])
    """The words of each call of a script."""

    @property
    def url(self) -> str:
        """What to give a client."""
        return f"redis://127.0.0.1:{self.port}/0"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what one connection says and hears, until either end closes it."""
        from_redis, to_redis = await asyncio.open_unix_connection(self.redis.socket)
        heard = asyncio.ensure_future(_pass_on(from_redis, writer))
        try:
            while True:
                raw, words = await _one_command(reader)
                answer = None
                if words[0] in (b"EVALSHA", b"EVAL"):
                    self.calls.append(words)
                    answer = self.answers.popleft() if self.answers else None
                if answer is None:
                    to_redis.write(raw)
                elif answer is LOST:
                    heard.cancel()
                    to_redis.write(raw)
                    await from_redis.read(1)
                    return
                else:
                    writer.write(answer + b"\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            heard.cancel()
            to_redis.transport.abort()
            writer.transport.abort()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while said := await reader.read(1 << 16):
        writer.write(said)
    writer.close()


async def _one_command(reader: asyncio.StreamReader) -> tuple[bytes, list[bytes]]:
    raw = await reader.readuntil(b"\r\n")
    words = []
    for _ in range(int(raw[1:])):
        head = await reader.readuntil(b"\r\n")
        word = await reader.readexactly(int(head[1:]) + 2)
        raw += head + word
        words.append(word[:-2])
    return raw, words


@asynccontextmanager
async def redis_proxy(redis: RedisServer) -> AsyncIterator[RedisProxy]:
    """Stand between clients and a Redis, and leave nothing behind."""
    proxy, tasks = RedisProxy(redis), set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        await proxy.serve(reader, writer)

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy.port = listening.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
