"""The pytest fixture, used by pytest in a process of its own, as a user's test suite would."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest

import loaded_python
from hindsight_async import Plan, testing
from hindsight_async.emulator import Emulator

ROOT = Path(__file__).parent.parent

CONFTEST = 'pytest_plugins = ["hindsight_async.testing"]\n'

LOOP_SCOPE = "asyncio_default_fixture_loop_scope=function"
WORKERS = ("-p", "xdist.plugin", "-n", "2")

CREATE = """
    import json, os, urllib.request

    def create():
        body = json.dumps({"contact_email": "jane@acme.example", "sequence_id": "seq_1"}).encode()
        key = {"Authorization": "Bearer " + os.environ["HINDSIGHT_API_KEY"]}
        request = urllib.request.Request(os.environ["HINDSIGHT_BASE_URL"] + "/interviews", body, key)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
            return json.loads(answer.read())
"""


SHELL = {"HINDSIGHT_API_KEY": "key_real", "HINDSIGHT_BASE_URL": "https://hindsight.invalid/api/v1"}


def run_pytest(folder, source, *options, conftest=CONFTEST, shell=SHELL, start=loaded_python.run):
    (folder / "conftest.py").write_text(conftest)
    (folder / "test_user.py").write_text(textwrap.dedent(CREATE) + textwrap.dedent(source))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    environment |= {**shell, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    words = ["-m", "pytest", "-W", "error", "-q", *options, folder]
    return start(words, cwd=folder, env=environment, capture_output=True, text=True)


PLAIN = """
    import threading
    import pytest
    from hindsight_async import Plan
    from hindsight_async.testing import DEAD_API_KEY, DEAD_BASE_URL

    def test_plain(hindsight_emulator):
        assert os.environ["HINDSIGHT_API_KEY"] == hindsight_emulator.api_key
        assert os.environ["HINDSIGHT_BASE_URL"] == hindsight_emulator.base_url
        assert hindsight_emulator.plan is Plan.ENTERPRISE
        assert create()["status"] == "sent"
        assert [email.address for email in hindsight_emulator.outbox] == ["jane@acme.example"]
        hindsight_emulator.complete(1, transcript="**Paige:** Hello")

    def test_each_test_has_its_own(hindsight_emulator):
        assert hindsight_emulator.outbox == []
        assert create()["interview_request_id"] == 1

    def test_faults_are_scripted_from_the_test(hindsight_emulator):
        hindsight_emulator.fail("POST /interviews", how=500)
        with pytest.raises(OSError, match="500"):
            create()

    def test_a_slow_answer_does_not_hold_up_the_end(hindsight_emulator):
        hindsight_emulator.fail("POST /interviews", how="slow", seconds=3600.0, at="after_commit")
        caller = threading.Thread(target=lambda: pytest.raises(OSError, create))
        caller.start()
        while not hindsight_emulator.outbox:
            pass
        globals()["caller"] = caller

    def test_nothing_is_left_after_the_tests():
        caller.join()
        assert [thread.name for thread in threading.enumerate()] == ["MainThread"]
        assert os.environ["HINDSIGHT_API_KEY"] == DEAD_API_KEY
        assert os.environ["HINDSIGHT_BASE_URL"] == DEAD_BASE_URL
"""

ON_A_LOOP_OF_ITS_OWN = """
    import asyncio

    def test_loop_of_its_own(hindsight_emulator):
        assert asyncio.run(asyncio.to_thread(create))["status"] == "sent"
        assert len(hindsight_emulator.outbox) == 1
"""

COROUTINE = """
    import pytest
    from hindsight_async import CreateInterview, HindsightSession

    {mark}
    async def test_coroutine(hindsight_emulator):
        async with HindsightSession() as hindsight:
            await hindsight.interviews.create(CreateInterview(contact_email="jane@acme.example", sequence_id="seq_1"))
        assert len(hindsight_emulator.outbox) == 1
