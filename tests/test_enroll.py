"""`hindsight-async enroll`, `update`, `get` and `ledger`, with what they print."""

import csv
import io
import json

import pytest

from command_process import counts_in, environment
from hindsight_async.emulator import Emulator
from hindsight_async.rate import Plan
from hindsight_async.testing import serving

CONTACTS = (
    "Work Email,Full Name,Deal ID,Title\njane@acme.example,Jane Smith,deal_1,=VP\njoe@acme.example,Joe,,\n"
)
DUPLICATE = "JANE@acme.example,Jane S.,deal_1,\n"


@pytest.fixture
def run(emulator, tmp_path, command_line):
    variables = environment(emulator, HINDSIGHT_PLAN="enterprise")
    return lambda *arguments, **more: command_line(*arguments, folder=tmp_path, **{**variables, **more})


@pytest.fixture
def contacts(tmp_path):
    path = tmp_path / "contacts.csv"
    path.write_text(CONTACTS)
    return path


def rows(text):
    return sorted(csv.DictReader(io.StringIO(text)), key=lambda row: row["Work Email"])


def test_a_crm_export_is_enrolled_as_it_is(run, emulator, contacts, tmp_path):
    """Headings are understood, the rest becomes context, and each row comes back with its verdict."""
    contacts.write_text(CONTACTS + DUPLICATE)
    done = run("enroll", "contacts.csv", "--sequence", "seq_1", "--context", "title")
    assert (0, "2 created · 1 duplicate", "") == (done.returncode, counts_in(done.stderr), done.stdout)
    duplicate, jane, joe = rows((tmp_path / "contacts.results.csv").read_text())
    assert ("duplicate", "the same contact and interview as row 2") == (
        duplicate["status"],
        duplicate["error"],
    )
    assert ("created", "'=VP") == (jane["status"], jane["Title"])
    assert jane["survey_url"].startswith("http://127.0.0.1")
    assert {jane["interview_request_id"], joe["interview_request_id"]} == {"1", "2"}
    assert {"Title": "=VP"} == json.loads(emulator.contacts["jane@acme.example"].notes)
    assert "Jane Smith" == emulator.contacts["jane@acme.example"].name
    assert emulator.api_key not in done.stdout + done.stderr


def test_the_same_command_again_sends_nothing_twice(run, emulator, contacts, tmp_path):
    """With a ledger the second run finds everything done, and says so with the ids."""
    command = (
        "enroll",
        "contacts.csv",
        "--sequence",
        "seq_1",
        "--ledger",
        "autumn.db",
        "--output",
        "results.jsonl",
    )
    assert 0 == run(*command).returncode
    again = run(*command)
    assert (0, "", "2 done before") == (again.returncode, again.stdout, counts_in(again.stderr))
    results = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert {1, 2} == {result["interview_request_id"] for result in results}
    assert 2 == len(emulator.requests)


def test_a_dry_run_sends_nothing_and_tells_what_would_be(run, emulator, contacts):
    """The first rows, the counts against the ledger, and which ledger that is."""
    run("enroll", "contacts.csv", "--sequence", "seq_1", "--ledger", "a.db")
    contacts.write_text(CONTACTS + "new@acme.example,New,,\nNEW@acme.example,New,,\n")
    done = run("enroll", "contacts.csv", "--sequence", "seq_1", "--ledger", "a.db", "--dry-run")
    assert 0 == done.returncode
    assert "" == done.stdout
    assert "\n    4  new@acme.example  New\n" in done.stderr
    assert "\n1 to send · 0 with a problem · 1 twice in the file · 2 sent before\n" in done.stderr
    assert "\nLedger: a.db (knows 2 rows).\nDry run: nothing was sent.\n" in done.stderr
    assert 2 == len(emulator.requests)


