"""The pytest fixture, used by pytest in a process of its own, as a user's test suite would."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest

from hindsight_async import Plan, testing
from hindsight_async.emulator import Emulator

ROOT = Path(__file__).parent.parent

CONFTEST = 'pytest_plugins = ["hindsight_async.testing"]\n'

LOOP_SCOPE = "asyncio_default_fixture_loop_scope=function"

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


def run_pytest(folder, source, *options, conftest=CONFTEST, shell=SHELL):
    (folder / "conftest.py").write_text(conftest)
    (folder / "test_user.py").write_text(textwrap.dedent(CREATE) + textwrap.dedent(source))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    environment |= {**shell, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(
        [
            sys.executable,
            "-X",
            "dev",
            "-W",
            "error",
            "-m",
            "pytest",
            "-W",
            "error",
            "-q",
            *options,
            str(folder),
        ],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


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
        (("-p", "xdist.plugin", "-n", "2"), CONFTEST),
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
    testing.pytest_configure(SimpleNamespace(add_cleanup=cleanups.append))
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
        fixture = testing.hindsight_emulator.__wrapped__(patch)
        emulator = next(fixture)
        assert Plan.ENTERPRISE is emulator.plan
        assert (emulator.api_key, emulator.base_url) == (
            os.environ["HINDSIGHT_API_KEY"],
            os.environ["HINDSIGHT_BASE_URL"],
        )
        assert next(fixture, None) is None
    assert before == dict(os.environ)
