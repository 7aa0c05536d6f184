"""`enroll` and `update` in this process: the ledger beside the input, what is counted, asked and left to the owner."""

import asyncio
import os
import re
import shlex
import sys
import threading
from contextlib import contextmanager

import pytest

from command_process import counts_in
from hindsight_async import CreateInterview, Ledger, LedgerRow
from hindsight_async.cli import run
from hindsight_async.delivery.ledger.entries import LedgerStatus
from hindsight_async.resources.interviews.recipients import interview_key
from postgres_server import PASSWORD

NOBODY = 65534
ANN, BEN, CARL = (f"{name}@acme.example" for name in ("ann", "ben", "carl"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = tmp_path / "of this autumn"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "my contacts.csv").write_text(f"Email\n{ANN}\n{BEN}\n")
    return folder


@pytest.fixture
def command(emulator, folder, monkeypatch, capsys):
    monkeypatch.setenv("HINDSIGHT_API_KEY", emulator.api_key)
    monkeypatch.setenv("HINDSIGHT_BASE_URL", emulator.base_url)

    def command(*words):
        monkeypatch.setattr(sys, "argv", ["hindsight-async", *words])
        code = run()
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def enroll(command, *words):
    return command("enroll", "my contacts.csv", "--sequence", "seq_1", *words)


def test_the_same_command_again_emails_nobody_twice(command, emulator, folder):
    """Without a word about it there is a ledger beside the file, said before anything is sent."""
    code, _, said = enroll(command)
    assert (0, True) == (code, "\nLedger: my contacts.hindsight.db (new).\n" in said)
    assert (folder / "my contacts.hindsight.db").is_file()
    code, _, said = enroll(command)
    assert (0, "2 done before") == (code, counts_in(said))
    assert "\nNobody is left to send to.\nLedger: my contacts.hindsight.db (knows 2 rows).\n" in said
    assert 2 == len(emulator.outbox)


def test_no_ledger_has_to_be_asked_for(command, emulator, folder):
    """With --no-ledger nothing lies beside the file, and that is said; it excludes --ledger."""
    code, _, said = enroll(command, "--no-ledger")
    assert (0, True) == (code, "\nNo ledger: nothing will remember who was sent.\n" in said)
    assert ["my contacts.csv", "my contacts.results.csv"] == names(folder)
    code, _, said = enroll(command, "--no-ledger", "--ledger", "a.db")
    assert (2, True) == (code, "--ledger needs a ledger, since it says where it is; with --no-ledger" in said)
    assert 2 == len(emulator.outbox)


@pytest.mark.parametrize("again", ["link.csv", "elsewhere/link.csv", "link to it/my contacts.csv"])
def test_another_name_for_the_same_file_has_the_same_ledger(command, emulator, folder, again):
    """A symbolic link leads to the file, so it leads to what the file's ledger remembers too."""
    (folder / "elsewhere").mkdir()
    (folder / "link.csv").symlink_to("my contacts.csv")
    (folder / "elsewhere" / "link.csv").symlink_to(folder / "link.csv")
    (folder / "link to it").symlink_to(folder)
    assert 0 == enroll(command)[0]
    code, _, said = command("enroll", again, "--sequence", "seq_1")
    assert (0, "2 done before") == (code, counts_in(said))
    assert 2 == len(emulator.requests)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
@pytest.mark.parametrize("columns", ["Email", "Email,Status,error,hindsight_error"])
@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_results_of_an_earlier_run_are_no_new_input(command, emulator, folder, *, suffix, columns, dry):
    """They name people who were emailed: refused with what to do, before there is a ledger or a request."""
    cells = "," * columns.count(",")
    (folder / "my contacts.csv").write_text(f"{columns}\n{ANN}{cells}\n{BEN}{cells}\n")
    results = f"results.{suffix}"
    assert 0 == enroll(command, "--output", results)[0]
    there = names(folder)
    code, out, said = command("enroll", results, "--sequence", "seq_1", *dry)
    assert (2, "") == (code, out)
    assert f"{results} has the results of an earlier run" in said
    assert "correct rows in that input and run it again" in said
    assert "--ledger" in said
    assert there == names(folder)
    assert 2 == len(emulator.requests)


def test_results_may_be_run_with_a_word_about_the_ledger(command, emulator, folder):
    """With their run's ledger they go on where it stopped; without any, and without their status, they are sent again."""
    (folder / "my contacts.csv").write_text(f"Email\n{ANN}\n")
    assert 0 == enroll(command, "--output", "results.csv")[0]
    again = ("enroll", "results.csv", "--sequence", "seq_1")
    code, _, said = command(*again, "--ledger", "my contacts.hindsight.db")
    assert (0, "1 done before") == (code, counts_in(said))
    assert 1 == len(emulator.outbox)
    assert 2 == command(*again, "--no-ledger")[0]
    assert 1 == len(emulator.outbox)
    text = (folder / "results.csv").read_text()
    (folder / "results.csv").write_text(text.replace("status", "earlier", 1))
    assert 0 == command(*again, "--no-ledger")[0]
    assert 2 == len(emulator.outbox)


@pytest.mark.parametrize("file", ["-", "/dev/stdin", "/dev/fd/0"])
def test_what_has_no_place_beside_it_needs_a_word_about_the_ledger(command, emulator, monkeypatch, file):
    """An input that is another one each time is refused with a text that names both ways."""
    with open("my contacts.csv") as contacts:
        standard = os.dup(0)
        os.dup2(contacts.fileno(), 0)
        monkeypatch.setattr(sys, "stdin", contacts)
        try:
            code, _, said = command("enroll", file, "--sequence", "seq_1")
        finally:
            os.dup2(standard, 0)
            os.close(standard)
    assert 2 == code
    assert "--ledger FILE" in said
    assert "--no-ledger" in said
    assert [] == emulator.requests


def test_a_directory_that_takes_no_ledger_is_named(command, emulator, folder):
    """Nothing is sent, and the text says where else the ledger could be."""
    for directory in [folder, *folder.parents[:3]]:
        directory.chmod(0o755)
    os.seteuid(NOBODY if os.geteuid() == 0 else os.geteuid())
    try:
        code, _, said = enroll(command)
    finally:
        os.seteuid(os.getuid())
    assert 2 == code
    assert "is not writable: give --ledger FILE" in said
    assert [] == emulator.requests


def test_a_dry_run_counts_as_the_run_would(command, emulator, folder, monkeypatch):
    """The allow-list and the ledger count, rows are named by their lines alone; no key, no file, no request."""
    (folder / "my contacts.csv").write_text(
        f"Email\n{ANN}\n{BEN}\n{CARL}\nCARL@acme.example\nx@other.example\n"
    )
    monkeypatch.setenv("HINDSIGHT_ALLOWED_RECIPIENTS", "*@acme.example")
    assert 1 == enroll(command)[0]
    (folder / "my contacts.csv").write_text(
        f"Email\n{ANN}\ndora@acme.example\nx@other.example\ny@other.example\n"
    )
    listed = names(folder)
    monkeypatch.delenv("HINDSIGHT_API_KEY")
    code, shown, said = enroll(command, "--dry-run")
    assert 0 == code
    assert "" == shown
    assert ["  row  contact_email", "    3  dora@acme.example"] == said.splitlines()[5:7]
    assert (
        """\
1 to send · 0 with a problem · 0 twice in the file · 1 sent before ·
2 not allowed
2 not allowed by HINDSIGHT_ALLOWED_RECIPIENTS:
  rows 4, 5

Paige will email 1 person ("""
        in said
    )
    assert "\nLedger: my contacts.hindsight.db (knows 4 rows).\n" in said
    assert listed == names(folder)
    (folder / "my contacts.hindsight.db").unlink()
    enroll(command, "--dry-run")
    assert "my contacts.hindsight.db" not in names(folder)
    assert 3 == len(emulator.outbox)


def test_the_question_counts_those_who_would_be_emailed(command, emulator, folder, monkeypatch):
    """Whoever the allow-list keeps back is not among the people of the question."""
    rows = "".join(f"c{number}@acme.example\n" for number in range(26))
    (folder / "my contacts.csv").write_text(f"Email\n{rows}x@other.example\n")
    monkeypatch.setenv("HINDSIGHT_ALLOWED_RECIPIENTS", "*@acme.example")
    code, _, said = enroll(command)
    assert (2, True) == (code, "Paige will email 26 people (" in said)
    assert [] == emulator.requests


def test_an_allow_list_is_named_as_what_keeps_rows_back(command, folder, monkeypatch):
    """The same command would keep them back again, so the advice says what has to change before."""
    monkeypatch.setenv("HINDSIGHT_ALLOWED_RECIPIENTS", "*@other.example")
    code, _, said = enroll(command)
    assert (1, True) == (
        code,
        "\n2 not sent: HINDSIGHT_ALLOWED_RECIPIENTS does not allow this recipient: none" in said,
    )
    assert "\n   rows 2, 3\n" in said
    monkeypatch.setenv("HINDSIGHT_ALLOWED_RECIPIENTS", "*@acme.example")
    assert 0 == enroll(command)[0]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("show none.db", "none.db: name the file or database that a run was given"),
        (
            "resolve a.db abcdef --not-created",
            "no unknown, rejected, duplicate or expired row has a key that begins with abcdef",
        ),
        (
            "show ./my_contacts.csv",
            "my_contacts.csv: it is no ledger: name another file",
        ),
    ],
)
def test_looking_into_a_ledger_speaks_of_nothing_sent(command, folder, words, complaint):
    """What only reads or corrects a ledger could have sent nothing, so its errors do not say so."""
    enroll(command, "--ledger", "a.db")
    (folder / "my_contacts.csv").write_text("Email\n")
    code, out, said = command("ledger", *words.split())
    assert (2, "") == (code, out)
    assert complaint in said
    assert "sent" not in said
    assert "attempts" not in said


