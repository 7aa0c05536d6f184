"""What a person types: help that fits the terminal, errors in one form, and the options that all commands share."""

import os
import re
import shlex

import pytest

import loaded_python
from hindsight_async.cli import COMMANDS, app
from hindsight_async.cli.shared_options import parse_share
from loaded_python import COMMAND

PARTS = [("ledger", "show"), ("ledger", "resolve"), ("ledger", "forget"), ("queue", "show"), ("queue", "drain"),
         ("queue", "pause"), ("queue", "resume"), ("deals", "list"), ("deals", "count"), ("deals", "export"),
         ("documents", "upload")]  # fmt: skip
EVERY_COMMAND = [(name,) for name in COMMANDS] + PARTS
SENDING = [("enroll",), ("update",), ("get",), ("status",), ("transcripts",), ("queue", "drain")]


def help_of(command_line, *words, columns=80):
    done = command_line(*words, "--help", COLUMNS=str(columns))
    assert (0, "") == (done.returncode, done.stderr)
    return done.stdout


def test_the_program_lists_each_command_with_its_line(command_line):
    """In groups, what to begin with first; then three examples."""
    text = help_of(command_line)
    listed = re.findall(r"^  ([a-z]+) {2,}\S", text, re.MULTILINE)
    assert list(COMMANDS) == listed
    headings = re.findall(r"^[A-Z][^:\n.]*$", text, re.MULTILINE)
    assert [
        "Start here",
        "Interviews",
        "Deals, documents, questions",
        "Records and tools",
        "Options",
        "Examples",
    ] == headings
    assert 3 == len(text.partition("Examples\n")[2].splitlines())


@pytest.mark.parametrize("words", EVERY_COMMAND, ids=" ".join)
@pytest.mark.parametrize("columns", [80, 120])
def test_help_fits_the_terminal_and_ends_with_examples(command_line, words, columns):
    """No line is longer, or carries spaces that nobody sees; each example is one that the command takes."""
    text = help_of(command_line, *words, columns=columns)
    lines = text.splitlines()
    assert columns >= max(map(len, lines))
    _, found, shown = text.partition("\nExamples\n")
    assert found
    for example in shown.splitlines():
        program, *typed = shlex.split(example.partition(" < ")[0])
        assert "hindsight-async" == program
        assert [*words] == typed[: len(words)]
        app.parse_args(typed, exit_on_error=False, print_error=False)


@pytest.mark.parametrize(
    ("typed", "complaint"),
    [
        (("stats",), 'unknown command "stats". Did you mean "status"?\n  hindsight-async --help'),
        (("status", "--nonsense"), "unknown option: --nonsense\n  hindsight-async status --help"),
        (("ledger", "show"), "ledger show needs LEDGER\n  hindsight-async ledger show --help"),
        (("ledger", "show", "a", "b c"), "nothing is meant by 'b c'\n  hindsight-async ledger show --help"),
        (("deals", "list", "--limit"), "--limit needs a value\n  hindsight-async deals list --help"),
        (("status", "--every", "x"), "invalid value for --every: unable to convert"),
        (("get",), "get needs interview ids, such as 4821"),
        (("transcripts", "1"), "give either --to FOLDER or --csv FILE"),
    ],
)
def test_each_error_has_one_form(command_line, typed, complaint):
    """The program's name, what is wrong, and where the right words are explained; exit code 2."""
    done = command_line(*typed)
    assert (2, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith(f"hindsight-async: {complaint}")


@pytest.mark.parametrize("words", SENDING, ids=" ".join)
def test_what_sends_many_shares_the_plan(command_line, words):
    """By a fixed part, or by a Redis; the help has both apart from the command's own options."""
    shared = help_of(command_line, *words).partition("Plan, other processes, log\n")[2]
    for option in ("--plan", "--share", "--budget", "--organisation", "--verbose, -v"):
        assert f"\n  {option}" in f"\n{shared}"


@pytest.mark.parametrize(
    ("text", "share"), [(None, 1.0), ("1/4", 0.25), ("0.5", 0.5), ("1", 1.0), ("57/100", 0.57)]
)
def test_a_share_is_a_part_of_the_plan(text, share):
    """As a fraction or a decimal."""
    assert share == parse_share(text)


@pytest.mark.parametrize("text", ["0", "5/4", "-1/2", "1/0", "a quarter", ""])
def test_a_share_that_is_none_is_refused(text):
    """The text says what would be one."""
    with pytest.raises(ValueError, match="--share takes a part of the plan, such as 1/4"):
        parse_share(text)


def test_a_share_slows_a_dry_run_down(emulated_command, tmp_path):
    """What it says of the time is for this process's part."""
    (tmp_path / "c.csv").write_text("email\n" + "".join(f"p{n}@acme.example\n" for n in range(240)))
    words = ["enroll", "c.csv", "--sequence", "seq_1", "--dry-run", "--plan", "essentials"]
    whole, part = emulated_command(*words), emulated_command(*words, "--share", "1/4")
    assert [0, 0] == [whole.returncode, part.returncode]
    assert "15 requests" in part.stderr or "15 a minute" in part.stderr
    assert whole.stderr != part.stderr


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--share", "2"), "--share takes a part of the plan"),
        (("--share", "1/2", "--budget", "redis://127.0.0.1:1/0"), "give --share, a fixed part of the plan, or --budget"),
        (("--budget", "http://u:secret@x/0"), "--budget: redis must be a URL such as"),
        (("--budget", "redis://127.0.0.1:1/0", "--organisation", ""), "--budget: organisation must be a name"),
    ],
)  # fmt: skip
def test_wrong_shares_are_said_before_anything_is_read(emulated_command, emulator, options, complaint):
    """Exit code 2, and no password of a Redis."""
    done = emulated_command("get", "1", *options)
    assert 2 == done.returncode
    assert complaint in done.stderr
    assert "secret" not in done.stderr
    assert [] == emulator.requests


