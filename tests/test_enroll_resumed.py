"""`enroll` in more than one run: one file of results with every row, links included, and what it costs to have it."""

import csv
import json
import os
import signal
import subprocess
import time

import pytest

from command_process import COMMAND, counts_in, environment, write_contacts
from hindsight_async.emulator import Emulator
from hindsight_async.testing import serving

ENROLL = ["enroll", "contacts.csv", "--sequence", "seq_1", "--yes"]
RESULTS = "contacts.results.csv"


@pytest.fixture
def rows(tmp_path):
    def rows(name=RESULTS):
        with (tmp_path / name).open(newline="") as file:
            return list(csv.DictReader(file))

    return rows


def test_a_second_run_has_the_links_of_the_first(emulated_command, emulator, rows, tmp_path):
    """Out of its results, which the new ones replace, and without a request."""
    write_contacts(tmp_path, 3)
    emulated_command(*ENROLL)
    first = {row["Email"]: row["survey_url"] for row in rows()}
    write_contacts(tmp_path, 5)
    done = emulated_command(*ENROLL)
    assert (0, "2 created · 3 done before") == (done.returncode, counts_in(done.stderr))
    assert 5 == len(emulator.requests)
    now = {row["Email"]: row["survey_url"] for row in rows()}
    assert all(now.values())
    assert first == {email: now[email] for email in first}
    assert [] == [path.name for path in tmp_path.glob("*.results.csv.*")]


def test_links_that_no_results_have_are_read_back(emulated_command, emulator, rows, tmp_path):
    """One read for each, said before; nobody is emailed, and the next run has them."""
    write_contacts(tmp_path, 3)
    emulated_command(*ENROLL)
    links = {row["survey_url"] for row in rows()}
    (tmp_path / RESULTS).unlink()
    done = emulated_command(*ENROLL)
    assert 0 == done.returncode
    assert "Reading 3 links that no earlier results have: a request each, no emails.\n" in done.stderr
    assert links == {row["survey_url"] for row in rows()}
    assert (3, 6) == (len(emulator.outbox), len(emulator.requests))
    emulated_command(*ENROLL)
    assert 6 == len(emulator.requests)


def test_a_link_that_cannot_be_read_is_said_and_is_no_failure(emulated_command, emulator, rows, tmp_path):
    """The row is there without it, with the id by which the next run finds it."""
    write_contacts(tmp_path, 3)
    emulated_command(*ENROLL)
    (tmp_path / RESULTS).unlink()
    emulator.fail("GET /interviews/{id}", how=404, times=1)
    done = emulated_command(*ENROLL)
    assert 0 == done.returncode
    assert "1 link still missing: the same command again reads them.\n" in done.stderr
    assert [False, True, True] == sorted(bool(row["survey_url"]) for row in rows())
    assert {"1", "2", "3"} == {row["interview_request_id"] for row in rows()}


def test_a_refused_key_writes_every_row_and_forgets_no_link(emulated_command, emulator, rows, tmp_path):
    """What the ledger has stands there as done, and the rest as not sent, also what the run never came to."""
    write_contacts(tmp_path, 3)
    emulated_command(*ENROLL)
    write_contacts(tmp_path, 200)
    refused = emulated_command(*ENROLL, HINDSIGHT_API_KEY="wrong")
    assert (1, "197 not sent · 3 done before") == (refused.returncode, counts_in(refused.stderr))
    assert "The API refused the key (401: Invalid API key). Nobody was emailed.\n" in refused.stderr
    assert 200 == len(rows())
    assert {"already_done": 3, "not_sent": 197} == {
        status: sum(row["status"] == status for row in rows()) for status in ("already_done", "not_sent")
    }
    assert 3 == sum(bool(row["survey_url"]) for row in rows())
    assert 1 == refused.stderr.count("401")


def test_each_row_has_its_key_in_the_ledger(emulated_command, rows, tmp_path):
    """`ledger show` has the same; without a ledger there is none."""
    write_contacts(tmp_path, 2)
    emulated_command(*ENROLL)
    shown = emulated_command("ledger", "show", "contacts.hindsight.db").stdout
    assert {line.split("\t")[0] for line in shown.splitlines()} == {row["ledger_key"] for row in rows()}
    emulated_command(*ENROLL, "--no-ledger", "--output", "n.jsonl")
    assert {None} == {
        json.loads(line)["ledger_key"] for line in (tmp_path / "n.jsonl").read_text().splitlines()
    }


@pytest.mark.slow
def test_a_run_that_is_killed_leaves_its_links_to_the_next(tmp_path, rows):
    """Of all that it wrote down none has to be read back, and at the end one file has every row with its link."""
    write_contacts(tmp_path, 300)
    with serving(Emulator(requests_per_minute=100_000, latency=0.02)) as emulator:
        variables = {**os.environ, **environment(emulator, HINDSIGHT_PLAN="enterprise")}
        for strike in (60, 150):
            with subprocess.Popen(
                [*COMMAND, *ENROLL], cwd=tmp_path, env=variables, stderr=subprocess.DEVNULL
            ) as process:
                while len(emulator.outbox) < strike:
                    assert process.poll() is None
                    time.sleep(0.005)
                process.send_signal(signal.SIGKILL)
        written = sum(len(part.read_text().splitlines()) - 1 for part in tmp_path.glob(f"{RESULTS}.part*"))
        done = subprocess.run(
            [*COMMAND, *ENROLL], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
        )
    read_back = sum(request.method == "GET" for request in emulator.requests)
    created = [row for row in rows() if row["interview_request_id"]]
    assert 300 == len(rows()), done.stderr
    assert all(row["survey_url"] for row in created)
    assert 100 < written
    assert read_back <= 2 * 16  # what was answered, and not written down yet, when the run was killed
    assert [RESULTS] == [path.name for path in tmp_path.glob("*.results.*")]
