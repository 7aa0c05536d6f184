"""The command line; as a process where that is the point."""

import io
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from hindsight_async.cli.demo import contacts_in, sample_contacts

COMMAND = [sys.executable, "-W", "error", "-m", "hindsight_async"]
PLAIN = {**os.environ, "COLUMNS": "200", "TERM": "dumb"}


def run(*arguments, **options):
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False, env=PLAIN, **options
    )


def run_in_terminal(*arguments, columns=120):
    """Run in a pseudo-terminal; return the exit code and all that a person would see."""
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover  the child becomes the command
        os.execve(
            COMMAND[0], [*COMMAND, *arguments], {**os.environ, "COLUMNS": str(columns), "TERM": "xterm"}
        )
    seen = b""
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:
            break
        if not chunk:
            break
        seen += chunk
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen.decode()


def test_the_demo_in_a_pipe_prints_plain_lines():
    """One line per contact with id, status and link, and a last one that sums up."""
    done = run("demo")
    assert (0, "enrolling 25 contacts on a local emulator (growth plan)\n") == (done.returncode, done.stderr)
    *rows, summary, _ = done.stdout.splitlines()
    assert 25 == len(rows)
    for row in rows:
        address, number, status, link = row.split("\t")
        assert "@" in address
        assert number.isdigit()
        assert "sent" == status
        assert link.startswith("http://127.0.0.1:")
    assert summary.startswith("25 contacts enrolled, 25 emails in the emulator's outbox.")
    assert "\x1b" not in done.stdout + done.stderr


def test_the_demo_on_a_terminal_shows_a_bar_and_a_table():
    """A person sees progress, and whole links."""
    code, seen = run_in_terminal("demo")
    assert 0 == code
    assert "25/25" in seen
    assert "survey link" in seen
    assert "yusuf.demir@bosphorus.example" in seen


def test_the_demo_fits_a_narrow_terminal():
    """At 80 columns no line is longer, and each link stands whole in one."""
    code, seen = run_in_terminal("demo", columns=80)
    assert 0 == code
    lines = [
        line.strip() for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen).replace("\r", "\n").splitlines()
    ]
    assert 80 >= max(map(len, lines))
    assert 25 == sum(
        bool(re.match(r"http://127\.0\.0\.1:\d+/survey\?token=tok_[0-9a-f]{24}$", line)) for line in lines
    )


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
    assert "2 contacts enrolled, 1 email in the emulator's outbox." in done.stdout


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
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
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
    assert "Enroll the contacts of a CSV file on a local emulator" in done.stdout


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_emulator_serves_until_it_is_told_to_stop(end):
    """The two printed variables lead another program to it, and a signal ends it cleanly."""
    with subprocess.Popen(
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