def test_bad_rows_are_named_and_nothing_is_sent(run, emulator, contacts):
    """Every bad row by its line, and what is wrong; with --skip-invalid the others go."""
    contacts.write_text(CONTACTS + "nobody,No,,\n,Empty,,\n")
    refused = run("enroll", "contacts.csv", "--sequence", "seq_1")
    assert 2 == refused.returncode
    assert "      1  not an address\n         row 4 'nobody'\n" in refused.stderr
    assert "      1  no address\n         row 5\n" in refused.stderr
    assert [] == emulator.requests
    skipped = run("enroll", "contacts.csv", "--sequence", "seq_1", "--skip-invalid", "--output", "-")
    assert (1, "2 created · 2 with a problem") == (skipped.returncode, counts_in(skipped.stderr))
    assert ["invalid", "created", "created", "invalid"] == [row["status"] for row in rows(skipped.stdout)]
    assert 2 == len(emulator.requests)


def test_links_only_email_nobody(run, emulator, contacts):
    """With an interview type instead of a sequence the results have the links."""
    done = run("enroll", "contacts.csv", "--interview-type", "type_1", "--output", "-")
    assert 0 == done.returncode
    assert [] == emulator.outbox
    assert all(row["survey_url"] for row in rows(done.stdout))


def test_many_emails_need_a_yes(run, emulator, tmp_path):
    """Above 25 a script must say --yes; nothing is sent before."""
    many = "Email\n" + "".join(f"c{number}@acme.example\n" for number in range(26))
    refused = run("enroll", "-", "--sequence", "seq_1", "--no-ledger", stdin=many)
    assert 2 == refused.returncode
    assert "Paige will email 26 people (sequence seq_1, Enterprise plan,\nhost " in refused.stderr
    assert "--yes" in refused.stderr
    assert [] == emulator.requests
    sent = run("enroll", "-", "--sequence", "seq_1", "--no-ledger", "--yes", stdin=many)
    assert 0 == sent.returncode
    assert 26 == len(emulator.outbox)


def test_rejected_rows_make_exit_code_1_and_are_summed_up(run, contacts):
    """What the API refused is told by its cause, with the rows, what they have, its column, and what to do."""
    with serving(Emulator(deals=["deal_2"])) as strict:
        done = run("enroll", "contacts.csv", "--sequence", "seq_1", **environment(strict))
    assert 1 == done.returncode
    assert "1 created · 1 refused" == counts_in(done.stderr)
    assert (
        "\n1 refused: deal_id not found\n"
        '   row 2 has deal_1. Check the column "Deal ID".\n'
        "Correct the file and run the same command again." in done.stderr
    )
    assert 80 >= max(len(line) for line in done.stderr.splitlines())


def test_unknown_rows_make_exit_code_3_until_a_person_resolves_them(run, emulator, contacts):
    """They are listed, shown by `ledger show`, cleared by `ledger resolve`, and only then sent or skipped."""
    emulator.fail("POST /interviews", how="disconnect", at="after_commit", times=2)
    command = ("enroll", "contacts.csv", "--sequence", "seq_1", "--ledger", "a.db")
    for _ in range(2):
        done = run(*command)
        assert 3 == done.returncode
        assert "2 unknown: the connection was lost: Server disconnected\n" in done.stderr
        assert "   row 2  jane@acme.example\n   row 3  joe@acme.example\n" in done.stderr
        assert "They may have been emailed, so they are not sent again." in done.stderr
    assert 2 == len(emulator.requests)
    shown = run("ledger", "show", "a.db", "--status", "unknown")
    lines = [line.split("\t") for line in shown.stdout.splitlines()]
    assert ["jane@acme.example", "joe@acme.example"] == [line[2] for line in lines]
    jane, joe = (line[0] for line in lines)
    assert 0 == run("ledger", "resolve", "a.db", jane[:12], "--created", "1").returncode
    assert 0 == run("ledger", "resolve", "a.db", joe, "--not-created").returncode
    assert 2 == run("ledger", "resolve", "a.db", joe, "--not-created").returncode
    assert 2 == run("ledger", "resolve", "a.db", jane, "--not-created", "--created", "1").returncode
    assert 0 == run(*command).returncode
    assert ["jane@acme.example", "joe@acme.example", "joe@acme.example"] == sorted(
        email.address for email in emulator.outbox
    )


