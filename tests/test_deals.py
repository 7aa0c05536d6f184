"""Deals over real HTTP: what is asked for, what comes back, and walks over many."""

import asyncio
import json
import re
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime

import pytest
from yarl import URL

from hindsight_async import (
    BadRequestError,
    CRMFilter,
    DateRange,
    DealFilters,
    DecodeError,
    Delivery,
    ExportFilters,
    HindsightSession,
    InternalServerError,
    NumberRange,
    Plan,
    RetryPolicy,
)
from hindsight_async.emulator import Emulator
from raw_server import raw_server

MODIFIERS = {
    "owner_filter_type": "owner_ids",
    "collaborator_filter_type": "collaborators",
    "status_filter_type": "status",
    "deal_type_filter_type": "deal_type",
    "region_filter_type": "region",
    "industry_filter_type": "industry",
    "product_filter_type": "product_labels",
    "competitor_filter_type": "competitor",
    "segment_filter_type": "segment",
}


@asynccontextmanager
async def served(**options):
    async with Emulator(plan=Plan.ENTERPRISE) as emulator:
        async with HindsightSession(
            emulator.api_key, base_url=emulator.base_url, plan=Plan.ENTERPRISE, **options
        ) as session:
            yield emulator, session.deals


def put_in(emulator, number):
    for index in range(number):
        emulator.deals.add(
            name=f"Deal {index}", created_at=f"2026-01-01T{index // 60:02}:{index % 60:02}:00Z", amount=index
        )


def asked(emulator):
    return [dict(URL(request.path).query) for request in emulator.requests]


async def answering(document, ask):
    """Let a server answer `document` to whatever `ask(deals)` asks; return what that returns, and the requests."""
    body = json.dumps(document).encode()

    async def script(connection):
        while await connection.request():
            connection.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async with raw_server(script) as server, HindsightSession("k3y", base_url=server.base_url) as session:
        return await ask(session.deals), server.requests


async def test_a_walk_gives_every_deal_once_in_the_order_of_creation():
    """Three requests for 250 deals: pages end at the first that is not full."""
    async with served() as (emulator, deals):
        put_in(emulator, 250)
        assert [f"Deal {index}" for index in range(250)] == [deal.name async for deal in deals.list()]
    assert [{"page_size": "100", "page_index": str(index), "sort": "created_at", "sort_order": "asc"} for index in range(3)] == asked(emulator)  # fmt: skip


@pytest.mark.parametrize(
    ("number", "sizes", "requests"), [(0, [], 1), (20, [10, 10], 3), (21, [10, 10, 1], 3)]
)
async def test_pages_end_at_a_short_or_an_empty_one(number, sizes, requests):
    """A full last page is followed by an empty one, which is not given."""
    async with served() as (emulator, deals):
        put_in(emulator, number)
        assert sizes == [len(page) async for page in deals.list(page_size=10).pages()]
        assert requests == len(emulator.requests)


async def test_a_list_can_be_walked_again():
    """Each walk begins at the first page, also beside another."""
    async with served() as (emulator, deals):
        put_in(emulator, 5)
        found = deals.list(page_size=2)
        pairs = [(deal.name, len([other async for other in found])) async for deal in found]
    assert [(f"Deal {index}", 5) for index in range(5)] == pairs


@pytest.mark.parametrize("newcomers", [1, 10, 15])
async def test_a_page_shifted_by_newcomers_gives_no_deal_twice(newcomers):
    """Newest first, what comes in during the walk pushes deals onto the next page, up to two pages of them."""
    async with served() as (emulator, deals):
        put_in(emulator, 40)
        names = []
        async for page in deals.list(sort_order="desc", page_size=10).pages():
            names += [deal.name for deal in page]
            if len(names) == 20:
                for number in range(newcomers):
                    emulator.deals.add(name="New", created_at=f"2026-02-01T00:{number:02}:00Z")
    assert [f"Deal {index}" for index in reversed(range(40))] == names


async def test_a_walk_waits_behind_single_calls():
    """It is one of many, as a bulk row is: who asks for one thing goes first."""
    async with Emulator(requests_per_minute=2) as emulator:
        async with HindsightSession(emulator.api_key, base_url=emulator.base_url, deadline=None) as session:
            put_in(emulator, 30)

            async def walk():
                return [deal async for deal in session.deals.list(page_size=10)]

            walking = asyncio.create_task(walk())
            while len(emulator.requests) < 2:
                await asyncio.sleep(0.1)
            assert 30 == await session.deals.count()
            assert not walking.done()
            assert 30 == len(await walking)
        paths = [request.path for request in emulator.requests if request.status == 200]
    assert "count=true" in paths[2]


