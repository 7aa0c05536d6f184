"""The README's web applications, each under its own server in a process, and a CRM that calls them."""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from aiohttp import ClientSession, TCPConnector
from attrs import field, frozen

from hindsight_async.emulator import Emulator

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MODULES = dict(re.findall(r"```python\n(?=# (\w+)\.py)(.*?)```", README, re.DOTALL))
"""The README's blocks that begin with the name of a file, by module."""

COMMANDS = {
    name: found[1].split() for name, text in MODULES.items() if (found := re.match(r"# \w+\.py: (.*)", text))
}
"""How each application is served, as the first line of its block says."""

_ON_A_FREE_PORT = {
    "uvicorn": ["-m", "uvicorn", "--port", "0"],
    "hypercorn": ["-m", "hypercorn", "--bind", "127.0.0.1:0"],
    "python": [],  # aiohttp's application takes the port from its environment
}

SECRET = "the-app's-client-secret"
PUBLIC_URL = "https://crm-hooks.acme.example/deal-closed"

DEVELOPMENT = ("-X", "dev")
ALL_WARNINGS = ("-W", "default")
"""Without asyncio's debug mode, in which 200 calls at once may take longer than their deadline."""

SECONDS_TO_START = 60
SECONDS_TO_STOP = 30

_ADDRESS_LINE = re.compile(r"http://127\.0\.0\.1:(\d+)")
_NO_COMPLAINT = re.compile(
    r"INFO: "  # uvicorn
    r"|\[[^]]*\] \[\d+\] \[INFO\] "  # hypercorn
    r"|INFO - .* - hindsight_async\.call - "  # what became of a call, in a framework that shows it
    r'|127\.0\.0\.1 \[[^]]*\] "POST /deal-closed HTTP/1\.1" '  # aiohttp's access log, which the development mode turns on
    r"|Executing <.* took \d+\.\d+ seconds$"  # asyncio's debug mode, of a slow machine
)


def write_modules(folder: Path) -> None:
    """Write every named block of the README to its file."""
    for name, text in MODULES.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")


def environment_of(emulator: Emulator) -> dict[str, str]:
    return {
        "HINDSIGHT_API_KEY": emulator.api_key,
        "HINDSIGHT_BASE_URL": emulator.base_url,
        "HINDSIGHT_PLAN": emulator.plan.value,
        "HUBSPOT_CLIENT_SECRET": SECRET,
        "WEBHOOK_URL": PUBLIC_URL,
        "PORT": "0",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }


def deal(number: int) -> bytes:
    return json.dumps(
        {
            "contact_email": f"contact{number}@acme.example",
            "dealname": f"Acme no. {number} \N{EN DASH} renewal",
            "dealstage": "closedlost",
            "amount": "12000",
            "hs_object_id": number,
        }
    ).encode()


def signed(body: bytes, *, at: float | None = None, secret: str = SECRET) -> dict[str, str]:
    """Return the headers with which the CRM would send this body."""
    stamp = str(int((time.time() if at is None else at) * 1000))
    digest = hmac.new(secret.encode(), f"POST{PUBLIC_URL}{body.decode()}{stamp}".encode(), hashlib.sha256)
    return {
        "Content-Type": "application/json",
        "X-HubSpot-Request-Timestamp": stamp,
        "X-HubSpot-Signature-v3": base64.b64encode(digest.digest()).decode(),
    }


@frozen
class Answer:
    status: int
    content: dict[str, object]
    retry_after: str | None


@frozen
class Application:
    """A running application, seen from the CRM."""

    process: "subprocess.Popen[str]"
    url: str
    said: list[str]
    crm: ClientSession = field(repr=False)

    async def deliver(
        self, body: bytes | AsyncIterator[bytes], headers: dict[str, str] | None = None
    ) -> Answer:
        """Call the webhook, with the CRM's signature where no headers are given."""
        if headers is None:
            assert isinstance(body, bytes)
            headers = signed(body)
        async with self.crm.post(self.url, data=body, headers=headers) as response:
            text = await response.text()
            content = json.loads(text) if response.content_type == "application/json" else {"text": text}
            return Answer(response.status, content, response.headers.get("Retry-After"))

    async def end(self) -> tuple[int, list[str]]:
        """Wait for its end after a signal; return how it ended, and what it complained of."""
        rest = await asyncio.to_thread(self.process.communicate, timeout=SECONDS_TO_STOP)
        lines = [*self.said, *(line for text in rest for line in text.splitlines())]
        complaints = [line for line in lines if line.strip() and not _NO_COMPLAINT.match(line)]
        return self.process.returncode, complaints

    async def stop(self, sign: signal.Signals = signal.SIGTERM) -> tuple[int, list[str]]:
        self.process.send_signal(sign)
        return await self.end()


CLEAN_ENDS = (0, -signal.SIGTERM)
"""Uvicorn ends by the signal it was sent, once all is closed; the others return."""


@asynccontextmanager
async def application(
    name: str, folder: Path, environment: dict[str, str], *, mode: Sequence[str] = DEVELOPMENT
) -> AsyncGenerator[Application]:
    """Serve one of the README's applications from `folder` until the block ends; `mode` are options of Python."""
    write_modules(folder)
    server, *arguments = COMMANDS[name]
    process = _start([*mode, *_ON_A_FREE_PORT[server], *arguments], folder, environment)
    try:
        reading = asyncio.to_thread(_read_port, process, to_stdout=server == "python")
        port, said = await asyncio.wait_for(reading, SECONDS_TO_START)
        async with ClientSession(connector=TCPConnector(limit=0)) as crm:
            yield Application(process, f"http://127.0.0.1:{port}/deal-closed", said, crm)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # hypercorn serves from a child
        process.communicate()


def _start(arguments: Sequence[str], folder: Path, environment: dict[str, str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-W", "error::ResourceWarning", *arguments],
        cwd=folder, env=os.environ | environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def _read_port(process: "subprocess.Popen[str]", *, to_stdout: bool) -> tuple[int, list[str]]:
    """Read what the server says until it names its port; return that, and what stood on stderr before."""
    said: list[str] = []
    stream = process.stdout if to_stdout else process.stderr
    assert stream is not None
    for line in stream:
        if found := _ADDRESS_LINE.search(line):
            return int(found[1]), [] if to_stdout else said
        said.append(line.rstrip("\n"))
    raise AssertionError(f"{process.args} did not start: {said} {process.communicate()}")
