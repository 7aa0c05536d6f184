"""Views of a session: other options for some calls, and everything else in common."""

import asyncio
import gc

import pytest

from hindsight_async import (
    CreateInterview,
    CreateLimitReachedError,
    DeadlineExceededError,
    HindsightSession,
    InternalServerError,
    Message,
    OutcomeStatus,
    OutcomeUnknownError,
    RateBudget,
    RecipientNotAllowedError,
    RetryPolicy,
    SessionClosedError,
    Timeouts,
)
from hindsight_async.emulator import Emulator

JANE = CreateInterview(contact_email="jane@acme.example", sequence_id="seq_abc123")
QUESTION = [Message(role="user", content="Why?")]


def to(emulator, **options):
    return HindsightSession(emulator.api_key, base_url=emulator.base_url, **options)


async def test_a_view_sends_over_the_same_pool_and_budget():
    """What a view sends counts in the session's budget; there is one connection for both."""
    async with Emulator() as emulator, to(emulator) as hindsight:
        created = await hindsight.interviews.create(JANE)
        view = hindsight.with_options(deadline=5, lane="bulk", timeouts=Timeouts(read=7), retry=RetryPolicy())
        assert created.interview_request_id == (await view.interviews.get(1)).interview_request_id
        assert 0 == await view.deals.count()
        assert view.budget is hindsight.budget
        assert 57 == hindsight.budget.snapshot().free_now
        assert 3 == len(emulator.requests)


async def test_the_fuse_and_the_list_of_recipients_hold_for_views_too():
    """A view is no way around `max_creates` and `allowed_recipients`, in either direction."""
    async with Emulator() as emulator:
        async with to(emulator, max_creates=1, allowed_recipients=["*@acme.example"]) as hindsight:
            view = hindsight.with_options(lane="bulk")
            stranger = CreateInterview(contact_email="joe@else.example", sequence_id="seq_abc123")
            with pytest.raises(RecipientNotAllowedError):
                await view.interviews.create(stranger)
            await view.interviews.create(JANE)
            for one in (hindsight, view, hindsight.with_options()):
                with pytest.raises(CreateLimitReachedError, match=r"POST /interviews"):
                    await one.interviews.create(JANE)
        assert 1 == len(emulator.requests)


async def test_a_deadline_is_the_views_own():
    """Shorter or none at all, while that of the session stays."""
    async with Emulator() as emulator, to(emulator, deadline=30, budget=RateBudget(1)) as hindsight:
        await hindsight.deals.count()
        loop = asyncio.get_running_loop()
        for one in (hindsight, hindsight.with_options(lane="bulk"), hindsight.with_options(deadline=3)):
            with pytest.raises(DeadlineExceededError):
                await one.deals.count()
        before = loop.time()
        await hindsight.with_options(deadline=None).deals.count()
        assert 30 < loop.time() - before < 70
        await hindsight.with_options(deadline=200).with_options(lane="bulk").deals.count()


async def queued_by(hindsight, call):
    """Start a call that has to wait, and tell where it stands in line."""
    waiting = asyncio.ensure_future(call)
    while not any(hindsight.budget.snapshot().queued.values()):
        assert not waiting.done()
        await asyncio.sleep(0.001)
    lanes = [lane for lane, number in hindsight.budget.snapshot().queued.items() if number]
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    return lanes


async def all_of(run):
    async with run:
        return [outcome.status async for outcome in run]


async def first_of(walk):
    return await anext(aiter(walk))


SINGLE = [
    lambda one: one.interviews.create(JANE),
    lambda one: one.interviews.get(1),
    lambda one: one.deals.get_page(),
    lambda one: one.request("GET", "/interview-types"),
    lambda one: one.tools.call("search-web", {"query": "a"}),
    lambda one: one.responses.create(QUESTION),
    lambda one: one.responses.stream(QUESTION).__aenter__(),
    lambda one: one.documents.upload_to_library(file=b"a", file_name="a.txt", type="intel"),
]
MANY = [
    lambda one: all_of(one.interviews.create_many([JANE])),
    lambda one: first_of(one.deals.list()),
    lambda one: one.deals.wait_for_export("export_1"),
]


@pytest.mark.parametrize(
    ("call", "by_itself"), [(call, "interactive") for call in SINGLE] + [(call, "bulk") for call in MANY]
)
async def test_the_lane_is_the_views_where_it_names_one(call, by_itself):
    """Single calls go before bulk runs, walks and polls, unless the view says otherwise."""
    async with Emulator() as emulator, to(emulator, deadline=None, budget=RateBudget(1)) as hindsight:
        await hindsight.deals.count()
        assert [by_itself] == await queued_by(hindsight, call(hindsight))
        assert [by_itself] == await queued_by(hindsight, call(hindsight.with_options(deadline=7000)))
        for lane in ("interactive", "bulk"):
            view = hindsight.with_options(lane=lane)
            assert [lane] == await queued_by(hindsight, call(view))
            assert [lane] == await queued_by(hindsight, call(view.with_options(retry=RetryPolicy())))


@pytest.mark.parametrize("options", [{}, {"lane": "interactive"}, {"lane": "bulk"}])
async def test_polls_go_in_the_lane_of_the_view(options):
    """Reading again and again while waiting goes behind single calls, unless the view says otherwise."""
    async with Emulator() as emulator, to(emulator, budget=RateBudget(1)) as hindsight:
        await hindsight.deals.count()
        view = hindsight.with_options(**options)
        assert [options.get("lane", "bulk")] == await queued_by(hindsight, view.interviews.wait(1))


