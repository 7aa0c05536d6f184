"""`hindsight-async` as a process of its own, where that is the point: signals, a terminal, pipes, a full disk."""

import csv
import os
import pty
import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import pytest

import loaded_python
from command_process import environment, write_contacts
from fresh_process import without_coverage
from loaded_python import CLOSED, COMMAND, Program

ENROLL = ["enroll", "contacts.csv", "--sequence", "seq_1"]
TO_A_FILE = [*ENROLL, "--yes", "--output", "results.csv"]
ROWS = 60


@pytest.fixture
def folder(emulator, tmp_path):
    """Give a test two contacts, in a folder where each process starts."""
    write_contacts(tmp_path, 2)
    return tmp_path


@pytest.fixture
def variables(emulator):
    shown = {"HINDSIGHT_PLAN": "enterprise", "COLUMNS": "200", "TERM": "xterm"}
    return {**os.environ, **environment(emulator, **shown)}


@pytest.fixture
def finish(folder, variables):
    """Give a test a process that runs to its end."""

    def finish(*words, **options):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        options = {"env": variables, "text": True, **pipes, **options}
        return loaded_python.run(words, cwd=folder, **options)

    return finish


@pytest.fixture
def leave_early(folder, variables):
    """Give a test a process whose output is read up to so many characters, as by `| head -c`; with what it says."""

    def leave_early(*words, characters):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with Program(words, cwd=folder, env=variables, text=True, **pipes) as process:
            process.stdout.read(characters)
            process.stdout.close()
            said = process.stderr.read()
        return process.returncode, said

    return leave_early


@pytest.fixture
def running(emulator, folder, variables):
    """Give a test a process that is yielded once its first request is here, whose answer takes so many seconds."""

    @contextmanager
    def running(*words, answers_after, sees_requests=1, start=Program, **options):
        emulator.fail("POST /interviews", how="slow", seconds=answers_after, at="after_commit", times=None)
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, **options}
        with start(words, cwd=folder, env=variables, text=True, **pipes) as process:
            while len(emulator.outbox) < sees_requests:
                assert process.poll() is None
                time.sleep(0.01)
            yield process

    return running


@pytest.fixture
def on_terminal(folder, variables):
    """Give a test a process on a terminal of its own, and the terminal."""

    def on_terminal(*words):
        terminal, theirs = pty.openpty()
        ends = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
        process = Program(words, cwd=folder, env=variables, has_terminal=True, **ends)
        os.close(theirs)
        return process, terminal

    return on_terminal


def statuses(folder):
    return {row["status"] for row in csv.DictReader((folder / "results.csv").read_text().splitlines())}


@pytest.mark.parametrize(("answer", "code", "sent"), [("yes\n", 0, 26), ("n\n", 4, 0)])
def test_a_person_is_asked_and_sees_the_progress(on_terminal, emulator, folder, *, answer, code, sent):
    """On a terminal the question waits for its answer, and a live line follows."""
    write_contacts(folder, 26)
    process, terminal = on_terminal(*COMMAND, *ENROLL, "--output", "results.csv")
    seen = b""
    with process:
        while b"Type yes to go on:" not in seen:
            seen += os.read(terminal, 65536)
        os.write(terminal, answer.encode())
        with suppress(OSError):
            while chunk := os.read(terminal, 65536):
                seen += chunk
        os.close(terminal)
    assert code == process.returncode
    assert "Paige will email 26 people (" in seen.decode()
    assert (b"26/26" in seen) is (sent > 0)
    assert sent == len(emulator.outbox)


def test_a_closed_terminal_leaves_nothing_unknown(on_terminal, emulator, folder):
    """What is in flight is finished and written down, though nobody can be told any more."""
    write_contacts(folder, ROWS)
    emulator.fail("POST /interviews", how="slow", seconds=0.3, at="after_commit", times=None)
    process, terminal = on_terminal(*COMMAND, *TO_A_FILE)
    with process:
        while not emulator.outbox:
            assert process.poll() is None
            time.sleep(0.01)
        os.close(terminal)  # the kernel hangs up
        process.send_signal(signal.SIGHUP)  # and so does a shell
    assert 130 == process.returncode
    assert {"created", "not_sent"} == statuses(folder)


