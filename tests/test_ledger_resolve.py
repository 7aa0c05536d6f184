"""`ledger resolve`: addresses and keys, many at once or in a file, facts only, and all of it or nothing."""

import csv
import io
import sqlite3
from contextlib import closing

import pytest

from command_process import write_contacts

LEDGER = "contacts.hindsight.db"
UNKNOWN = ("ledger", "show", LEDGER, "--status", "unknown")


def address(number):
    return f"c{number}@acme.example"


@pytest.fixture
def resolve(emulated_command, emulator, tmp_path):
    """Give a test four rows that are unknown, and the command."""
    write_contacts(tmp_path, 4)
    emulator.fail("POST /interviews", how="disconnect", at="after_commit", times=4)
    assert 3 == emulated_command("enroll", "contacts.csv", "--sequence", "s").returncode

    def resolve(*words):
        done = emulated_command("ledger", "resolve", LEDGER, *words)
        return done.returncode, done.stderr

    resolve.command = emulated_command
    resolve.left = lambda: len(emulated_command(*UNKNOWN).stdout.splitlines())
    resolve.status = lambda number: next(
        line.split("\t")[3]
        for line in emulated_command("ledger", "show", LEDGER).stdout.splitlines()
        if line.split("\t")[2] == address(number)
    )
    return resolve


def test_an_address_names_its_row_in_any_spelling(resolve, tmp_path):
    """Also where the ledger has a hash of it alone."""
    assert (0, "resolved: created as 7\n") == resolve(address(0).upper(), "--created", "7")
    with closing(sqlite3.connect(tmp_path / LEDGER)) as opened, opened:
        opened.execute("UPDATE interviews SET contact_email = NULL")
    assert (0, "resolved: it will be sent by the next run\n") == resolve(address(1), "--not-created")
    assert 2 == resolve.left()


def test_many_are_resolved_at_once(resolve, emulator):
    """Addresses and keys side by side; the next run sends exactly these."""
    key = resolve.command(*UNKNOWN).stdout.splitlines()[2][:12]
    assert (0, "3 rows resolved: 3 not created, which the next run sends\n") == resolve(
        address(0), address(1), key, "--not-created"
    )
    assert 1 == resolve.left()
    resolve.command("enroll", "contacts.csv", "--sequence", "s")
    assert 4 + 3 == len(emulator.outbox)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((address(0), "nobody@acme.example", "--not-created"), "row has this address: nobody@acme.example"),
        ((address(0), address(0).upper(), "--not-created"), "names a row that was named before"),
        ((address(0), address(1), "--created", "7"), "one interview is one row's"),
        ((address(0),), "say what is known: --created ID, or --not-created"),
        ((address(0), "--created", "7", "--not-created"), "say what is known"),
        ((address(0), "--created", "0"), "created=0 is no interview request id"),
        (("abc", "--not-created"), "give at least 6 characters of the key"),
        (("missing.csv", "--not-created"), "row has a key that begins with missing.csv"),
    ],
)
def test_all_of_it_or_nothing(resolve, words, complaint):
    """One name that is wrong keeps all others from being resolved, and is said."""
    code, said = resolve(*words)
    assert (2, True) == (code, complaint in said), said
    assert 4 == resolve.left()


def test_an_address_with_two_rows_is_told_apart_by_their_keys(resolve, tmp_path):
    """Both are named, and neither is touched."""
    resolve.command("enroll", "contacts.csv", "--sequence", "t")
    with closing(sqlite3.connect(tmp_path / LEDGER)) as opened, opened:
        opened.execute("UPDATE interviews SET status = 'unknown'")
    code, said = resolve(address(0), "--not-created")
    assert (2, True) == (
        code,
        "2 unknown, rejected, duplicate or expired rows have this address: give" in said,
    )
    assert 8 == resolve.left()
    key = said.rsplit("such as ", 1)[1].split(" ")[0]
    assert 0 == resolve(key, "--not-created")[0]


def test_a_file_that_show_has_written_is_filled_in(resolve, tmp_path):
    """Ids and `not created` in one column; what is left empty stays unknown."""
    shown = resolve.command(*UNKNOWN, "--csv").stdout
    rows = list(csv.DictReader(io.StringIO(shown)))
    assert [address(number) for number in range(4)] == [row["contact_email"] for row in rows]
    for row, said in zip(rows, ("7", "Not created", "", " 9 "), strict=True):
        row["interview_request_id"] = said
    with (tmp_path / "u.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    code, said = resolve("u.csv")
    assert (0, "3 rows resolved: 2 created, 1 not created, which the next run sends\n") == (code, said)
    assert ["created", "not_sent", "unknown", "created"] == [resolve.status(number) for number in range(4)]
    assert "no unknown row has" in resolve("u.csv")[1]


def test_the_results_of_enroll_can_be_filled_in_too(resolve, emulator, tmp_path):
    """Only their unknown rows count: the ids of the others are those of the API."""
    write_contacts(tmp_path, 6)
    resolve.command("enroll", "contacts.csv", "--sequence", "s")
    results = tmp_path / "contacts.results.csv"
    filled = results.read_text().replace(",unknown,,", ",unknown,no,")
    results.write_text(filled)
    assert (0, "4 rows resolved: 4 not created, which the next run sends\n") == resolve(
        "contacts.results.csv"
    )
    assert 0 == resolve.command("enroll", "contacts.csv", "--sequence", "s").returncode
    assert 4 + 2 + 4 == len(emulator.outbox)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "ledger_key,interview_request_id\nKEY,maybe\n",
            "row 2: interview_request_id takes an interview's id",
        ),
        ("ledger_key,interview_request_id\nKEY,0\n", "row 2: interview_request_id takes an interview's id"),
        ("ledger_key,interview_request_id\nKEY,\n", "says nothing of a row that is unknown"),
        ("Email,interview_request_id\na@b.test,7\n", "needs the columns ledger_key and interview_request_id"),
        ("ledger_key,interview_request_id\nKEY,7\nffffffffffff,8\n", "no unknown row has a key that begins"),
        ("ledger_key,interview_request_id\nKEY,7\n,8\n", "give at least 6 characters of the key"),
        ("ledger_key,interview_request_id\n", "column names but no row"),
    ],
)
def test_a_file_that_is_not_clear_resolves_nothing(resolve, tmp_path, text, complaint):
    """The row is named by its number."""
    key = resolve.command(*UNKNOWN).stdout.split("\t")[0]
    (tmp_path / "u.csv").write_text(text.replace("KEY", key))
    code, said = resolve("u.csv")
    assert (2, True) == (code, complaint in said), said
    assert 4 == resolve.left()
