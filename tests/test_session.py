"""The session's own promises: configuration, opening, closing, leaking."""

import asyncio
import gc
import inspect
import subprocess
import sys
import warnings

import aiohttp
import pytest

from hindsight_async import (
    CreateInterview,
    HindsightSession,
    Plan,
    RateBudget,
    RetryPolicy,
    SessionClosedError,
    Timeouts,
    UnauthorizedError,
    WrongEventLoopError,
)
from hindsight_async.call.access import DEFAULT_BASE_URL
from hindsight_async.emulator import Emulator
from hindsight_async.session import DEFAULT_DEADLINE, DEFAULT_MAX_IN_FLIGHT
from hindsight_async.testing import serving
from raw_server import CREATED, raw_server

REQUEST = CreateInterview(contact_email="jane@acme.example", sequence_id="seq_abc123")


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in ("HINDSIGHT_API_KEY", "HINDSIGHT_PLAN", "HINDSIGHT_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


async def opened(hindsight):
    await hindsight.__aenter__()


async def called(hindsight):
    await hindsight.interviews.get(1)


async def in_bulk(hindsight):
    async with hindsight.interviews.create_many([REQUEST]) as run:
        await anext(run)


@pytest.mark.parametrize("used", [opened, called, in_bulk])
async def test_without_a_key_it_can_be_built_and_not_opened(monkeypatch, used):
    """Nobody has to guess where the key goes; nothing was sent, and once it is there the session works."""
    async with Emulator() as emulator:
        monkeypatch.setenv("HINDSIGHT_BASE_URL", emulator.base_url)
        hindsight = HindsightSession()
        for _ in range(2):
            with pytest.raises(ValueError, match="pass api_key or set the variable HINDSIGHT_API_KEY"):
                await used(hindsight)
        assert [] == emulator.requests
        monkeypatch.setenv("HINDSIGHT_API_KEY", emulator.api_key)
        async with hindsight:
            await hindsight.interviews.create(REQUEST)
        assert 1 == len(emulator.requests)


async def test_one_without_a_key_can_be_closed():
    """There is nothing to open for it."""
    await HindsightSession().close()


def test_an_empty_key_that_was_passed_is_refused_at_construction(monkeypatch):
    """The variable does not stand in for what a program meant to pass."""
    monkeypatch.setenv("HINDSIGHT_API_KEY", "key")
    with pytest.raises(ValueError, match="no API key"):
        HindsightSession("")


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("HINDSIGHT_API_KEY", "key_a\n", "HINDSIGHT_API_KEY. must be plain characters"),
        ("HINDSIGHT_BASE_URL", "key_b", "HINDSIGHT_BASE_URL must look like https://"),
        ("HINDSIGHT_BASE_URL", "https://[h.example/key_c", "HINDSIGHT_BASE_URL must look like https://"),
        ("HINDSIGHT_BASE_URL", "https://h.example:key_d", "HINDSIGHT_BASE_URL must look like https://"),
        ("HINDSIGHT_BASE_URL", "https://h.example/key_e\n", "HINDSIGHT_BASE_URL must look like https://"),
        ("HINDSIGHT_BASE_URL", "https://h.example/?key=key_f", "HINDSIGHT_BASE_URL must look like https://"),
        ("HINDSIGHT_BASE_URL", "https://u:key_g@h.example", "HINDSIGHT_BASE_URL must not carry a user"),
        ("HINDSIGHT_BASE_URL", "http://h.example/key_h", "HINDSIGHT_BASE_URL must be https for h.example"),
    ],
)
async def test_a_wrong_variable_is_named_when_the_session_opens(monkeypatch, name, value, complaint):
    """It is built and shown before that, and neither text shows the value, which may be the key."""
    monkeypatch.setenv("HINDSIGHT_API_KEY", "key_right")
    monkeypatch.setenv(name, value)
    hindsight = HindsightSession()
    for used in (opened, called):
        with pytest.raises(ValueError, match=complaint) as raised:
            await used(hindsight)
        assert "key_" not in str(raised.value) + repr(hindsight)


def create_on_a_loop_of_its_own(hindsight):
    asyncio.run(hindsight.interviews.create(REQUEST))


def test_key_and_address_are_read_again_on_every_new_loop(monkeypatch):
    """A session built at import follows the variables from one test's emulator to the next one's, and is seen to."""
    hindsight = HindsightSession()
    for api_key in ("key_1", "key_2"):
        with serving(Emulator(api_key=api_key)) as emulator:
            monkeypatch.setenv("HINDSIGHT_API_KEY", api_key)
            monkeypatch.setenv("HINDSIGHT_BASE_URL", emulator.base_url)
            create_on_a_loop_of_its_own(hindsight)
            assert 1 == len(emulator.outbox)
            assert f"<HindsightSession {emulator.base_url} 60 requests per minute>" == repr(hindsight)


async def test_what_is_in_use_is_not_changed_by_the_variables(monkeypatch):
    """An open session keeps the key and the address that it opened with, also where another loop tries to take it."""
    async with Emulator() as emulator:
        monkeypatch.setenv("HINDSIGHT_API_KEY", emulator.api_key)
        monkeypatch.setenv("HINDSIGHT_BASE_URL", emulator.base_url)
        async with HindsightSession() as hindsight:
            monkeypatch.setenv("HINDSIGHT_API_KEY", "other")
            monkeypatch.setenv("HINDSIGHT_BASE_URL", "http://localhost:1")
            with pytest.raises(WrongEventLoopError):
                await asyncio.to_thread(create_on_a_loop_of_its_own, hindsight)
            await hindsight.interviews.create(REQUEST)
        assert 1 == len(emulator.outbox)