def test_one_of_a_kind_is_counted_as_one(command, folder):
    """No text speaks of `1 rows`."""
    (folder / "my contacts.csv").write_text(f"Email\n{ANN}\n")
    enroll(command)
    assert "(knows 1 row)" in enroll(command)[2]
    (folder / "u.csv").write_text("Interview ID,Objective,Title\n1,Why?,CTO\n")
    said = command("update", "u.csv", "--context", "Title")[2]
    assert "\n        1  contact's notes (contact_context)\n        1  objective\n" in said
    (folder / "u.csv").write_text("Interview ID,Objective\n1,\n")
    (folder / "my contacts.csv").write_text("Email\nnobody\n")
    for said in (command("update", "u.csv")[2], enroll(command)[2]):
        assert "mend the file, or add --skip-invalid\nto leave that row out" in said


def test_the_advice_can_be_typed_as_it_stands(command, emulator):
    """The command that resolves an unknown row works with the default ledger's path, spaces and all."""
    emulator.fail("POST /interviews", how="disconnect", at="after_commit", times=1)
    code, _, said = enroll(command)
    assert 3 == code
    address = re.search(r"^   row [23]  (\S+)$", said, re.MULTILINE)[1]
    advice = next(line for line in said.splitlines() if "ledger resolve" in line and "--created" in line)
    words = shlex.split(advice.replace("ADDRESS", address).replace("ID", "1"))
    assert 0 == command(*words[1:])[0]

    async def counts():
        return await Ledger("my contacts.hindsight.db").counts()

    assert 2 == asyncio.run(counts())[LedgerStatus.CREATED]


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777], ids=oct)
def test_results_are_readable_by_their_owner_alone(command, folder, umask):
    """Whatever the umask, also where they take the place of earlier ones that everybody could read."""
    results = folder / "r.csv"
    before = os.umask(umask)
    try:
        assert 0 == enroll(command, "--output", "r.csv")[0]
        assert 0o600 == results.stat().st_mode & 0o777
        results.chmod(0o644)
        assert 0 == enroll(command, "--output", "r.csv")[0]
    finally:
        os.umask(before)
    assert (
        0o600,
        ["my contacts.csv", "my contacts.hindsight.db", "my contacts.hindsight.db-lock", "r.csv"],
    ) == (
        results.stat().st_mode & 0o777,
        names(folder),
    )


