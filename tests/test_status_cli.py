"""`status` and `transcripts`: what became of the interviews of a run, read once each, and what was said in them."""

import csv
import json
import logging
import re
import sqlite3
from contextlib import closing

import pytest

from full_disk import full_disk
from hindsight_async import HindsightSession, Plan
from hindsight_async.cli.followed import Followed, Source, ask_about_cost
from hindsight_async.emulator import Emulator
from hindsight_async.testing import serving

PEOPLE = ("ann@acme.example", "ben@acme.example", "carla@luz.example")


@pytest.fixture
def command(emulated_command, tmp_path):
    """Give a test the commands, in a folder with three contacts."""
    (tmp_path / "c.csv").write_text("Email,Deal ID\n" + "".join(f"{each},d_{each[0]}\n" for each in PEOPLE))
    return emulated_command


@pytest.fixture
def enrolled(command):
    """Give a test the commands after a run."""
    done = command("enroll", "c.csv", "--sequence", "s", "--map", "deal_id=Deal ID", "--output", "r.csv")
    assert 0 == done.returncode
    return command


def reads(emulator):
    """Return the interviews that were read, in order, and forget them."""
    found = [request.path for request in emulator.requests if request.method == "GET"]
    emulator.requests.clear()
    return sorted(int(path.rpartition("/")[2]) for path in found)


def counts(done):
    """Return the numbers of the table."""
    return {
        name: int(number)
        for name, number in re.findall(r"^  (\w+) +(\d+) +<?\d+ %", done.stdout, re.MULTILINE)
    }


def test_it_counts_what_became_of_them(enrolled, emulator):
    """Each status has its line, whether anybody has it or not."""
    emulator.complete(2)
    done = enrolled("status", "c.hindsight.db")
    assert 0 == done.returncode
    assert "c.hindsight.db · 3 interviews · read just now" == done.stdout.splitlines()[0]
    assert {"completed": 1, "sent": 2, "created": 0} == counts(done)
    assert "New since the last look: 1 completed" in done.stdout
    assert "Next: hindsight-async transcripts c.hindsight.db --to interviews/\n" == done.stderr


def test_a_completed_interview_is_never_read_again(enrolled, emulator):
    """The ledger keeps what was learnt; the others are read at each look."""
    emulator.complete(2)
    enrolled("status", "c.hindsight.db")
    assert [1, 2, 3] == reads(emulator)
    emulator.complete(1)
    done = enrolled("status", "c.hindsight.db")
    assert [1, 3] == reads(emulator)
    assert {"completed": 2, "sent": 1, "created": 0} == counts(done)
    assert ["1"] == re.findall(r"^(\d+)\t", done.stdout, re.MULTILINE)
    emulator.complete(3)
    enrolled("status", "c.hindsight.db")
    assert [3] == reads(emulator)
    done = enrolled("status", "c.hindsight.db")
    assert ([], False) == (reads(emulator), "New since" in done.stdout)


@pytest.mark.parametrize("word", ["c.csv", "c.hindsight.db", "./c.hindsight.db", "r.csv", None])
def test_whatever_a_person_has_at_hand_stands_for_the_interviews(enrolled, emulator, word):
    """The input and its ledger, the results, or nothing where one ledger is in the folder."""
    done = enrolled("status", *([word] if word else []), "--json")
    assert 0 == done.returncode
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(1, PEOPLE[0]), (2, PEOPLE[1]), (3, PEOPLE[2])] == [
        (each["interview_request_id"], each["contact_email"]) for each in found
    ]
    assert [1, 2, 3] == reads(emulator)


def test_an_input_that_cannot_be_read_any_more_still_stands_for_its_ledger(enrolled, tmp_path):
    """Its name is enough."""
    (tmp_path / "c.csv").write_bytes(b"PK\x03\x04" + bytes(range(256)))
    assert 3 == counts(enrolled("status", "c.csv"))["sent"]


def test_ids_are_read_without_a_ledger(enrolled):
    """One that is not there is named, beside the others, with exit code 1."""
    done = enrolled("status", "1", "77", "--json")
    assert 1 == done.returncode
    assert "1 interview not found in this organisation: 77" in done.stderr
    assert ["sent", None] == [json.loads(line)["status"] for line in done.stdout.splitlines()]


