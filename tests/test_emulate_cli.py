"""`emulate`: what it takes, prints, logs and keeps."""

import http.client
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doc_pages import PAGES
from hindsight_async.cli.emulate import emulate
from hindsight_async.cli.fault_words import parse_fault
from hindsight_async.cli.request_log import line_of
from hindsight_async.cli.shells import SYNTAXES, assigned
from hindsight_async.emulator import Emulator, ReceivedRequest
from loaded_python import COMMAND, Program

LOST_SECONDS = 1.0
"""How old the youngest thing may be that a kill takes along."""


class Served:
    """An `emulate` that runs, by what it has printed."""

    def __init__(self, process):
        self.process = process
        self.address = process.stdout.readline().strip().removeprefix("export HINDSIGHT_BASE_URL=")
        self.key = process.stdout.readline().strip().removeprefix("export HINDSIGHT_API_KEY=")

    def ask(self, path, body=None, **headers):
        """Return the status and the document of an answer."""
        headers |= {"Authorization": f"Bearer {self.key}"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def create(self, **fields):
        return self.ask(
            "/interviews", {"contact_email": "jane@acme.example", "sequence_id": "seq_1"} | fields
        )

    def end(self, by=signal.SIGTERM):
        """Stop it, and return what it has said."""
        self.process.send_signal(by)
        _, said = self.process.communicate(timeout=30)
        return said


@contextmanager
def served(*options, start=Program):
    words = [*COMMAND, "emulate", *options]
    with start(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield Served(process)
        finally:
            process.kill()


def test_its_options_reach_the_emulator_and_each_request_has_its_line():
    """Key, ids and faults as given; in the log neither the key, nor an address, nor what a path says."""
    options = [
        "--api-key",
        "k3y.of-ours",
        "--sequence",
        "seq_1",
        "--sequence",
        "seq_2",
        "--interview-type",
        "type_1",
    ]
    faults = ["--fault", "POST /interviews 503 times=2", "--fault", "GET /interviews/{id} slow seconds=0.1"]
    with served("--plan", "growth", *options, *faults) as emulator:
        assert "k3y.of-ours" == emulator.key
        answers = [
            emulator.create(),
            emulator.create(),
            emulator.create(),
            emulator.create(sequence_id="seq_9"),
            emulator.ask("/interviews/1?note=ann@acme.example"),
            emulator.ask("/nowhere/ann@acme.example"),
        ]
        assert [503, 503, 201, 400, 200, 404] == [status for status, _ in answers]
        assert "sequence_id not found" == answers[3][1]["error"]["message"]
        said = emulator.end()
    assert 0 == emulator.process.returncode
    logged = re.findall(r"^\d\d:\d\d:\d\d  (\S.*?) +(\d{3}|cut off) +([\d.]+) ms$", said, re.MULTILINE)
    assert [
        ("POST /interviews", "503"), ("POST /interviews", "503"), ("POST /interviews", "201"),
        ("POST /interviews", "400"), ("GET /interviews/{id}", "200"), ("GET (no such route)", "404"),
    ] == [entry[:2] for entry in logged]  # fmt: skip
    assert 100 <= float(logged[4][2])
    for secret in ("k3y", "acme", "\x1b", "tok_"):
        assert secret not in said
    assert 80 >= max(map(len, said.splitlines()))


def test_what_it_keeps_is_there_after_a_kill_and_after_an_end(tmp_path):
    """With the key, which is as good then as the interviews."""
    state = ["--state", str(tmp_path / "state")]
    with served(*state) as first:
        assert 1 == first.create()[1]["interview_request_id"]
        while b'"interview"' not in (tmp_path / "state").read_bytes():
            assert first.process.poll() is None
        first.end(signal.SIGKILL)
    with served(*state) as second:
        assert first.key == second.key
        assert 2 == second.create()[1]["interview_request_id"]
        said = second.end()
    assert "1 interview of earlier starts." in said
    with served(*state) as third:
        assert "sent" == third.ask("/interviews/2")[1]["status"]


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.7, 1.3, 2.1, 2.9])
def test_a_kill_takes_along_no_more_than_a_second(tmp_path, after):
    """In the middle of steady work; the file is whole whenever the kill comes."""
    answered = {}
    state = ["--state", str(tmp_path / "state"), "--plan", "enterprise", "--window", "sliding"]
    with served(*state) as first:

        def work():
            try:
                while True:
                    answered[first.create()[1]["interview_request_id"]] = time.monotonic()
                    time.sleep(0.01)
            except (OSError, KeyError, ValueError):  # it is dead, or the plan is used up
                pass

        worker = threading.Thread(target=work)
        worker.start()
        time.sleep(after)
        first.process.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        worker.join()
    with served(*state) as second:
        old = {number for number, moment in answered.items() if moment < killed - LOST_SECONDS}
        assert 200 == second.ask(f"/interviews/{max(old)}")[0] if old else True
        status, created = second.create()
    assert 201 == status
    assert max(old, default=0) < created["interview_request_id"] <= max(answered) + 1


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the memory of a process is read from /proc"
)
def test_ten_thousand_interviews_take_less_than_a_hundred_megabytes(tmp_path):
    """Of the whole process, with the log of requests and the file of its state."""
    body = json.dumps(
        {
            "contact_email": "jane@acme.example",
            "sequence_id": "seq_1",
            "objective": "Why?",
            "contact_context": {"title": "CTO"},
        }
    )

    def start(words, **ends):
        return subprocess.Popen([sys.executable, *words], **ends)  # with no more loaded than it needs

    with served("--state", str(tmp_path / "state"), start=start) as emulator:
        drain = threading.Thread(target=emulator.process.stderr.read)  # which else would be full
        drain.start()
        connection = http.client.HTTPConnection(urlsplit(emulator.address).netloc)

        def ask(method, path, body, **headers):
            connection.request(method, path, body, {"Content-Type": "application/json", **headers})
            answer = connection.getresponse()
            answer.read()
            return answer.status

        assert 200 == ask("PATCH", "/_emulator/v1/settings", '{"requests_per_minute": 1000000}')
        for _ in range(10_000):
            assert 201 == ask("POST", "/api/v1/interviews", body, Authorization=f"Bearer {emulator.key}")
        connection.close()
        status = Path(f"/proc/{emulator.process.pid}/status").read_text()
        assert 100_000 > int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])
        emulator.process.terminate()
        drain.join()
        emulator.process.wait(30)
    assert 10_000 == (tmp_path / "state").read_bytes().count(b'{"interview":')


