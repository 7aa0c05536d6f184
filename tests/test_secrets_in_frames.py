"""Tracebacks that show local variables, as rich and error trackers print them, have no secret of ours in them."""

import asyncio
import io
import uuid

import aiohttp
import pytest
from rich.console import Console
from rich.traceback import Traceback

from hindsight_async import CreateInterview, HindsightSession, OutcomeUnknownError, RetryPolicy, Timeouts
from raw_server import raw_server

SECRETS = {"key": uuid.uuid4().hex, "password": uuid.uuid4().hex}
REQUEST = CreateInterview(contact_email="jane@acme.example", sequence_id="seq_abc123")


def shown(error):
    """Return all that stands in the frames of an error and of those behind it, as rich shows it and as reprs."""
    texts, behind = [], error
    while behind is not None:
        frame = behind.__traceback__
        while frame is not None:
            texts += [repr(value) for value in frame.tb_frame.f_locals.values()]
            frame = frame.tb_next
        behind = behind.__cause__ or behind.__context__
    out = io.StringIO()
    printed = Traceback.from_exception(type(error), error, error.__traceback__, show_locals=True)
    Console(file=out, width=500).print(printed)
    return "\n".join([*texts, out.getvalue()])


def hidden(error):
    text = shown(error)
    return not any(secret in text for secret in SECRETS.values())


WRONG = {
    "a deadline": lambda: HindsightSession(SECRETS["key"], deadline=0),
    "an address": lambda: HindsightSession(SECRETS["key"], base_url="http://h.example"),
    "the key": lambda: HindsightSession(SECRETS["key"] + "\n"),
    "the kind of the key": lambda: HindsightSession(SECRETS["key"].encode()),
    "a proxy's path": lambda: HindsightSession("k", proxy=f"http://u:{SECRETS['password']}@h/path"),
    "a proxy's port": lambda: HindsightSession("k", proxy=f"http://u:{SECRETS['password']}@h:99999"),
    "what is beside a proxy": lambda: HindsightSession(
        "k", proxy=f"http://u:{SECRETS['password']}@h", max_in_flight=0
    ),
    "a proxy for plain http": lambda: HindsightSession(
        SECRETS["key"], proxy=f"http://u:{SECRETS['password']}@h", base_url="http://localhost"
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_argument_shows_none_in_its_frames(wrong):
    """What is refused at construction is refused with the secrets out of sight."""
    with pytest.raises((ValueError, TypeError)) as raised:
        WRONG[wrong]()
    assert hidden(raised.value)


@pytest.mark.parametrize("passed", [True, False])
async def test_a_wrong_variable_shows_none_when_the_session_opens(passed, monkeypatch):
    """Neither the key that was passed nor that of the variable stands in a frame."""
    monkeypatch.setenv("HINDSIGHT_API_KEY", SECRETS["key"])
    hindsight = HindsightSession(SECRETS["key"]) if passed else HindsightSession()
    monkeypatch.setenv("HINDSIGHT_BASE_URL", "http://h.example")
    with pytest.raises(ValueError, match="HINDSIGHT_BASE_URL") as raised:
        await hindsight.interviews.get(1)
    assert hidden(raised.value)


async def never_answer(connection):
    await connection.request()
    await asyncio.sleep(10_000)


async def test_a_call_that_fails_or_is_cut_off_shows_none():
    """A doubt, a cancellation and a timeout of the caller's leave the frames of the HTTP library behind."""
    options = {"timeouts": Timeouts(read=1), "on_outcome_unknown": lambda error: None}
    async with raw_server(never_answer) as server:
        async with HindsightSession(SECRETS["key"], base_url=server.base_url, **options) as hindsight:
            with pytest.raises(OutcomeUnknownError) as failed:
                await hindsight.interviews.create(REQUEST)
            with pytest.raises(TimeoutError) as cut_off:
                async with asyncio.timeout(0.5):
                    await hindsight.interviews.create(REQUEST)
    server.requests.clear()  # in a frame of this test
    assert isinstance(cut_off.value.__cause__, asyncio.CancelledError)
    assert hidden(failed.value)
    assert hidden(cut_off.value)


class BrokenResolver(aiohttp.abc.AbstractResolver):
    """Somebody else's code, which fails."""

    async def resolve(self, host, port=0, family=0):
        """Fail, in a frame of its own."""
        where = host
        raise KeyError(where)

    async def close(self):
        """Have nothing to close."""


async def test_what_other_code_raised_shows_its_own_frames_and_none_of_ours():
    """The cause says where it comes from, from behind the HTTP library on."""
    connector = aiohttp.TCPConnector(resolver=BrokenResolver())
    options = {"retry": RetryPolicy(attempts=1), "base_url": "https://api.example"}
    async with aiohttp.ClientSession(connector=connector) as http:
        async with HindsightSession(SECRETS["key"], http=http, **options) as hindsight:
            for call in (hindsight.interviews.create(REQUEST), hindsight.interviews.get(1)):
                with pytest.raises(Exception, match="KeyError") as raised:
                    await call
                cause = raised.value.__cause__
                assert "resolve" == cause.__traceback__.tb_frame.f_code.co_name
                assert hidden(raised.value)
