"""`check`: what it finds about key, host, plan, ledger and extras, with nobody emailed."""

import json
import re
import sqlite3
from contextlib import closing
from functools import partial

import pytest

from hindsight_async import Plan
from hindsight_async.emulator import Emulator
from hindsight_async.testing import serving
from test_cli import run_in_terminal


@pytest.fixture
def check(emulated_command):
    """Give a test the command."""
    return partial(emulated_command, "check")


def findings(done):
    """Return what was found as JSON, by name."""
    return {each["name"]: each for each in json.loads(done.stdout)["checks"]}


def test_all_is_well_after_one_read(check, emulator):
    """Key and plan are confirmed by one request that changes nothing."""
    done = check()
    assert (0, "") == (done.returncode, done.stderr)
    lines = done.stdout.splitlines()
    assert f"✓ key          accepted by {emulator.base_url}" == lines[0]
    assert "✓ plan         Enterprise, 1,000 a minute (the server says the same)" == lines[1]
    assert ["GET"] == [request.method for request in emulator.requests]
    assert [] == emulator.outbox


def test_a_refused_key_says_where_a_right_one_is(check, emulator):
    """Exit code 2, and the key itself is not printed."""
    done = check(HINDSIGHT_API_KEY="wrong-k3y")
    assert 2 == done.returncode
    assert f"✗ key          refused by {emulator.base_url} (401: " in done.stdout
    assert "→ set HINDSIGHT_API_KEY to a key from the dashboard's Settings > API Keys" in done.stdout
    assert "wrong-k3y" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"HINDSIGHT_API_KEY": ""}, "key"),
        ({"HINDSIGHT_BASE_URL": "ftp://x.example"}, "host"),
        ({"HINDSIGHT_PLAN": "gold"}, "plan"),
    ],
)
def test_a_wrong_setting_is_found_before_anything_is_sent(check, emulator, environment, name):
    """Exit code 2, under the name of what is wrong."""
    done = check("--json", **environment)
    assert (2, []) == (done.returncode, emulator.requests)
    assert "failed" == findings(done)[name]["state"]


def test_a_plan_that_is_not_the_servers_is_named_with_the_right_one(check):
    """It is no failure, since runs go by what the server says."""
    done = check("--json", "--plan", "growth")
    assert 0 == done.returncode
    plan = findings(done)["plan"]
    assert "attention" == plan["state"]
    assert "the server grants 1,000 a minute; Growth, 300 a minute, is given" == plan["text"]
    assert "set HINDSIGHT_PLAN=enterprise" == plan["advice"]


def test_other_programs_and_the_month_are_told(command_line):
    """As the server's headers say; our own request is not among the others'."""
    with serving(Emulator(plan=Plan.GROWTH, window="sliding", monthly_limit=10_000)) as busy:
        environment = {"HINDSIGHT_API_KEY": busy.api_key, "HINDSIGHT_BASE_URL": busy.base_url}
        quiet = findings(command_line("check", "--json", HINDSIGHT_PLAN="growth", **environment))
        assert "other use" not in quiet
        assert "9,999 of 10,000 requests left" == quiet["month"]["text"]
        busy.spend(40)
        told = findings(command_line("check", "--json", HINDSIGHT_PLAN="growth", **environment))
    # The first check counts as another program's.
    assert "41 requests in the last minute by other programs" == told["other use"]["text"]


def test_a_host_that_is_not_there_is_no_traceback(check):
    """Exit code 1: what was set may be right."""
    done = check("--json", HINDSIGHT_BASE_URL="http://127.0.0.1:9")
    assert 1 == done.returncode
    host = findings(done)["host"]
    assert "failed" == host["state"]
    assert host["text"].startswith("no connection to http://127.0.0.1:9: ")


def test_a_server_in_trouble_is_not_a_wrong_key(check, emulator):
    """Exit code 1, with its status."""
    emulator.fail("*", 500, times=None)
    done = check("--json")
    assert 1 == done.returncode
    assert "is in trouble (500" in findings(done)["host"]["text"]


def test_a_ledger_with_unknown_rows_needs_a_person(check, emulator, command_line, tmp_path):
    """Exit code 3 while there are some, with the command that lists them; 2 where there is no ledger."""
    (tmp_path / "c.csv").write_text("Email\nann@acme.example\nben@acme.example\n")
    command_line(
        "enroll", "c.csv", "--sequence", "s", folder=tmp_path,
        HINDSIGHT_API_KEY=emulator.api_key, HINDSIGHT_BASE_URL=emulator.base_url,
    )  # fmt: skip
    well = check("c.hindsight.db")
    assert 0 == well.returncode
    assert "c.hindsight.db: 2 created" in well.stdout
    with closing(sqlite3.connect(tmp_path / "c.hindsight.db")) as opened, opened:
        opened.execute("UPDATE interviews SET status = 'unknown' WHERE row_index = 0")
    done = check("c.hindsight.db", "--json")
    assert 3 == done.returncode
    assert "ledger show c.hindsight.db --status unknown" in findings(done)["ledger"]["advice"]
    missing = check("none.db", "--json")
    assert (2, "failed") == (missing.returncode, findings(missing)["ledger"]["state"])
    assert not (tmp_path / "none.db").exists()


def test_recipients_that_are_held_back_are_said(check):
    """Whoever tries things out is told why nobody else is emailed."""
    found = findings(check("--json", HINDSIGHT_ALLOWED_RECIPIENTS="*@ours.test"))["recipients"]
    assert "only *@ours.test can be enrolled" == found["text"]


def test_each_extra_is_named(check):
    """As the package's own metadata lists them, without those of its developers."""
    found = findings(check("--json"))
    assert "installed" == found["bulk"]["text"]
    assert {"redis", "postgres"} <= found.keys()
    assert found.keys().isdisjoint({"dev", "bench"})


@pytest.mark.slow
def test_it_fits_a_terminal_of_80_columns(emulator, monkeypatch):
    """No line is longer, however long what was found."""
    monkeypatch.setenv("HINDSIGHT_API_KEY", "wrong")
    monkeypatch.setenv("HINDSIGHT_BASE_URL", emulator.base_url)
    code, seen = run_in_terminal("check", columns=80)
    assert 2 == code
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen)
    assert 80 >= max(len(line.rstrip()) for line in plain.splitlines())
