"""The session's own promises: configuration, opening, closing, leaking."""

import asyncio
import gc
import inspect
import subprocess
import sys
import warnings

import pytest

from hindsight_async import HindsightSession, Plan, RetryPolicy, Timeouts
from hindsight_async.session import DEFAULT_BASE_URL, DEFAULT_DEADLINE, DEFAULT_MAX_IN_FLIGHT


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in ("HINDSIGHT_API_KEY", "HINDSIGHT_PLAN", "HINDSIGHT_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def test_without_a_key_the_error_names_the_variable():
    """Nobody has to guess where the key goes."""
    with pytest.raises(ValueError, match="pass api_key or set the variable HINDSIGHT_API_KEY"):
        HindsightSession()


@pytest.mark.parametrize("key", ["two words", "line\n", "\tkey", "schlüssel", "nul\0"])
def test_a_key_that_cannot_stand_in_a_header_is_refused_and_not_shown(key):
    """A pasted line end gives a clear error instead of a broken header."""
    with pytest.raises(ValueError, match="must be plain characters") as raised:
        HindsightSession(key)
    assert key not in str(raised.value)


def test_a_key_of_another_kind_is_refused():
    """Bytes are no key."""
    with pytest.raises(TypeError, match="api_key must be text"):
        HindsightSession(b"key")


def test_what_is_not_given_comes_from_the_environment(monkeypatch):
    """Key, plan and address can all come from variables; what is given wins."""
    monkeypatch.setenv("HINDSIGHT_API_KEY", "key")
    monkeypatch.setenv("HINDSIGHT_PLAN", "Growth")
    monkeypatch.setenv("HINDSIGHT_BASE_URL", "http://localhost:1/api/v1/")
    assert "<HindsightSession http://localhost:1/api/v1 300 requests per minute>" == repr(HindsightSession())
    given = HindsightSession("other", plan=Plan.ENTERPRISE, base_url="https://h.example/v1")
    assert "<HindsightSession https://h.example/v1 1000 requests per minute>" == repr(given)


def test_defaults_are_the_smallest_plan_and_the_real_address():
    """A session with nothing but a key is the careful one."""
    assert f"<HindsightSession {DEFAULT_BASE_URL} 60 requests per minute>" == repr(HindsightSession("key"))
    assert "https://app.usehindsight.com/api/v1" == DEFAULT_BASE_URL


def test_the_signature_is_the_contract():
    """All but the key are keyword-only, with the defaults that the documentation names."""
    parameters = inspect.signature(HindsightSession).parameters
    assert {"api_key"} == {name for name, p in parameters.items() if p.kind is not p.KEYWORD_ONLY}
    defaults = {name: p.default for name, p in parameters.items()}
    assert 16 == DEFAULT_MAX_IN_FLIGHT == defaults["max_in_flight"]
    assert 120.0 == DEFAULT_DEADLINE == defaults["deadline"]
    assert Timeouts(connect=5.0, read=30.0) == defaults["timeouts"]
    assert RetryPolicy(attempts=4) == defaults["retry"]
    with pytest.raises(TypeError):
        HindsightSession("key", plam=Plan.GROWTH)


@pytest.mark.parametrize(
    ("options", "error", "named"),
    [
        ({"plan": "growth"}, TypeError, "plan must be a Plan such as Plan.GROWTH, not str"),
        ({"max_in_flight": 0}, ValueError, "max_in_flight"),
        ({"max_in_flight": 2.5}, ValueError, "max_in_flight"),
        ({"deadline": 0}, ValueError, "deadline"),
        ({"deadline": float("nan")}, ValueError, "deadline"),
        ({"deadline": True}, TypeError, "deadline must be int or float or None, not bool"),
        ({"retry": 3}, TypeError, "retry must be RetryPolicy, not int"),
        ({"timeouts": 30}, TypeError, "timeouts must be Timeouts, not int"),
        ({"http": "x"}, TypeError, "http must be ClientSession or None, not str"),
        ({"budget": Plan.GROWTH}, TypeError, "budget must be a RateBudget or a RedisBudget, not Plan"),
        ({"base_url": 5}, TypeError, "base_url must be str or None, not int"),
        ({"base_url": "app.usehindsight.com"}, ValueError, "base_url must look like"),
        ({"base_url": "ftp://h.example"}, ValueError, "base_url must look like"),
        ({"base_url": "https://h.example/v1?a=1"}, ValueError, "base_url must look like"),
        ({"base_url": "https://user:pw@h.example"}, ValueError, "base_url must not carry a user"),
        ({"base_url": "http://h.example/v1"}, ValueError, "base_url must be https for h.example"),
        ({"base_url": "http://10.0.0.1/v1"}, ValueError, "base_url must be https for 10.0.0.1"),
        ({"base_url": "http://localhost.evil.example"}, ValueError, "base_url must be https"),
    ],
)
def test_a_wrong_option_is_refused_at_construction_and_named(options, error, named):
    """A slip in the configuration shows before the first call."""
    with pytest.raises(error) as raised:
        HindsightSession("key", **options)
    assert named in str(raised.value)


def test_a_wrong_plan_in_the_environment_names_the_variable(monkeypatch):
    """The error says which variable, and what it may hold."""
    monkeypatch.setenv("HINDSIGHT_PLAN", "gold")
    with pytest.raises(ValueError, match="HINDSIGHT_PLAN must be one of essentials, growth, enterprise"):
        HindsightSession("key")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "[::1]"])
def test_plain_http_is_taken_for_this_machine(host):
    """An emulator needs no certificate."""
    assert host in repr(HindsightSession("key", base_url=f"http://{host}:8080"))


def test_a_session_that_never_opened_leaves_nothing_to_close():
    """Building one at import costs nothing, and dropping it warns of nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        HindsightSession("key")
        gc.collect()


def test_a_leaked_session_warns():
    """A session that was opened and forgotten says so when it goes."""
    code = (
        "import asyncio, gc\n"
        "from hindsight_async import HindsightSession\n"
        "async def leak():\n"
        "    await HindsightSession('key').__aenter__()\n"
        "    gc.collect()\n"
        "asyncio.run(leak())\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert 0 == done.returncode
    assert "ResourceWarning: <HindsightSession" in done.stderr
    assert "was not closed: use 'async with' or await close()" in done.stderr


async def test_a_session_built_before_the_loop_works():
    """A module-level session is the same session."""
    loop = asyncio.get_running_loop()
    hindsight = await loop.run_in_executor(None, HindsightSession, "key")
    async with hindsight as entered:
        assert entered is hindsight


def test_importing_the_package_imports_neither_emulator_nor_command_line():
    """What a user does not ask for is not loaded."""
    code = (
        "import sys, hindsight_async; print([name for name in sys.modules if name in "
        "('cyclopts', 'rich', 'pytest', 'sqlalchemy') or name.startswith("
        "('hindsight_async.emulator', 'hindsight_async.cli', 'hindsight_async.demo', 'hindsight_async.testing'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert "[]" == done.stdout.strip()
