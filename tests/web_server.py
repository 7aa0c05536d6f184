"""The web applications of `docs`, each under its own server in processes of its own, and a CRM that calls them."""

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
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web
from attrs import field, frozen

from crm_double import TOKEN, associated
from doc_pages import named_blocks
from hindsight_async.emulator import Emulator

ROOT = Path(__file__).parent.parent
MODULES = named_blocks()

COMMANDS = {
    name: found[1].split()
    for name, text in MODULES.items()
    if (found := re.match(r"# web_\w+\.py: (.*)", text))
}
"""How each application is served, as the first line of its block says."""

COMMANDS_OF_SEVERAL = {
    name: ["uvicorn", *arguments] if server == "hypercorn" else [server, *arguments]
    for name, (server, *arguments) in COMMANDS.items()
}
"""The same with several workers: Hypercorn cuts the others off where one of them ends."""

_ON_A_FREE_PORT = {
    "uvicorn": ["--port", "0"],
    "hypercorn": ["--bind", "127.0.0.1:0"],
    "gunicorn": ["--bind", "127.0.0.1:0"],
}
_ADDRESS_LINE = re.compile(r"http://127\.0\.0\.1:(\d+)")
_WORKER_LINE = re.compile(
    r"Started server process \[(\d+)\]|Booting worker with pid: (\d+)|\[(\d+)\] \[INFO\] Running on"
)

SECRET = "the-app's-client-secret"
PORTAL = 62515
PUBLIC_URL = "https://crm-hooks.acme.example/deal-closed"

SHORTER_LEASE = (
    "LOOK_EVERY, FIRST_PAUSE, LONGEST_PAUSE = 60.0, 5.0",
    "LOOK_EVERY, FIRST_PAUSE, LONGEST_PAUSE = 3.0, 1.0",
)
"""Seconds for which a worker may have deals in hand that it reads, and between two looks at what others left."""

DEVELOPMENT = ("-X", "dev")

SECONDS_TO_START = 60
SECONDS_TO_STOP = 60
SECONDS_TO_ANSWER = 5.0
"""After which the CRM gives an answer up."""

Reader = Callable[[list[str]], list[dict[str, object]]]

_NO_COMPLAINT = re.compile(
    r"INFO: "  # uvicorn
    r"|\[[^]]*\] \[\d+\] \[INFO\] "  # hypercorn and gunicorn
    r"|INFO - .* - hindsight_async\.\w+ - "  # what became of a call, in a framework that shows it
    r'|127\.0\.0\.1 \[[^]]*\] "POST /deal-closed HTTP/1\.1" '  # an access log, which the development mode turns on
    r"|Executing <.* took \d+\.\d+ seconds$"  # asyncio's debug mode, of a slow machine
)


def environment_of(emulator: Emulator, hubspot_url: str, **more: str) -> dict[str, str]:
    """Return what the applications read."""
    return {
        "HINDSIGHT_API_KEY": emulator.api_key,
        "HINDSIGHT_BASE_URL": emulator.base_url,
        "HINDSIGHT_PLAN": emulator.plan.value,
        "HUBSPOT_CLIENT_SECRET": SECRET,
        "HINDSIGHT_SEQUENCE": "seq_abc123",
        "HUBSPOT_ACCESS_TOKEN": TOKEN,
        "HUBSPOT_PORTAL_ID": str(PORTAL),
        "HUBSPOT_URL": hubspot_url,
        "WEBHOOK_URL": PUBLIC_URL,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        **more,
    }


def address(deal: int | str) -> str:
    """Return the address of the one contact of a deal."""
    return f"contact{deal}@acme.example"


def _about_deals(ids: list[str]) -> list[dict[str, object]]:
    return [{"id": deal, "properties": {"hs_is_closed": "true", "dealname": f"Deal {deal}"}} for deal in ids]


def _contacts_of_deals(ids: list[str]) -> list[dict[str, object]]:
    return [{"from": {"id": deal}, "to": [associated(deal, [])]} for deal in ids]


def _about_contacts(ids: list[str]) -> list[dict[str, object]]:
    return [{"id": deal, "properties": {"email": address(deal), "firstname": "Jane"}} for deal in ids]