"""
ON_ANYIO = '@pytest.mark.anyio\n    @pytest.mark.parametrize("anyio_backend", ["asyncio"])'


@pytest.mark.parametrize(
    ("source", "options", "passed"),
    [
        (PLAIN + ON_A_LOOP_OF_ITS_OWN, (), 6),
        (COROUTINE.format(mark="@pytest.mark.asyncio"), ("-p", "pytest_asyncio.plugin", "-o", LOOP_SCOPE), 1),
        (COROUTINE.format(mark=ON_ANYIO), ("-p", "anyio.pytest_plugin"), 1),
    ],
    ids=["without a plugin", "pytest-asyncio", "anyio"],
)
def test_the_fixture_works_whichever_async_plugin_there_is(tmp_path, source, options, passed):
    """Plain tests and coroutines on any plugin reach it; nothing is left when the test is over."""
    result = run_pytest(tmp_path, source, *options)
    assert 0 == result.returncode, result.stdout + result.stderr
    assert f"{passed} passed" in result.stdout
    assert "warning" not in result.stdout


MARKED = """
    import pytest

    pytestmark = pytest.mark.hindsight(plan="growth", sequences=["seq_9"])

    @pytest.mark.hindsight(sequences=["seq_1"], window="sliding")
    class TestMarked:
        def test_the_module_and_the_class(self, hindsight_emulator):
            assert create()["status"] == "sent"
            assert hindsight_emulator.plan.value == os.environ["HINDSIGHT_PLAN"] == "growth"
            assert hindsight_emulator.settings.window == "sliding"

        @pytest.mark.hindsight(sequences=["seq_2"])
        def test_the_nearest_has_the_last_word(self, hindsight_emulator):
            with pytest.raises(OSError, match="400"):
                create()
            assert hindsight_emulator.settings.window == "sliding"
"""

WRONGLY_MARKED = """
    import pytest

    @pytest.mark.hindsight(sequence="seq_1")
    def test_unknown(hindsight_emulator): ...

    @pytest.mark.hindsight("growth")
    def test_no_keyword(hindsight_emulator): ...

    @pytest.mark.hindsight(plan="gold")
    def test_wrong_value(hindsight_emulator): ...

    @pytest.mark.hindsight(sequences="seq_1")
    def test_wrong_type(hindsight_emulator): ...
"""


def test_a_marker_says_what_emulator_a_test_gets(tmp_path):
    """At a test, a class or a module; pytest knows it, also where it is strict."""
    result = run_pytest(tmp_path, MARKED, "-p", "no:asyncio", "--strict-markers")
    assert 0 == result.returncode, result.stdout + result.stderr
    assert "2 passed" in result.stdout


def test_a_wrong_marker_is_an_error_that_says_what_is_right(tmp_path):
    """In one line, without a traceback through this package."""
    result = run_pytest(tmp_path, WRONGLY_MARKED, "-p", "no:asyncio")
    assert 1 == result.returncode
    assert "4 errors" in result.stdout
    for said in (
        "@pytest.mark.hindsight has no sequence: it takes plan, requests_per_minute, window",
        "@pytest.mark.hindsight takes keywords alone, not 'growth'",
        "@pytest.mark.hindsight: plan must be one of essentials, growth, enterprise",
        "@pytest.mark.hindsight: sequences must be a list of ids, not one text",
    ):
        assert said in result.stdout
    assert "Traceback" not in result.stdout
    assert "testing.py" not in result.stdout


QUIET = """
    import asyncio, logging
    from hindsight_async import HindsightSession

    async def enroll(plan):
        async with HindsightSession(plan=plan) as hindsight:
            for number in range(3):
                await hindsight.interviews.create(contact_email=f"{number}@acme.example", sequence_id="seq_1")

    def test_quiet(hindsight_emulator, caplog, recwarn):
        for plan in (None, "growth"):
            asyncio.run(enroll(plan))
        hindsight_emulator.fail("POST /interviews", how="reset")
        try:
            create()
        except OSError:
            pass
        records = [record for when in ("setup", "call") for record in caplog.get_records(when)]
        # asyncio's own debug mode warns of a machine that is slow.
        assert [record for record in records if record.name != "asyncio"] == []
        assert not recwarn.list
        assert len(hindsight_emulator.outbox) == 6
"""


def test_the_fixture_puts_nothing_into_the_log_of_a_test(tmp_path):
    """Nor a warning, also where a session's plan is a smaller one than the emulator's."""
    result = run_pytest(tmp_path, QUIET, "-p", "no:asyncio", shell=SHELL | {"PYTHONASYNCIODEBUG": "1"})
    assert 0 == result.returncode, result.stdout + result.stderr


PORTS = """
    import os, socket
    import pytest

    opened = set()

    def sockets():
        return {target for fd in os.listdir("/proc/self/fd") if (target := link(fd)).startswith("socket:")}

    def link(fd):
        try:
            return os.readlink("/proc/self/fd/" + fd)
        except OSError:
            return ""

    @pytest.mark.parametrize("number", range(10))
    def test_one(hindsight_emulator, number):
        port = int(hindsight_emulator.base_url.split(":")[2].split("/")[0])
        opened.add(port)
        kept_open = socket.create_connection(("127.0.0.1", port))
        kept_open.sendall(b"POST /api/v1/interviews HTTP/1.1\\r\\n")
        globals().setdefault("ours", []).append(kept_open)

    def test_none_is_left():
        for one in ours:
            one.settimeout(5)
            try:
                assert one.recv(1000) == b""
            except ConnectionResetError:
                pass
            one.close()
        assert sockets() == set()
        for port in opened:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port))
