"""The pytest fixture, used by pytest in a process of its own, as a user's test suite would."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from hindsight_async import testing
from hindsight_async.budget import Plan
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


def run_pytest(folder, source, *options):
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_user.py").write_text(textwrap.dedent(CREATE) + textwrap.dedent(source))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    environment.pop("HINDSIGHT_API_KEY", None)
    environment.pop("HINDSIGHT_BASE_URL", None)
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
    from hindsight_async.budget import Plan

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
        assert "HINDSIGHT_API_KEY" not in os.environ
        assert "HINDSIGHT_BASE_URL" not in os.environ
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
        (PLAIN + ON_A_LOOP_OF_ITS_OWN, ("-p", "no:asyncio", "-p", "no:anyio"), 6),
        (COROUTINE.format(mark="@pytest.mark.asyncio"), ("-p", "no:anyio", "-o", LOOP_SCOPE), 1),
        (COROUTINE.format(mark=ON_ANYIO), ("-p", "no:asyncio"), 1),
    ],
    ids=["without a plugin", "pytest-asyncio", "anyio"],
)
def test_the_fixture_works_whichever_async_plugin_there_is(tmp_path, source, options, passed):
    """Plain tests and coroutines on any plugin reach it; nothing is left when the test is over."""
    result = run_pytest(tmp_path, source, *options)
    assert 0 == result.returncode, result.stdout + result.stderr
    assert f"{passed} passed" in result.stdout
    assert "warning" not in result.stdout


async def test_a_start_that_fails_is_raised_in_the_test():
    """A taken port is the error itself, not a hang, and its thread is gone."""
    async with Emulator() as first:
        port = int(first.base_url.removesuffix("/api/v1").rsplit(":", 1)[1])
        with pytest.raises(OSError, match="in use"), testing._on_a_thread(Emulator(port=port)):
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
