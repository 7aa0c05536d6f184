"""`documents upload`: what a person sees, and the exit codes that a script goes by."""

import json
import os
import pty
import re
import sys
from pathlib import Path

import pytest

ENVIRONMENT = ("HINDSIGHT_API_KEY", "HINDSIGHT_BASE_URL")


@pytest.fixture
def upload(command_line, emulator):
    """Give a test the command, pointed at the emulator."""

    def run(*arguments):
        return command_line(
            "documents", "upload", *arguments,
            **dict(zip(ENVIRONMENT, (emulator.api_key, emulator.base_url), strict=True)),
        )  # fmt: skip

    return run


@pytest.fixture
def files(tmp_path):
    """Give a test two files."""
    for name in ("call.mp3", "notes.md"):
        (tmp_path / name).write_bytes(name.encode())
    return [str(tmp_path / name) for name in ("call.mp3", "notes.md")]


def test_each_file_of_a_deal_is_a_line(upload, files, emulator):
    """Its id, its status, its name and where to see it; the progress is not among the results."""
    done = upload(
        *files, "https://files.example/deck.pptx?t=1", "--deal-id", "deal_1", "--source", "gong", "--links"
    )
    assert (0, "") == (done.returncode, done.stderr)
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    names = ["call.mp3", "notes.md", "deck.pptx"]
    assert [[f"doc_upload_00000{n}", "processing", name] for n, name in enumerate(names, 1)] == [
        line[:3] for line in lines
    ]
    assert all(line[3].startswith("http://127.0.0.1:") for line in lines)
    assert [b"call.mp3", b"notes.md", None] == [each.content for each in emulator.uploads]
    assert {("deal_1", "gong")} == {
        (each.fields["deal_id"], each.fields["source"]) for each in emulator.uploads
    }


def test_with_json_each_is_the_answer_of_the_api(upload, files, emulator):
    """A line that other programs read."""
    done = upload(*files, "--type", "intel", "--competitor-name", "Acme", "--json")
    first, second = map(json.loads, done.stdout.splitlines())
    assert "url" not in first["document"]
    assert ("doc_upload_000001", "intel", "run_upload_000002") == (
        first["document"]["id"],
        first["document"]["type"],
        second["run_id"],
    )
    assert "Acme" == emulator.uploads[1].fields["competitor_name"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--deal-id", "d"], "name at least one file"),
        (["notes.md"], "exactly one of deal_id, salesforce_id and hubspot_id"),
        (["gone.md", "--deal-id", "d"], "gone.md is no file; nothing was sent"),
        (["notes.md", "--deal-id", "d", "--type", "asset"], "--type is for the library"),
        (["notes.md", "--deal-id", "d", "--competitor-id", "c"], "go with --type"),
        (["notes.md", "--type", "note"], "type must be one of asset, intel"),
        (["notes.md", "--deal-id", "d", "--source", "Gong"], "source must be one of gong"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_sent(command_line, files, emulator, arguments, named):
    """Exit code 2, also where one of several files is not there."""
    folder = Path(files[0]).parent
    environment = dict(zip(ENVIRONMENT, (emulator.api_key, emulator.base_url), strict=True))
    done = command_line("documents", "upload", *arguments, folder=folder, **environment)
    assert (2, "") == (done.returncode, done.stdout)
    assert named in done.stderr
    assert [] == emulator.requests


@pytest.mark.parametrize(
    ("fault", "code"), [({"how": 400}, 1), ({"how": "disconnect", "at": "after_commit"}, 3)]
)
def test_a_file_that_fails_keeps_no_other_back(upload, files, emulator, fault, code):
    """It is named with what became of it; an unknown outcome has its own exit code."""
    emulator.fail("POST /deals/documents", **fault)
    done = upload(*files, "--deal-id", "d")
    assert code == done.returncode
    assert 1 == len(done.stdout.splitlines())
    assert f"{files[0]}: POST /deals/documents: " in done.stderr


def in_terminal(arguments, environment, columns=80):
    """Run in a pseudo-terminal; return all that a person would see."""
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover  the child becomes the command
        command = [sys.executable, "-W", "error", "-m", "hindsight_async", *arguments]
        os.execve(
            command[0], command, {**os.environ, **environment, "COLUMNS": str(columns), "TERM": "xterm"}
        )
    seen = b""
    while True:
        try:
            seen += os.read(terminal, 65536)
        except OSError:
            break
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen.decode()


def test_a_bar_fits_a_terminal_of_80_columns(emulator, tmp_path):
    """With a long name and a large file; the result stands below it."""
    path = tmp_path / f"{'A very long recording of a call, ' * 4}.mp3"
    path.write_bytes(bytes(20_000_000))
    environment = dict(zip(ENVIRONMENT, (emulator.api_key, emulator.base_url), strict=True))
    code, seen = in_terminal(["documents", "upload", str(path), "--deal-id", "d"], environment)
    assert 0 == code
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen).replace("\r", "\n").splitlines()
    bars = [line for line in plain if "MB" in line]
    assert bars
    assert 80 >= max(map(len, bars))
    assert "20.0/20.0 MB" in bars[-1]
    assert "doc_upload_000001\tprocessing" in [line for line in plain if line][-1]