@pytest.mark.parametrize(("words", "start", "code"), [
    (COMMAND, Program, 130),
    pytest.param(["nohup", sys.executable, *COMMAND], subprocess.Popen, 0, marks=pytest.mark.slow),
])  # fmt: skip
def test_a_hangup_stops_a_run_unless_it_was_ignored_before(running, emulator, folder, *, words, start, code):
    """It finishes what is in flight, however often it comes; under nohup the run goes on to its end."""
    write_contacts(folder, ROWS)
    with running(*words, *TO_A_FILE, answers_after=0.3, start=start) as process:
        process.send_signal(signal.SIGHUP)
        said = process.stderr.readline()
        while code == 130 and "stopping" not in said:
            said += process.stderr.readline()
        process.send_signal(signal.SIGHUP)
        said += process.communicate(timeout=60)[1]
    assert code == process.returncode, said
    assert (ROWS == len(emulator.outbox)) is (code == 0)
    assert ("stopping" in said) is (code == 130)
    assert "unknown" not in statuses(folder)
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("signals", "left_after"), [(1, "1 created · 1 not sent"), (2, "1 not sent · 1 unknown")]
)
def test_interrupts_finish_what_is_in_flight_or_leave_at_once(running, signals, left_after):
    """The first Ctrl-C waits for the answers, the second does not; both print how to go on."""
    command = [*COMMAND, *ENROLL, "--ledger", "my ledger.db"]
    with running(*command, answers_after=1.0 if signals == 1 else 600.0) as process:
        process.send_signal(signal.SIGINT)
        while "stopping: no more rows are taken" not in (line := process.stderr.readline()):
            assert line
        if signals == 2:
            process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert 130 == process.returncode
    assert left_after in said
    assert "\nNext      the same command again: it goes on where it stopped\n" in said
    assert "enroll" not in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_an_interrupt_keeps_the_links_that_were_read_back(finish, emulator, folder, variables):
    """The results have every row, with the links so far; the run is summed up, and the same command reads the rest."""
    rows_there = 20
    write_contacts(folder, rows_there)
    finish(*COMMAND, *ENROLL, "--yes")
    results = folder / "contacts.results.csv"
    results.unlink()
    sent = len(emulator.requests)
    emulator.fail("GET /interviews/{id}", how="slow", seconds=0.2, at="after_commit", times=None)
    words = [*COMMAND, *ENROLL, "--yes"]
    with Program(words, cwd=folder, env=variables, text=True, stderr=subprocess.PIPE) as process:
        while len(emulator.requests) < sent + 9:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert 130 == process.returncode, said
    assert f"\n{rows_there} done before" in said
    assert "Traceback" not in said
    rows = list(csv.DictReader(results.read_text().splitlines()))
    links = sum(bool(row["survey_url"]) for row in rows)
    assert (rows_there, True) == (len(rows), 0 < links < rows_there)
    emulator.heal()
    sent = len(emulator.requests)
    assert 0 == finish(*COMMAND, *ENROLL, "--yes").returncode
    assert rows_there - links == len(emulator.requests) - sent
    assert all(row["survey_url"] for row in csv.DictReader(results.read_text().splitlines()))


def test_an_interrupt_without_a_ledger_warns(running):
    """Nobody is told to run the same command again where nothing remembers who was sent."""
    with running(*COMMAND, *ENROLL, "--no-ledger", answers_after=0.3) as process:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert 130 == process.returncode
    assert "Next      not the whole file again: without a ledger nothing remembers who" in said


TO_STDOUT = [*COMMAND, *ENROLL, "--ledger", "a.db", "--yes", "--output", "-"]


def test_a_full_disk_stops_the_run_and_is_said(finish, folder):
    """It is no traceback; where stdout takes nothing at all, nothing is sent."""
    write_contacts(folder, 300)
    with open("/dev/full", "w") as full:
        done = finish(*TO_STDOUT, stdout=full)
    assert 2 == done.returncode, done.stderr
    assert "stdout cannot be written: No space left on device" in done.stderr
    assert " created" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_has_left_stops_the_run_and_is_said(leave_early, folder):
    """It is no traceback, and what was sent is summed up."""
    write_contacts(folder, 300)
    code, said = leave_early(*TO_STDOUT, characters=1)
    assert 1 == code, said
    assert "the results cannot be written any more" in said
    assert " created" in said
    assert "Traceback" not in said


def test_closed_ends_are_no_traceback(finish, leave_early):
    """A reader that leaves early, and an input that is not there, end a command quietly."""
    finish(*COMMAND, *ENROLL, "--ledger", "a.db")
    code, said = leave_early(*COMMAND, "ledger", "show", "a.db", characters=0)
    done = finish(*COMMAND, "enroll", "-", "--sequence", "s", stdin=CLOSED)
    assert (1, 2) == (code, done.returncode), said + done.stderr
    for each in (said, done.stderr):
        assert "Traceback" not in each
        assert "BrokenPipe" not in each


