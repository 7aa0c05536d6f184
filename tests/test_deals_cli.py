"""`deals list`, `deals count` and `deals export`: what they print, for people and for programs."""

import json
import os
import pty

import pytest

import loaded_python
from loaded_python import COMMAND
from test_cli import run_in_terminal


@pytest.fixture
def deals(emulator, command_line):
    """Give a test five deals, and the command that reads them."""
    names = [
        "Acme Corp - Enterprise License and more",
        "日本語の取引先名前がとても長い会社です",
        "bad\x1b[31m\tname",
        None,
        "Beta",
    ]
    for number, name in enumerate(names):
        emulator.deals.add(
            name=name, amount=number * 1000.5, status="Won" if number < 2 else "Open", close_date="2026-03-15",
            created_at=f"2026-01-0{number + 1}T00:00:00Z", collaborators=["u1"] if number else None,
        )  # fmt: skip

    def run(*arguments, **environment):
        return command_line(
            "deals", *arguments, HINDSIGHT_API_KEY=emulator.api_key, HINDSIGHT_BASE_URL=emulator.base_url,
            HINDSIGHT_PLAN="enterprise", **environment,
        )  # fmt: skip

    return run


def test_deals_are_a_tab_separated_line_each(deals):
    """Oldest first; nothing in a name of the CRM can end a line or steer a terminal."""
    done = deals("list")
    assert (0, "") == (done.returncode, done.stderr)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert ["2026-03-15", "0.0", "Won", "Acme Corp - Enterprise License and more", "deal_000001"] == rows[0]
    assert "bad [31m name" == rows[2][3]
    assert [f"deal_00000{number}" for number in range(1, 6)] == [row[-1] for row in rows]


def test_deals_as_json_have_every_field_that_is_set(deals):
    """One object a line; what was not asked for is not there."""
    lines = deals("list", "--json", "--status", "Open", "--columns", "name,collaborators").stdout.splitlines()
    assert [
        {"id": "deal_000003", "name": "bad\x1b[31m\tname", "collaborators": ["u1"]},
        {"id": "deal_000004", "collaborators": ["u1"]},
        {"id": "deal_000005", "name": "Beta", "collaborators": ["u1"]},
    ] == [json.loads(line) for line in lines]
    assert "2026-03-15" == json.loads(deals("list", "--json").stdout.splitlines()[0])["close_date"]


def test_each_option_narrows_what_is_listed(deals, emulator):
    """Sent as the API has it, and no more is read than `--limit` needs."""
    options = "--status Won --status Open --closed-from 2026-03-01 --closed-to 2026-03-31 --amount-from 1000 --amount-to 3500"
    done = deals(
        "list", *options.split(), "--search", "a", "--sort", "amount", "--order", "desc", "--limit", "1"
    )
    assert ["deal_000003"] == [line.split("\t")[-1] for line in done.stdout.splitlines()]
    assert (2, "hindsight-async: --limit must be at least 1\n") == (deals("list", "--limit", "0").returncode, deals("list", "--limit", "0").stderr)  # fmt: skip
    assert 1 == len(emulator.requests)


def test_the_number_of_deals_is_a_line(deals):
    """Or a JSON object."""
    assert "5\n" == deals("count").stdout
    assert {"count": 2} == json.loads(deals("count", "--status", "Won", "--json").stdout)


def test_an_export_is_a_file(deals, tmp_path):
    """It says how many deals are in it; as JSON, also which export it is."""
    path = tmp_path / "deals.csv"
    done = deals("export", str(path), "--columns", "name,amount", "--status", "Won")
    assert (0, f"2 deals in {path}\n") == (done.returncode, done.stdout)
    assert 3 == len(path.read_text().splitlines())
    told = json.loads(deals("export", str(path), "--columns", "name", "--json").stdout)
    assert {"export_id": "exp_000002", "path": str(path), "rows_exported": 5} == told


def test_an_export_that_takes_too_long_can_be_taken_up(deals, emulator, tmp_path):
    """It says how, and no second one is started."""
    emulator.exports.seconds = 2
    path = tmp_path / "deals.csv"
    done = deals("export", str(path), "--columns", "name", "--wait", "0")
    assert (1, "") == (done.returncode, done.stdout)
    assert "--export-id exp_000001 takes it up" in done.stderr
    assert "the export is not completed after 0 s" in done.stderr
    emulator.exports["exp_000001"].ready_at = emulator.exports["exp_000001"].created_at
    assert 0 == deals("export", str(path), "--export-id", "exp_000001").returncode
    assert 1 == len(emulator.exports)


def test_what_cannot_be_exported_is_said(deals, emulator, tmp_path):
    """A failed export by its reason; a folder that is not there before anything is started; and what is missing."""
    emulator.exports.fail_next("no such column")
    failed = deals("export", str(tmp_path / "x.csv"), "--columns", "name")
    assert (1, True) == (failed.returncode, "no such column" in failed.stderr)
    nowhere = deals("export", str(tmp_path / "no" / "x.csv"), "--columns", "name")
    assert (1, f"hindsight-async: there is no folder {tmp_path / 'no'}\n") == (
        nowhere.returncode,
        nowhere.stderr,
    )
    assert 1 == len(emulator.exports)
    for options in ((), ("--columns", "name", "--export-id", "x"), ("--export-id", "x", "--status", "Won")):
        done = deals("export", str(tmp_path / "x.csv"), *options)
        assert (2, True) == (done.returncode, "give --columns, or the --export-id" in done.stderr)
    assert [] == list(tmp_path.iterdir())


def test_a_refusal_ends_a_list_with_an_error(deals, emulator):
    """Its exit code tells scripts that there is more than was printed."""
    emulator.fail("GET /deals", 403)
    done = deals("list")
    assert (1, "") == (done.returncode, done.stdout)
    assert "the server answered 403 forbidden" in done.stderr


def test_on_a_terminal_of_80_columns_a_deal_is_one_line(deals, emulator, monkeypatch):
    """Columns line up, also beside wide characters, and the id is whole."""
    from rich.cells import cell_len

    monkeypatch.setenv("HINDSIGHT_API_KEY", emulator.api_key)
    monkeypatch.setenv("HINDSIGHT_BASE_URL", emulator.base_url)
    monkeypatch.setenv("HINDSIGHT_PLAN", "enterprise")
    code, seen = run_in_terminal("deals", "list", columns=80)
    lines = seen.splitlines()
    assert (0, 5) == (code, len(lines))
    assert {62} == {cell_len(line.partition("deal_0")[0]) for line in lines}
    assert 80 >= max(map(cell_len, lines))


def test_what_is_printed_goes_into_the_file_beside_a_live_line(deals, emulator, tmp_path):
    """A person who redirects stdout sees how far it is, and the file has all the rows."""
    ours, theirs = pty.openpty()
    environment = {
        **{name: value for name, value in os.environ.items() if name != "CI"},
        "HINDSIGHT_API_KEY": emulator.api_key,
        "HINDSIGHT_BASE_URL": emulator.base_url,
        "TERM": "xterm",
    }
    with (tmp_path / "deals.tsv").open("wb") as file:
        done = loaded_python.run(
            [*COMMAND, "deals", "list"], stdin=theirs, stdout=file, stderr=theirs, env=environment
        )
    os.close(theirs)
    seen = os.read(ours, 65536).decode()
    os.close(ours)
    assert 0 == done.returncode
    assert 5 == len((tmp_path / "deals.tsv").read_text().splitlines())
    assert "deals read" in seen
    assert "deal_000001" not in seen