async def test_timeouts_are_the_views_own():
    """One call may take longer than others, or less long."""
    async with Emulator(latency=2.0) as emulator, to(emulator, timeouts=Timeouts(read=1)) as hindsight:
        patient = hindsight.with_options(timeouts=Timeouts(read=5))
        await patient.interviews.create(JANE)
        with pytest.raises(OutcomeUnknownError):
            await patient.with_options(timeouts=Timeouts(read=0.5)).interviews.create(JANE)
        with pytest.raises(OutcomeUnknownError):
            await hindsight.interviews.create(JANE)
        await patient.interviews.create(JANE)


async def test_patience_is_the_views_own():
    """One attempt for a view does not take those of the session away."""
    async with Emulator() as emulator, to(emulator) as hindsight:
        emulator.fail("GET /deals", 503, times=3)
        with pytest.raises(InternalServerError) as caught:
            await hindsight.with_options(retry=RetryPolicy(attempts=1)).deals.count()
        assert 1 == caught.value.attempts
        assert 0 == await hindsight.deals.count()
        assert 4 == len(emulator.requests)


async def test_streams_of_a_session_and_its_views_share_their_places():
    """However many views there are, streams take at most half of what may be in flight."""
    async with Emulator() as emulator, to(emulator, max_in_flight=2) as hindsight:
        async with hindsight.responses.stream(QUESTION):
            with pytest.raises(DeadlineExceededError, match="as many streams are open"):
                async with hindsight.with_options(deadline=1).responses.stream(QUESTION):
                    pass


async def test_waits_of_a_session_and_its_views_share_their_part_of_the_plan():
    """Two waits for sixty each take twice as long, be they of one session or of a view."""
    async with Emulator(completes_after=0) as emulator, to(emulator) as hindsight:
        bulk = hindsight.interviews.create_many(
            CreateInterview(contact_email=f"c{number}@acme.example", sequence_id="seq_1")
            for number in range(30)
        )
        assert {OutcomeStatus.CREATED} == set(await all_of(bulk))

        async def waited(one):
            return len([interview async for interview in one.interviews.wait_many(range(1, 31))])

        began = asyncio.get_running_loop().time()
        view = hindsight.with_options(deadline=500)
        assert [30, 30] == await asyncio.gather(waited(hindsight), waited(view))
        assert asyncio.get_running_loop().time() - began > 100


async def test_a_view_can_be_neither_entered_nor_closed():
    """It is the session that has a beginning and an end, and a view ends with it."""
    async with Emulator() as emulator:
        async with to(emulator) as hindsight:
            view = hindsight.with_options(lane="bulk")
            with pytest.raises(TypeError, match=r"view \(with_options\): enter the session"):
                await view.__aenter__()
            for one in (view, view.with_options(deadline=1)):
                with pytest.raises(TypeError, match=r"view \(with_options\): close the session"):
                    await one.close(drain=1)
            assert 0 == await view.deals.count()
            assert repr(view) == f"<view of {repr(hindsight)[1:]}"
        with pytest.raises(SessionClosedError):
            await view.deals.count()


async def test_a_view_opens_the_session_that_it_is_of():
    """A session that was built at import has its views at import."""
    async with Emulator() as emulator:
        hindsight = to(emulator)
        view = hindsight.with_options(deadline=5)
        assert 0 == await view.deals.count()
        await hindsight.close()


async def test_a_view_that_is_dropped_warns_of_nothing():
    """Views come and go with single calls; a session lives as long as a view of it."""
    async with Emulator() as emulator:
        hindsight = to(emulator)
        assert 0 == await hindsight.with_options(lane="bulk").deals.count()
        gc.collect()
        view = hindsight.with_options(deadline=5)
        del hindsight
        gc.collect()
        assert 0 == await view.deals.count()
        with pytest.warns(
            ResourceWarning, match=r"^<HindsightSession .* was not closed"
        ):  # the session, once
            view = gc.collect()


@pytest.mark.parametrize(
    ("options", "error", "complaint"),
    [
        ({"deadline": 0}, ValueError, "deadline must be more than 0 seconds, or None for no end"),
        ({"deadline": float("nan")}, ValueError, "deadline must be more than 0 seconds"),
        ({"deadline": "5"}, TypeError, "deadline must be int or float or None, not str"),
        ({"deadline": True}, TypeError, "deadline must be int or float or None, not bool"),
        ({"timeouts": 30}, TypeError, "timeouts must be Timeouts, not int"),
        ({"timeouts": None}, TypeError, "timeouts must be Timeouts, not NoneType"),
        ({"retry": 3}, TypeError, "retry must be RetryPolicy, not int"),
        ({"lane": "urgent"}, ValueError, "lane must be 'interactive' or 'bulk', not 'urgent'"),
        ({"lane": None}, TypeError, "lane must be 'interactive' or 'bulk', not NoneType"),
    ],
)
def test_a_wrong_option_is_refused_and_named(options, error, complaint):
    """As the session refuses its own arguments, before anything is sent."""
    hindsight = HindsightSession("key")
    with pytest.raises(error, match=complaint):
        hindsight.with_options(**options)
    if "lane" not in options:
        with pytest.raises(error, match=complaint):
            HindsightSession("key", **options)
