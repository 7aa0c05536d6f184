"""The rate budget as a session meets it."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import inf
from typing import Any

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from hindsight_async.errors import DeadlineExceededError, QuotaExceededError, WrongEventLoopError
from hindsight_async.rate import BudgetClient, BudgetSnapshot, Plan, RateBudget
from hindsight_async.rate.cooldown import FIRST_PAUSE, PROBED_EVERY
from hindsight_async.rate.counting import KEPT_AFTER_ANSWER
from permits import PermitBlock
from virtual_time import VirtualTimeLoop

ROUTE = "POST /interviews"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DATE = "Sun, 01 Mar 2026 12:00:00 GMT"


def headers(**named: object) -> CIMultiDictProxy[str]:
    """Name headers as the server does: `limit=60` for X-RateLimit-Limit, `Retry_After=5` for Retry-After."""
    short = {"limit": "X-RateLimit-Limit", "remaining": "X-RateLimit-Remaining", "reset": "X-RateLimit-Reset"}
    found = {short.get(name, name.replace("_", "-")): str(value) for name, value in named.items()}
    return CIMultiDictProxy(CIMultiDict({"Date": DATE, **found}))


def make(limit: int = 60, **options: Any) -> RateBudget:
    """Make a budget whose jitter is none and whose wall clock stands still."""
    return RateBudget(limit, random=lambda: 0.0, wall_clock=lambda: NOON, **options)


async def send(
    client: BudgetClient,
    seconds: float = 0.1,
    *,
    status: int = 200,
    said: CIMultiDictProxy[str] | None = None,
    note: Callable[[], object] | None = None,
    **asked: Any,
) -> float:
    """Send one request that takes so many seconds; tell when it left."""
    loop = asyncio.get_running_loop()
    async with PermitBlock(client, **{"route": ROUTE, **asked}) as permit:
        left = loop.time()
        if note is not None:
            note()
        await asyncio.sleep(seconds)
        permit.answered(status, said if said is not None else headers())
    return left


async def fail_to_connect(client: BudgetClient, seconds: float = 0.1) -> float:
    """Try for so many seconds to send one request, none of which leaves; tell when the try began."""
    permit = await client.acquire(ROUTE)
    began = asyncio.get_running_loop().time()
    await asyncio.sleep(seconds)
    client.put_back(permit)
    return began


async def warm(client: BudgetClient) -> None:
    """Have the first answer behind us."""
    await send(client, 0.0)


def test_plans_carry_their_limits():
    """The tiers are 60, 300 and 1000 requests per minute and are found by name."""
    assert [60, 300, 1000] == [plan.requests_per_minute for plan in Plan]
    assert Plan.GROWTH is Plan("growth")
    assert 300 == RateBudget.for_plan(Plan.GROWTH).snapshot().limit


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: RateBudget(0),
        lambda: RateBudget(60, burst=0),
        lambda: RateBudget(60).join(0),
    ],
)
def test_numbers_below_one_are_refused(wrong: Callable[[], object]):
    """A limit, burst or number in flight below 1 is a ValueError that says so."""
    with pytest.raises(ValueError, match="must be at least 1, not 0"):
        wrong()


def test_a_budget_can_be_made_and_read_without_a_loop():
    """Before first use everything is free."""
    expected = BudgetSnapshot(
        limit=60,
        free_now=60,
        in_flight=0,
        queued={"interactive": 0, "bulk": 0},
        seconds_until_next_permit=0.0,
        closed_until=None,
    )
    assert expected == make().snapshot()


async def test_the_first_request_goes_alone():
    """On a cold start the rest wait for the first answer."""
    client = make().join(10)
    left = await asyncio.gather(*(send(client, 3.0) for _ in range(5)))
    assert 0 == left[0]
    assert [3, 3, 3, 3] == [round(moment, 3) for moment in left[1:]]


async def test_a_first_request_that_never_left_holds_nobody_up():
    """A server that cannot be reached has refused nobody: the rest try at once, and not one after another."""
    client = make().join(10)
    began = await asyncio.gather(*(fail_to_connect(client, 5.0) for _ in range(4)))
    assert [0, 5, 5, 5] == [round(moment, 3) for moment in began]


@pytest.mark.parametrize("failure", [OSError, asyncio.CancelledError])
async def test_a_failed_first_request_holds_nobody_up(failure: type[BaseException]):
    """Where the first request fails the rest go on at the plan's speed."""
    client = make().join(10)

    async def fail() -> None:
        async with PermitBlock(client, route=ROUTE):
            await asyncio.sleep(2)
            raise failure

    first = asyncio.ensure_future(fail())
    await asyncio.sleep(0)
    rest = [asyncio.ensure_future(send(client)) for _ in range(3)]
    assert [2, 2, 2] == [round(moment, 3) for moment in await asyncio.gather(*rest)]
    assert isinstance((await asyncio.gather(first, return_exceptions=True))[0], failure)


async def test_a_permit_comes_back_a_minute_after_the_answer():
    """With all permits used the next request leaves 60 s after the first answer, not after its sending."""
    client = make(3).join(3)
    await send(client, 5.0)
    await asyncio.gather(send(client, 1.0), send(client, 1.0))
    assert 65.0 < await send(client) < 65.01