def test_a_wrong_key_ends_the_run_and_loses_nothing(run, emulator, contacts):
    """The error is said once, and the rows are safe to run again."""
    wrong = run(
        "enroll", "contacts.csv", "--sequence", "seq_1", "--ledger", "a.db", HINDSIGHT_API_KEY="wrong"
    )
    assert 1 == wrong.returncode
    assert wrong.stderr.endswith(
        "Ledger: a.db (new).\n"
        "2 not sent\n\n"
        "The API refused the key (401: Invalid API key). Nobody was emailed.\n"
        "Set HINDSIGHT_API_KEY to a key from the dashboard's Settings > API Keys.\n\n"
        "2 not sent: the run ended before\n"
        "Safe to run again: the same command sends these alone.\n\n"
        "Results   contacts.results.csv  (all rows, with ids and links: keep it private)\n"
    )
    assert 0 == run("enroll", "contacts.csv", "--sequence", "seq_1", "--ledger", "a.db").returncode
    assert 2 == len(emulator.outbox)


WRONG_USAGE = [
    ("enroll missing.csv --sequence s", "missing.csv cannot be read: No such file or directory"),
    ("enroll contacts.csv", "neither a sequence nor an interview type is given"),
    ("enroll contacts.csv --sequence s --map contact_email", "--map takes a field and a column"),
    ("enroll contacts.csv --sequence s --map contact_emial=x", "contact_email"),
    ("enroll contacts.csv --sequence s --context titel", "Title"),
    ("enroll contacts.csv --sequence s --ledger no/such/a.db", "no/such"),
    ("enroll contacts.csv --sequence s --output no/such/r.csv", "no/such/r.csv cannot be written"),
    ("ledger show contacts.csv", "contacts.csv"),
    ("ledger resolve none.db abcdef --not-created", "there is no ledger at"),
    ("ledger resolve none.db abc --not-created", "there is no ledger at"),
    ("update contacts.csv", "interview_request_id"),
]


def test_wrong_usage_is_a_clear_error(run, emulator, contacts):
    """Exit code 2, what is wrong, and nothing is sent."""
    for line, complaint in WRONG_USAGE:
        done = run(*line.split())
        assert 2 == done.returncode, line
        assert complaint in done.stderr, line
    assert [] == emulator.requests


def test_updates_come_from_a_file_too(run, emulator, contacts, tmp_path):
    """An id and what changes, with a verdict for each; a bad row holds everything back."""
    run("enroll", "contacts.csv", "--sequence", "seq_1")
    updates = tmp_path / "updates.csv"
    updates.write_text("Interview ID,Objective,Stage\n1,Why?,won\n2,How?,lost\n")
    done = run("update", "updates.csv", "--context", "rest", "--yes")
    assert (0, "2 updated") == (done.returncode, done.stderr.splitlines()[-1])
    assert ["Why?", "How?"] == [interview.objective for interview in emulator.interviews.values()]
    updates.write_text("Interview ID,Objective\n1,\nx,y\n99,Why?\n")
    refused = run("update", "updates.csv")
    assert 2 == refused.returncode
    assert "must be given" in refused.stderr
    assert "\n         row 2\n" in refused.stderr
    assert "\n         row 3\n" in refused.stderr
    skipped = run("update", "updates.csv", "--skip-invalid", "--yes")
    assert 1 == skipped.returncode
    assert "404 not_found" in skipped.stdout
    assert "1 refused: Interview request not found\n   row 4 has 99\n" in skipped.stderr


def test_get_prints_json_lines(run, emulator, contacts):
    """What is there is printed, what is not is an error and exit code 1."""
    run("enroll", "contacts.csv", "--sequence", "seq_1")
    emulator.complete(1, "**Paige:** Why?")
    done = run("get", "1", "77", "--json")
    assert 1 == done.returncode
    interview = json.loads(done.stdout)
    assert ("completed", "**Paige:** Why?") == (interview["status"], interview["transcript"]["content"])
    assert interview["created_at"].endswith("+00:00")
    assert "T" in interview["created_at"]
    assert "404 not_found" in done.stderr