"""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open sockets are counted by /proc")
def test_no_port_and_no_connection_is_left_by_the_fixture(tmp_path):
    """Also where a test leaves a connection open, in the middle of a request."""
    result = run_pytest(tmp_path, PORTS, "-p", "no:asyncio")
    assert 0 == result.returncode, result.stdout + result.stderr
    assert "11 passed" in result.stdout


WITH_LEDGER = """
    import asyncio
    import pytest
    from hindsight_async import CreateInterview, HindsightSession, LedgerStatus

    PEOPLE = [CreateInterview(contact_email=f"c{{number}}@acme.example", sequence_id="s") for number in range(3)]

    async def entries(ledger):
        return [entry async for entry in ledger.entries()]

    {mark}
    async def test_a_ledger_of_its_own(hindsight_emulator, hindsight_ledger):
        async with HindsightSession() as hindsight:
            async with hindsight.interviews.create_many(PEOPLE[:1], ledger=hindsight_ledger) as outcomes:
                assert [outcome.response.interview_request_id async for outcome in outcomes] == [1]
        assert [entry.status for entry in await entries(hindsight_ledger)] == [LedgerStatus.CREATED]

    {mark}
    async def test_a_queue_that_sends(hindsight_queue, hindsight_emulator, hindsight_ledger):
        async with hindsight_queue as queue:
            for person in PEOPLE:
                await queue.put(person)
            await queue.drain()
        assert len(hindsight_emulator.outbox) == len(await entries(hindsight_ledger)) == 3

    def test_without_a_loop(hindsight_queue, hindsight_emulator):
        async def put():
            async with hindsight_queue as queue:
                await queue.put(PEOPLE[0])
                await queue.drain()

        asyncio.run(put())
        assert [email.address for email in hindsight_emulator.outbox] == ["c0@acme.example"]

    def test_a_queue_that_nobody_enters(hindsight_queue):
        pass
"""


@pytest.mark.parametrize(
    ("mark", "options"),
    [
        ("@pytest.mark.asyncio", ("-p", "pytest_asyncio.plugin", "-o", LOOP_SCOPE)),
        pytest.param(
            "",
            ("-p", "pytest_asyncio.plugin", "-o", LOOP_SCOPE, "-o", "asyncio_mode=auto"),
            marks=pytest.mark.slow,
        ),
        (ON_ANYIO, ("-p", "anyio.pytest_plugin")),
        pytest.param(ON_ANYIO, ("-p", "anyio.pytest_plugin", *WORKERS), marks=pytest.mark.slow),
    ],
    ids=["pytest-asyncio strict", "pytest-asyncio auto", "anyio", "anyio and workers"],
)
def test_a_ledger_and_a_queue_are_there_whichever_async_plugin_there_is(tmp_path, mark, options):
    """Each test has its own, and nothing is left open."""
    result = run_pytest(tmp_path, WITH_LEDGER.format(mark=mark), *options)
    assert 0 == result.returncode, result.stdout + result.stderr
    assert "4 passed" in result.stdout


def in_development_mode(words, **options):
    started = [sys.executable, "-X", "dev", "-W", "error", *words]
    return subprocess.run(started, timeout=loaded_python.PATIENCE, check=False, **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    "source",
    [PLAIN + ON_A_LOOP_OF_ITS_OWN, QUIET, PORTS, WITH_LEDGER.format(mark="@pytest.mark.asyncio")],
    ids=["plain", "quiet", "ports", "ledger"],
)
def test_the_same_holds_in_pythons_development_mode(tmp_path, source):
    """Which warns of what is left open, and in which asyncio looks more closely."""
    options = (
        ("-p", "pytest_asyncio.plugin", "-o", LOOP_SCOPE) if "asyncio" in source else ("-p", "no:asyncio")
    )
    result = run_pytest(tmp_path, source, *options, start=in_development_mode)
    assert 0 == result.returncode, result.stdout + result.stderr


BUILT_AT_IMPORT = """
    import asyncio
    import pytest
    from hindsight_async import CreateInterview, HindsightSession, NotSentError, RetryPolicy

    hindsight = HindsightSession(retry=RetryPolicy(attempts=1))

    def enroll():
        request = CreateInterview(contact_email="jane@acme.example", sequence_id="seq_1")
        return asyncio.run(hindsight.interviews.create(request))

    def test_without_the_fixture():
        with pytest.raises(NotSentError, match="no connection to .*take-the-fixture-hindsight_emulator"):
            enroll()

    def test_with_the_fixture(hindsight_emulator):
        enroll()
        assert len(hindsight_emulator.outbox) == 1

    @pytest.mark.parametrize("again", range(2))
    def test_after_it(again):
        test_without_the_fixture()