def test_one_status_is_a_list(enrolled, emulator):
    """Tab-separated in a pipe, and what else is said stays out of it."""
    emulator.complete(3)
    done = enrolled("status", "c.csv", "--only", "completed")
    (row,) = [line.split("\t") for line in done.stdout.splitlines()]
    assert ["3", PEOPLE[2], "completed"] == row[:3]
    assert "d_c" == row[4]
    assert "3 interviews" in done.stderr


def test_no_secret_is_printed(enrolled, emulator):
    """Neither links nor tokens, in any form."""
    emulator.complete(1)
    for options in ((), ("--json",), ("--only", "sent")):
        done = enrolled("status", "c.csv", *options)
        assert "tok_" not in done.stdout + done.stderr
        assert "survey" not in done.stdout + done.stderr


WRONG = [
    ("status x.db", "there is no ledger at"),
    ("status c.csv 1", "give interview ids, or one ledger, input or results file"),
    ("status new.csv", "nothing was sent from new.csv yet: there is no ledger new.hindsight.db beside it"),
    ("transcripts c.csv", "give either --to FOLDER or --csv FILE"),
    ("transcripts c.csv --to t --csv t.csv", "give either --to FOLDER or --csv FILE"),
    ("transcripts c.csv --csv c.csv", "was not written by this command: name another file"),
    ("transcripts c.csv --to c.csv", "c.csv cannot be written: "),
    ("transcripts c.csv --csv nowhere/t.csv", "nowhere/t.csv cannot be written: "),
]


def test_wrong_words_are_a_clear_error(enrolled, emulator, tmp_path):
    """Exit code 2, what is wrong, and nothing is read or made."""
    (tmp_path / "new.csv").write_text("Email\nx@y.example\n")
    emulator.requests.clear()
    before = sorted(tmp_path.iterdir())
    for line, complaint in WRONG:
        done = enrolled(*line.split())
        assert 2 == done.returncode, line
        assert complaint in done.stderr, line
    assert ([], before) == (emulator.requests, sorted(tmp_path.iterdir()))


def test_a_wrong_key_ends_it_with_one_line(enrolled, emulator):
    """Not one for each interview."""
    done = enrolled("status", "c.csv", HINDSIGHT_API_KEY="wrong")
    assert (2, 1) == (done.returncode, done.stderr.count("401"))


def test_what_was_learnt_before_an_error_is_kept(enrolled, emulator):
    """The next look reads no completed interview that this one has read."""
    for number in (1, 2, 3):
        emulator.complete(number)
    enrolled("status", "1")
    emulator.fail("GET /interviews/{id}", "redirect", times=None)
    assert 1 <= enrolled("status", "c.csv").returncode
    emulator.heal()
    emulator.requests.clear()
    assert {"completed": 3, "sent": 0, "created": 0} == counts(enrolled("status", "c.csv"))


def test_a_look_that_would_use_up_the_month_asks_first(command_line, tmp_path):
    """It says what it costs and what is left; with --yes it goes on."""
    with serving(Emulator(plan=Plan.ENTERPRISE, monthly_limit=20)) as small:
        environment = {"HINDSIGHT_API_KEY": small.api_key, "HINDSIGHT_BASE_URL": small.base_url}
        (tmp_path / "c.csv").write_text("Email\n" + "".join(f"p{each}@x.example\n" for each in range(9)))
        command_line("enroll", "c.csv", "--sequence", "s", folder=tmp_path, **environment)
        asked = command_line("status", "c.csv", folder=tmp_path, **environment)
        assert (2, "") == (asked.returncode, asked.stdout)
        assert (
            "8 more reads;\n10 of the month's 20 requests are left.\nNobody can be asked here: give --yes"
            in asked.stderr
        )
        done = command_line("status", "c.csv", "--yes", folder=tmp_path, **environment)
    assert (0, 9) == (done.returncode, counts(done)["sent"])


def test_a_look_that_takes_longer_than_a_minute_says_so(capsys):
    """At the plan's speed; a shorter one needs no word."""
    ask_about_cost(None, 59, 60, yes=False)
    assert "" == capsys.readouterr().err
    ask_about_cost(None, 4_526, 300, yes=False)
    assert "4,526 more reads, about 15 minutes at 300 a minute.\n" == capsys.readouterr().err


