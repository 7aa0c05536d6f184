"""What many tests need: a clock of their own, and servers that are started once."""

import asyncio
import gc
import io
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import postgres_server
import redis_server
from hindsight_async import Plan
from hindsight_async.cli import run as run_command
from hindsight_async.emulator import Emulator
from hindsight_async.testing import serving
from virtual_time import VirtualTimeLoop

# A slow machine is no failure. What `.ci/run` runs the suite with looks at four times as many examples.
settings.register_profile("quick", deadline=None, max_examples=25)
settings.register_profile("thorough", deadline=None, max_examples=100)
settings.load_profile("quick")

MEMORY = Path("/dev/shm")
"""Where Linux has a file system in memory."""

# Who runs the tests may have set what the commands that they start would obey.
for name in ("CI", "NO_COLOR"):
    os.environ.pop(name, None)

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would the programs that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Give every test a clock of its own."""
    return {"virtual": VirtualTimeLoop}


def pytest_configure(config: pytest.Config) -> None:
    """Have the event loops that run in real time look as closely as the others."""
    # pytest-asyncio's default for it is the text "false".
    if str(config.getini("asyncio_debug")).lower() == "true":
        import redis_fleet

        redis_fleet.DEBUG = True


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Let `-n auto` mean one worker more than there are cores: some tests wait, for a Redis or for a process."""
    del config
    return 1 + len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1 + (os.cpu_count() or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the tests that need servers come first, and so on one of several workers.

    It alone starts the servers, and while it waits for them the others use the cores. Last, they would leave these idle.
    """
    items.sort(key=lambda item: item.get_closest_marker("servers") is None)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Have the garbage collector pass over what stays: it would look through 300,000 objects for each test that calls it."""
    del session
    gc.collect()
    gc.freeze()


@pytest.fixture
def in_memory() -> None:
    """Have `tmp_path` be in memory, for tests that commit so often that they would wait for the disk."""


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest) -> Iterator[Path]:
    """Give a test a folder of its own, on disk unless it asks for `in_memory`.

    The command line keeps no ledger beside an input that is under /dev, so what it does is tested on disk.
    """
    if "in_memory" in request.fixturenames and MEMORY.is_dir():
        with tempfile.TemporaryDirectory(prefix="hindsight", dir=MEMORY) as folder:
            yield Path(folder)
    else:
        yield request.getfixturevalue("tmp_path")


@pytest.fixture(scope="session")
def _redis() -> Iterator[redis_server.RedisServer]:
    yield from redis_server.running()


@pytest.fixture
def redis(_redis: redis_server.RedisServer) -> redis_server.RedisServer:
    """Give a test an empty Redis, which it may kill, freeze or spoil."""
    _redis.renew()
    return _redis


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgres_server.Server]:
    """Start a PostgreSQL server, which tests may stop but have to start again."""
    with postgres_server.running() as server:
        yield server


@pytest.fixture
def database(postgres: postgres_server.Server) -> Iterator[str]:
    """Give a test an empty database of its own."""
    name = postgres.database()
    yield name
    postgres.take_back(name)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """Give a test an emulator that serves on while the test's own thread is busy with a command.

    A test that is a coroutine runs one on its own loop, whose clock then holds for both.
    """
    with serving(Emulator(plan=Plan.ENTERPRISE)) as serving_on:
        yield serving_on


@pytest.fixture
def command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Give a test the `hindsight-async` command in this process, which takes a hundredth of the time of a new one."""

    def run(
        *arguments: str, stdin: str = "", folder: Path | None = None, **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        with monkeypatch.context() as changed:
            changed.chdir(folder or Path.cwd())
            changed.setattr(sys, "argv", ["hindsight-async", *arguments])
            changed.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
            for name, value in {"COLUMNS": "200", "TERM": "dumb", **environment}.items():
                changed.setenv(name, value)
            capsys.readouterr()
            code = run_command()
        return subprocess.CompletedProcess(arguments, code, *capsys.readouterr())

    return run


@pytest.fixture
def emulated_command(
    command_line: Callable[..., "subprocess.CompletedProcess[str]"], emulator: Emulator, tmp_path: Path
) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Give a test the command in a folder of its own, for the emulator's key and plan unless it says otherwise."""

    def run(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        environment = {
            "HINDSIGHT_API_KEY": emulator.api_key,
            "HINDSIGHT_BASE_URL": emulator.base_url,
            "HINDSIGHT_PLAN": emulator.plan.value,
        } | environment
        return command_line(*words, folder=tmp_path, **environment)

    return run
