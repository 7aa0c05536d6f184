"""`update --merge`, `enroll --store-contexts`, `ledger resolve` and `ledger forget`, with what they say."""

import json
import re
import sqlite3
from contextlib import closing

import pytest

from command_process import counts_in

ANN, BEN = "ann@acme.example", "ben@acme.example"


@pytest.fixture
def command(emulated_command, tmp_path):
    (tmp_path / "c.csv").write_text(f"Email,Title\n{ANN},CTO\n{BEN},\n")
    return emulated_command


@pytest.fixture
def enroll(command):
    return lambda *words: command(
        "enroll", "c.csv", "--sequence", "s", "--context", "Title", "--ledger", "a.db", *words
    )


@pytest.fixture
def merge(command):
    return lambda *words: command(
        "update", "u.csv", "--context", "rest", "--merge", "--ledger", "a.db", *words
    )


def test_an_update_merges_into_what_enroll_stored(enroll, merge, emulator, tmp_path):
    """What was there stays beside what is new; the question says that it is merged."""
    assert 0 == enroll("--store-contexts").returncode
    (tmp_path / "u.csv").write_text("Interview ID,Stage\n1,lost\n")
    asked = merge()
    assert 2 == asked.returncode
    assert (
        "        1  contact's notes (contact_context), merged with what the ledger remembers"
        in asked.stderr.splitlines()
    )
    done = merge("--yes")
    assert (0, "1 updated") == (done.returncode, done.stderr.splitlines()[-1])
    assert {"Title": "CTO", "Stage": "lost"} == json.loads(emulator.contacts[ANN].notes)
    (tmp_path / "u.csv").write_text("Interview ID,Champion\n1,yes\n")
    assert 0 == merge("--yes").returncode
    assert {"Title": "CTO", "Stage": "lost", "Champion": "yes"} == json.loads(emulator.contacts[ANN].notes)


def test_a_row_with_nothing_to_merge_into_is_a_bad_row(enroll, merge, emulator, tmp_path):
    """Each is named before anything is sent, and the others can be sent without them; no notes need no memory."""
    enroll("--store-contexts")
    (tmp_path / "u.csv").write_text("Interview ID,Objective,Stage\n1,Why?,lost\n2,,lost\n2,How?,\n77,,won\n")
    sent = len(emulator.requests)
    refused = merge("--yes")
    assert (2, sent) == (refused.returncode, len(emulator.requests))
    said = " ".join(refused.stderr.split())
    assert "the ledger remembers no context of the contact of interview 2" in said
    assert ["row 3", "row 5"] == re.findall("nothing to merge into (row [0-9]+)", said)
    shown = merge("--dry-run", "--skip-invalid")
    assert (0, sent) == (shown.returncode, len(emulator.requests))
    assert "2 to update · 2 with a problem · 0 twice in the file" in shown.stderr.splitlines()
    done = merge("--skip-invalid", "--yes")
    assert (1, "2 updated · 2 with a problem") == (done.returncode, counts_in(done.stderr))
    assert {"Title": "CTO", "Stage": "lost"} == json.loads(emulator.contacts[ANN].notes)
    assert None is emulator.contacts[BEN].notes
    assert "nothing to merge into" in done.stdout


WRONG = [
    ("update u.csv --merge", "give --merge and --ledger together"),
    ("update u.csv --ledger a.db", "give --merge and --ledger together"),
    ("update u.csv --merge --ledger none.db", "there is no ledger at"),
    ("update u.csv --merge --ledger u.csv", "it is no ledger"),
    ("update u.csv --merge --ledger a.db --yes --output a.db", "a.db cannot be the output too"),
    ("enroll c.csv --sequence s --no-ledger --store-contexts", "--store-contexts needs a ledger"),
    ("ledger resolve a.db abcdef", "say what is known: --created ID, or --not-created"),
    ("ledger resolve a.db abcdef --created 1", "no unknown row has a key that begins with abcdef"),
    ("ledger forget a.db nobody", "address must be one email address"),
    ("ledger forget none.db jane@acme.example", "there is no ledger at"),
]


def test_wrong_words_are_a_clear_error(command, enroll, emulator, tmp_path):
    """Exit code 2, what is wrong, and nothing is sent."""
    enroll("--store-contexts")
    (tmp_path / "u.csv").write_text("Interview ID,Objective\n1,Why?\n")
    sent = len(emulator.requests)
    for line, complaint in WRONG:
        done = command(*line.split())
        assert 2 == done.returncode, line
        assert complaint in done.stderr, line
    assert sent == len(emulator.requests)


def test_a_person_is_forgotten_by_a_command(command, enroll, emulator, tmp_path):
    """It says how much was removed; the same file again emails nobody, and `ledger show` has a hash in their place."""
    enroll("--store-contexts")
    done = command("ledger", "forget", "a.db", ANN.upper())
    assert 0 == done.returncode
    assert [
        "removed from 1 row: 1 address, 0 requests, 0 keys' texts, 1 context",
        "what stays is a hash of the address, by which the same interviews are not sent again",
    ] == done.stderr.splitlines()
    assert [] == [file.name for file in tmp_path.glob("a.db*") if b"ann@" in file.read_bytes()]
    shown = command("ledger", "show", "a.db").stdout.splitlines()
    assert [True, False] == [BEN not in line for line in shown]
    assert 64 == len(shown[0].split("\t")[2])
    assert (0, "2 done before") == ((again := enroll()).returncode, counts_in(again.stderr))
    assert 2 == len(emulator.outbox)
    assert "nothing removed: no row of this address\n" == command("ledger", "forget", "a.db", "x@y.zz").stderr


def test_what_was_still_to_be_sent_is_said(command, enroll, emulator, tmp_path):
    """A row that was kept back becomes expired, and a person who means it has it sent all the same."""
    environment = {"HINDSIGHT_ALLOWED_RECIPIENTS": "*@ours.test"}
    command("enroll", "c.csv", "--sequence", "s", "--ledger", "a.db", **environment)
    done = command("ledger", "forget", "a.db", ANN)
    assert "1 row still to be sent: not sent any more" in done.stderr
    (line,) = command("ledger", "show", "a.db", "--status", "expired").stdout.splitlines()
    key, error = line.split("\t")[0], line.split("\t")[5]
    assert "forgotten" == error
    again = enroll()
    assert (1, "1 created · 1 refused before") == (again.returncode, counts_in(again.stderr))
    resolved = command("ledger", "resolve", "a.db", key[:8], "--not-created")
    assert (0, "resolved: it will be sent by the next run\n") == (resolved.returncode, resolved.stderr)
    assert 0 == enroll().returncode
    assert [BEN, ANN] == [email.address for email in emulator.outbox]


@pytest.mark.parametrize("status", ["unknown", "rejected", "duplicate", "expired"])
def test_each_row_that_a_person_may_release_is_found_by_its_key(command, enroll, emulator, tmp_path, status):
    """By the beginning of its key; what is released is sent by the next run, and a body is no reason against it."""
    enroll()
    with closing(sqlite3.connect(tmp_path / "a.db")) as opened, opened:
        opened.execute(
            "UPDATE interviews SET status = ?, request = '{\"a\": 1}' WHERE row_index = 0", (status,)
        )
        ((key,),) = opened.execute("SELECT key FROM interviews WHERE row_index = 0")
    assert 0 == command("ledger", "resolve", "a.db", key[:12], "--not-created").returncode
    assert 2 == command("ledger", "resolve", "a.db", key[:12], "--not-created").returncode
    assert 0 == enroll().returncode
    assert 3 == len(emulator.outbox)