async def test_a_key_of_the_variable_is_hidden_in_an_error(monkeypatch):
    """A server that repeats the key does not bring it into a log."""

    async def repeat_the_key(connection):
        await connection.request()
        body = b'{"error": {"message": "no key_x1y2"}}'
        connection.writer.write(b"HTTP/1.1 401 U\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async with raw_server(repeat_the_key) as server:
        monkeypatch.setenv("HINDSIGHT_API_KEY", "key_x1y2")
        monkeypatch.setenv("HINDSIGHT_BASE_URL", server.base_url)
        async with HindsightSession() as hindsight:
            with pytest.raises(UnauthorizedError) as raised:
                await hindsight.interviews.get(1)
    assert "no <api key>" == raised.value.message


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
        ({"plan": 2}, TypeError, 'plan must be a Plan or its name, such as Plan.GROWTH or "growth", not int'),
        ({"plan": "gold"}, ValueError, "plan must be one of essentials, growth, enterprise"),
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
        (
            {"base_url": "http://emulator:8123"},
            ValueError,
            "in a test network of its own pass allow_plain_http=True",
        ),
        ({"allow_plain_http": "yes"}, TypeError, "allow_plain_http must be bool, not str"),
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


@pytest.mark.parametrize("address", ["http://emulator:8123/api/v1", "http://10.0.0.7:8123/api/v1"])
def test_plain_http_to_another_machine_is_taken_where_the_program_says_so(monkeypatch, address):
    """An address that is passed, and one out of the variable; the keyword is in the code that is read."""
    assert address in repr(HindsightSession("key", base_url=address, allow_plain_http=True))
    monkeypatch.setenv("HINDSIGHT_BASE_URL", address)
    assert address in repr(HindsightSession("key", allow_plain_http=True))
    assert "to no usable address" in repr(HindsightSession("key"))


@pytest.mark.parametrize("host", ["app.usehindsight.com", "APP.usehindsight.com.", "app.usehindsight.com:80"])
async def test_no_keyword_has_the_api_itself_called_over_plain_http(monkeypatch, host):
    """A real key never travels in clear."""
    address = f"http://{host}/api/v1"
    with pytest.raises(ValueError, match="base_url must be https for app"):
        HindsightSession("key", base_url=address, allow_plain_http=True)
    monkeypatch.setenv("HINDSIGHT_BASE_URL", address)
    with pytest.raises(ValueError, match="HINDSIGHT_BASE_URL must be https for app"):
        async with HindsightSession("key", allow_plain_http=True):
            pass


async def test_a_call_over_plain_http_reaches_what_is_not_known_to_be_this_machine():
    """The unspecified address is none of the loopback ones, and leads here all the same."""
    async with Emulator() as emulator:
        base_url = emulator.base_url.replace("127.0.0.1", "0.0.0.0")
        async with HindsightSession(emulator.api_key, base_url=base_url, allow_plain_http=True) as hindsight:
            created = await hindsight.interviews.create(contact_email="a@acme.example", sequence_id="s")
    assert 1 == created.interview_request_id


def test_a_session_whose_construction_failed_has_a_repr():
    """A traceback that shows its locals shows it too."""
    with pytest.raises(ValueError, match="deadline") as raised:
        HindsightSession("key", deadline=0)
    half_built = raised.traceback[-2].locals["self"]
    assert "<HindsightSession that could not be built>" == repr(half_built)


@pytest.mark.parametrize("limits", [{"limit": 3}, {"limit": 0, "limit_per_host": 3}])
async def test_no_more_is_under_way_than_a_lent_session_takes(limits):
    """What would wait for one of its connections waits for its permit instead, which no timeout ends."""
    loop = asyncio.get_running_loop()

    async def answer_late(connection):
        while await connection.request():
            await asyncio.sleep(4)
            connection.writer.write(CREATED)

    async with (
        raw_server(answer_late) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(**limits)) as http,
        HindsightSession("key", base_url=server.base_url, http=http, deadline=None) as hindsight,
    ):
        await hindsight.interviews.create(REQUEST)
        began = loop.time()
        made = await asyncio.gather(*[hindsight.interviews.create(REQUEST) for _ in range(9)])
        assert 12 == pytest.approx(loop.time() - began, abs=0.5)
    assert (9, 3) == (len(made), server.connections)


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


class SlowToLeave:
    """What a session asks of its budget, where leaving takes a few turns of the event loop, as telling a Redis does."""

    def __init__(self, client, left):
        self.acquire, self.release, self.close = client.acquire, client.release, client.close
        self.max_in_flight = client.max_in_flight
        self.left = left

    async def leave(self):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self.left.append("the budget")


async def test_a_close_that_is_cancelled_again_and_again_ends_when_all_is_closed():
    """It waits no longer for those in flight, but their connections are closed and the budget has been left."""
    left = []
    closed = asyncio.Event()

    class Budget(RateBudget):
        def join(self, max_in_flight):
            return SlowToLeave(super().join(max_in_flight), left)

    async def never_answer(connection):
        await connection.request()
        assert b"" == await connection.reader.read()
        closed.set()

    async with raw_server(never_answer) as server:
        hindsight = HindsightSession("key", base_url=server.base_url, budget=Budget(60))
        waiting = asyncio.create_task(hindsight.interviews.get(1))
        while not server.requests:
            await asyncio.sleep(0)
        closing = asyncio.create_task(hindsight.close(drain=60))
        await asyncio.sleep(0)
        while not closing.done():
            closing.cancel()
            await asyncio.sleep(0)
        assert closing.cancelled()
        assert ["the budget"] == left
        await closed.wait()
        assert Timeouts().read > asyncio.get_running_loop().time()
        with pytest.raises(SessionClosedError):
            await hindsight.interviews.get(1)
        waiting.cancel()
        await asyncio.wait([waiting])