def test_watching_ends_once_all_are_completed(enrolled, emulator):
    """Each is read until then, and what was learnt is kept."""
    emulator.complete(1)
    emulator.complete(2)
    emulator.complete(3)
    done = enrolled("status", "c.csv", "--watch")
    assert 0 == done.returncode
    assert {"completed": 3, "sent": 0, "created": 0} == counts(done)
    assert [1, 2, 3] == reads(emulator)
    enrolled("status", "c.csv", "--watch")
    assert [] == reads(emulator)


def test_watching_goes_on_until_the_last_is_completed(command_line, tmp_path):
    """The last one's completion comes while it watches; in a pipe nothing is redrawn."""
    with serving(Emulator(plan=Plan.ENTERPRISE, completes_after=0.5)) as busy:
        environment = {"HINDSIGHT_API_KEY": busy.api_key, "HINDSIGHT_BASE_URL": busy.base_url}
        (tmp_path / "c.csv").write_text("Email\nann@acme.example\nben@acme.example\n")
        command_line("enroll", "c.csv", "--sequence", "s", folder=tmp_path, **environment)
        done = command_line("status", "c.csv", "--watch", "--every", "0.2", folder=tmp_path, **environment)
    assert (0, 2) == (done.returncode, counts(done)["completed"])
    assert "\x1b" not in done.stdout + done.stderr


def test_watching_more_often_than_the_api_asks_for_is_refused(enrolled):
    """On a real host it is an error before anything is read."""
    done = enrolled(
        "status", "c.csv", "--watch", "--every", "5", HINDSIGHT_BASE_URL="https://h.invalid/api/v1"
    )
    assert 2 == done.returncode
    assert "every must be at least 60 seconds, not 5" in done.stderr


def test_transcripts_are_markdown_files_with_front_matter(enrolled, emulator, tmp_path):
    """Named by id and person; what was said stands below what is known."""
    emulator.complete(2, "**Paige:** Why?\r\n\r\n**Ben:** Price.\x1b[31m")
    done = enrolled("transcripts", "c.csv", "--to", "out")
    assert (0, "") == (done.returncode, done.stdout)
    assert "1 new transcript in out; 2 interviews not completed yet\n" == done.stderr
    (file,) = (tmp_path / "out").iterdir()
    assert "2-ben@acme.example.md" == file.name
    assert 0o600 == file.stat().st_mode & 0o777
    head, _, text = file.read_text().removeprefix("---\n").partition("---\n\n")
    fields = {name: json.loads(value) for name, value in (line.split(": ", 1) for line in head.splitlines())}
    assert (2, PEOPLE[1], "d_b", "s") == tuple(
        fields[name] for name in ("interview_request_id", "contact_email", "deal_id", "sequence_id")
    )
    assert "**Paige:** Why?\n\n**Ben:** Price.\\x1b[31m\n" == text


def test_only_new_transcripts_are_fetched(enrolled, emulator, tmp_path):
    """What is in the folder is not read again; a file that is taken away is fetched anew."""
    emulator.complete(1)
    enrolled("transcripts", "c.csv", "--to", "out")
    assert [1, 2, 3] == reads(emulator)
    (tmp_path / "out" / "1-ann@acme.example.md").write_text("my notes")
    emulator.complete(3)
    done = enrolled("transcripts", "c.csv", "--to", "out", "--json")
    assert [2, 3] == reads(emulator)
    assert {"path": "out", "saved": [3], "without_transcript": [], "there_before": 1} == json.loads(
        done.stdout
    )
    assert "my notes" == (tmp_path / "out" / "1-ann@acme.example.md").read_text()
    (tmp_path / "out" / "1-ann@acme.example.md").unlink()
    enrolled("transcripts", "c.csv", "--to", "out")
    assert [1, 2] == reads(emulator)