@asynccontextmanager
async def hubspot_where_all_is_closed() -> AsyncGenerator[str]:
    """Serve a HubSpot in which every deal is closed, and has one contact, with the same id; yield its URL."""
    app = web.Application()
    for path, read in (
        ("/crm/objects/2026-03/deals/batch/read", _about_deals),
        ("/crm/associations/2026-03/deals/contacts/batch/read", _contacts_of_deals),
        ("/crm/objects/2026-03/contacts/batch/read", _about_contacts),
    ):

        async def answer(request: web.Request, read: Reader = read) -> web.Response:
            assert f"Bearer {TOKEN}" == request.headers["Authorization"]
            ids = [each["id"] for each in (await request.json())["inputs"]]
            return web.json_response({"status": "COMPLETE", "results": read(ids)})

        app.router.add_post(path, answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def closed(*deals: int) -> bytes:
    """Return the body of a webhook which says of each of these deals that its stage has changed."""
    return json.dumps([_event(deal) for deal in deals]).encode()


def _event(deal: int) -> dict[str, object]:
    return {
        "eventId": 100,
        "subscriptionId": 1160452,
        "portalId": PORTAL,
        "appId": 234,
        "occurredAt": int(time.time() * 1000),
        "subscriptionType": "deal.propertyChange",
        "attemptNumber": 0,
        "objectId": deal,
        "propertyName": "dealstage",
        "propertyValue": "1046793231",
        "changeSource": "CRM_UI",
        "sourceId": "userId:9",
    }


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
class Application:
    """A running application, seen from the CRM."""

    process: "subprocess.Popen[bytes]"
    url: str
    log: Path
    crm: ClientSession = field(repr=False)

    async def deliver(self, body: bytes | AsyncIterator[bytes], headers: dict[str, str] | None = None) -> int:
        """Call the webhook, with the CRM's signature where no headers are given; return the answer's status."""
        if headers is None:
            assert isinstance(body, bytes)
            headers = signed(body)
        async with self.crm.post(self.url, data=body, headers=headers) as response:
            await response.read()
            return response.status

    def workers(self) -> list[int]:
        """Return the ids of the processes that it began to serve from, oldest first."""
        return [int("".join(found)) for found in _WORKER_LINE.findall(self.log.read_text())]

    def kill(self) -> None:
        """End all of its processes at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    async def end(self) -> tuple[int, list[str]]:
        """Wait for its end after a signal; return how it ended, and what it complained of."""
        code = await asyncio.to_thread(self.process.wait, SECONDS_TO_STOP)
        lines = self.log.read_text().splitlines()
        return code, [line for line in lines if line.strip() and not _NO_COMPLAINT.match(line)]

    async def stop(self, sign: signal.Signals = signal.SIGTERM) -> tuple[int, list[str]]:
        self.process.send_signal(sign)
        return await self.end()


CLEAN_ENDS = (0, -signal.SIGTERM)
"""Uvicorn ends by the signal it was sent, once all is closed; the others return."""


@asynccontextmanager
async def application(
    name: str,
    folder: Path,
    environment: dict[str, str],
    *,
    mode: Sequence[str] = DEVELOPMENT,
    workers: int = 1,
) -> AsyncGenerator[Application]:
    """Serve one of the applications from `folder` until the block ends; `mode` are options of Python."""
    process, log = _start(name, folder, environment, mode, workers)
    async with ClientSession(
        connector=TCPConnector(limit=0), timeout=ClientTimeout(SECONDS_TO_ANSWER)
    ) as crm:
        try:
            port = await asyncio.wait_for(_port(process, log), SECONDS_TO_START)
            app = Application(process, f"http://127.0.0.1:{port}/deal-closed", log, crm)
            yield app
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _start(
    name: str, folder: Path, environment: dict[str, str], mode: Sequence[str], workers: int
) -> tuple["subprocess.Popen[bytes]", Path]:
    for module, text in MODULES.items():
        (folder / f"{module}.py").write_text(text.replace(*SHORTER_LEASE), encoding="utf-8")
    server, *arguments = COMMANDS[name] if workers == 1 else COMMANDS_OF_SEVERAL[name]
    several = [] if workers == 1 else ["--workers", str(workers)]
    log = folder / f"{name}-{len(list(folder.glob('*.log')))}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-W", "error::ResourceWarning", *mode,
             "-m", server, *_ON_A_FREE_PORT[server], *several, *arguments],
            # Gunicorn leaves a socket in the home of who starts it.
            cwd=folder, env=os.environ | environment | {"HOME": str(folder)},
            stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    return process, log


async def _port(process: "subprocess.Popen[bytes]", log: Path) -> int:
    while (port := _port_said(process, log)) is None:
        await asyncio.sleep(0.01)
    return port


def _port_said(process: "subprocess.Popen[bytes]", log: Path) -> int | None:
    said = log.read_text()
    assert process.poll() is None, said
    found = _ADDRESS_LINE.search(said)
    return int(found[1]) if found else None


async def deliver_until_accepted(apps: list[Application], body: bytes, pause: float = 0.05) -> list[float]:
    """Be the CRM: deliver it to the last of `apps`, again where no 2xx comes; return how long each answer took."""
    took = []
    while True:
        began = time.monotonic()
        try:
            status = await apps[-1].deliver(body)
        except (ClientError, TimeoutError):
            status = 0
        else:
            took.append(time.monotonic() - began)
        if 200 <= status < 300:
            return took
        await asyncio.sleep(pause)