"""


@pytest.mark.parametrize(
    ("options", "conftest"),
    [
        ((), CONFTEST),
        (("-p", "hindsight_async.testing"), ""),
        pytest.param(WORKERS, CONFTEST, marks=pytest.mark.slow),
    ],
    ids=["conftest", "option", "workers"],
)
def test_a_session_built_at_import_never_reaches_the_api_of_the_shell(tmp_path, options, conftest):
    """With a key in the shell a call goes to the fixture's emulator, and without the fixture to nobody at all."""
    result = run_pytest(tmp_path, BUILT_AT_IMPORT, "-p", "no:asyncio", *options, conftest=conftest)
    assert 0 == result.returncode, result.stdout + result.stderr
    assert "4 passed" in result.stdout


ENVIRONMENT = """
    def test_environment():
        assert os.environ["HINDSIGHT_BASE_URL"] == {base_url!r}
        assert os.environ["HINDSIGHT_API_KEY"] == {api_key!r}
"""


@pytest.mark.parametrize(
    "base_url", ["http://127.0.0.1:8080/api/v1", "http://localhost:8080", "https://[::1]/"]
)
def test_an_emulator_that_the_shell_names_stays(tmp_path, base_url):
    """Who runs an emulator beside the tests goes on using it, with its key."""
    shell = {"HINDSIGHT_API_KEY": "key_local", "HINDSIGHT_BASE_URL": base_url}
    source = ENVIRONMENT.format(base_url=base_url, api_key="key_local")
    result = run_pytest(tmp_path, source, "-p", "no:asyncio", shell=shell)
    assert 0 == result.returncode, result.stdout + result.stderr


@pytest.mark.parametrize(
    "base_url",
    ["", "https://hindsight.invalid", "http://localhost.evil.invalid", "http://u:p@localhost", "127.0.0.1"],
)
def test_any_other_address_is_replaced_for_the_run_and_put_back(monkeypatch, base_url):
    """What only looks like this machine is no exception, and the shell's own values are there again at the end."""
    shell = {"HINDSIGHT_API_KEY": "key_real", "HINDSIGHT_BASE_URL": base_url}
    for name, value in shell.items():
        monkeypatch.setenv(name, value)
    cleanups = []
    testing.pytest_configure(
        SimpleNamespace(add_cleanup=cleanups.append, addinivalue_line=lambda _name, _line: None)
    )
    dead = {"HINDSIGHT_API_KEY": testing.DEAD_API_KEY, "HINDSIGHT_BASE_URL": testing.DEAD_BASE_URL}
    assert dead == {name: os.environ[name] for name in shell}
    cleanups.pop()()
    assert shell == {name: os.environ[name] for name in shell}


async def test_a_start_that_fails_is_raised_in_the_test():
    """A taken port is the error itself, not a hang, and its thread is gone."""
    async with Emulator() as first:
        port = int(first.base_url.removesuffix("/api/v1").rsplit(":", 1)[1])
        with pytest.raises(OSError, match="in use"), testing.serving(Emulator(port=port)):
            pass


def test_it_runs_in_this_process_too(monkeypatch):
    """The environment is set while it runs and put back afterwards."""
    before = dict(os.environ)
    with pytest.MonkeyPatch.context() as patch:
        item = SimpleNamespace(iter_markers=lambda _name: [])
        fixture = testing.hindsight_emulator.__wrapped__(SimpleNamespace(node=item), patch)
        emulator = next(fixture)
        assert Plan.ENTERPRISE is emulator.plan
        assert (emulator.api_key, emulator.base_url) == (
            os.environ["HINDSIGHT_API_KEY"],
            os.environ["HINDSIGHT_BASE_URL"],
        )
        assert next(fixture, None) is None
    assert before == dict(os.environ)