def test_transcripts_are_rows_of_a_table(enrolled, emulator, tmp_path):
    """Rows are added to those that are there; a spreadsheet runs none of them, and a long one is read back."""
    long = "=1+1 " + "so we said; " * 20_000
    emulator.complete(1, long)
    assert 0 == enrolled("transcripts", "c.csv", "--csv", "t.csv").returncode
    emulator.complete(2, '**Ben:** a,\n\n"b"')
    emulator.requests.clear()
    assert 0 == enrolled("transcripts", "c.csv", "--csv", "t.csv").returncode
    assert [2, 3] == reads(emulator)
    with (tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert ["1", "2"] == [row["interview_request_id"] for row in rows]
    assert [f"'{long}", '**Ben:** a,\n\n"b"'] == [row["transcript"] for row in rows]
    assert 0o600 == (tmp_path / "t.csv").stat().st_mode & 0o777
    before = (tmp_path / "t.csv").read_bytes()
    enrolled("transcripts", "c.csv", "--csv", "t.csv")
    assert before == (tmp_path / "t.csv").read_bytes()


@pytest.mark.parametrize("where", [("--csv", "t.csv"), ("--to", "out")])
def test_a_full_disk_leaves_what_was_there(enrolled, emulator, tmp_path, where):
    """The earlier file is as it was, no half of one is left, and it says what went wrong."""
    emulator.complete(1)
    enrolled("transcripts", "c.csv", *where)
    before = {path.name: path.stat().st_size for path in tmp_path.rglob("*") if "hindsight" not in path.name}
    emulator.complete(2, "so we said; " * 200_000)
    with full_disk(1_000_000):
        done = enrolled("transcripts", "c.csv", *where)
    assert 2 == done.returncode
    assert f"{where[1]} cannot be written: File too large" in done.stderr
    assert before == {
        path.name: path.stat().st_size for path in tmp_path.rglob("*") if "hindsight" not in path.name
    }
    assert 0 == enrolled("transcripts", "c.csv", *where).returncode


def test_names_of_files_are_safe(enrolled, emulator, tmp_path):
    """Whatever the ledger holds as an address, the file is in the folder."""
    with closing(sqlite3.connect(tmp_path / "c.hindsight.db")) as opened, opened:
        opened.execute("UPDATE interviews SET contact_email = '../../x/\u00fc@a.b' WHERE row_index = 0")
        opened.execute("UPDATE interviews SET contact_email = NULL WHERE row_index = 1")
    emulator.complete(1)
    emulator.complete(2)
    enrolled("transcripts", "c.csv", "--to", "out")
    assert ["1-.._.._x__@a.b.md", "2.md"] == sorted(each.name for each in (tmp_path / "out").iterdir())


def test_a_completed_interview_without_text_is_looked_at_again(enrolled, emulator, tmp_path):
    """It is said, and its file comes once there is something to write."""
    emulator.fail(
        "GET /interviews/{id}", 200, body={"interview_request_id": 1, "status": "completed"}, times=1
    )
    done = enrolled("transcripts", "1", "--to", "out")
    assert "1 interview completed without a transcript so far" in done.stderr
    assert [] == list((tmp_path / "out").iterdir())
    emulator.complete(1)
    enrolled("transcripts", "1", "--to", "out")
    assert ["1.md"] == [each.name for each in (tmp_path / "out").iterdir()]


def test_what_was_learnt_is_kept_in_a_database_too(command, emulator, postgres, database):
    """Its address is not in the command that is named next."""
    url = postgres.url(database)
    assert 0 == command("enroll", "c.csv", "--sequence", "s", "--ledger", url).returncode
    emulator.complete(2)
    assert 1 == counts(command("status", url))["completed"]
    assert [1, 2, 3] == reads(emulator)
    done = command("status", url)
    assert ([1, 3], 1) == (reads(emulator), counts(done)["completed"])
    assert "Next: hindsight-async transcripts LEDGER --to interviews/" in done.stderr
    assert "://" not in done.stderr


async def test_a_wait_for_the_plan_is_no_warning_between_the_lines():
    """What Python would print of a log that nobody reads is on the screen already."""
    log = logging.getLogger("hindsight_async.rate")
    read_by = []

    async def look(_):
        read_by.append(len(log.handlers))

    async with (
        Emulator() as emulator,
        HindsightSession(emulator.api_key, base_url=emulator.base_url) as session,
    ):
        for _ in range(2):
            await session.interviews.create(contact_email="ann@acme.example", sequence_id="s")
        await Source("two", [Followed(1), Followed(2)]).read(session, [1, 2], yes=True, on_read=look)
    assert [1, 1] == read_by
    assert [] == log.handlers