async def test_a_permit_comes_back_a_minute_after_a_failure():
    """A request that fails or is cancelled after leaving may have counted, so its permit comes back as late."""
    client = make(1).join(1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(7), PermitBlock(client, route=ROUTE):
            await asyncio.sleep(100)
    assert 67.0 < await send(client) < 67.01


async def test_the_place_in_flight_is_free_at_once():
    """No more than max_in_flight are under way, and the next leaves the moment one ends."""
    client = make().join(2)
    await warm(client)
    left = await asyncio.gather(*(send(client, 1.0) for _ in range(5)))
    assert [0, 0, 1, 1, 2] == [round(moment, 3) for moment in left]


async def test_sessions_of_one_budget_share_the_window_and_not_the_places():
    """A session with all its requests in flight keeps back no other; the window counts for both."""
    budget = make(5)
    slow, quick = budget.join(1), budget.join(10)
    await warm(quick)
    await warm(quick)
    running = [asyncio.ensure_future(send(slow, 10.0)) for _ in range(2)]
    await asyncio.sleep(1)
    assert 1.0 == round(await send(quick), 3)
    assert 2 == 5 - 1 - 1 - budget.snapshot().in_flight
    left = await asyncio.gather(*running)
    assert [0, 10] == [round(moment, 3) for moment in left]
    assert 60.0 < await send(quick) < 60.01


async def test_sessions_are_served_in_the_order_of_their_calls():
    """Calls of several sessions and routes that wait in one lane leave as they came."""
    budget = make(1)
    clients = [budget.join(1), budget.join(1), budget.join(1)]
    order: list[int] = []
    waiting = [
        asyncio.ensure_future(
            send(client, 1.0, route=f"GET /{number % 2}", note=lambda number=number: order.append(number))
        )
        for number, client in enumerate([clients[0], *clients[::-1], *clients])
    ]
    await asyncio.gather(*waiting)
    assert [0, 1, 2, 3, 4, 5, 6] == order


async def test_a_newcomer_at_the_very_moment_a_permit_frees_overtakes_nobody():
    """A call that comes after a permit fell due and before the timer for it ran goes behind those who wait."""
    budget = make(1)
    client = budget.join(9)
    await warm(client)
    loop = asyncio.get_running_loop()
    waiting = asyncio.ensure_future(send(client))
    await asyncio.sleep(1)
    due = loop.time() + budget.snapshot().seconds_until_next_permit - KEPT_AFTER_ANSWER
    overtook: list[bool] = []

    def come() -> None:
        entering = PermitBlock(client, route=ROUTE).__aenter__()
        try:
            entering.send(None)
        except StopIteration:
            overtook.append(True)
        else:
            overtook.append(False)
            entering.close()

    loop.call_at(due - 5e-7, come)
    await waiting
    assert [False] == overtook
    assert 0 == budget.snapshot().queued["interactive"]


async def test_burst_spreads_requests_over_the_minute():
    """A budget of 60 with burst 2 lets two go at once and then one a second."""
    client = make(60, burst=2).join(10)
    left = await asyncio.gather(*(send(client, 0.01) for _ in range(6)))
    gaps = [after - before for before, after in pairwise(left[1:])]
    assert left[1] < 0.02
    assert all(0.98 < gap < 1.01 for gap in gaps)


async def test_the_turn_of_one_who_gave_up_goes_to_the_next():
    """With one request a second, a caller that gives up in line costs those behind it nothing."""
    client = make(60, burst=1).join(10)
    await warm(client)
    first, second = (asyncio.ensure_future(send(client)) for _ in range(2))
    await asyncio.sleep(0.5)
    first.cancel()
    assert 1 == round(await second, 2)


async def test_a_caller_cancelled_as_it_is_served_loses_no_permit():
    """Served and cancelled in the same turn of the loop: the permit goes to the next at once."""
    budget = make(60, burst=1)
    client = budget.join(1)
    await warm(client)
    async with PermitBlock(client, route=ROUTE) as permit:
        waiting = [asyncio.ensure_future(send(client)) for _ in range(2)]
        await asyncio.sleep(10)
        permit.answered(200, headers())
    assert 1 == budget.snapshot().in_flight
    waiting[0].cancel()
    assert 11 == round(await waiting[1], 3)
    await asyncio.sleep(61)
    assert waiting[0].cancelled()
    assert (60, 0) == (budget.snapshot().free_now, budget.snapshot().in_flight)


async def test_a_queue_of_cancelled_callers_is_forgotten():
    """Callers that come and give up while the cooldown is closed leave nothing behind and keep back nobody."""
    budget = make()
    client = budget.join(500)
    await send(client, status=429, said=headers(Retry_After=30))
    for _ in range(3):
        crowd = [asyncio.ensure_future(send(client)) for _ in range(100)]
        await asyncio.sleep(1)
        for caller in crowd:
            caller.cancel()
        await asyncio.gather(*crowd, return_exceptions=True)
    assert {"interactive": 0, "bulk": 0} == budget.snapshot().queued
    assert 30.0 < await send(client) < 30.2


async def test_an_interactive_call_takes_the_next_permit():
    """Thousands of bulk calls wait for one permit a second; an interactive one takes the next, and bulk the others."""
    budget = make(60, burst=1)
    client = budget.join(100)
    await warm(client)
    bulk = [asyncio.ensure_future(send(client, lane="bulk")) for _ in range(3000)]
    waits = []
    for _ in range(8):
        await asyncio.sleep(5)
        asked = asyncio.get_running_loop().time()
        waits.append(await send(client, 0.0) - asked)
    ended = asyncio.get_running_loop().time()
    assert 1.01 > max(waits)
    assert ended - 8 - 1 <= 3000 - budget.snapshot().queued["bulk"] <= ended - 8 + 1
    for caller in bulk:
        caller.cancel()
    await asyncio.gather(*bulk, return_exceptions=True)


async def test_an_interactive_call_waits_for_a_full_window_no_longer_than_its_first_permit():
    """With all permits used and bulk in line, the first permit to come back is the interactive call's."""
    budget = make(3)
    client = budget.join(100)
    await warm(client)
    bulk = [asyncio.ensure_future(send(client, lane="bulk")) for _ in range(50)]
    await asyncio.sleep(30)
    assert 60.0 < await send(client) < 60.01
    for caller in bulk:
        caller.cancel()
    await asyncio.gather(*bulk, return_exceptions=True)


async def test_bulk_keeps_a_tenth():
    """While interactive calls never cease, one turn in ten is bulk's."""
    client = make(1000).join(1)
    order: list[str] = []
    await warm(client)
    async with PermitBlock(client, route=ROUTE):
        waiting = [
            asyncio.ensure_future(send(client, 0.01, lane=lane, note=lambda lane=lane: order.append(lane)))
            for lane in ["bulk"] * 20 + ["interactive"] * 100
        ]
        await asyncio.sleep(1)
    await asyncio.gather(*waiting)
    assert 10 == order[:100].count("bulk")
    assert (["interactive"] * 9 + ["bulk"]) * 10 == order[:100]


async def test_a_deadline_that_cannot_be_met_is_told_at_once():
    """With the window full until 60 s a deadline of 30 s is refused without waiting, naming the wait."""
    client = make(2).join(2)
    await warm(client)
    await send(client, 1.0)
    with pytest.raises(DeadlineExceededError) as refusal:
        await send(client, deadline=30.0)
    assert 1.0 == round(asyncio.get_running_loop().time(), 3)
    assert refusal.value.retry_after is not None
    assert 59.0 < refusal.value.retry_after < 59.01
    assert 60.0 < await send(client, deadline=70.0) < 60.01


async def test_a_deadline_behind_a_queue_reckons_with_the_queue():
    """Whoever stands behind a window's worth of callers of its own session waits a window longer."""
    client = make(2).join(9)
    await asyncio.gather(send(client), send(client))
    ahead = [asyncio.ensure_future(send(client)) for _ in range(2)]
    await asyncio.sleep(1)
    with pytest.raises(DeadlineExceededError):
        await send(client, deadline=115.0)
    assert 120 < await send(client, deadline=125.0) < 121
    await asyncio.gather(*ahead)


async def test_a_deadline_that_has_passed_sends_nothing():
    """A deadline in the past is refused even where a permit is free, also for one who waited for it."""
    client = make().join(1)
    await asyncio.sleep(10)
    with pytest.raises(DeadlineExceededError):
        await send(client, deadline=9.0)
    first = asyncio.ensure_future(send(client, 5.0))
    await asyncio.sleep(1)
    with pytest.raises(DeadlineExceededError):
        await send(client, deadline=12.0)
    assert 10 == round(await first)


async def test_a_permit_that_frees_past_the_deadline_of_the_next_in_line_goes_to_the_one_behind():
    """Where the event loop was blocked past a caller's deadline, that caller is refused and nothing is sent."""
    client = make().join(1)
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    async with PermitBlock(client, route=ROUTE) as permit:
        late = asyncio.ensure_future(send(client, deadline=3.0))
        patient = asyncio.ensure_future(send(client, deadline=30.0))
        await asyncio.sleep(1)
        loop.stand_still(5)
        permit.answered(200, headers())
    with pytest.raises(DeadlineExceededError):
        await late
    assert 6 == round(await patient, 3)


async def test_a_cooldown_rejects_those_whose_deadline_is_earlier():
    """When a 429 closes the cooldown beyond the deadline of one in line, that one is told then and not later."""
    client = make().join(1)
    refused = asyncio.ensure_future(send(client, 1.0, status=429, said=headers(Retry_After=50)))
    await asyncio.sleep(0.5)
    hasty = asyncio.ensure_future(send(client, deadline=20.0))
    patient = asyncio.ensure_future(send(client, deadline=100.0))
    with pytest.raises(DeadlineExceededError) as refusal:
        await hasty
    assert 1 == round(asyncio.get_running_loop().time(), 3)
    assert 50 == round(refusal.value.retry_after or 0, 3)
    assert 51 == round(await patient, 3)
    await refused


async def test_a_used_up_month_raises_at_once_for_all():
    """X-Usage-Remaining 0 on a 429: those in line and those who come later get the date, and nobody waits."""
    budget = make()
    client = budget.join(1)
    said = headers(X_Usage_Remaining=0, X_Usage_Period_End="2026-04-01T00:00:00Z")
    refused = asyncio.ensure_future(send(client, 1.0, status=429, said=said))
    await asyncio.sleep(0.5)
    crowd = [asyncio.ensure_future(send(client)) for _ in range(1200)]
    outcomes = await asyncio.gather(*crowd, return_exceptions=True)
    assert 1 == round(asyncio.get_running_loop().time(), 3)
    april = datetime(2026, 4, 1, tzinfo=UTC)
    assert {april} == {one.reset_at for one in outcomes if isinstance(one, QuotaExceededError)}
    assert 1200 == len([one for one in outcomes if isinstance(one, QuotaExceededError)])
    with pytest.raises(QuotaExceededError, match="until 2026-04-01 00:00:00 UTC"):
        await send(client)
    seen = budget.snapshot()
    assert NOON + timedelta(seconds=PROBED_EVERY) == seen.closed_until
    assert ("the monthly quota is used up", april) == (
        seen.quota_exceeded.summary.partition(",")[0],
        seen.quota_exceeded.reset_at,
    )
    await refused


async def test_a_used_up_month_without_a_date_is_tried_again_soon():
    """Where the server names no end of the month, callers are refused for some seconds and then one tries."""
    client = make().join(1)
    await send(client, 0.0, status=429, said=headers(X_Usage_Remaining=0))
    with pytest.raises(QuotaExceededError, match="for an unnamed time"):
        await send(client)
    await asyncio.sleep(5)
    assert 5 == round(await send(client), 3)


async def test_whoever_gives_up_while_being_turned_away_is_simply_cancelled():
    """Callers cancelled in the turn of the loop in which they are refused end cancelled, and nothing is left over."""
    budget = make()
    client = budget.join(1)
    said = headers(X_Usage_Remaining=0, X_Usage_Period_End="2026-04-01T00:00:00Z")
    async with PermitBlock(client, route=ROUTE) as permit:
        crowd = [asyncio.ensure_future(send(client)) for _ in range(700)]
        await asyncio.sleep(1)
        permit.answered(429, said)
        crowd[0].cancel()
        crowd[600].cancel()
        crowd[-1].cancel()
    outcomes = await asyncio.gather(*crowd, return_exceptions=True)
    assert crowd[0].cancelled()
    assert crowd[600].cancelled()
    assert crowd[-1].cancelled()
    assert 697 == len([one for one in outcomes if isinstance(one, QuotaExceededError)])
    assert {"interactive": 0, "bulk": 0} == budget.snapshot().queued


async def test_a_wait_beyond_the_longest_is_a_quota():
    """The server names 91 s: refused at once, until less than the longest wait is left."""
    client = make().join(1)
    await send(client, 0.0, status=429, said=headers(reset=91))
    with pytest.raises(QuotaExceededError, match="a long wait") as refusal:
        await send(client)
    assert NOON + timedelta(seconds=91) == refusal.value.reset_at
    await asyncio.sleep(1.5)
    assert 91 == round(await send(client), 3)


@pytest.mark.parametrize(
    ("named", "until"),
    [
        ({"Retry_After": 5184000}, NOON + timedelta(days=60)),
        ({"reset": 7200}, NOON + timedelta(hours=2)),
        ({"reset": 60, "Retry_After": 3600}, NOON + timedelta(hours=1)),
        (
            {"X_Usage_Remaining": 0, "X_Usage_Period_End": "2026-04-01T00:00:00Z"},
            datetime(2026, 4, 1, tzinfo=UTC),
        ),
        ({"X_Usage_Remaining": 0, "Retry_After": 3600}, NOON + timedelta(hours=1)),
    ],
)
async def test_a_refusal_for_long_says_what_was_named_and_when_the_next_try_is(
    named: dict[str, object], until: datetime
):
    """Whatever header named the wait, the error has the API's code, the moment, and the seconds to the next try."""
    client = make().join(1)
    await send(client, 0.0, status=429, said=headers(**named))
    await asyncio.sleep(100)
    with pytest.raises(QuotaExceededError, match=r"until 2026-.* UTC; .* tries again in 200 s") as refusal:
        await send(client)
    assert ("rate_limit_exceeded", until) == (refusal.value.code, refusal.value.reset_at)
    assert PROBED_EVERY - 100 == pytest.approx(refusal.value.retry_after, abs=0.001)


async def test_a_refusal_that_names_months_is_probed_every_few_minutes():
    """One request tries every `PROBED_EVERY` seconds while all others are told no, and the first that passes opens for all."""
    client = make().join(10)
    loop = asyncio.get_running_loop()
    months = headers(Retry_After=5184000)
    await send(client, 0.0, status=429, said=months)
    for status in (429, 429, 200):
        refused_at = loop.time()
        await asyncio.sleep(PROBED_EVERY - 1)
        with pytest.raises(QuotaExceededError):
            await send(client)
        await asyncio.sleep(1)
        probe = asyncio.ensure_future(send(client, 2.0, status=status, said=months))
        await asyncio.sleep(1)
        for _ in range(5):
            with pytest.raises(QuotaExceededError) as refusal:
                await send(client)
            assert FIRST_PAUSE == refusal.value.retry_after
        assert PROBED_EVERY == pytest.approx(await probe - refused_at, abs=0.01)
    passed_at = loop.time()
    assert passed_at == await send(client)


async def test_a_probe_that_is_not_answered_is_a_try_as_well():
    """After it, too, the next one tries only some minutes later: nobody asks a server again and again that asked for peace."""
    client = make().join(10)
    await send(client, 0.0, status=429, said=headers(Retry_After=5184000))
    await asyncio.sleep(PROBED_EVERY)
    async with PermitBlock(client, route=ROUTE):
        await asyncio.sleep(10)
    with pytest.raises(QuotaExceededError) as refusal:
        await send(client)
    assert PROBED_EVERY == pytest.approx(refusal.value.retry_after, abs=0.001)
    await asyncio.sleep(PROBED_EVERY)
    assert 2 * PROBED_EVERY + 10 == pytest.approx(await send(client), abs=0.01)


async def test_whoever_takes_long_waits_is_not_asked_to_probe_them():
    """With `max_rate_wait` above what the server named, a call waits that long and nobody tries before."""
    client = make(max_rate_wait=3600.0).join(1)
    await send(client, 0.0, status=429, said=headers(Retry_After=1800))
    assert 1800 == round(await send(client), 3)


async def test_a_probe_that_is_refused_for_a_shorter_wait_is_believed():
    """The server named months and then half a minute: calls wait for that one."""
    client = make().join(1)
    await send(client, 0.0, status=429, said=headers(Retry_After=5184000))
    await asyncio.sleep(PROBED_EVERY)
    await send(client, 0.0, status=429, said=headers(Retry_After=30))
    assert PROBED_EVERY + 30 == pytest.approx(await send(client), abs=0.01)


async def test_an_unnamed_wait_longer_than_anybody_takes_is_not_said_to_be_asked_for():
    """Where no server named a wait, no text says that it did, and the seconds to the next try are there all the same."""
    client = make(max_rate_wait=3.0).join(1)
    await send(client, 0.0, status=429, said=headers())
    with pytest.raises(
        QuotaExceededError, match="the server refuses requests, for an unnamed time"
    ) as refusal:
        await send(client)
    assert (None, FIRST_PAUSE) == (refusal.value.reset_at, refusal.value.retry_after)


async def test_a_429_closes_the_cooldown_until_the_named_reset():
    """Nobody passes before the reset; then one probes alone, and the rest follow evenly, at what others leave."""
    budget = make()
    client = budget.join(10)
    await send(client, 0.0, status=429, said=headers(limit=60, remaining=0, reset=20))
    shut = budget.snapshot()
    assert (0, NOON + timedelta(seconds=20)) == (shut.free_now, shut.closed_until)
    assert 20 == round(shut.seconds_until_next_permit, 3)
    left = await asyncio.gather(*(send(client, 1.0, said=headers(limit=60, remaining=50)) for _ in range(4)))
    # 17 in a minute: who had used up all of the limit may well come again for two thirds of it.
    assert [20.0, 24.529, 28.059, 31.588] == [round(moment, 3) for moment in left]


async def test_behind_a_probe_without_headers_the_rest_leave_evenly():
    """Without headers nothing tells of the next refusal: one probes, and they follow at the plan's pace, not at once."""
    client = make().join(10)
    await send(client, 0.0, status=429, said=headers(Retry_After=10))
    left = await asyncio.gather(*(send(client, 1.0) for _ in range(7)))
    assert [10, 11, 12, 13, 14, 15, 16] == [round(moment, 3) for moment in left]


async def test_ten_minutes_after_a_refusal_without_numbers_all_leave_at_once_again():
    """What one refusal without numbers may have meant is not held against the server for ever."""
    client = make().join(200)
    await send(client, 0.0, status=429, said=headers(Retry_After=1))
    await send(client)
    await asyncio.sleep(600)
    assert 606 > max(await asyncio.gather(*(send(client, 1.0) for _ in range(40))))


async def test_refusals_of_requests_already_under_way_close_nothing_again():
    """Ten in flight are all refused, seconds apart: the cooldown opens as the first one said."""
    client = make().join(10)
    await warm(client)
    refused = [send(client, 1.0 + n / 2, status=429, said=headers(Retry_After=10)) for n in range(3)]
    rest = asyncio.ensure_future(asyncio.gather(*refused))
    await asyncio.sleep(1.2)
    assert 12 == round(await send(client, 0.0), 3)
    await rest


async def test_a_later_refusal_that_names_a_shorter_wait_opens_nothing_earlier():
    """Of all the resets that a server names the last one stands, in whatever order they come."""
    budget = make()
    client = budget.join(10)
    await warm(client)
    waits = ((1.0, 50), (1.5, 10), (2.0, 70), (2.5, 5))
    refused = [send(client, after, status=429, said=headers(Retry_After=wait)) for after, wait in waits]
    rest = asyncio.ensure_future(asyncio.gather(*refused))
    await asyncio.sleep(2.6)
    assert NOON + timedelta(seconds=72 - 2.6) == pytest.approx(
        budget.snapshot().closed_until, abs=timedelta(seconds=0.01)
    )
    assert 72 == round(await send(client, 0.0), 3)
    await rest


async def test_an_answer_to_a_request_from_before_the_closing_opens_nothing():
    """It tells of an older time: still nobody leaves before the reset, and then one probe goes alone."""
    client = make().join(10)
    await warm(client)
    late = [asyncio.ensure_future(send(client, seconds)) for seconds in (3.0, 5.0, 15.5)]
    await send(client, 1.0, status=429, said=headers(Retry_After=14))
    left = await asyncio.gather(*(send(client, 1.0) for _ in range(4)))
    assert [15, 16, 17, 18] == [round(moment, 3) for moment in left]
    await asyncio.gather(*late)


async def test_a_late_refusal_that_names_nothing_is_no_second_closing():
    """A header-less 429 to a request sent before the cooldown closed comes after it opened again: nobody waits."""
    client = make().join(10)
    await warm(client)
    late = asyncio.ensure_future(send(client, 8.0, status=429, said=headers()))
    await send(client, 1.0, status=429, said=headers())
    assert 6 == round(await send(client, 0.0), 3)
    await late
    assert 8 == round(await send(client, 0.0), 3)


async def test_pauses_nobody_names_grow_until_an_answer():
    """Without a named wait the cooldown stays shut 5, 10, 20 s while each probe is refused, and 5 again after one passed."""
    client = make().join(1)
    left = [await send(client, 0.0, status=429, said=headers()) for _ in range(4)]
    assert [0, 5, 15, 35] == [round(moment, 3) for moment in left]
    await send(client, 0.0)
    await send(client, 0.0, status=429, said=headers())
    refused_at = asyncio.get_running_loop().time()
    assert 5 == round(await send(client, 0.0) - refused_at, 3)


async def test_a_reset_in_the_past_is_a_short_pause():
    """A 429 whose reset has passed closes the cooldown for the pause of a 429 that names none."""
    client = make().join(1)
    await send(client, 0.0, status=429, said=headers(reset=int(NOON.timestamp()) - 30))
    assert 5 == round(await send(client, 0.0), 3)


async def test_a_reset_in_the_past_with_nothing_left_is_probed_with_growing_pauses():
    """Refused for `Remaining: 0` of a window that is over, a call tries after 5, 15 and 35 s, or is told at once that it is too late."""
    client = make().join(10)
    over = headers(limit=60, remaining=0, reset=int(NOON.timestamp()) - 30)
    left = [await send(client, 0.0, status=429, said=over, deadline=60.0) for _ in range(4)]
    assert [0, 5, 15, 35] == [round(moment, 2) for moment in left]
    with pytest.raises(DeadlineExceededError) as refusal:
        await send(client, deadline=60.0)
    assert 35 == round(asyncio.get_running_loop().time(), 2)
    assert 40 == round(refusal.value.retry_after or 0, 2)


async def test_jitter_only_lengthens():
    """With jitter the cooldown opens later than named, by a tenth of the wait and by a second at most."""
    for wait, opens in ((4, 4.4), (50, 51)):
        client = RateBudget(60, random=lambda: 1.0, wall_clock=lambda: NOON).join(1)
        began = asyncio.get_running_loop().time()
        await send(client, 0.0, status=429, said=headers(Retry_After=wait))
        assert opens == round(await send(client) - began, 3)


async def test_a_failed_probe_is_followed_by_another():
    """A probe that fails without an answer says nothing: the next one goes alone, too."""
    client = make().join(5)
    await send(client, 0.0, status=429, said=headers(Retry_After=5))

    async def fail() -> None:
        async with PermitBlock(client, route=ROUTE):
            await asyncio.sleep(1)
            raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        await fail()
    left = await asyncio.gather(send(client, 1.0), send(client, 1.0))
    assert [6, 7] == [round(moment, 3) for moment in left]


async def test_a_probe_that_never_left_lets_the_next_one_probe():
    """After a 429 one that could not connect has probed nothing: the next goes in its place, alone, and the rest behind it."""
    client = make().join(9)
    await send(client, 0.0, status=429, said=headers(Retry_After=5))
    lost = [fail_to_connect(client, 2.0), fail_to_connect(client, 2.0)]
    left = await asyncio.gather(*lost, *(send(client, 1.0) for _ in range(2)))
    assert [5, 7, 9, 10] == [round(moment, 3) for moment in left]


async def test_a_probe_of_months_that_never_left_lets_the_next_one_probe():
    """Nobody waits some minutes more because a connection was refused."""
    client = make().join(9)
    await send(client, 0.0, status=429, said=headers(Retry_After=5184000))
    await asyncio.sleep(PROBED_EVERY)
    await fail_to_connect(client, 1.0)
    assert PROBED_EVERY + 1 == pytest.approx(await send(client), abs=0.01)


async def test_what_never_left_uses_nothing_of_the_plan_up():
    """However many connections were refused, as many requests leave as if there had been none."""
    budget = make()
    client = budget.join(100)
    for _ in range(3):
        await asyncio.gather(*(fail_to_connect(client) for _ in range(60)))
    assert (60, 0) == (budget.snapshot().free_now, budget.snapshot().in_flight)
    left = await asyncio.gather(*(send(client) for _ in range(61)))
    assert 60 == len([moment for moment in left if moment < 1])
    assert max(left) > 60


async def test_a_full_window_opens_with_what_never_left():
    """Whoever waits behind requests that turn out never to have left goes at once."""
    client = make(3).join(9)
    await warm(client)
    trying = [asyncio.ensure_future(fail_to_connect(client, 10.0)) for _ in range(2)]
    await asyncio.sleep(1)
    assert 10 == round(await send(client), 3)
    await asyncio.gather(*trying)


async def test_a_limit_that_was_lowered_meanwhile_holds_for_what_comes_back():
    """Forty permits that come back under a limit of 10 are no forty permits."""
    client = make().join(100)
    await warm(client)
    trying = [asyncio.ensure_future(fail_to_connect(client, 5.0)) for _ in range(40)]
    await send(client, 1.0, said=headers(limit=10))
    await asyncio.gather(*trying)
    left = await asyncio.gather(*(send(client) for _ in range(10)))
    assert 8 == len([moment for moment in left if moment < 60])


async def test_what_never_left_does_not_add_up_to_a_burst():
    """With one request a second, ten that never left make room for one, or with what time brings for two, and not for ten."""
    client = make(burst=1).join(100)
    await warm(client)
    await asyncio.gather(*(fail_to_connect(client, 20.0) for _ in range(10)))
    began = asyncio.get_running_loop().time()
    left = await asyncio.gather(*(send(client, 0.0) for _ in range(10)))
    assert 2 >= len([moment for moment in left if moment < began + 0.9])


async def test_a_smaller_limit_is_adopted_at_once_with_one_warning(caplog: pytest.LogCaptureFixture):
    """Configured 60 and named 30: one warning names both, and 30 go in a minute."""
    budget = make(60)
    client = budget.join(100)
    left = await asyncio.gather(*(send(client, said=headers(limit=30)) for _ in range(31)))
    assert 30 == budget.snapshot().limit
    assert 30 == len([moment for moment in left if moment < 60])
    assert ["the server allows 30 requests per minute, not 60"] == [
        record.getMessage() for record in caplog.records if "allows" in record.getMessage()
    ]


async def test_a_larger_limit_needs_two_answers_that_agree():
    """The second must answer a request sent after the first arrived; another number starts anew."""
    budget = make(60)
    client = budget.join(100)
    await send(client, 0.0)
    await asyncio.gather(*(send(client, 1.0, said=headers(limit=300)) for _ in range(3)))
    assert 60 == budget.snapshot().limit
    await send(client, said=headers(limit=200))
    await send(client, said=headers(limit=60))
    await send(client, said=headers(limit=300))
    assert 60 == budget.snapshot().limit
    await send(client, said=headers(limit=300))
    assert 300 == budget.snapshot().limit


async def test_a_route_with_a_limit_of_its_own_holds_up_no_other():
    """One route names 300 and one 2: at most two of the latter go in a minute, while the former go on."""
    budget = make(300)
    client = budget.join(100)
    named = headers(limit=300)
    await send(client, route="GET /interviews/{id}", said=named)
    await send(client, said=headers(limit=5))
    crowd = [asyncio.ensure_future(send(client, said=headers(limit=5))) for _ in range(6)]
    await asyncio.sleep(1)
    others = await asyncio.gather(
        *(send(client, route="GET /interviews/{id}", said=named) for _ in range(50))
    )
    assert 300 == budget.snapshot().limit
    assert {ROUTE: 5} == budget.snapshot().route_limits
    assert budget.snapshot().quota_exceeded is None
    assert {1.2} == {round(moment, 1) for moment in others} | {1.2}
    left = await asyncio.gather(*crowd)
    assert 3 == len([moment for moment in left if moment < 60])
    assert 3 == len([moment for moment in left if 60 < moment < 62])


async def test_a_ceiling_follows_what_its_route_names():
    """A route's own limit shrinks, and goes away when its answers name the organisation's."""
    budget = make(300)
    client = budget.join(1)
    await send(client, route="GET /x", said=headers(limit=300))
    for limit in (50, 40, 300, 300):
        await send(client, said=headers(limit=limit))
    left = [await send(client, 0.0) for _ in range(100)]
    assert max(left) < 60


async def test_a_remaining_of_a_smaller_route_says_nothing_of_the_whole():
    """A route whose limit is smaller counts for itself: its Remaining 0 leaves the others alone."""
    client = make(300).join(1)
    await send(client, route="GET /x", said=headers(limit=300, remaining=299))
    await send(client, said=headers(limit=5, remaining=0))
    left = [await send(client, route="GET /x", said=headers(limit=300, remaining=290)) for _ in range(3)]
    assert max(left) < 1


async def test_remaining_lowers_what_may_leave_and_never_raises_it():
    """Others used 20 of 60: that and some headroom is left to them; a Remaining larger than our own count changes nothing."""
    budget = make(60)
    client = budget.join(10)
    await send(client, 0.0, said=headers(limit=60, remaining=39))
    assert 60 - 1 - 22 == budget.snapshot().free_now
    other = make(60)
    client = other.join(10)
    for _ in range(10):
        await send(client, 0.0, said=headers(limit=60, remaining=60))
    assert 50 == other.snapshot().free_now


async def test_nonsense_is_warned_of_once(caplog: pytest.LogCaptureFixture):
    """A header without sense is left out of account with one warning of its name, however often it comes."""
    client = make().join(1)
    for _ in range(3):
        await send(client, said=headers(limit="NaN", remaining="-1"))
    assert [
        "the server's X-RateLimit-Limit header makes no sense and is left out of account",
        "the server's X-RateLimit-Remaining header makes no sense and is left out of account",
    ] == [record.getMessage() for record in caplog.records]


async def test_whoever_waits_learns_for_how_long_and_why():
    """The hook gets seconds, reason and number queued, once for each caller that waits."""
    told: list[tuple[float, str, int]] = []
    budget = make(2, on_wait=lambda seconds, reason, queued: told.append((round(seconds, 2), reason, queued)))
    client = budget.join(1)
    waiting = [asyncio.ensure_future(send(client, 1.0)) for _ in range(3)]
    await asyncio.sleep(1.5)
    asking = asyncio.ensure_future(send(client))
    await asyncio.gather(*waiting, asking)
    assert (inf, "waiting for one answer", 1) == told[0]
    assert ("window full", 2) == told[2][1:]
    assert 59.0 < told[2][0] < 60.6
    await send(client, status=429, said=headers(Retry_After=30))
    await send(client)
    assert (30.0, "closed by the server", 1) == told[-1]


async def test_pacing_and_a_full_window_are_named():
    """Each reason has its name."""
    reasons: list[str] = []
    client = make(6, burst=1, on_wait=lambda _s, reason, _n: reasons.append(reason)).join(9)
    await warm(client)
    await send(client)
    client = make(1, on_wait=lambda _s, reason, _n: reasons.append(reason)).join(9)
    await warm(client)
    await send(client)
    assert ["pacing", "window full"] == reasons


async def test_what_the_hook_raises_is_logged_and_changes_nothing(caplog: pytest.LogCaptureFixture):
    """The caller whose wait it was told of is served in its turn."""

    def raising(seconds: float, reason: str, queued: int) -> None:
        if queued == 1:
            raise LookupError(reason)

    budget = make(1, on_wait=raising)
    client = budget.join(1)
    await warm(client)
    await send(client)
    assert ["on_wait failed"] == [record.getMessage() for record in caplog.records if record.exc_info]
    assert 0 == budget.snapshot().queued["interactive"]


async def test_a_long_wait_is_warned_of_once(caplog: pytest.LogCaptureFixture):
    """One warning when a wait passes 5 s, for all who wait; another only after nobody has waited for a while."""
    client = make(2).join(5)
    await warm(client)
    moments: list[float] = []
    loop = asyncio.get_running_loop()
    handler = logging.Handler()
    handler.emit = lambda _record: moments.append(round(loop.time(), 3))  # type: ignore[method-assign]
    logging.getLogger("hindsight_async.rate").addHandler(handler)
    await asyncio.gather(*(send(client) for _ in range(6)))
    assert [5.0] == moments
    await asyncio.sleep(100)
    await asyncio.gather(*(send(client) for _ in range(3)))
    logging.getLogger("hindsight_async.rate").removeHandler(handler)
    assert 2 == len(moments)
    assert "window full" in caplog.records[0].getMessage()


async def test_nobody_is_told_of_a_wait_of_no_seconds(caplog: pytest.LogCaptureFixture):
    """While an answer is in the way, of a probe or of the session's own requests, how long it takes is unknown, and so told."""
    told: list[tuple[float, str]] = []
    budget = make(on_wait=lambda seconds, reason, _: told.append((seconds, reason)))
    client, other = budget.join(1), budget.join(9)
    probe = asyncio.ensure_future(send(client, 20.0))
    await asyncio.sleep(0)
    with pytest.raises(
        DeadlineExceededError, match=r"passed before .* \(waiting for one answer\)"
    ) as refusal:
        await send(other, deadline=10.0)
    assert refusal.value.retry_after is None
    assert (inf, 0) == (budget.snapshot().seconds_until_next_permit, budget.snapshot().free_now)
    await probe
    await asyncio.gather(send(client, 20.0), send(client))
    assert [(inf, "waiting for one answer"), (inf, "max in flight")] == told
    texts = [record.getMessage() for record in caplog.records]
    assert ["(waiting for one answer)", "(max in flight)"] == [
        text[text.index("(") : text.index(")") + 1] for text in texts
    ]
    assert all(text.endswith("nobody knows for how long yet") for text in texts)


async def test_the_full_window_of_another_route_is_no_reason_to_wait():
    """Whoever waits for its own session's answer is not told of the minute that some other route has to wait."""
    told: list[tuple[float, str]] = []
    budget = make(300, on_wait=lambda seconds, reason, _: told.append((seconds, reason)))
    client = budget.join(1)
    await send(client, route="GET /x", said=headers(limit=300))
    await send(client, said=headers(limit=2))
    await asyncio.gather(*(send(client, route="GET /x", said=headers(limit=300)) for _ in range(2)))
    assert [(inf, "max in flight")] == told


async def test_what_is_nearly_over_is_not_said_to_be_over():
    """The rest of a wait is rounded up where it would read as none."""
    client = make().join(1)
    await send(client, 0.0, status=429, said=headers(Retry_After=10))
    await asyncio.sleep(9.98)
    with pytest.raises(DeadlineExceededError, match=r"another 0\.1 s"):
        await send(client, deadline=9.99)


async def test_a_snapshot_shows_who_waits():
    """Limit, in flight, queued per lane and the seconds to the next permit are there to read."""
    budget = make(2)
    client = budget.join(2)
    await warm(client)
    running = asyncio.ensure_future(send(client, 5.0))
    await asyncio.sleep(1)
    waiting = [asyncio.ensure_future(send(client, lane=lane)) for lane in ("bulk", "bulk", "interactive")]
    await asyncio.sleep(0)
    seen = budget.snapshot()
    assert (2, 0, 1) == (seen.limit, seen.free_now, seen.in_flight)
    assert {"interactive": 1, "bulk": 2} == seen.queued
    assert 119 < seen.seconds_until_next_permit < 121
    assert seen.closed_until is None
    await asyncio.gather(running, *waiting)


async def test_a_snapshot_is_refused_in_another_thread():
    """To look is to count anew: a health check in a thread of its own would spoil the count that a loop is at."""
    budget = make(2)
    await warm(budget.join(2))
    with pytest.raises(RuntimeError, match="a handler that is async def"):
        await asyncio.to_thread(budget.snapshot)
    assert 2 == budget.snapshot().limit


def test_one_loop_after_another_keeps_the_count():
    """With asyncio.run after asyncio.run what was sent within the minute still counts."""
    budget = make(60)
    client = budget.join(5)

    async def some() -> None:
        await asyncio.gather(*(send(client, 0.0) for _ in range(5)))

    asyncio.run(some())
    asyncio.run(some())
    assert 50 == budget.snapshot().free_now


def test_a_loop_with_another_clock_starts_afresh():
    """Where the new loop's clock stands before the old one's, nothing crashes and all is free."""
    budget = make(2)
    client = budget.join(2)

    async def some() -> None:
        await asyncio.sleep(5)
        await send(client, 0.0)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(asyncio.sleep(100))
        runner.run(some())
        runner.run(some())
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(some())
        assert 1 == budget.snapshot().free_now


def test_what_a_dead_loop_left_behind_is_of_no_consequence():
    """A request cut off with its loop leaves the next loop's permits and callers alone."""
    budget = make(60)
    client = budget.join(1)
    loop = asyncio.new_event_loop()
    permit, waiting = PermitBlock(client, route=ROUTE), PermitBlock(client, route=ROUTE).__aenter__()
    loop.run_until_complete(permit.__aenter__())
    waiter = loop.create_task(waiting)
    loop.run_until_complete(asyncio.sleep(0))
    waiter.cancel()

    async def go_on() -> None:
        await send(client, 0.0)
        permit.answered(200, headers())
        await permit.__aexit__(None, None, None)

    asyncio.run(go_on())
    loop.run_until_complete(asyncio.gather(waiter, return_exceptions=True))
    loop.close()
    assert (58, 0) == (budget.snapshot().free_now, budget.snapshot().in_flight)


def test_what_comes_back_after_its_loop_is_gone_frees_nothing():
    """The next loop's count knows nothing of a permit of the last one."""
    budget = make(60)
    client = budget.join(2)
    loop = asyncio.new_event_loop()
    permit = loop.run_until_complete(client.acquire(ROUTE))
    loop.close()

    async def go_on() -> None:
        await send(client, 0.0)
        client.put_back(permit)

    asyncio.run(go_on())
    assert (58, 0) == (budget.snapshot().free_now, budget.snapshot().in_flight)


def test_a_loop_that_is_aborted_takes_no_permit_with_it():
    """Calls that have permits or wait are cut off with their loop; their 60 s later the whole plan is there again."""
    budget = make(3)
    client = budget.join(2)
    aborted, next_one = VirtualTimeLoop(), VirtualTimeLoop()
    next_one.stand_still(10)

    async def begin() -> list[asyncio.Task[float]]:
        await warm(client)
        calls = [asyncio.create_task(send(client, 1000.0)) for _ in range(4)]
        await asyncio.sleep(1)
        seen = budget.snapshot()
        assert (2, 2) == (seen.in_flight, seen.queued["interactive"])
        return calls

    async def go_on() -> list[float]:
        left = await asyncio.gather(*(send(client, 0.0) for _ in range(3)))
        await asyncio.sleep(61)
        return left

    calls = aborted.run_until_complete(begin())
    left = next_one.run_until_complete(go_on())
    assert [60, 70, 70] == [round(moment, 1) for moment in left]
    for call in calls:
        call.cancel()
    aborted.run_until_complete(asyncio.wait(calls))
    seen = budget.snapshot()
    assert (3, 0, 0) == (seen.free_now, seen.in_flight, seen.queued["interactive"])
    aborted.close()
    next_one.close()


@pytest.mark.parametrize("closed", [False, True], ids=["cold start", "after a 429"])
def test_a_loop_that_is_aborted_around_a_probe_leaves_nobody_waiting_for_it(*, closed: bool):
    """The answer that the others waited for will never come: on the next loop another probe goes."""
    budget = make()
    client = budget.join(5)
    aborted, next_one = VirtualTimeLoop(), VirtualTimeLoop()
    next_one.stand_still(20)

    async def begin() -> list[asyncio.Task[float]]:
        if closed:
            await send(client, 0.0, status=429, said=headers(Retry_After=10))
        calls = [asyncio.create_task(send(client, 1000.0)) for _ in range(3)]
        await asyncio.sleep(11)
        seen = budget.snapshot()
        assert (1, 2) == (seen.in_flight, seen.queued["interactive"])
        return calls

    async def go_on() -> list[float]:
        return await asyncio.gather(*(send(client, 1.0) for _ in range(2)))

    calls = aborted.run_until_complete(begin())
    assert [20, 21] == [round(moment, 1) for moment in next_one.run_until_complete(go_on())]
    for call in calls:
        call.cancel()
    aborted.run_until_complete(asyncio.wait(calls))
    aborted.close()
    next_one.close()


async def test_two_loops_at_once_are_refused():
    """A budget used from a second running loop says that it serves one at a time."""
    budget = make()
    client = budget.join(1)
    await warm(client)

    def elsewhere() -> None:
        asyncio.run(warm(client))

    with pytest.raises(
        WrongEventLoopError, match=r"one event loop at a time: <.*running=True.*> uses it .* this is <"
    ):
        await asyncio.to_thread(elsewhere)


async def test_others_are_noticed_also_after_answers_that_said_nothing_new():
    """However many answers were as usual, the first that names less than we have left counts."""
    budget = make()
    client = budget.join(5)
    for remaining in (59, 58, 57, 56):
        await send(client, said=headers(limit=60, remaining=remaining))
    assert 56 == budget.snapshot().free_now
    await send(client, said=headers(limit=60, remaining=20))
    assert 20 >= budget.snapshot().free_now


async def test_a_request_that_left_under_a_ceiling_that_is_gone_counts():
    """What left while its route had a window of its own is answered once it has none: it counts, and no more than once."""
    budget = make(60)
    client = budget.join(5)
    await send(client, route="GET /x", said=headers(limit=60, remaining=59))
    await send(client, said=headers(limit=30, remaining=29))
    late = asyncio.ensure_future(send(client, 5.0, said=headers(limit=60, remaining=54)))
    await asyncio.sleep(0)
    for remaining in (57, 56, 55):
        await send(client, said=headers(limit=60, remaining=remaining))
    await late
    assert (54, 0) == (budget.snapshot().free_now, budget.snapshot().in_flight)


async def test_an_answer_as_usual_opens_the_way_behind_a_probe():
    """After a 429 on one route, the probe on another is answered as ever, and the others follow it all at once."""
    client = make().join(10)
    await send(client, route="GET /x", said=headers(limit=60, remaining=59))
    await send(client, said=headers(limit=60, remaining=58))
    await send(client, 0.0, status=429, said=headers(Retry_After=5))
    await send(client, 1.0, route="GET /x", said=headers(limit=60, remaining=56))
    follow = [send(client, 1.0, route="GET /x", said=headers(limit=60, remaining=53)) for _ in range(3)]
    assert 1 == len(set(await asyncio.gather(*follow)))