async def test_a_walk_that_is_left_or_cancelled_leaves_the_session_usable():
    """Neither asks for another page, and the next call passes."""
    async with served(max_in_flight=1) as (emulator, deals):
        put_in(emulator, 50)
        async for _ in deals.list(page_size=10):
            break
        emulator.fail("GET /deals", "slow", seconds=100)

        async def walk():
            async for _ in deals.list(page_size=10):
                pass

        walking = asyncio.create_task(walk())
        await asyncio.sleep(5)
        walking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await walking
        assert 2 == len(emulator.requests)
        assert 50 == await deals.count()


async def test_a_page_that_fails_is_read_again_and_then_raised():
    """Reading is repeatable; what lasts ends the walk, with the deals before it given."""
    async with served(retry=RetryPolicy(attempts=2)) as (emulator, deals):
        put_in(emulator, 30)
        emulator.fail("GET /deals", 500)
        assert 30 == len([deal async for deal in deals.list(page_size=10)])
        seen = []
        with pytest.raises(InternalServerError) as raised:
            async for page in deals.list(page_size=10).pages():
                seen += page
                emulator.fail("GET /deals", 503, times=2)
        assert 10 == len(seen)
        assert (2, "/deals") == (raised.value.attempts, raised.value.path)


async def test_a_page_is_asked_for_as_the_api_has_it():
    """What is not said is left to the API; `id` is read with every choice of columns."""
    async with served() as (emulator, deals):
        put_in(emulator, 3)
        await deals.get_page()
        [deal] = await deals.get_page(
            index=0, size=1, sort="amount", sort_order="desc", columns=["name"], search_query="deal"
        )
    assert ("Deal 2", None) == (deal.name, deal.amount)
    assert [
        {"page_size": "50", "page_index": "0"},
        {"page_size": "1", "page_index": "0", "sort": "amount", "sort_order": "desc", "columns": "id,name", "searchQuery": "deal"},
    ] == asked(emulator)  # fmt: skip


async def test_a_count_is_a_bare_number():
    """With the same filters as a list."""
    async with served() as (emulator, deals):
        put_in(emulator, 7)
        assert 7 == await deals.count()
        assert 2 == await deals.count(filters=DealFilters(amount=NumberRange(min=5)))
    assert {"count": "true", "amount": '{"min":5}'} == asked(emulator)[1]


ALL_FILTERS = DealFilters(
    ids=["d1", "d2"], owner_ids=["o"], owner_filter_type="is not", collaborators=("c",),
    collaborator_filter_type="include all of", status=["Ü, won"], status_filter_type="is any of",
    deal_type=["t"], deal_type_filter_type="is not", region=["r"], region_filter_type="is not",
    industry=["i"], industry_filter_type="is not", product_labels=["p"], product_filter_type="include all of",
    close_date=DateRange(start=date(2026, 7, 1), end=date(2026, 7, 31)), amount=NumberRange(min=1, max=2.5),
    competitor=["k"], competitor_filter_type="is not", any_competitor=True, deal_analyzed=False, analysis_verified=True,
    wl_product_fit_score=NumberRange(min=1), wl_sales_execution_score=NumberRange(min=1),
    wl_relationship_score=NumberRange(min=1), wl_price_sensitivity_score=NumberRange(min=1),
    wl_competitive_intensity_score=NumberRange(min=1), wl_customer_fit_score=NumberRange(min=1),
    wl_messaging_fit_score=NumberRange(min=1), wl_messaging_accuracy_score=NumberRange(max=5),
    salesforce_filters=[CRMFilter(property="Account.Industry", operator="is", value="Technology")],
    hubspot_filters=[CRMFilter(property="x", operator="is after", value="1", map_to="industry")],
    segment=["s"], segment_filter_type="include all of",
)  # fmt: skip