def test_an_update_asks_before_it_overwrites(command, emulator, folder):
    """Where nobody can be asked nothing is sent; the text counts what is lost, a duplicate not twice."""
    enroll(command)
    (folder / "u.csv").write_text("Interview ID,Objective,Title\n1,Why?,CTO\n2,,CFO\n1,How?,CEO\n")
    sent = len(emulator.requests)
    code, _, said = command("update", "u.csv", "--context", "Title")
    assert 2 == code
    assert "\nThis updates 2 interviews (Essentials plan, host 127" in said
    assert [
        "        2  contacts' notes (contact_context)",
        "        1  objective",
        "This takes less than a minute. Hindsight keeps no old values.",
        "Nobody can be asked here: give --yes to go on.",
        "Nothing was sent.",
    ] == said.splitlines()[-5:]
    code, shown, said = command("update", "u.csv", "--context", "Title", "--dry-run")
    assert 0 == code
    assert "" == shown
    assert "2 to update · 0 with a problem · 1 twice in the file" in said.splitlines()
    assert sent == len(emulator.requests)
    code, _, said = command("update", "u.csv", "--context", "Title", "--yes")
    assert (0, "2 updated · 1 duplicate") == (code, counts_in(said))


def test_an_export_s_record_ids_update_nobody(command, emulator, folder):
    """A column ID is refused with the --map that would take it."""
    enroll(command)
    (folder / "u.csv").write_text("ID,Objective\n1,Why?\n")
    code, _, said = command("update", "u.csv", "--yes")
    assert (2, True) == (code, "give --map interview_request_id=ID" in said)
    assert {None} == {interview.objective for interview in emulator.interviews.values()}
    assert 0 == command("update", "u.csv", "--yes", "--map", "interview_request_id=ID")[0]


