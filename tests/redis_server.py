"""A real Redis server for tests: on a unix socket of its own, or on a free port, and with nothing on disk."""

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
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
