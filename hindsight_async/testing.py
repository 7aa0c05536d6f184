"""A pytest fixture for programs that use this library.

Turn it on in a conftest.py with `pytest_plugins = ["hindsight_async.testing"]`. The emulator runs on a thread and an
event loop of its own, so tests may be synchronous or run on any async plugin.
"""

import asyncio
from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager

import pytest

from hindsight_async.budget import Plan
from hindsight_async.emulator import Emulator


@pytest.fixture
def hindsight_emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """Run an emulator of the Enterprise plan, and name it in HINDSIGHT_API_KEY and HINDSIGHT_BASE_URL meanwhile."""
    with _on_a_thread(Emulator(plan=Plan.ENTERPRISE)) as emulator:
        monkeypatch.setenv("HINDSIGHT_API_KEY", emulator.api_key)
        monkeypatch.setenv("HINDSIGHT_BASE_URL", emulator.base_url)
        yield emulator


@contextmanager
def _on_a_thread(emulator: Emulator) -> Generator[Emulator]:
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
            served.result()