def test_beyond_this_machine_it_says_so_and_is_reached_by_its_services_name():
    """Its own variables lead to it from here all the same."""
    with served("--host", "0.0.0.0") as emulator:
        assert emulator.address.startswith("http://127.0.0.1:")
        status, created = emulator.ask(
            "/interviews", {"contact_email": "a@acme.example", "sequence_id": "s"}, Host="emulator:8123"
        )
        assert (201, True) == (status, created["survey_url"].startswith("http://emulator:8123/survey?token="))
        said = emulator.end(signal.SIGINT)
    assert "Warning: it listens on 0.0.0.0. Everybody on this network can look into it" in said
    assert "allow_plain_http=True" in said
    assert 80 >= max(map(len, said.splitlines()))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "emulator.example"], "host must be an IP address such as 127.0.0.1, not 'emulator.example'"),
        (["--host", "192.0.2.1"], "cannot listen on 192.0.2.1, port 0: "),
        (["--api-key", "two words"], "--api-key must be letters, digits and"),
        (["--api-key", ""], "--api-key must be letters, digits and"),
        (["--latency", "-1"], "latency must be at least 0 seconds, not -1.0"),
        (["--fault", "POST /interview 503"], "--fault 'POST /interview 503': route must be one of POST /interviews, "),
        (["--fault", "503 many=3"], "a fault has no many=: it takes at, times, seconds, status, to, retry_after"),
        (["--fault", "503 times=often"], "times= must be a whole number or forever, not 'often'"),
        (["--fault", "slow seconds=x"], "seconds= must be a number, not 'x'"),
        (["--fault", "slow"], "how='slow' needs seconds=, more than 0"),
        (["--fault", "explode"], "how must be a status or one of disconnect, reset, slow"),
        (["--fault", "99"], "status must be from 200 to 599, not 99"),
        (["--fault", ""], "a fault is written like 'POST /interviews 503 times=3'"),
        (["--fault", "POST /interviews times=3 503"], "a fault is written like"),
        (["--state", "/no/such/folder/state"], "there is no folder /no/such/folder for a state file"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_said_with_what_would_be_right(command_line, options, said):
    """Exit code 2, and nothing is served."""
    done = command_line("emulate", *options)
    assert (2, "") == (done.returncode, done.stdout)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_page_describes_each_option():
    """In the order of the command's own help."""
    page = (PAGES / "emulator.md").read_text(encoding="utf-8")
    options = [f"--{name.replace('_', '-')}" for name in inspect.signature(emulate).parameters]
    assert options == re.findall(r"^\| `(--[a-z-]+)` \|", page, re.MULTILINE)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("503", {"route": "*", "how": 503}),
        ("* reset", {"route": "*", "how": "reset"}),
        ("POST /interviews 503 times=3", {"route": "POST /interviews", "how": 503, "times": 3}),
        (
            "GET /interviews/{id} slow seconds=0.5 times=forever at=after_commit",
            {"route": "GET /interviews/{id}", "how": "slow", "seconds": 0.5, "times": None, "at": "after_commit"},
        ),
        ("429 retry_after=30", {"route": "*", "how": 429, "retry_after": 30}),
        ("503 retry_after=soon", {"route": "*", "how": 503, "retry_after": "soon"}),
        ("html status=500", {"route": "*", "how": "html", "status": 500}),
        ("redirect to=https://h.example/?a=b", {"route": "*", "how": "redirect", "to": "https://h.example/?a=b"}),
    ],
)  # fmt: skip
def test_a_fault_is_typed_in_the_words_of_the_library(text, fault):
    """What is read is what `fail` takes."""
    assert fault == parse_fault(text)
    Emulator().fail(**parse_fault(text))