@pytest.mark.servers
def test_processes_share_the_plan_through_redis(emulated_command, emulator, redis):
    """Each read is counted there."""
    done = emulated_command("get", "0", "--budget", redis.url, "--organisation", "acme")
    assert 1 == done.returncode
    assert "not_found" in done.stderr
    assert 1 == len(emulator.requests)
    assert b":0" != redis.command("DBSIZE").strip()


@pytest.mark.parametrize(("flag", "level"), [("-v", "INFO"), ("-vv", "DEBUG")])
def test_the_log_is_said_as_far_as_is_asked(emulator, flag, level):
    """What went wrong by -v, each step by -vv; never the key."""
    variables = {"HINDSIGHT_API_KEY": emulator.api_key, "HINDSIGHT_BASE_URL": emulator.base_url}
    words = [*COMMAND, "get", "77", flag]
    done = loaded_python.run(words, env={**os.environ, **variables}, capture_output=True, text=True)
    levels = set(re.findall(r"^[-0-9: ,]+ ([A-Z]+) hindsight_async", done.stderr, re.MULTILINE))
    assert level in levels
    assert (flag == "-vv") is ("DEBUG" in levels)
    assert emulator.api_key not in done.stderr


def test_get_keeps_the_order_and_the_links_to_itself(emulated_command, emulator, tmp_path):
    """Many are read at once and shown as they were asked for; the link that opens one only where it is asked for."""
    (tmp_path / "c.csv").write_text("email\n" + "".join(f"p{n}@acme.example\n" for n in range(30)))
    emulated_command("enroll", "c.csv", "--sequence", "seq_1", "--yes", "--output", "r.csv")
    emulator.complete(3, "**Paige:** Why?")
    emulator.fail("GET /interviews/{id}", how="slow", seconds=0.3, times=1)
    ids = [str(number) for number in (7, 3, 30, *range(8, 29))]
    done = emulated_command("get", *ids, "--json")
    assert 0 == done.returncode
    assert ids == re.findall(r'^\{"interview_request_id": (\d+)', done.stdout, re.MULTILINE)
    assert "survey" not in done.stdout
    shown = emulated_command("get", "3", "7")
    assert re.match(r"interview_request_id +3\nstatus +completed\n", shown.stdout)
    assert "\n\n**Paige:** Why?\n\ninterview_request_id  7\n" in shown.stdout
    assert "survey" not in shown.stdout
    assert "/survey?token=" in emulated_command("get", "3", "--links").stdout


def test_a_wrong_key_ends_a_get_of_many_with_one_line(emulated_command):
    """Not one for each interview."""
    done = emulated_command("get", "1", "2", "3", HINDSIGHT_API_KEY="wrong")
    assert (2, "") == (done.returncode, done.stdout)
    assert 1 == done.stderr.count("401")


def test_a_ledger_is_shown_as_json_too(emulated_command, tmp_path):
    """With the names of its columns."""
    (tmp_path / "c.csv").write_text("email\nann@acme.example\n")
    emulated_command("enroll", "c.csv", "--sequence", "seq_1", "--output", "r.csv")
    done = emulated_command("ledger", "show", "c.hindsight.db", "--json")
    assert (
        '"number": 1, "contact_email": "ann@acme.example", "status": "created", "interview_request_id": 1'
        in done.stdout
    )
    assert 1 == done.stdout.count("\n")
    backlog = emulated_command("queue", "show", "c.hindsight.db", "--json")
    assert (
        '{"queued": 0, "sending": 0, "oldest": null, "paused_because": null, "paused_at": null}\n'
        == backlog.stdout
    )


@pytest.mark.parametrize("variable", ["CI", "NO_COLOR"])
def test_no_colour_where_none_is_wanted(monkeypatch, variable):
    """Both are heard, and in CI nothing is redrawn either."""
    from hindsight_async.cli.terminal import open_console

    for name in ("CI", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert (True, False) == (open_console().is_terminal, open_console().no_color)
    monkeypatch.setenv(variable, "1")
    assert (variable != "CI") is open_console().is_terminal
    assert ("CI" == variable) or open_console().no_color


def test_completion_is_installed_for_a_shell(command_line, tmp_path):
    """With each command in it."""
    target = tmp_path / "completion.bash"
    done = command_line(
        "--install-completion", "--shell", "bash", "--output", str(target), HOME=str(tmp_path)
    )
    assert 0 == done.returncode
    assert all(name in target.read_text() for name in COMMANDS)
