"""The plan and the month, enforced over a real socket, and the headers that tell."""

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import aiohttp
import pytest

from hindsight_async.emulator import Emulator
from hindsight_async.rate import Plan

STARTED = datetime(2026, 7, 24, 12, 0, 30, tzinfo=UTC)
BODY = {"contact_email": "jane@acme.example", "sequence_id": "seq_abc123"}
OVER_THE_PLAN = "Rate limit exceeded. Please retry after the reset time in the response headers."


@asynccontextmanager
async def served(**options):
    async with Emulator(**{"started_at": STARTED, **options}) as emulator:
        key = {"Authorization": f"Bearer {emulator.api_key}"}
        async with aiohttp.ClientSession(f"{emulator.base_url}/", headers=key) as http:
            yield emulator, http


async def probe(http, method="GET", path="interviews/1", **arguments):
    async with http.request(method, path, **arguments) as response:
        await response.read()
        return response


def rate(response):
    return tuple(int(response.headers[f"X-RateLimit-{name}"]) for name in ("Limit", "Remaining", "Reset"))


def epoch_ms(seconds_from_start):
    return int((STARTED + timedelta(seconds=seconds_from_start)).timestamp() * 1000)


@pytest.mark.parametrize("plan", Plan)
async def test_the_plan_is_one_count_over_all_routes(plan):
    """As many pass as the plan names, whatever they ask for; the next is a 429 and changes nothing."""
    async with served(plan=plan) as (emulator, http):
        assert 201 == (await probe(http, "POST", "interviews", json=BODY)).status
        assert 404 == (await probe(http, "GET", "nowhere")).status
        assert 400 == (await probe(http, "PATCH", json={})).status
        assert plan.requests_per_minute - 3 == emulator.spend(plan.requests_per_minute)
        async with http.post("interviews", json=BODY) as response:
            assert 429 == response.status
            assert {
                "error": {"code": "rate_limit_exceeded", "message": OVER_THE_PLAN}
            } == await response.json()
            assert (plan.requests_per_minute, 0) == rate(response)[:2]
        assert 1 == len(emulator.outbox)


async def test_an_allowance_of_its_own_overrules_the_plan():
    """An organisation may have more or less than its tier."""
    async with served(plan=Plan.GROWTH, requests_per_minute=2) as (_, http):
        assert [404, 404, 429] == [(await probe(http)).status for _ in range(3)]


async def test_the_headers_of_a_sliding_window_tell_when_it_is_whole_and_when_the_next_request_passes():
    """Milliseconds of the server's wall clock, on answers of every kind."""
    async with served(requests_per_minute=2, window="sliding") as (_, http):
        assert (2, 1, epoch_ms(60)) == pytest.approx(rate(await probe(http)), abs=5)
        await asyncio.sleep(20)
        assert (2, 0, epoch_ms(60)) == pytest.approx(rate(await probe(http)), abs=5)
        await asyncio.sleep(20)
        refused = await probe(http)
        assert 429 == refused.status
        assert (2, 0, epoch_ms(60)) == pytest.approx(rate(refused), abs=5)
        await asyncio.sleep(20)
        assert (2, 0, epoch_ms(80)) == pytest.approx(rate(await probe(http)), abs=5)


async def test_the_headers_of_a_weighted_window_name_the_end_of_the_clock_minute():
    """Whatever is left, and to the millisecond; what was let through fades out over the next minute."""
    async with served(requests_per_minute=4) as (_, http):
        assert (4, 3, epoch_ms(30)) == rate(await probe(http))
        assert [404, 404, 404, 429] == [(await probe(http)).status for _ in range(4)]
        assert (4, 0, epoch_ms(30)) == rate(await probe(http))
        await asyncio.sleep(31)  # second 1 of the next minute, in which 3.93 requests of the last still count
        assert (4, 0, epoch_ms(90)) == rate(await probe(http))
        await asyncio.sleep(44)  # second 45, with one of the last and one of this minute
        assert (4, 1, epoch_ms(90)) == rate(await probe(http))
        await asyncio.sleep(104)  # second 29 of the minute after next
        assert (4, 3, epoch_ms(210)) == rate(await probe(http))


async def test_a_server_may_remember_until_the_minutes_end_that_it_refused():
    """With cached refusals one closes the window, and its reset is the end of that."""
    async with served(requests_per_minute=2, refusals_cached=True) as (_, http):
        await asyncio.sleep(10)
        assert [404, 404, 429] == [(await probe(http)).status for _ in range(3)]
        await asyncio.sleep(21)  # second 1 of the next minute
        assert [404, 429] == [(await probe(http)).status for _ in range(2)]
        await asyncio.sleep(44)  # second 45, in which a second one would pass
        refused = await probe(http)
        assert (429, (2, 0, epoch_ms(90))) == (refused.status, rate(refused))
        await asyncio.sleep(16)
        assert 404 == (await probe(http)).status


