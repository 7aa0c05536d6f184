"""A pytest plugin for programs that use this library: an emulator as a fixture, and no way to the real API.

Turn it on in a conftest.py with `pytest_plugins = ["hindsight_async.testing"]`, or with `-p hindsight_async.testing`.
The emulator runs on a thread and an event loop of its own, so tests may be synchronous or run on any async plugin;
`serving` does the same for an emulator with other options.

While the plugin is on, HINDSIGHT_BASE_URL and HINDSIGHT_API_KEY name a port of this machine that refuses every
connection, whatever the shell had in them, unless it named an address of this machine.
"""

import asyncio
import os
from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager

import pytest

from hindsight_async.call.access import API_KEY_VARIABLE, BASE_URL_VARIABLE, is_on_this_machine
from hindsight_async.emulator import Emulator
from hindsight_async.rate import Plan

# Port 1 is privileged and its service extinct, so nobody listens there. The path is there for who reads the error.
DEAD_BASE_URL = "http://127.0.0.1:1/take-the-fixture-hindsight_emulator-to-send"
DEAD_API_KEY = "no-key-while-testing"


def pytest_configure(config: pytest.Config) -> None:
    """Keep every session that takes its address from the environment away from the real API until the run is over.

    A worker of pytest-xdist finds an address of this machine, since it has the variables from the process that began.
    """
    if is_on_this_machine(os.environ.get(BASE_URL_VARIABLE, "")):
        return
    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    patch.setenv(BASE_URL_VARIABLE, DEAD_BASE_URL)
    patch.setenv(API_KEY_VARIABLE, DEAD_API_KEY)


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
        served = thread.submit(lambda: asyncio.run(serve()))
        wait([opened, served], return_when=FIRST_COMPLETED)
        try:
            if opened.done():
                yield emulator
        finally:
            stop.set_result(None)
            served.result()  # which raises, instead of a block that is entered, why it could not open


@pytest.fixture
def hindsight_emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """Run an emulator of the Enterprise plan, and name it in HINDSIGHT_API_KEY and HINDSIGHT_BASE_URL meanwhile."""
    with serving(Emulator(plan=Plan.ENTERPRISE)) as emulator:
        monkeypatch.setenv(API_KEY_VARIABLE, emulator.api_key)
        monkeypatch.setenv(BASE_URL_VARIABLE, emulator.base_url)
        yield emulator
