"""The command line; as a process where that is the point."""

import io
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import suppress

import pytest

from hindsight_async.cli.demo import contacts_in, sample_contacts
from loaded_python import COMMAND, Program

PLAIN = {**os.environ, "COLUMNS": "200", "TERM": "dumb"}


def run_in_terminal(*arguments, columns=120, **variables):
    """Run in a pseudo-terminal; return the exit code and all that a person would see."""
    terminal, theirs = pty.openpty()
    variables = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm", **variables}
    ends = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
    seen = b""
    with Program([*COMMAND, *arguments], env=variables, has_terminal=True, **ends) as process:
        os.close(theirs)
        with suppress(OSError):  # the last one who had it open has closed it
            while chunk := os.read(terminal, 65536):
                seen += chunk
        os.close(terminal)
    return process.returncode, seen.decode()


def test_the_demo_in_a_pipe_prints_plain_lines():
    """One line per contact with id, status and link; what a person reads goes to stderr."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *COMMAND, "demo"],
        capture_output=True, text=True, timeout=60, check=False, env=PLAIN,
    )  # fmt: skip
    assert 0 == done.returncode
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert 25 == len(rows)
    for address, number, _, link in rows:
        assert "@" in address
        assert number.isdigit()
        assert link.startswith("http://127.0.0.1:")
    assert ["completed", *["sent"] * 24] == [status for _, _, status, _ in rows]
    assert "enrolling 25 contacts (growth plan)\n" in done.stderr
    assert "25 contacts enrolled, 25 emails in the emulator's outbox.\n" in done.stderr
    assert done.stderr.endswith("Look around: hindsight-async demo --open\n")
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize("columns", [80, 120])
def test_the_demo_on_a_terminal_shows_a_table_and_what_was_said(columns):
    """A person sees progress, some of the contacts, and a whole interview; no line is longer than 80 columns."""
    code, seen = run_in_terminal("demo", columns=columns)
    lines = [
        line.rstrip() for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen).replace("\r", "\n").splitlines()
    ]
    assert 0 == code
    assert 80 >= max(map(len, lines))
    assert any("25/25" in line for line in lines)
    table = [
        line for line in lines if re.match(r"  \d  \S+@\S+ +(completed|sent) +/survey/…[0-9a-f]{4}$", line)
    ]
    assert 5 == len(table)
    assert table[0].startswith("  1  amara.okafor@northwind.example    completed  /survey/")
    assert "     … 20 more" in lines
    said = lines[lines.index("Amara Okafor answered the interview:") + 1 :]
    assert "  Paige  What decided it in the end?" in said
    assert "  Amara  Pricing, mostly. And their security review took a day." in said


def test_where_others_are_tested_the_demo_draws_nothing_anew():
    """A terminal of a continuous integration keeps each line, so it gets those of a pipe."""
    code, seen = run_in_terminal("demo", CI="true")
    assert 0 == code
    assert "\x1b" not in seen
    assert "25 contacts enrolled" in seen


@pytest.mark.parametrize(("option", "opened"), [("--open", True), ("--keep", False)])
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_stays_up_where_it_is_asked_to(tmp_path, option, opened, end):
    """Until a signal, with a page that shows what was sent; only --open opens a browser."""
    browser = tmp_path / "browser"
    browser.write_text(
        f'#!/bin/sh\necho "$1" > {tmp_path}/opened.part && mv {tmp_path}/opened.part {tmp_path}/opened\n'
    )
    browser.chmod(0o700)
    environment = {**PLAIN, "BROWSER": f"{browser} %s"}
    with Program(
        [*COMMAND, "demo", option],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as kept:
        try:
            page = next(line for line in kept.stderr if line.startswith("Look around: ")).split()[-1]
            assert "Ctrl-C ends it.\n" == kept.stderr.readline()
            while opened and not (tmp_path / "opened").exists():
                assert kept.poll() is None
            with urllib.request.urlopen(page, timeout=30) as answer:
                assert "text/html" in answer.headers["Content-Type"]
            with urllib.request.urlopen(f"{page}_emulator/v1/state", timeout=30) as answer:
                assert {"created": 0, "sent": 24, "completed": 1} == json.load(answer)["interviews"]
        finally:
            kept.send_signal(end)
        _, rest = kept.communicate(timeout=30)
    assert (0, "") == (kept.returncode, rest)
    assert opened == (tmp_path / "opened").exists()
    if opened:
        assert page == (tmp_path / "opened").read_text().strip()


def test_the_demo_takes_a_file_of_ones_own(command_line, tmp_path):
    """A byte order mark, quotes and line ends inside a cell are no trouble; a link-only row gets no email."""
    contacts = tmp_path / "contacts.csv"
    contacts.write_text(
        "\ufeffcontact_email,contact_name,note,interview_type_id\n"
        'a@x.example,"Smith, Ann","two\nlines",\n'
        "b@x.example,Bo,,type_1\n",
        encoding="utf-8",
    )
    done = command_line("demo", "--csv", str(contacts))
    assert 0 == done.returncode
    assert "2 contacts enrolled, 1 email in the emulator's outbox." in done.stderr
    assert "Smith, Ann answered the interview:" in done.stderr


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "empty"),
        (b"Email,Name\n", "no row below"),
        (b"Email\na\nb\n", "given is not\nline 3: contact_email must be one bare email address"),
    ],
)
def test_contacts_that_cannot_be_used_are_named(content, complaint):
    """Every bad row is named by its line and what is wrong with it."""
    with pytest.raises(ValueError, match=complaint):
        contacts_in(io.BytesIO(content))


def test_a_file_that_cannot_be_used_is_a_clear_error(command_line, tmp_path):
    """The file and what is wrong with it, and exit code 2."""
    contacts = tmp_path / "contacts.csv"
    contacts.write_bytes(b"contact_email\n\x81@x.example\n")
    done = command_line("demo", "--csv", str(contacts))
    assert (2, "") == (done.returncode, done.stdout)
    assert f"hindsight-async: cannot read {contacts}: " in done.stderr
    assert "UTF-8" in done.stderr


def test_an_interrupted_demo_leaves_without_a_traceback(tmp_path):
    """Ctrl-C ends it with the exit code that shells expect."""
    contacts = tmp_path / "contacts.csv"
    rows = "".join(f"c{number}@x.example\n" for number in range(1000))
    contacts.write_text(f"contact_email\n{rows}")
    command = [*COMMAND, "demo", "--csv", str(contacts)]
    with Program(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        running.stderr.readline()
        said = running.stderr.readline()
        running.send_signal(signal.SIGINT)
        _, rest = running.communicate(timeout=30)
    assert "enrolling 1,000 contacts" in said
    assert (130, "") == (running.returncode, rest)


def test_a_missing_file_and_a_wrong_word_are_usage_errors(command_line):
    """Exit code 2, and what would be right."""
    missing = command_line("demo", "--csv", "/no/such/file.csv")
    assert 2 == missing.returncode
    assert "No such file" in missing.stderr
    wrong = command_line("emulate", "--plan", "gold")
    assert 2 == wrong.returncode
    assert "enterprise" in wrong.stderr


def test_help_is_no_error(command_line):
    """A command without a word explains itself, and says what each command is for."""
    done = command_line()
    assert (0, "") == (done.returncode, done.stderr)
    assert "See the whole loop on a local emulator, without an account" in done.stdout


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_emulator_serves_until_it_is_told_to_stop(end):
    """The two printed variables lead another program to it, and a signal ends it cleanly."""
    with Program(
        [*COMMAND, "emulate", "--plan", "growth"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as served:
        try:
            address = served.stdout.readline().strip().removeprefix("export HINDSIGHT_BASE_URL=")
            key = served.stdout.readline().strip().removeprefix("export HINDSIGHT_API_KEY=")
            request = urllib.request.Request(
                f"{address}/interviews",
                data=b'{"contact_email": "a@x.example", "sequence_id": "s"}',
                headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=30) as answer:
                assert (201, "300") == (answer.status, answer.headers["X-RateLimit-Limit"])
        finally:
            served.send_signal(end)
        _, said = served.communicate(timeout=30)
    assert 0 == served.returncode
    assert "No email leaves it" in said
    assert f"Remote control: {address.removesuffix('/api/v1')}/_emulator/v1/state\n" in said
    assert "Traceback" not in said


def test_a_port_that_is_taken_is_a_clear_error(command_line):
    """Exit code 2 and the port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = command_line("emulate", "--port", str(port))
    assert 2 == done.returncode
    assert f"cannot listen on port {port}" in done.stderr


def test_without_its_extra_the_command_says_what_to_install():
    """Whoever installed only the core learns the one thing to do."""
    code = (
        "import sys; sys.modules['cyclopts'] = None\n"
        "from hindsight_async.__main__ import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert 2 == done.returncode
    assert "pip install 'hindsight-async[cli]'" in done.stderr


def test_the_sample_is_25_contacts_with_a_context_each():
    """What ships is what the demo promises."""
    with sample_contacts() as file:
        contacts = contacts_in(file)
    assert 25 == len({contact.contact_email for contact in contacts})
    assert all(contact.contact_context["company"] for contact in contacts)


def test_without_its_extra_a_ledger_says_what_to_install():
    """Whoever installed only the core learns the one thing to do for a ledger."""
    code = "import sys; sys.modules['sqlalchemy'] = None\nfrom hindsight_async import Ledger"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert 1 == done.returncode
    assert "sqlalchemy is not installed: Ledger needs pip install 'hindsight-async[bulk]'" in done.stderr
