"""`hindsight-async enroll`, `update`, `get` and `ledger`, with what they print; as a process where that is the point."""

import asyncio
import csv
import io
import json
import os
import pty
import resource
import signal
import subprocess
import sys
import time

import pytest

from hindsight_async import Ledger
from hindsight_async.cli.terminal import ExitCode
from hindsight_async.emulator import Emulator
from hindsight_async.rate import Plan
from hindsight_async.testing import serving

COMMAND = [sys.executable, "-W", "error", "-m", "hindsight_async"]
CONTACTS = (
    "Work Email,Full Name,Deal ID,Title\njane@acme.example,Jane Smith,deal_1,=VP\njoe@acme.example,Joe,,\n"
)
DUPLICATE = "JANE@acme.example,Jane S.,deal_1,\n"


@pytest.fixture
def run(emulator, tmp_path, command_line):
    environment = {
        **os.environ,
        "HINDSIGHT_API_KEY": emulator.api_key,
        "HINDSIGHT_BASE_URL": emulator.base_url,
        "HINDSIGHT_PLAN": "enterprise",
        "COLUMNS": "200",
        "TERM": "dumb",
    }

    def run(*arguments, stdin="", **variables):
        return command_line(*arguments, stdin=stdin, folder=tmp_path, **{**environment, **variables})

    def run_process(*arguments):
        return subprocess.run(
            [*COMMAND, *arguments],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    run.environment = environment
    run.process = run_process
    return run


@pytest.fixture
def contacts(tmp_path):
    path = tmp_path / "contacts.csv"
    path.write_text(CONTACTS)
    return path


def rows(text):
    return sorted(csv.DictReader(io.StringIO(text)), key=lambda row: row["Work Email"])


def test_a_crm_export_is_enrolled_as_it_is(run, emulator, contacts):
    """Headings are understood, the rest becomes context, and each row comes back with its verdict."""
    contacts.write_text(CONTACTS + DUPLICATE)
    done = run("enroll", "contacts.csv", "--sequence", "seq_1", "--context", "title")
    assert (0, "2 created, 1 duplicate") == (done.returncode, done.stderr.splitlines()[-1])
    duplicate, jane, joe = rows(done.stdout)
    assert ("duplicate", "the same contact and interview as line 2") == (
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
    assert (0, "", "2 already_done") == (again.returncode, again.stdout, again.stderr.splitlines()[-1])
    results = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert {1, 2} == {result["interview_request_id"] for result in results}
    assert 2 == len(emulator.requests)


def test_a_dry_run_sends_nothing_and_tells_what_would_be(run, emulator, contacts):
    """The first requests, the counts against the ledger, and the time that it will take."""
    run("enroll", "contacts.csv", "--sequence", "seq_1", "--ledger", "a.db")
    contacts.write_text(CONTACTS + "new@acme.example,New,,\nNEW@acme.example,New,,\n")
    done = run("enroll", "contacts.csv", "--sequence", "seq_1", "--ledger", "a.db", "--dry-run")
    assert 0 == done.returncode
    assert [{"contact_email": "new@acme.example", "contact_name": "New", "sequence_id": "seq_1"}] == [
        json.loads(line) for line in done.stdout.splitlines()
    ]
    assert (
        "Ledger: a.db (knows 2 rows)\n"
        "1 would be sent (1 email), 1 duplicate, 0 invalid, 2 created in the ledger\n"
        "at 1000 requests per minute this takes less than a minute; nothing was sent\n"
    ) == done.stderr
    assert 2 == len(emulator.requests)


def test_bad_rows_are_named_and_nothing_is_sent(run, emulator, contacts):
    """Every bad row by its line, and what is wrong; with --skip-invalid the others go."""
    contacts.write_text(CONTACTS + "nobody,No,,\n,Empty,,\n")
    refused = run("enroll", "contacts.csv", "--sequence", "seq_1")
    assert 2 == refused.returncode
    assert "line 4: contact_email must be one bare email address" in refused.stderr
    assert "line 5: contact_email is empty" in refused.stderr
    assert [] == emulator.requests
    skipped = run("enroll", "contacts.csv", "--sequence", "seq_1", "--skip-invalid")
    assert (1, "2 created, 2 invalid") == (skipped.returncode, skipped.stderr.splitlines()[-1])
    assert ["invalid", "created", "created", "invalid"] == [row["status"] for row in rows(skipped.stdout)]
    assert 2 == len(emulator.requests)


def test_links_only_email_nobody(run, emulator, contacts):
    """With an interview type instead of a sequence the results have the links."""
    done = run("enroll", "contacts.csv", "--interview-type", "type_1")
    assert 0 == done.returncode
    assert [] == emulator.outbox
    assert all(row["survey_url"] for row in rows(done.stdout))


def test_many_emails_need_a_yes(run, emulator, tmp_path):
    """Above 25 a script must say --yes; nothing is sent before."""
    many = "Email\n" + "".join(f"c{number}@acme.example\n" for number in range(26))
    refused = run("enroll", "-", "--sequence", "seq_1", "--no-ledger", stdin=many)
    assert 2 == refused.returncode
    assert "This emails 26 people." in refused.stderr
    assert "--yes" in refused.stderr
    assert [] == emulator.requests
    sent = run("enroll", "-", "--sequence", "seq_1", "--no-ledger", "--yes", stdin=many)
    assert 0 == sent.returncode
    assert 26 == len(emulator.outbox)


@pytest.mark.parametrize(("answer", "code", "sent"), [("y\n", 0, 26), ("\n", 2, 0)])
def test_a_person_is_asked_and_sees_the_progress(run, emulator, tmp_path, *, answer, code, sent):
    """On a terminal the question waits for its answer, and a live line follows."""
    (tmp_path / "many.csv").write_text(
        "Email\n" + "".join(f"c{number}@acme.example\n" for number in range(26))
    )
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover  the child becomes the command
        os.chdir(tmp_path)
        arguments = [*COMMAND, "enroll", "many.csv", "--sequence", "seq_1", "--output", "results.csv"]
        os.execve(COMMAND[0], arguments, {**run.environment, "TERM": "xterm"})
    seen = b""
    while b"Go on?" not in seen:
        seen += os.read(terminal, 65536)
    os.write(terminal, answer.encode())
    try:
        while chunk := os.read(terminal, 65536):
            seen += chunk
    except OSError:
        pass
    os.close(terminal)
    assert code == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert "This emails 26 people. Go on? [y/N]" in seen.decode()
    assert (b"26/26" in seen) is (sent > 0)
    assert sent == len(emulator.outbox)


def test_rejected_rows_make_exit_code_1_and_are_summed_up(run, contacts):
    """What the API refused is listed with its line and what to do."""
    with serving(Emulator(deals=["deal_2"])) as strict:
        variables = {"HINDSIGHT_BASE_URL": strict.base_url, "HINDSIGHT_API_KEY": strict.api_key}
        done = run("enroll", "contacts.csv", "--sequence", "seq_1", **variables)
    assert 1 == done.returncode
    assert "1 created, 1 rejected" in done.stderr
    assert "1 rejected: correct them in the file" in done.stderr
    assert "line 2, key " in done.stderr
    assert 80 >= max(len(line) for line in done.stderr.splitlines() if "hindsight-async ledger" not in line)


def test_unknown_rows_make_exit_code_3_until_a_person_resolves_them(run, emulator, contacts):
    """They are listed, shown by `ledger show`, cleared by `ledger resolve`, and only then sent or skipped."""
    emulator.fail("POST /interviews", how="disconnect", at="after_commit", times=2)
    command = ("enroll", "contacts.csv", "--sequence", "seq_1", "--ledger", "a.db")
    for _ in range(2):
        done = run(*command)
        assert 3 == done.returncode
        assert "2 unknown: they may have been emailed: look them up" in done.stderr
    assert 2 == len(emulator.requests)
    shown = run("ledger", "show", "a.db", "--status", "unknown")
    lines = [line.split("\t") for line in shown.stdout.splitlines()]
    assert ["jane@acme.example", "joe@acme.example"] == [line[2] for line in lines]
    jane, joe = (line[0] for line in lines)
    assert 0 == run("ledger", "resolve", "a.db", jane[:12], "--created", "1").returncode
    assert 0 == run("ledger", "resolve", "a.db", joe, "--resend").returncode
    assert 2 == run("ledger", "resolve", "a.db", joe, "--resend").returncode
    assert 2 == run("ledger", "resolve", "a.db", jane, "--resend", "--created", "1").returncode
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
    said = wrong.stderr.splitlines()
    [cause] = (
        number for number, line in enumerate(said) if line.startswith("the run ended early: POST /inter")
    )
    advice = said.index("2 not_sent: safe to run again: the same command sends these alone,")
    assert "the server answered 401 unauthorized" in said[cause]
    assert cause < advice
    assert "once the cause named above is out of the way" == said[advice + 1]
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
    ("ledger resolve none.db abcdef --resend", "there is no ledger at"),
    ("ledger resolve none.db abc --resend", "give at least 6 characters of the key"),
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
    assert "line 2: " in refused.stderr
    assert "line 3: " in refused.stderr
    skipped = run("update", "updates.csv", "--skip-invalid", "--yes")
    assert 1 == skipped.returncode
    assert "404 not_found" in skipped.stdout


def test_get_prints_json_lines(run, emulator, contacts):
    """What is there is printed, what is not is an error and exit code 1."""
    run("enroll", "contacts.csv", "--sequence", "seq_1")
    emulator.complete(1, "**Paige:** Why?")
    done = run("get", "1", "77")
    assert 1 == done.returncode
    interview = json.loads(done.stdout)
    assert ("completed", "**Paige:** Why?") == (interview["status"], interview["transcript"]["content"])
    assert interview["created_at"].endswith("+00:00")
    assert "T" in interview["created_at"]
    assert "404 not_found" in done.stderr


def test_get_prints_null_for_what_an_answer_lacks(run, emulator):
    """An answer that says little, or something odd, is printed as what it is."""
    emulator.fail("GET /interviews/{id}", how=200, body={"status": None, "created_at": "soon"}, times=1)
    done = run("get", "7")
    assert (0, "") == (done.returncode, done.stderr)
    interview = json.loads(done.stdout)
    assert (7, None, None) == tuple(
        interview[name] for name in ("interview_request_id", "status", "created_at")
    )
    assert {"status", "created_at"} >= set(interview["extra"])
    assert "soon" == interview["extra"]["created_at"]


@pytest.mark.slow
def test_progress_in_a_pipe_is_a_plain_line(run, contacts):
    """While a run waits, a line every few seconds says how far it is and why it waits."""
    with serving(Emulator(plan=Plan.ENTERPRISE, latency=6.0)) as slow:
        variables = {"HINDSIGHT_BASE_URL": slow.base_url, "HINDSIGHT_API_KEY": slow.api_key}
        done = run("enroll", "contacts.csv", "--sequence", "seq_1", **variables)
    assert 0 == done.returncode
    assert "0 of 2 done; 0 of 1000 in the last minute" in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize(
    ("signals", "left_after"), [(1, "1 created, 1 not_sent"), (2, "1 not_sent, 1 unknown")]
)
def test_interrupts_finish_what_is_in_flight_or_leave_at_once(run, contacts, signals, left_after):
    """The first Ctrl-C waits for the answers, the second does not; both print how to go on."""
    with serving(Emulator(plan=Plan.ENTERPRISE)) as slow:
        slow.fail(
            "POST /interviews",
            how="slow",
            seconds=2.0 if signals == 1 else 600.0,
            at="after_commit",
            times=None,
        )
        variables = {"HINDSIGHT_BASE_URL": slow.base_url, "HINDSIGHT_API_KEY": slow.api_key}
        command = [*COMMAND, "enroll", "contacts.csv", "--sequence", "seq_1", "--ledger", "my ledger.db"]
        with subprocess.Popen(
            command,
            cwd=contacts.parent,
            env={**run.environment, **variables},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as running:
            while len(slow.outbox) < 1:
                assert running.poll() is None
            running.send_signal(signal.SIGINT)
            assert "Ledger: my ledger.db (new)\n" == running.stderr.readline()
            assert "stopping: no more rows are taken" in running.stderr.readline()
            if signals == 2:
                running.send_signal(signal.SIGINT)
            _, said = running.communicate(timeout=60)
    assert 130 == running.returncode
    assert left_after in said
    assert (
        "\nto go on where it stopped:\n"
        "  hindsight-async enroll contacts.csv --sequence seq_1 --ledger 'my ledger.db'\n" in f"\n{said}"
    )
    assert "Traceback" not in said


def test_more_failures_than_fit_are_counted(run, tmp_path):
    """The summary names the first ten of a kind and says how many more there are."""
    (tmp_path / "many.csv").write_text(
        "Email\n" + "".join(f"c{number}@acme.example\n" for number in range(12))
    )
    with serving(Emulator(sequences=["seq_known"])) as strict:
        variables = {"HINDSIGHT_BASE_URL": strict.base_url, "HINDSIGHT_API_KEY": strict.api_key}
        done = run("enroll", "many.csv", "--sequence", "seq_1", **variables)
    assert 1 == done.returncode
    assert "12 rejected: correct them" in done.stderr
    assert "and 2 more, in the results" in done.stderr


def test_a_ledger_in_use_is_a_usage_error(run, emulator, contacts):
    """The second run on one ledger is told so, and sends nothing."""

    async def meanwhile():
        async with Ledger(contacts.parent / "a.db").run():
            return await asyncio.to_thread(
                run.process, "enroll", "contacts.csv", "--sequence", "s", "--ledger", "a.db"
            )

    done = asyncio.run(meanwhile())
    assert 2 == done.returncode
    assert "a.db is used by another run" in done.stderr
    assert [] == emulator.requests


def test_the_output_may_not_be_the_input_or_the_ledger(run, emulator, contacts):
    """Neither the contacts nor the memory of who was sent is overwritten."""
    command = ("enroll", "contacts.csv", "--sequence", "seq_1", "--ledger", "a.db", "--output")
    assert 0 == run(*command, "results.csv").returncode
    for other in ("contacts.csv", "a.db", "./a.db", "a.db-lock"):
        refused = run(*command, other)
        assert 2 == refused.returncode
        assert f"{other.removeprefix('./')} cannot be the output too" in refused.stderr
    assert CONTACTS == contacts.read_text()
    assert "2 already_done" in run(*command, "results.csv").stderr


def test_earlier_results_are_kept(run, emulator, contacts, tmp_path):
    """The links of the first run are nowhere else, so a second run moves its file aside."""
    command = (
        "enroll",
        "contacts.csv",
        "--interview-type",
        "t",
        "--ledger",
        "a.db",
        "--output",
        "results.csv",
    )
    first = (run(*command), (tmp_path / "results.csv").read_text())[1]
    again = run(*command)
    assert "the earlier results.csv is now results.csv.1" in again.stderr
    assert first == (tmp_path / "results.csv.1").read_text()
    assert "results.csv is now results.csv.2" in run(*command).stderr


def test_results_that_cannot_be_written_stop_the_run_and_are_said(run, emulator, tmp_path):
    """A full disk or a reader that has left is no traceback, and what was sent is summed up."""
    (tmp_path / "many.csv").write_text(
        "Email\n" + "".join(f"c{number}@acme.example\n" for number in range(300))
    )
    for target, code, complaint in (
        ("> /dev/full", 2, "stdout cannot be written: No space left on device"),
        ("| head -c 1", 1, "the results cannot be written any more"),
    ):
        line = f"{' '.join(COMMAND)} enroll many.csv --sequence s --ledger '{target[0]}.db' --yes {target}"
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=tmp_path, env=run.environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert code == done.returncode, done.stderr
        assert complaint in done.stderr
        assert (" created" in done.stderr) is (code == 1)
        assert "Traceback" not in done.stderr


def test_without_a_ledger_the_advice_is_another(run, emulator, contacts):
    """Nobody is told to run a file again that would email its contacts twice."""
    emulator.fail("POST /interviews", how="disconnect", at="after_commit", times=1)
    done = run("enroll", "contacts.csv", "--sequence", "seq_1", "--no-ledger")
    assert 3 == done.returncode
    assert "look them up in Hindsight\nbefore anybody sends them again" in done.stderr
    both = run("enroll", "contacts.csv", "--sequence", "seq_1", "--interview-type", "t")
    assert 2 == both.returncode
    assert "not both" in both.stderr


def test_closed_ends_are_no_traceback(run, emulator, contacts):
    """A reader that leaves early, and an input that is not there, end a command quietly."""
    run("enroll", "contacts.csv", "--sequence", "seq_1", "--ledger", "a.db")
    for words, code in (("ledger show a.db | head -c 0", 1), ("enroll - --sequence s <&-", 2)):
        line = f"{' '.join(COMMAND)} {words}"
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=contacts.parent, env=run.environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert code == done.returncode, done.stderr
        assert "Traceback" not in done.stderr
        assert "BrokenPipe" not in done.stderr


def test_a_closed_stdout_is_no_end_of_a_run(run, emulator, contacts):
    """What prints nothing needed is done; a run whose results would be nowhere sends nothing."""
    enroll = "enroll contacts.csv --sequence s"
    for words, code in (
        (enroll, 2),
        (f"{enroll} --output r.csv", 0),
        ("get 1", 0),
        (f"{enroll} --dry-run", 0),
    ):
        done = subprocess.run(
            ["bash", "-c", f"{' '.join(COMMAND)} {words} >&-"],
            cwd=contacts.parent, env=run.environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert code == done.returncode, done.stderr
        assert ("stdout is closed" in done.stderr) is (code == 2)
    assert 2 == len(emulator.outbox)


@pytest.mark.parametrize(
    "words", ["enroll contacts.csv --sequence s --dry-run", "get 1", "demo --csv contacts.csv"]
)
def test_what_other_programs_read_is_utf_8(run, emulator, contacts, words):
    """Whatever the locale, no character ends a command."""
    contacts.write_text("Email,Full Name,Note\nzoë@acme.example,Zoë 🎉,🎉\n", encoding="utf-8")
    emulator.fail("GET /interviews/{id}", how=200, body={"objective": "Zoë 🎉"})
    done = subprocess.run(
        [*COMMAND, *words.split()], cwd=contacts.parent, env={**run.environment, "PYTHONIOENCODING": "latin-1"},
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    assert "zoë" in done.stdout.decode("utf-8").lower()


def test_an_interrupt_without_a_ledger_warns(run, contacts):
    """Nobody is told to run the same command again where nothing remembers who was sent."""
    with serving(Emulator(plan=Plan.ENTERPRISE)) as slow:
        slow.fail("POST /interviews", how="slow", seconds=1.0, at="after_commit", times=None)
        variables = {"HINDSIGHT_BASE_URL": slow.base_url, "HINDSIGHT_API_KEY": slow.api_key}
        with subprocess.Popen(
            [*COMMAND, "enroll", "contacts.csv", "--sequence", "seq_1", "--no-ledger"],
            cwd=contacts.parent, env={**run.environment, **variables},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        ) as running:  # fmt: skip
            while len(slow.outbox) < 1:
                assert running.poll() is None
            running.send_signal(signal.SIGTERM)
            _, said = running.communicate(timeout=60)
    assert 130 == running.returncode
    assert "do not run this file again as it is" in said


@pytest.mark.parametrize(
    "arguments", [("enroll", "-", "--sequence", "seq_1", "--ledger", "a.db"), ("update", "-"), ("get", "1")]
)
@pytest.mark.parametrize("variable", ["HINDSIGHT_API_KEY", "HINDSIGHT_BASE_URL"])
def test_a_missing_key_or_a_wrong_address_is_said_before_anything_is_read(run, tmp_path, arguments, variable):
    """Nobody types in a file and answers questions for a command that cannot send."""
    reads, writes = os.pipe()  # which never ends, so that a command that reads it is not back in time
    try:
        done = subprocess.run(
            [*COMMAND, *arguments],
            stdin=reads, cwd=tmp_path, env={**run.environment, variable: "" if variable.endswith("KEY") else "x"},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    finally:
        os.close(writes)
        os.close(reads)
    assert (2, "") == (done.returncode, done.stdout)
    assert variable in done.stderr
    assert [] == list(tmp_path.iterdir())


def test_what_was_made_on_a_disk_that_is_full_makes_exit_code_3(run, emulator, tmp_path):
    """The results have the ids of what the ledger could not take, and the last line counts them."""
    (tmp_path / "many.csv").write_text("Email\n" + "".join(f"c{n}@acme.example\n" for n in range(40)))
    emulator.fail("POST /interviews", how="slow", seconds=1.0, times=None)
    command = [*COMMAND, "enroll", "many.csv", "--sequence", "s", "--ledger", "l.db", "--yes"]
    with subprocess.Popen(
        command,
        cwd=tmp_path, env=run.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        while len(emulator.requests) < 2:
            time.sleep(0.01)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        out, err = process.communicate(timeout=60)
    made = [row for row in csv.DictReader(io.StringIO(out)) if row["status"] == "created"]
    assert ExitCode.UNKNOWN_OUTCOMES == process.returncode, err
    assert {email.address for email in emulator.outbox} == {row["Email"] for row in made}
    assert all(row["interview_request_id"] for row in made)
    assert "could not be recorded" in err
