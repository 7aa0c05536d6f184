"""The benchmarks still run, and what they found is there to be read."""

import importlib.util
import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NAMES = ("calls", "rate", "bulk", "waiters", "startup")
CONTENDERS = (
    "aiohttp + json",
    "hindsight-async",
    "hindsight-async without orjson",
    "hindsight-async with on_event",
    "slack_sdk",
    "stripe on aiohttp",
    "httpx",
    "openai on aiohttp",
    "openai",
    "aiohttp + json on uvloop",
    "hindsight-async on uvloop",
)
LARGEST_PLOT = 100_000


def run_module(*arguments, **options):
    """Run it from the checkout, where the benchmarks are; the package may be installed elsewhere."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False, **options,
    )  # fmt: skip


@contextmanager
def answering_machine():
    """Run the server that the clients are measured against; give its port."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.answering_machine"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            yield server.stdout.readline().strip()
        finally:
            server.kill()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_runs(name, tmp_path):
    """With few repetitions it writes a table and a small plot, and warns of nothing."""
    done = run_module("benchmarks", name, "--quick", "--out", str(tmp_path))
    assert (0, "") == (done.returncode, done.stderr)
    assert {f"{name}.md", f"{name}.svg"} == {path.name for path in tmp_path.iterdir()}
    text = (tmp_path / f"{name}.md").read_text(encoding="utf-8")
    assert text in done.stdout
    assert f"python -m benchmarks {name}" in text
    assert "| hindsight-async " in text or name in {"bulk", "waiters"}
    assert LARGEST_PLOT > (tmp_path / f"{name}.svg").stat().st_size


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTENDERS)
def test_each_client_can_be_measured(name):
    """Every client still makes its call, alone and several at a time, and tells what it took."""
    with answering_machine() as port:
        done = run_module("benchmarks.contenders", name, port, input="2 1\n4 2\n")
    assert 0 == done.returncode, done.stderr
    ready, *measured = done.stdout.splitlines()
    assert "ready" == ready
    assert [2, 4] == [len(json.loads(line)["latencies"]) for line in measured]
    assert all(json.loads(line)["cpu"] > 0 for line in measured)


@pytest.mark.slow
def test_what_is_simulated_is_the_same_each_time(tmp_path):
    """On the virtual clock a second run writes the same bytes."""
    for folder in ("first", "second"):
        assert 0 == run_module("benchmarks", "rate", "--quick", "--out", str(tmp_path / folder)).returncode
    for ending in ("md", "svg"):
        first, second = (tmp_path / folder / f"rate.{ending}" for folder in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()


def test_an_unknown_benchmark_is_refused():
    """A name that is none ends the command with a message, not with a measurement."""
    done = run_module("benchmarks", "speed")
    assert 2 == done.returncode
    assert "no such benchmark: speed" in done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_the_results_are_there(name):
    """What was found is kept beside the benchmarks, with a plot that is small and carries no date."""
    results = ROOT / "benchmarks" / "results"
    plot = (results / f"{name}.svg").read_bytes()
    assert LARGEST_PLOT > len(plot)
    assert b"<dc:date>" not in plot
    assert f"({name}.svg)" in (results / f"{name}.md").read_text(encoding="utf-8")


def test_every_client_of_the_benchmark_is_in_this_test():
    """A new client is tried here too."""
    spec = importlib.util.spec_from_file_location("contenders", ROOT / "benchmarks" / "contenders.py")
    contenders = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(contenders)
    assert CONTENDERS == tuple(contenders.CONTENDERS)