async def test_every_filter_is_sent_by_the_apis_name_with_json_inside():
    """Lists and ranges are JSON in a text; a truth is a list of one text; modifiers are plain."""
    async with served() as (emulator, deals):
        assert 0 == await deals.count(filters=ALL_FILTERS)
    [query] = asked(emulator)
    plain = {name: query.pop(name) for name in MODIFIERS}
    assert ["is not", "include all of", "is any of"] == list(plain.values())[:3]
    assert "true" == query.pop("count")
    sent = {name: json.loads(value) for name, value in query.items()}
    assert {
        "ids": ["d1", "d2"], "owner_ids": ["o"], "collaborators": ["c"], "status": ["Ü, won"], "deal_type": ["t"],
        "region": ["r"], "industry": ["i"], "product_labels": ["p"],
        "close_date": {"from": "2026-07-01", "to": "2026-07-31"}, "amount": {"min": 1, "max": 2.5},
        "competitor": ["k"], "any_competitor": ["true"], "deal_analyzed": ["false"], "analysis_verified": ["true"],
        **{f"wl_{score}_score": {"min": 1} for score in (
            "product_fit", "sales_execution", "relationship", "price_sensitivity", "competitive_intensity",
            "customer_fit", "messaging_fit")},
        "wl_messaging_accuracy_score": {"max": 5},
        "salesforce_filters": [{"property": "Account.Industry", "operator": "is", "value": "Technology"}],
        "hubspot_filters": [{"property": {"id": "x", "map_to": "industry"}, "operator": "is after", "value": "1"}],
        "segment": ["s"],
    } == sent  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"status": "Won"}, "status must be a list of texts, not str"),
        ({"ids": []}, "ids must not be empty"),
        ({"ids": [1]}, "ids must be a list of texts, with no int in it"),
        ({"ids": [""]}, "ids must have no empty text"),
        ({"amount": 5}, "amount must be NumberRange, not int"),
        ({"any_competitor": "true"}, "any_competitor must be bool, not str"),
        ({"hubspot_filters": ["x"]}, "hubspot_filters must be a list of CRMFilter"),
        ({"status": ["x"], "status_filter_type": "isnt"}, "status_filter_type must be one of 'is any of'"),
        ({"segment": ["x"], "segment_filter_type": "is not"}, "segment_filter_type must be one of"),
        *(({modifier: "is any of"}, f"{modifier} .* {about}, which is not given") for modifier, about in MODIFIERS.items()),
    ],
)  # fmt: skip
def test_a_filter_that_cannot_be_sent_is_named(wrong, named):
    """Its field, the kind of its value and what would be right; a list that came out empty would mean every deal."""
    with pytest.raises((TypeError, ValueError), match=named):
        DealFilters(**wrong)


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (DateRange, "start or end must be given"),
        (lambda: DateRange(start=date(2026, 7, 2), end=date(2026, 7, 1)), "end must not be less than start"),
        (lambda: DateRange(start=datetime(2026, 7, 2, tzinfo=UTC)), "start must be a date, not datetime"),
        (lambda: DateRange(end="2026-07-01"), "end must be a date, not str"),
        (lambda: NumberRange(min=True), "min must be a number, not bool"),
        (lambda: NumberRange(max=float("nan")), "max must be a finite number"),
        (lambda: CRMFilter(property="x", operator="equals", value="y"), "operator must be one of"),
        (lambda: CRMFilter(property="x", operator="is", value=5), "value must be text"),
        (lambda: CRMFilter(property="", operator="is", value="5"), "property must not be empty"),
        (lambda: ExportFilters(analyzed=["true"]), "analyzed must be bool, not list"),
    ],
)
def test_a_part_of_a_filter_that_cannot_be_sent_is_named(build, named):
    """As the filter itself is."""
    with pytest.raises((TypeError, ValueError), match=named):
        build()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"page_size": 101}, "page_size must be from 1 to 100"),
        ({"page_size": True}, "page_size must be a whole number, not bool"),
        ({"sort": "color"}, "sort must be one of"),
        ({"sort_order": "up"}, "sort_order must be one of 'asc', 'desc'"),
        ({"columns": "id,name"}, "columns must be a list of texts, not str"),
        ({"columns": ["id,name"]}, "without a comma"),
        ({"columns": []}, "columns must not be empty"),
        ({"search_query": 5}, "search_query must be text"),
        ({"filters": ExportFilters()}, "filters must be DealFilters, not ExportFilters"),
    ],
)
async def test_a_wrong_argument_is_named_before_anything_is_sent(wrong, named):
    """Of a list at once, and not where it is walked."""
    async with served() as (emulator, deals):
        with pytest.raises((TypeError, ValueError), match=named):
            deals.list(**wrong)
        with pytest.raises(ValueError, match="index must be at least 0"):
            await deals.get_page(-1)
    assert [] == emulator.requests


