"""`enroll` and `update` where no connection can be made: they say so, wait, and end at once when told to."""

import csv
import os
import signal
import subprocess
import time
from collections import Counter
from contextlib import contextmanager
from functools import partial

import pytest

from command_process import COMMAND, write_contacts
from hindsight_async.delivery.options import DEFAULT_WAIT_FOR_NETWORK
from hindsight_async.emulator import Emulator
from hindsight_async.testing import serving
from test_delivery import unused_port

ROWS = 40
ENROLL = [*COMMAND, "enroll", "contacts.csv", "--sequence", "seq_1", "--yes", "--output", "results.csv"]


@pytest.fixture
def away(tmp_path):
    """Give a test an emulator that is not there yet, a folder with contacts, and a command that looks for it."""
    write_contacts(tmp_path, ROWS)
    port = unused_port()
    emulator = Emulator(requests_per_minute=100_000, port=port)
    address = {
        "HINDSIGHT_API_KEY": emulator.api_key,
        "HINDSIGHT_BASE_URL": f"http://127.0.0.1:{port}/api/v1",
        "HINDSIGHT_PLAN": "enterprise",
    }

    in_the_folder = {
        "cwd": tmp_path,
        "env": {**os.environ, **address},
        "stderr": subprocess.PIPE,
        "text": True,
    }

    @contextmanager
    def waiting(*options):
        with subprocess.Popen([*ENROLL, *options], **in_the_folder) as process:
            said = ""
            while "Trying again" not in said:
                line = process.stderr.readline()
                assert line, said
                said += line
            yield process

    waiting.emulator, waiting.again = emulator, partial(subprocess.run, ENROLL, check=False, **in_the_folder)
    waiting.results = lambda: Counter(
        row["status"] for row in csv.DictReader((tmp_path / "results.csv").read_text().splitlines())
    )
    return waiting


@pytest.mark.slow
def test_a_command_goes_on_once_the_network_is_back(away):
    """It says that it waits and that it goes on, and everybody is emailed once."""
    with away() as process, serving(away.emulator):
        _, said = process.communicate(timeout=60)
        assert 0 == process.returncode, said
        assert "The connection is back after" in said
        assert {"created": ROWS} == away.results()
        assert ROWS == len({email.address for email in away.emulator.outbox}) == len(away.emulator.outbox)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait_at_once(away, number):
    """Nothing is in doubt then, and the same command sends everything later."""
    with away() as process:
        began = time.monotonic()
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        assert time.monotonic() - began < 3
    assert 130 == process.returncode
    assert "Traceback" not in said
    assert {"not_sent"} == away.results().keys()
    with serving(away.emulator):
        again = away.again()
        assert 0 == again.returncode, again.stderr
        assert ROWS == len({email.address for email in away.emulator.outbox}) == len(away.emulator.outbox)


@pytest.mark.slow
def test_a_network_that_stays_away_ends_the_command(away):
    """It says after how long, that the rows are safe to run again, and exits with 1."""
    with away("--wait", "2s") as process:
        _, said = process.communicate(timeout=60)
    assert 1 == process.returncode
    assert "the network was gone for" in " ".join(said.split())
    assert "Safe to run again" in said


@pytest.mark.parametrize("command", ["enroll", "update"])
@pytest.mark.parametrize("wrong", ["-1", "soon", "600", "10 m", "1.5h", ""])
def test_a_time_that_is_none_is_wrong_usage(command_line, tmp_path, command, wrong):
    """Nothing is read or sent, and the text names the option."""
    refused = command_line(command, "no.csv", "--wait", wrong, folder=tmp_path)
    assert 2 == refused.returncode
    assert "--wait" in refused.stderr + refused.stdout


def test_the_help_names_the_time(command_line):
    """What it is without the option stands there, from the one place that says so."""
    shown = command_line("enroll", "--help").stdout
    assert "--wait" in shown
    assert f"{DEFAULT_WAIT_FOR_NETWORK / 60:g}m" in shown