@pytest.mark.parametrize(
    ("window", "passing"),
    [
        # Three requests at 20, 40, 60, 80 and 100 s, of which two a minute may pass.
        ("weighted", [2, 1, 0, 1, 1]),
        ("sliding", [2, 0, 0, 2, 0]),
        ("fixed", [2, 0, 0, 2, 0]),
        ("aligned", [2, 2, 0, 0, 2]),
        ("bucket", [2, 0, 1, 1, 0]),
    ],
)
async def test_each_window_counts_in_its_own_way(window, passing):
    """The wall clock starts at second 30, so its minutes turn at 30 and 90 s."""
    async with served(requests_per_minute=2, window=window) as (_, http):
        passed = []
        for _ in range(5):
            await asyncio.sleep(20)
            statuses = [(await probe(http)).status for _ in range(3)]
            passed.append(statuses.count(404))
        assert passing == passed


async def test_a_client_that_waits_until_the_reset_is_let_through():
    """With any window but the weighted one, at the moment that the headers name and not a millisecond before."""
    for window in ("sliding", "fixed", "aligned", "bucket"):
        async with served(requests_per_minute=3, window=window) as (emulator, http):
            loop = asyncio.get_running_loop()
            origin = loop.time()
            await asyncio.sleep(7.7)
            emulator.spend(3)
            refused = await probe(http)
            assert 429 == refused.status
            reset = rate(refused)[2] / 1000 - STARTED.timestamp()
            await asyncio.sleep(origin + reset - loop.time() - 0.1)
            assert 429 == (await probe(http)).status
            await asyncio.sleep(origin + reset - loop.time())
            assert 404 == (await probe(http)).status


async def test_the_reset_is_in_seconds_on_request():
    """Rounded up, so that whoever waits that long is not too early."""
    started_at = STARTED + timedelta(seconds=0.25)
    async with served(window="sliding", reset_unit="seconds", started_at=started_at) as (_, http):
        assert STARTED.timestamp() + 61 == rate(await probe(http))[2]


async def test_a_server_without_rate_headers_still_counts():
    """Neither the 404 nor the 429 names the limit."""
    async with served(requests_per_minute=1, rate_headers=False) as (_, http):
        passed, refused = await probe(http), await probe(http)
        assert (404, 429) == (passed.status, refused.status)
        for response in (passed, refused):
            assert not [name for name in response.headers if name.lower().startswith("x-")]


async def test_the_wall_clock_runs_with_the_loop_and_may_be_skewed():
    """Date and reset are both ten minutes ahead, and an hour later both have moved by an hour."""
    async with served(window="sliding", clock_skew=600.0) as (_, http):
        for hours in (0, 1):
            response = await probe(http)
            expected = STARTED + timedelta(minutes=10, hours=hours)
            date = parsedate_to_datetime(response.headers["Date"])
            assert timedelta(0) <= date - expected < timedelta(seconds=2)
            assert epoch_ms(600 + 3600 * hours + 60) == pytest.approx(rate(response)[2], abs=100)
            await asyncio.sleep(3600)


async def test_without_a_given_start_the_wall_clock_is_the_real_one():
    """The server's Date is today's."""
    before = datetime.now(UTC).replace(microsecond=0)
    async with served(started_at=None) as (_, http):
        date = parsedate_to_datetime((await probe(http)).headers["Date"])
    assert before <= date <= datetime.now(UTC) + timedelta(minutes=1)


async def test_the_month_is_counted_and_ends_in_a_429_that_says_so():
    """X-Usage-Remaining goes to 0, then requests are refused, though the minute has room; a new month lets them in."""
    async with served(monthly_limit=2) as (emulator, http):
        used = [(await probe(http)).headers for _ in range(2)]
        assert [("1", "1"), ("2", "0")] == [(h["X-Usage-Used"], h["X-Usage-Remaining"]) for h in used]
        refused = await probe(http, "POST", "interviews", json=BODY)
        assert 429 == refused.status
        assert ("2", "0", "2", "2026-08-01T00:00:00Z") == tuple(
            refused.headers[f"X-Usage-{name}"] for name in ("Limit", "Remaining", "Used", "Period-End")
        )
        assert 58 == rate(refused)[1]
        assert {} == emulator.interviews
        await asyncio.sleep(8 * 86400)
        assert "1" == (await probe(http)).headers["X-Usage-Remaining"]


async def test_what_the_minute_refuses_does_not_use_up_the_month():
    """A rate-limited call is free."""
    async with served(requests_per_minute=1, monthly_limit=10) as (_, http):
        answers = [await probe(http) for _ in range(3)]
        assert [404, 429, 429] == [answer.status for answer in answers]
        assert ["9"] * 3 == [answer.headers["X-Usage-Remaining"] for answer in answers]


async def test_another_program_shares_the_plan():
    """What it spends shows in the next answer; more than there is cannot be spent."""
    async with served() as (emulator, http):
        assert 50 == emulator.spend(50)
        assert 9 == rate(await probe(http))[1]
        assert 9 == emulator.spend(50)
        assert 429 == (await probe(http)).status
