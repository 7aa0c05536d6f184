"""A terminal that is closed in the middle of a run: real processes, real signals, a real terminal."""

import os
import pty
import signal
import subprocess
import sys
import time

import pytest

COMMAND = [sys.executable, "-W", "error", "-m", "hindsight_async"]
ENROLL = ["enroll", "contacts.csv", "--sequence", "seq_1", "--yes", "--output", "results.csv"]
SLOW_SECONDS = 1.0
ROWS = 60


@pytest.fixture
def slow(emulator):
    emulator.fail("POST /interviews", how="slow", seconds=SLOW_SECONDS, at="after_commit", times=None)
    return emulator


@pytest.fixture
def environment(slow, tmp_path):
    rows = "".join(f"c{number}@acme.example\n" for number in range(ROWS))
    (tmp_path / "contacts.csv").write_text(f"Email\n{rows}")
    return {
        **os.environ,
        "HINDSIGHT_API_KEY": slow.api_key,
        "HINDSIGHT_BASE_URL": slow.base_url,
        "HINDSIGHT_PLAN": "enterprise",
        "TERM": "xterm",
    }


@pytest.fixture(autouse=True)
def hangups_end_programs():
    """Children inherit what is ignored, also where the tests themselves run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def in_flight(slow, running):
    while not slow.outbox:
        assert running()
        time.sleep(0.01)


def statuses(folder):
    rows = (folder / "results.csv").read_text().splitlines()[1:]
    return {row.split(",")[1] for row in rows}


def test_a_closed_terminal_leaves_nothing_unknown(slow, environment, tmp_path):
    """What is in flight is finished and written down, though nobody can be told any more."""
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover  the child becomes the command
        os.chdir(tmp_path)
        os.execve(COMMAND[0], [*COMMAND, *ENROLL], environment)
    in_flight(slow, lambda: os.waitpid(pid, os.WNOHANG) == (0, 0))
    os.close(terminal)  # the kernel hangs up
    os.kill(pid, signal.SIGHUP)  # and so does a shell
    assert 130 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert {"created", "not_sent"} == statuses(tmp_path)


@pytest.mark.parametrize(("prefix", "code"), [([], 130), pytest.param(["nohup"], 0, marks=pytest.mark.slow)])
def test_a_hangup_stops_a_run_unless_it_was_ignored_before(slow, environment, tmp_path, prefix, code):
    """It finishes what is in flight, however often it comes; under nohup the run goes on to its end."""
    with subprocess.Popen(
        [*prefix, *COMMAND, *ENROLL],
        cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        in_flight(slow, lambda: running.poll() is None)
        running.send_signal(signal.SIGHUP)
        said = running.stderr.readline()
        while code == 130 and "stopping" not in said:
            said += running.stderr.readline()
        running.send_signal(signal.SIGHUP)
        said += running.communicate(timeout=60)[1]
    assert code == running.returncode, said
    assert (ROWS == len(slow.outbox)) is (code == 0)
    assert ("stopping" in said) is (code == 130)
    assert "unknown" not in statuses(tmp_path)
    assert "Traceback" not in said