def test_a_ledger_in_use_is_a_usage_error(command, emulator, folder):
    """The second run on one ledger is told so, and sends nothing."""
    with asyncio.Runner() as runner, during(runner, Ledger(folder / "a.db").run()):
        code, _, said = enroll(command, "--ledger", "a.db")
    assert 2 == code
    assert "a.db is used by another run" in said
    assert [] == emulator.requests


@contextmanager
def during(runner, work):
    """Hold an asynchronous context open on an event loop that stands still, while the command has its own."""
    value = runner.run(work.__aenter__())
    try:
        yield value
    finally:
        runner.run(work.__aexit__(None, None, None))


@contextmanager
def loop_in_a_thread():
    """Have an event loop that goes on while the command has its own; return what runs a coroutine there."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield lambda work: asyncio.run_coroutine_threadsafe(work, loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.mark.servers
def test_the_command_line_takes_a_database_for_its_ledger(command, emulator, postgres, database):
    """Enrolling, showing and resolving work with the URL, and its password is never shown."""
    ledger = postgres.url(database)
    emulator.fail("POST /interviews", how="disconnect", at="after_commit", times=2)
    code, *said = enroll(command, "--ledger", ledger)
    assert 3 == code
    assert f"ledger resolve '{ledger.replace(PASSWORD, '***')}' ADDRESS" in said[1]
    assert "Where a command above says ***, type the ledger's password" in said[1]
    _, shown, counted = command("ledger", "show", ledger, "--status", "unknown")
    assert "2 unknown\n" == counted
    for number, line in enumerate(shown.splitlines(), 1):
        resolved = command("ledger", "resolve", ledger, line[:12], "--created", str(number))
        assert (0, "", f"resolved: created as {number}\n") == resolved
    again = enroll(command, "--ledger", ledger)
    assert (0, "2 done before") == (again[0], counts_in(again[2]))
    refused = enroll(command, "--ledger", ledger.replace(PASSWORD, "wrong-one"))
    assert 2 == refused[0]
    assert "does not let this user in" in refused[2]
    for text in (*said, shown, counted, *again[1:], *refused[1:]):
        assert PASSWORD not in text
        assert "wrong-one" not in text


@pytest.mark.servers
def test_rows_in_another_runs_hand_are_named(command, emulator, postgres, database):
    """Their status and advice stand in the results and the summary, and the exit code says that it is not over."""
    ledger = postgres.url(database, lease=2)
    key = interview_key(CreateInterview(contact_email=ANN, sequence_id="seq_1"))
    with loop_in_a_thread() as living:
        taken = Ledger(ledger).run()
        other = living(taken.__aenter__())
        living(other.claim([LedgerRow(key=key, row_index=0, contact_email=ANN)]))
        code, results, said = enroll(command, "--ledger", ledger, "--output", "-")
        living(taken.__aexit__(None, None, None))
    assert 1 == code
    assert ",claimed,," in results
    assert "1 in another run's hand: " in said
    assert "Another run with this ledger is at them" in said
    assert 0 == enroll(command, "--ledger", ledger)[0]
    assert [ANN, BEN] == sorted(email.address for email in emulator.outbox)
