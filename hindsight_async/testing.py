"""A pytest plugin for programs that use this library: an emulator as a fixture, and no way to the real API.

Turn it on in a conftest.py with `pytest_plugins = ["hindsight_async.testing"]`, or with `-p hindsight_async.testing`.
The emulator runs on a thread and an event loop of its own, so tests may be synchronous or run on any async plugin;
`@pytest.mark.hindsight(plan="growth", sequences=["seq_1"])` gives it other options, and `serving` runs one without a fixture.
`hindsight_ledger` and `hindsight_queue` are a ledger and a queue of the test's own.

While the plugin is on, HINDSIGHT_BASE_URL and HINDSIGHT_API_KEY name a port of this machine that refuses every
connection, whatever the shell had in them, unless it named an address of this machine; and HINDSIGHT_PLAN names the
plan of the emulators.
"""

import asyncio
import inspect
import os
from collections.abc import AsyncGenerator, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hindsight_async.call.access import API_KEY_VARIABLE, BASE_URL_VARIABLE, is_on_this_machine
from hindsight_async.emulator import Emulator
from hindsight_async.rate import Plan
from hindsight_async.rate.plan import PLAN_VARIABLE
from hindsight_async.session import HindsightSession

if TYPE_CHECKING:
    from hindsight_async.delivery.ledger.ledger import Ledger
    from hindsight_async.delivery.queue.queue import DurableQueue
    from hindsight_async.resources.interviews.models import CreatedInterview, CreateInterview

# Port 1 is privileged and its service extinct, so nobody listens there. The path is there for who reads the error.
DEAD_BASE_URL = "http://127.0.0.1:1/take-the-fixture-hindsight_emulator-to-send"
DEAD_API_KEY = "no-key-while-testing"

USUAL_PLAN = Plan.ENTERPRISE
"""The one that keeps tests waiting least."""

MARKER = "hindsight"


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, and keep the run from the real API."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(plan=..., sequences=...): options of Emulator for the one of hindsight_emulator.",
    )
    _point_nowhere(config)


def _point_nowhere(config: pytest.Config) -> None:
    """Keep every session that takes its address from the environment away from the real API until the run is over.

    A worker of pytest-xdist finds an address of this machine, since it has the variables from the process that began.
    """
    if is_on_this_machine(os.environ.get(BASE_URL_VARIABLE, "")):
        return
    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    patch.setenv(BASE_URL_VARIABLE, DEAD_BASE_URL)
    patch.setenv(API_KEY_VARIABLE, DEAD_API_KEY)
    patch.setenv(PLAN_VARIABLE, USUAL_PLAN.value)


@contextmanager
def serving(emulator: Emulator) -> Generator[Emulator]:
    """Have an emulator serve from a thread and an event loop of its own, for code that has no loop or blocks it.

    It ends with the block, and cuts off what is being answered then.

    Args:
        emulator: One that is not entered yet.

    Yields:
        The same emulator, which serves at its `base_url` and may be read and told from the caller's thread.

    Raises:
        OSError: Its port is taken.

    """
    opened: Future[None] = Future()
    stop: Future[None] = Future()

    async def serve() -> None:
        async with emulator:
            opened.set_result(None)
            await asyncio.wrap_future(stop)

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="hindsight-emulator") as thread:
        # Where Python runs in development mode, what asyncio says of slow callbacks would be in the caller's log.
        served = thread.submit(lambda: asyncio.run(serve(), debug=False))
        wait([opened, served], return_when=FIRST_COMPLETED)
        try:
            if opened.done():
                yield emulator
        finally:
            stop.set_result(None)
            served.result()  # which raises, instead of a block that is entered, why it could not open


@pytest.fixture
def hindsight_emulator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """Run an emulator, and name it in HINDSIGHT_API_KEY, HINDSIGHT_BASE_URL and HINDSIGHT_PLAN meanwhile.

    It is of the Enterprise plan, and takes any id, unless `@pytest.mark.hindsight(...)` says otherwise in the words of
    `Emulator`. The marker may stand at a test, at its class and at its module: the nearest one has the last word.
    """
    with serving(_marked_emulator(request.node)) as emulator:
        monkeypatch.setenv(API_KEY_VARIABLE, emulator.api_key)
        monkeypatch.setenv(BASE_URL_VARIABLE, emulator.base_url)
        monkeypatch.setenv(PLAN_VARIABLE, emulator.plan.value)
        yield emulator


@pytest.fixture
def hindsight_ledger(tmp_path: Path) -> "Ledger":
    """Return an empty Ledger in a file of the test's own (extra `bulk`)."""
    from hindsight_async.delivery.ledger.ledger import Ledger  # noqa: PLC0415  needs the extra `bulk`

    return Ledger(tmp_path / "hindsight.db")


@pytest.fixture
def hindsight_queue(
    hindsight_emulator: Emulator, hindsight_ledger: "Ledger"
) -> "AbstractAsyncContextManager[DurableQueue[CreateInterview, CreatedInterview]]":
    """Return a queue in `hindsight_ledger` that sends to `hindsight_emulator`, to be entered with `async with` once.

    It is not entered yet, since only the test knows on which event loop; its session is opened and closed with it.
    """
    return _queue(hindsight_emulator, hindsight_ledger)


@asynccontextmanager
async def _queue(
    emulator: Emulator, ledger: "Ledger"
) -> "AsyncGenerator[DurableQueue[CreateInterview, CreatedInterview]]":
    session = HindsightSession(emulator.api_key, base_url=emulator.base_url, plan=emulator.plan)
    async with session, session.interviews.queue(ledger) as queue:
        yield queue


def _marked_emulator(node: pytest.Item) -> Emulator:
    """Return the emulator that a test's markers ask for; fail the test where they ask for none that there is."""
    options: dict[str, Any] = {"plan": USUAL_PLAN}
    known = inspect.signature(Emulator).parameters
    for marker in reversed(
        [*node.iter_markers(MARKER)]
    ):  # the nearest one comes first, and has the last word
        if marker.args:
            pytest.fail(f"@pytest.mark.{MARKER} takes keywords alone, not {marker.args[0]!r}", pytrace=False)
        if strange := sorted(marker.kwargs.keys() - known.keys()):
            pytest.fail(
                f"@pytest.mark.{MARKER} has no {', '.join(strange)}: it takes {', '.join(known)}",
                pytrace=False,
            )
        options |= marker.kwargs
    try:
        return Emulator(**options)
    except (TypeError, ValueError) as error:
        pytest.fail(f"@pytest.mark.{MARKER}: {error}", pytrace=False)