def test_get_prints_null_for_what_an_answer_lacks(run, emulator):
    """An answer that says little, or something odd, is printed as what it is."""
    emulator.fail("GET /interviews/{id}", how=200, body={"status": None, "created_at": "soon"}, times=1)
    done = run("get", "7", "--json")
    assert (0, "") == (done.returncode, done.stderr)
    interview = json.loads(done.stdout)
    assert (7, None, None) == tuple(
        interview[name] for name in ("interview_request_id", "status", "created_at")
    )
    assert {"status", "created_at"} >= set(interview["extra"])
    assert "soon" == interview["extra"]["created_at"]


@pytest.mark.slow
def test_progress_in_a_pipe_is_a_plain_line(run, contacts):
    """While a run goes on, a line every ten seconds says how far it is and how fast."""
    with serving(Emulator(plan=Plan.ENTERPRISE, latency=6.0)) as slow:
        done = run("enroll", "contacts.csv", "--sequence", "seq_1", **environment(slow))
    assert 0 == done.returncode
    assert "\n1 of 2 done · 1/min · under 1 min left\n" in done.stderr
    assert "\x1b" not in done.stderr


def test_more_failures_than_fit_are_counted(run, tmp_path):
    """The summary names the first three rows of a cause, and the option that fed all of them."""
    (tmp_path / "many.csv").write_text(
        "Email\n" + "".join(f"c{number}@acme.example\n" for number in range(12))
    )
    with serving(Emulator(sequences=["seq_known"])) as strict:
        done = run("enroll", "many.csv", "--sequence", "seq_1", **environment(strict))
    assert 1 == done.returncode
    assert (
        "12 refused: sequence_id not found\n   rows 2, 3, 4, … have seq_1. Check --sequence.\n" in done.stderr
    )


def test_the_output_may_not_be_the_input_or_the_ledger(run, emulator, contacts):
    """Neither the contacts nor the memory of who was sent is overwritten."""
    command = ("enroll", "contacts.csv", "--sequence", "seq_1", "--ledger", "a.db", "--output")
    assert 0 == run(*command, "results.csv").returncode
    for other in ("contacts.csv", "a.db", "./a.db", "a.db-lock"):
        refused = run(*command, other)
        assert 2 == refused.returncode
        assert f"{other.removeprefix('./')} cannot be the output too" in refused.stderr
    assert CONTACTS == contacts.read_text()
    assert "2 done before" in run(*command, "results.csv").stderr


def test_without_a_ledger_the_advice_is_another(run, emulator, contacts):
    """Nobody is told to run a file again that would email its contacts twice."""
    emulator.fail("POST /interviews", how="disconnect", at="after_commit", times=1)
    done = run("enroll", "contacts.csv", "--sequence", "seq_1", "--no-ledger")
    assert 3 == done.returncode
    assert "look them up in Hindsight before anybody sends\nthem again." in done.stderr
    both = run("enroll", "contacts.csv", "--sequence", "seq_1", "--interview-type", "t")
    assert 2 == both.returncode
    assert "not both" in both.stderr


def test_several_addresses_in_a_cell_are_enrolled_where_asked_for(run, emulator, contacts):
    """Each with --several all, which says what else it assumed of the file."""
    contacts.write_bytes(b"Winners\nEmail;Name\nann@x.test, bob@y.test;Zo\xeb\n")
    done = run("enroll", "contacts.csv", "--sequence", "seq_1", "--several", "all")
    assert (0, "2 created") == (done.returncode, counts_in(done.stderr))
    assert ["ann@x.test", "bob@y.test"] == sorted(email.address for email in emulator.outbox)
    assert "read as Windows-1252" in done.stderr
    assert "The column names stand on line 2; what is above was left out." in done.stderr
