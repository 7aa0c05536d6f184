"""Ctrl-C and its like, also on an event loop that has no signal handlers of its own, as those of Windows."""

import asyncio
import csv
import os
import signal
import subprocess
import sys
import time

import pytest

from hindsight_async.cli.signals import handling
from loaded_python import Program

AS_ON_WINDOWS = """
import asyncio, sys

class Loop(asyncio.SelectorEventLoop):
    def add_signal_handler(self, *_):
        raise NotImplementedError
    remove_signal_handler = add_signal_handler

class Policy(asyncio.DefaultEventLoopPolicy):
    def new_event_loop(self):
        return Loop()

asyncio.set_event_loop_policy(Policy())
from hindsight_async.__main__ import main
sys.exit(main())
"""
COMMAND = ["-c", AS_ON_WINDOWS]


async def test_a_signal_is_handled_by_the_loop_and_the_old_handler_comes_back():
    """In the loop's own time, once for each signal, and not any more behind the block."""
    before = signal.getsignal(signal.SIGUSR1)
    loop, heard = asyncio.get_running_loop(), asyncio.Queue()
    with handling([signal.SIGUSR1], lambda number: heard.put_nowait((number, asyncio.get_running_loop()))):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGUSR1)
            assert (signal.SIGUSR1, loop) == await heard.get()
    assert before is signal.getsignal(signal.SIGUSR1)


def test_an_idle_loop_wakes_up_for_a_signal():
    """Nothing else has to happen for it to be heard."""
    with Program([*COMMAND, "emulate"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as served:
        served.stdout.readline()
        served.stdout.readline()
        served.send_signal(signal.SIGINT)
        _, said = served.communicate(timeout=30)
    assert 0 == served.returncode
    assert "Traceback" not in said


@pytest.mark.parametrize("rows", [1, 60])
def test_files_are_enrolled_and_a_signal_lets_those_in_flight_finish(emulator, tmp_path, rows):
    """To the end where nobody interferes; else no row is in doubt, and the exit code says that it was stopped."""
    emulator.fail("POST /interviews", how="slow", seconds=0.5, at="after_commit", times=None)
    people = "".join(f"c{number}@acme.example\n" for number in range(rows))
    (tmp_path / "contacts.csv").write_text(f"Email\n{people}")
    environment = {
        **os.environ,
        "HINDSIGHT_API_KEY": emulator.api_key,
        "HINDSIGHT_BASE_URL": emulator.base_url,
        "HINDSIGHT_PLAN": "enterprise",
    }
    options = ["contacts.csv", "--sequence", "s", "--yes", "--output", "results.csv"]
    words = [*COMMAND, "enroll", *options]
    with Program(words, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as enrolling:
        while rows > 1 and not emulator.outbox:
            assert enrolling.poll() is None
            time.sleep(0.01)
        if rows > 1:
            enrolling.send_signal(signal.SIGINT)
        _, said = enrolling.communicate(timeout=60)
    assert "Traceback" not in said
    with (tmp_path / "results.csv").open(newline="") as file:
        results = list(csv.DictReader(file))
    assert {"created"} == {row["status"] for row in results if row["status"] != "not_sent"}
    assert (130 if rows > 1 else 0) == enrolling.returncode
    created = sum(row["status"] == "created" for row in results)
    assert created == len(emulator.outbox)
    assert rows == 1 or created < rows


BEGUN = """
import sys
from hindsight_async.__main__ import main
try:
    sys.stderr.write("begun\\n")
    sys.stderr.flush()
    sys.exit(main())
except KeyboardInterrupt as interrupt:
    if interrupt.__traceback__.tb_next is not None:
        raise
    sys.exit(130)  # it came before the first line of what is looked at
"""


def interrupted(words, emulator, folder, after):
    """Run a command, interrupted so many seconds after it has begun; return the code, what it said, and how long it took."""
    environment = {
        **os.environ,
        "HINDSIGHT_API_KEY": emulator.api_key,
        "HINDSIGHT_BASE_URL": emulator.base_url,
        "HINDSIGHT_PLAN": "enterprise",
    }
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", BEGUN, *words], cwd=folder, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as command:  # fmt: skip
        command.stderr.readline()
        began = time.monotonic()
        if after is not None:
            time.sleep(after)
            command.send_signal(signal.SIGINT)
        _, said = command.communicate(timeout=60)
    return command.returncode, said, time.monotonic() - began


def test_an_interrupt_at_start_is_no_traceback(emulator, tmp_path):
    """Before the command itself has begun: exit code 130, and not a word."""
    assert (130, "") == interrupted(["check"], emulator, tmp_path, 0.01)[:2]


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", ["check", "enroll contacts.csv --sequence s --dry-run", "status 1", "demo", "--help"]
)
def test_an_interrupt_at_any_moment_is_no_traceback(emulator, tmp_path, words):
    """From imports to the interpreter's end."""
    (tmp_path / "contacts.csv").write_text("email\n" + "".join(f"c{n}@acme.example\n" for n in range(50)))
    whole, _, seconds = interrupted(words.split(), emulator, tmp_path, None)
    moments = 20
    for moment in range(moments):
        code, said, _ = interrupted(
            words.split(), emulator, tmp_path, 1.05 * seconds * (moment + 0.5) / moments
        )
        assert code in {130, whole}
        assert "Traceback" not in said
        assert "Exception" not in said