@given(st.text())
def test_any_text_is_a_fault_or_a_clear_error(text):
    """No other error, whatever is typed."""
    with suppress(ValueError):
        assert parse_fault(text)


def test_the_variables_are_as_each_shell_takes_them():
    """Also an address with brackets, which are patterns to some."""
    values = {"HINDSIGHT_BASE_URL": "http://[::1]:8123/api/v1", "HINDSIGHT_API_KEY": "k3y=="}
    assert {
        "sh": ["export HINDSIGHT_BASE_URL='http://[::1]:8123/api/v1'", "export HINDSIGHT_API_KEY=k3y=="],
        "fish": ["set -gx HINDSIGHT_BASE_URL 'http://[::1]:8123/api/v1'", "set -gx HINDSIGHT_API_KEY k3y=="],
        "powershell": [
            "$env:HINDSIGHT_BASE_URL = 'http://[::1]:8123/api/v1'",
            "$env:HINDSIGHT_API_KEY = 'k3y=='",
        ],
        "env": ["HINDSIGHT_BASE_URL=http://[::1]:8123/api/v1", "HINDSIGHT_API_KEY=k3y=="],
    } == {syntax: assigned(values, syntax) for syntax in SYNTAXES}


@pytest.mark.parametrize("syntax", ["sh", "env"])
def test_what_a_shell_can_read_it_reads(syntax):
    """The lines for sh, and those of a file that is sourced with every variable exported."""
    lines = "\n".join(
        assigned({"HINDSIGHT_BASE_URL": "http://[::1]:1/api", "HINDSIGHT_API_KEY": "a~b+/c="}, syntax)
    )
    script = f"set -a\n{lines}\nenv"
    done = subprocess.run(["sh", "-c", script], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True)  # fmt: skip
    assert {"HINDSIGHT_BASE_URL=http://[::1]:1/api", "HINDSIGHT_API_KEY=a~b+/c="} <= set(
        done.stdout.splitlines()
    )


def test_one_syntax_is_printed_where_it_is_asked_for():
    """Into a file, say."""
    with served("--variables", "env", "--api-key", "k3y") as emulator:
        assert emulator.address.startswith("HINDSIGHT_BASE_URL=http://127.0.0.1:")
        assert "HINDSIGHT_API_KEY=k3y" == emulator.key
        emulator.end()
    assert 0 == emulator.process.returncode


def received(**changes):
    fields = {
        "method": "GET",
        "path": "/api/v1/x@y",
        "route": None,
        "headers": {},
        "arrived_at": 0.0,
        "peer_port": 1,
    }
    return ReceivedRequest(**(fields | changes))


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        (received(route="POST /tools/search-competitive-assets", status=200, seconds=1234.5),
         "09:12:44  POST /tools/search-competitive-assets  200    1,234,500.0 ms"),
        (received(status=404, seconds=0.0004), "09:12:44  GET (no such route)                    404         0.4 ms"),
        (received(method="X@Y", seconds=0.0), "09:12:44  ? (no such route)                      cut off     0.0 ms"),
    ],
    ids=["longest", "unknown", "odd method"],
)  # fmt: skip
def test_a_line_of_the_log_fits_and_shows_no_path(request_, line):
    """Whatever was sent."""
    assert line == line_of(request_, "09:12:44").plain
    assert 80 >= len(line)