def test_a_closed_stdout_is_no_end_of_a_run(finish, emulator):
    """What prints nothing needed is done; a run whose results would be nowhere sends nothing."""
    for words, code in (
        ([*ENROLL, "--output", "-"], 2),
        (ENROLL, 0),
        (["get", "1"], 0),
        ([*ENROLL, "--dry-run"], 0),
    ):
        done = finish(*COMMAND, *words, stdout=CLOSED)
        assert code == done.returncode, done.stderr
        assert ("stdout is closed" in done.stderr) is (code == 2)
    assert 2 == len(emulator.outbox)


NOTHING_CAN_BE_WRITTEN = (
    "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY)); "
)


@pytest.mark.parametrize("words", ["- --no-ledger --yes", "- --dry-run"])
def test_no_folder_for_temporary_files_is_no_end_of_a_run(finish, emulator, folder, variables, words):
    """In a container that is read-only memory has to do."""
    start = f"{NOTHING_CAN_BE_WRITTEN}import sys; from hindsight_async.__main__ import main; sys.exit(main())"
    with (folder / "contacts.csv").open() as contacts:
        command = ["-c", start, "enroll", *words.split(), "--sequence", "seq_1"]
        done = finish(*command, stdin=contacts, env=without_coverage(variables))
    assert (0, 0 if "--dry-run" in words else 2) == (done.returncode, len(emulator.outbox))
    assert "Traceback" not in done.stderr


def test_more_duplicates_than_a_page_are_found_without_a_temporary_file(finish, variables):
    """Where none can be made, keys are remembered in memory."""
    look = "print(sum(seen.first_index(f'key-{n}' * 9, n) == n for n in [*range(50_000), *range(50_000)]))"
    code = f"{NOTHING_CAN_BE_WRITTEN}from hindsight_async.delivery.input import SeenKeys\nwith SeenKeys() as seen: {look}"
    done = finish("-c", code, env=without_coverage(variables))
    assert ("100000\n", "") == (done.stdout, done.stderr)


@pytest.mark.parametrize(
    "words", ["enroll contacts.csv --sequence s --no-ledger --output -", "get 1", "demo --csv contacts.csv"]
)
def test_what_other_programs_read_is_utf_8(finish, emulator, folder, variables, words):
    """Whatever the locale, no character ends a command."""
    (folder / "contacts.csv").write_text(
        "Email,Full Name,Note\nzoë@acme.example,Zoë 🎉,🎉\n", encoding="utf-8"
    )
    emulator.fail("GET /interviews/{id}", how=200, body={"objective": "Zoë 🎉"})
    latin = {**variables, "PYTHONIOENCODING": "latin-1"}
    done = finish(*COMMAND, *words.split(), env=latin, text=False)
    assert 0 == done.returncode, done.stderr
    assert "zoë" in done.stdout.decode("utf-8").lower()


@pytest.mark.parametrize("words", ["enroll - --sequence seq_1 --ledger a.db", "update -", "get 1"])
@pytest.mark.parametrize("variable", ["HINDSIGHT_API_KEY", "HINDSIGHT_BASE_URL"])
def test_a_missing_key_or_a_wrong_address_is_said_before_anything_is_read(
    finish, folder, variables, words, variable
):
    """Nobody types in a file and answers questions for a command that cannot send."""
    reads, writes = os.pipe()  # which never ends, so that a command that reads it is not back in time
    wrong = {**variables, variable: "" if variable.endswith("KEY") else "x"}
    try:
        done = finish(*COMMAND, *words.split(), stdin=reads, env=wrong)
    finally:
        os.close(writes)
        os.close(reads)
    assert (2, "") == (done.returncode, done.stdout)
    assert variable in done.stderr
    assert ["contacts.csv"] == [file.name for file in folder.iterdir()]


@pytest.mark.slow
def test_what_was_made_on_a_disk_that_is_full_makes_exit_code_3(running, emulator, folder):
    """The results have the ids of what the ledger could not take, and the last line counts them."""
    write_contacts(folder, 40)
    command = [*COMMAND, *ENROLL, "--ledger", "l.db", "--yes", "--output", "-"]
    with running(*command, answers_after=0.5, sees_requests=2, stdout=subprocess.PIPE) as process:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        out, err = process.communicate(timeout=60)
    made = [row for row in csv.DictReader(out.splitlines()) if row["status"] == "created"]
    assert 3 == process.returncode, err
    assert {email.address for email in emulator.outbox} == {row["Email"] for row in made}
    assert all(row["interview_request_id"] for row in made)
    assert "could not be recorded" in err