CURRENT = {
    "id": "deal_1", "name": "Acme", "amount": 50000, "status": "Won", "close_date": "2026-03-15",
    "created_at": "2026-01-02T03:04:05Z", "archived": False, "collaborators": ["u1"], "metadata": {"a": 1},
    "salesforce_custom_properties": {"X__c": 1}, "founded_year": 1999, "annual_revenue": 1.5e9,
    "competitors": [{"competitor_id": "c1", "name": "Rival", "is_primary": True, "is_incumbent": False,
                     "threat_level": 4, "outcome": "lost to", "positioning_summary": "p", "key_differentiators": "k"}],
    "drivers": [{"name": "Price", "tag": "pricing", "score": 4.5, "sentiment": "negative", "summary": "s"}],
    "features": [{"name": "SSO", "product": "Core", "impact_score": 5, "sentiment": "positive", "influence_summary": "i"}],
    "custom_metrics": [{"id": "m", "name": "Fit", "score": 3, "explanation": "e", "created_at": "2026-01-02T03:04:05Z"}],
    "custom_answers": [{"id": "a", "name": "Why", "type": "text", "answer": "Because", "length": "sentence", "prompt": "?",
                        "confidence": 0.5, "generated_at": "2026-01-02T03:04:05Z", "evidence_used": ["doc"],
                        "group_id": "g", "group_name": "G"}],
    "wl_product_fit_score": 4, "wl_product_fit_explanation": "fits", "custom_metric_score_fit": 3,
}  # fmt: skip
OLDER = {
    "id": "deal_2", "proposal_due": "2026-03-16",
    "deal_competitor_associations": [{"competitor_id": "c1", "is_primary": True, "is_incumbent": False}],
    "drivers": [{"reason_id": "r1", "positive": None, "summary": "s"}], "previous_status_id": None,
}  # fmt: skip


async def test_both_documented_shapes_are_read():
    """The older names lead to the same fields; a column of the workspace's own is in `extra`."""
    (current, older), _ = await answering([CURRENT, OLDER], lambda deals: deals.get_page())
    assert (date(2026, 3, 15), date(2026, 3, 16)) == (current.close_date, older.close_date)
    assert datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC) == current.created_at
    assert [("c1", True)] * 2 == [(deal.competitors[0].competitor_id, deal.competitors[0].is_primary) for deal in (current, older)]  # fmt: skip
    assert ("Rival", 4) == (current.competitors[0].name, current.competitors[0].threat_level)
    assert ("Price", "r1") == (current.drivers[0].name, older.drivers[0].reason_id)
    assert ("SSO", 5) == (current.features[0].name, current.features[0].impact_score)
    assert (3, ["doc"]) == (current.custom_metrics[0].score, current.custom_answers[0].evidence_used)
    assert {"custom_metric_score_fit": 3} == current.extra
    assert [{}] * 5 == [
        current.competitors[0].extra, current.drivers[0].extra, current.features[0].extra,
        current.custom_metrics[0].extra, current.custom_answers[0].extra,
    ]  # fmt: skip


async def test_only_the_id_of_a_deal_is_required():
    """What is of another kind is None and stands in `extra` as it came; a deal without its id is named by its place."""
    odd = {"id": "d", "amount": "5", "close_date": "soon", "competitors": "none"}
    (bare, odder), _ = await answering([{"id": "d"}, odd], lambda deals: deals.get_page())
    assert (None, None, {}) == (bare.name, bare.competitors, bare.extra)
    assert (None, None) == (odder.amount, odder.close_date)
    assert {"amount": "5", "close_date": "soon", "competitors": "none"} == odder.extra
    with pytest.raises(DecodeError, match=re.escape("[1].id")):
        await answering([{"id": "d"}, {"name": "x"}], lambda deals: deals.get_page())


def test_the_repr_of_a_deal_is_short_and_shows_nobodys_address():
    """Its heavy parts are for reading, not for logs; and it goes into a set."""
    from hindsight_async import Deal

    deal = Deal(id="d", name="Acme", collaborators=["jane@acme.example"], metadata={"a": "b"})
    assert "Deal(id='d', name='Acme', status=None, amount=None, close_date=None)" == repr(deal)
    assert {deal} == {Deal(id="d", name="Acme", collaborators=["jane@acme.example"], metadata={"a": "b"})}


async def test_an_error_shows_no_filter():
    """The query may name people; the error has the path alone, and says that it had no effect."""
    async with served() as (emulator, deals):
        emulator.fail("GET /deals", 400)
        with pytest.raises(BadRequestError) as raised:
            await deals.count(filters=DealFilters(owner_ids=["jane@acme.example"]))
    assert Delivery.REJECTED is raised.value.delivery
    assert "jane" not in f"{raised.value!r}{raised.value.__dict__}"
