"""The direct tools, end to end against the emulator, and at the wire where the server misbehaves."""

import json
from datetime import date, datetime

import pytest

from hindsight_async import (
    BadRequestError,
    CompetitorPositioning,
    DecodeError,
    Delivery,
    ForbiddenError,
    HindsightSession,
    OutcomeUnknownError,
    Plan,
    SelectedDeal,
)
from hindsight_async.emulator import Emulator
from raw_server import raw_server

DOCUMENTED_ARGUMENTS = {
    "search-across-deals": {"query": "price", "limit": 25, "include_deal_metadata": True},
    "search-deal-documents": {"query": "price", "deal_ids": ["deal_1"], "limit": 30},
    "search-competitive-assets": {"query": "price", "competitor_id": "comp_1", "limit": 25},
    "search-competitive-intel": {"query": "price", "competitor_id": "comp_1"},
    "search-knowledge-base": {"query": "price"},
    "pull-full-document": {"doc_ids": ["doc_1"]},
    "search-web": {"query": "price", "search_only": True},
    "scrape-url": {"urls": ["https://acme.example"]},
    "map-site-urls": {"url": "https://acme.example", "limit": 100},
    "pull-schema": {"sample_size": 200},
    "create-dataset": {"column_ids": ["amount"]},
    "analyze-dealgrid-subset": {"json_id": "json_1"},
}
"""The twelve whose answers are not documented, each with arguments that are."""


def deal(number, **fields):
    return {"id": f"deal_{number}", "name": f"Deal {number}", "status": "Closed Lost", **fields}


@pytest.fixture
async def emulator():
    async with Emulator(plan=Plan.ENTERPRISE) as running:
        yield running


@pytest.fixture
async def hindsight(emulator):
    async with HindsightSession(
        emulator.api_key, base_url=emulator.base_url, plan=Plan.ENTERPRISE
    ) as session:
        yield session


def bodies(emulator):
    return [request.body for request in emulator.requests]


async def ids(deals):
    return [found.deal_id async for found in deals]


async def test_pages_are_followed_to_their_end(emulator, hindsight):
    """All deals come, in order, each page read once and with the same filter."""
    emulator.tools.deals += [deal(number, region="EMEA") for number in range(120)]
    assert [f"deal_{number}" for number in range(120)] == await ids(
        hindsight.tools.select_deal(region="EMEA")
    )
    assert [{"region": "EMEA", "limit": 50, "page": page} for page in (1, 2, 3)] == bodies(emulator)


async def test_who_stops_early_reads_no_page_more(emulator, hindsight):
    """The next page is asked for only by who wants its first deal."""
    emulator.tools.deals += [deal(number) for number in range(30)]
    walk = hindsight.tools.select_deal(limit=10)
    assert [] == emulator.requests
    for _ in range(10):
        await anext(walk)
    assert 1 == len(emulator.requests)


async def test_no_deal_comes_twice_where_newer_ones_shift_the_pages(emulator, hindsight):
    """What two newcomers push onto the next page has been seen."""
    emulator.tools.deals += [deal(number) for number in range(20)]
    walk = hindsight.tools.select_deal(limit=10)
    seen = [(await anext(walk)).deal_id for _ in range(10)]
    emulator.tools.deals[:0] = [deal(101), deal(102)]
    assert [f"deal_{number}" for number in range(20)] == seen + await ids(walk)


async def test_each_filter_arrives_under_the_apis_own_name(emulator, hindsight):
    """What the server takes is what was meant, and the one deal that fits all of it is found."""
    right = deal(
        1, name="Acme renewal", amount=500.5, close_date="2026-07-15", type="New", region="EMEA", owner_name="Jo",
        competitors=[{"competitor_id": "comp_1", "name": "Rival", "is_primary": True}],
    )  # fmt: skip
    emulator.tools.deals += [
        right, {**right, "id": "a", "amount": 501}, {**right, "id": "b", "amount": 1},
        {**right, "id": "c", "close_date": "2026-07-16"}, {**right, "id": "d", "close_date": None},
        {**right, "id": "e", "status": "Open"}, {**right, "id": "f", "name": "Other"}, {**right, "id": "g", "competitors": []},
        {**right, "id": "h", "owner_name": "Al"}, {**right, "id": "i", "type": "Old"}, {**right, "id": "j", "region": "APAC"},
    ]  # fmt: skip
    walk = hindsight.tools.select_deal(
        query="acme", competitor_id="comp_1", deal_stage=["Closed Won", "Closed Lost"], amount_min=2, amount_max=500.5,
        close_date_from=date(2026, 7, 1), close_date_to=date(2026, 7, 15), type="New", region="EMEA", owner_name="Jo",
    )  # fmt: skip
    [found] = [found async for found in walk]
    assert (
        SelectedDeal(
            type="deal",
            id="deal_1",
            deal_id="deal_1",
            name="Acme renewal",
            stage="Closed Lost",
            amount=500.5,
            close_date="2026-07-15",
            url="https://hindsight.example/deals/deal_1",
            deal_type="New",
            region="EMEA",
            primary_competitor="Rival",
        )
        == found
    )
    assert {"min": 2, "max": 500.5} == bodies(emulator)[0]["amount"]
    assert {"from": "2026-07-01", "to": "2026-07-15"} == bodies(emulator)[0]["close_date"]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"semantic_query": "too expensive"}, ["deal_1"]),
        ({"segment_id": "seg_1"}, ["deal_2"]),
        ({"deal_stage": "Open"}, ["deal_3"]),
        ({"owner_name": "mine"}, ["deal_4"]),
        ({"amount_min": 10}, ["deal_5"]),
    ],
)
async def test_each_other_filter_is_applied(emulator, hindsight, filters, found):
    """Those that exclude each other, and half a range, do what they say."""
    emulator.tools.deals += [
        deal(1, summary="They found us too expensive."), deal(2, segment_ids=["seg_1"]), deal(3, status="Open"),
        deal(4, owner_name=emulator.tools.key_owner), deal(5, amount=10), deal(6, deal_analyzed=False, amount=10),
    ]  # fmt: skip
    assert found == await ids(hindsight.tools.select_deal(**filters))


WRONG = [
    ({"query": "a", "semantic_query": "b"}, ValueError, "query and semantic_query exclude"),
    ({"query": "a", "segment_id": "b"}, ValueError, "query and segment_id exclude"),
    ({"semantic_query": "a", "segment_id": "b"}, ValueError, "semantic_query and segment_id exclude"),
    ({"limit": 0}, ValueError, "limit must be a whole number from 1 to 50, not 0"),
    ({"limit": 51}, ValueError, "limit"),
    ({"limit": 2.0}, TypeError, "limit must be a whole number from 1 to 50, not float"),
    ({"limit": True}, TypeError, "limit"),
    ({"page": 0}, ValueError, "page must be a whole number at least 1"),
    ({"query": ""}, ValueError, "query must not be empty"),
    ({"query": 5}, TypeError, "query must be text"),
    ({"query": "\ud800"}, ValueError, "query must be valid Unicode"),
    ({"deal_stage": []}, ValueError, "deal_stage must not be empty"),
    ({"deal_stage": ["Won", 5]}, TypeError, "an entry of deal_stage"),
    ({"amount_min": 2, "amount_max": 1}, ValueError, "amount_min must not be more than amount_max"),
    ({"amount_min": "2"}, TypeError, "amount_min must be a number, not str"),
    ({"amount_max": float("nan")}, ValueError, "amount_max must be a finite number"),
    ({"close_date_from": "2026-07-01"}, TypeError, "close_date_from must be a datetime.date, not str"),
    ({"close_date_to": datetime(2026, 7, 1)}, TypeError, "close_date_to must be a datetime.date"),  # noqa: DTZ001
    ({"close_date_from": date(2026, 7, 2), "close_date_to": date(2026, 7, 1)}, ValueError, "close_date_from"),
]


@pytest.mark.parametrize(("filters", "error", "text"), WRONG, ids=[text for _, _, text in WRONG])
async def test_a_wrong_filter_is_named_before_anything_is_sent(emulator, hindsight, filters, error, text):
    """The call itself raises, not the walk later on."""
    with pytest.raises(error, match=text):
        hindsight.tools.select_deal(**filters)
    assert [] == emulator.requests


async def test_any_number_of_deals_is_read_ten_at_a_time(emulator, hindsight):
    """Each id is asked for once, and those that no answer has are told."""
    emulator.tools.deals += [deal(number) for number in range(23)]
    asked = [f"deal_{number}" for number in range(25)]
    found = await hindsight.tools.get_deal([*asked, "deal_3"])
    assert asked[:23] == [one.deal_id for one in found.results]
    assert ["deal_23", "deal_24"] == found.missing
    assert [asked[:10], asked[10:20], asked[20:]] == [body["deal_ids"] for body in bodies(emulator)]


async def test_a_deal_is_read_with_its_summary_and_its_competitors(emulator, hindsight):
    """All that the page promises of one deal is there."""
    competitor = {"name": "Rival", "positioning_summary": "Cheaper.", "key_differentiators": "Price"}
    emulator.tools.deals.append(deal(1, summary="Lost on price.", competitors=[competitor]))
    [found] = (await hindsight.tools.get_deal(["deal_1"])).results
    assert ("Lost on price.", [CompetitorPositioning(**competitor)]) == (found.summary, found.competitors)
    assert "Lost on price" not in repr(found)


async def test_no_deals_are_no_requests(emulator, hindsight):
    """A job that has nothing to read reads nothing."""
    found = await hindsight.tools.get_deal([])
    assert ([], []) == (found.results, found.missing)
    assert [] == emulator.requests


@pytest.mark.parametrize(
    ("wrong", "error"), [("deal_1", TypeError), (["deal_1", ""], ValueError), ([5], TypeError)]
)
async def test_what_is_no_list_of_ids_is_refused(emulator, hindsight, wrong, error):
    """One text would be read letter by letter."""
    with pytest.raises(error, match="deal_ids"):
        await hindsight.tools.get_deal(wrong)
    assert [] == emulator.requests


@pytest.mark.parametrize("name", DOCUMENTED_ARGUMENTS)
async def test_each_tool_is_called_by_its_name_and_answers_as_it_does(emulator, hindsight, name):
    """Its arguments arrive as they are, and its JSON object comes back whole."""
    emulator.tools.answers[name] = lambda body: {"asked": body, "more": [1, None]}
    answer = await hindsight.tools.call(name, DOCUMENTED_ARGUMENTS[name])
    assert {"asked": DOCUMENTED_ARGUMENTS[name], "more": [1, None]} == answer
    assert [f"POST /tools/{name}"] == [request.route for request in emulator.requests]


WRONG_CALLS = [
    ("search-across-deals", {}, ValueError, "search-across-deals needs query"),
    ("search-across-deals", {"query": None}, ValueError, "needs query"),
    ("search-across-deals", {"query": "a", "limit": 26}, ValueError, "limit must be a whole number from 1 to 25"),
    ("search-deal-documents", {"query": "a"}, ValueError, "needs deal_ids"),
    ("search-deal-documents", {"query": "a", "deal_ids": ["d"], "limit": 31}, ValueError, "from 1 to 30"),
    ("search-competitive-assets", {"query": "a"}, ValueError, "needs competitor_id"),
    ("search-competitive-intel", {}, ValueError, "needs query and competitor_id"),
    ("search-knowledge-base", {"query": ""}, ValueError, "needs query"),
    ("pull-full-document", {"doc_ids": list("abcdef")}, ValueError, "doc_ids must be a list of 1 to 5, not of 6"),
    ("pull-full-document", {"doc_ids": "doc_1"}, TypeError, "doc_ids must be a list"),
    ("search-web", {}, ValueError, "needs query"),
    ("scrape-url", {"urls": []}, ValueError, "needs urls"),
    ("map-site-urls", {"url": "u", "limit": 101}, ValueError, "from 1 to 100"),
    ("pull-schema", {"sample_size": 201}, ValueError, "from 1 to 200"),
    ("get-deal", {"deal_ids": [str(number) for number in range(11)]}, ValueError, "of 1 to 10, not of 11"),
    ("select-deal", {"query": "a", "segment_id": "b"}, ValueError, "exclude each other"),
    ("create-dataset", {"date_range": {1, 2}}, TypeError, "arguments.date_range"),
    ("create-dataset", {"date_range": float("inf")}, ValueError, "arguments.date_range"),
    ("create-dataset", ["column_ids"], TypeError, "arguments must be a mapping"),
    ("../interviews", {}, ValueError, "name must be a tool's"),
    ("search_web", {"query": "a"}, ValueError, "name must be a tool's"),
    (5, {}, TypeError, "name must be text"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "arguments", "error", "text"),
    WRONG_CALLS,
    ids=[f"{name} {text}" for name, _, _, text in WRONG_CALLS],
)
async def test_a_wrong_argument_is_named_before_anything_is_sent(hindsight, name, arguments, error, text):
    """What is documented of a tool's arguments is checked here, for every tool."""
    with pytest.raises(error, match=text):
        await hindsight.tools.call(name, arguments)
    assert hindsight.budget.limit == hindsight.budget.snapshot().free_now


async def test_a_role_that_may_not_use_a_tool_is_forbidden(emulator, hindsight):
    """A member's key is refused three tools, after one attempt, and may use the rest."""
    emulator.tools.role = "member"
    for name in ("pull-schema", "create-dataset", "analyze-dealgrid-subset"):
        with pytest.raises(ForbiddenError, match="Your role does not have permission") as raised:
            await hindsight.tools.call(name)
        assert (1, Delivery.REJECTED) == (raised.value.attempts, raised.value.delivery)
    assert {"results": []} == await hindsight.tools.call("search-web", {"query": "acme"})


@pytest.mark.parametrize("name", sorted(DOCUMENTED_ARGUMENTS.keys() - {"create-dataset"}))
async def test_what_only_reads_is_sent_again(emulator, hindsight, name):
    """An answer that was lost is asked for once more."""
    emulator.fail(f"POST /tools/{name}", how="disconnect", at="after_commit")
    assert {"results": []} == await hindsight.tools.call(name, DOCUMENTED_ARGUMENTS[name])
    assert 2 == len(emulator.requests)


async def test_deals_are_asked_for_again(emulator, hindsight):
    """The two tools with documented answers only read."""
    emulator.tools.deals.append(deal(1))
    for name in ("select-deal", "get-deal"):
        emulator.fail(f"POST /tools/{name}", how=502)
    assert ["deal_1"] == await ids(hindsight.tools.select_deal())
    assert [] == (await hindsight.tools.get_deal(["deal_1"])).missing
    assert 4 == len(emulator.requests)


async def test_a_dataset_is_not_created_twice(emulator, hindsight):
    """A lost answer leaves it unknown, with what was asked for."""
    emulator.fail("POST /tools/create-dataset", how="disconnect", at="after_commit")
    with pytest.raises(OutcomeUnknownError) as raised:
        await hindsight.tools.call("create-dataset", {"column_ids": ["amount"]})
    assert {"column_ids": ["amount"]} == raised.value.request
    assert 1 == len(emulator.requests)


def answering(*documents):
    """Answer each request with the next document, and with the last one from then on."""

    async def script(connection):
        while await connection.request():
            body = json.dumps(documents[min(len(connection.server.requests), len(documents)) - 1]).encode()
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            connection.writer.write(head % len(body) + body)

    return script


async def test_a_tool_that_is_new_is_called_and_not_repeated():
    """What it does is unknown, so a lost answer is an unknown outcome; what it answers is given as it is."""

    async def lose(connection):
        await connection.request()
        connection.drop()

    async with raw_server(answering({"new": True})) as server:
        async with HindsightSession("key", base_url=server.base_url) as hindsight:
            assert {"new": True} == await hindsight.tools.call("forecast-deals", {"query": "a"})
        assert server.requests[0].startswith(b"POST /api/v1/tools/forecast-deals HTTP/1.1\r\n")
    async with raw_server(lose) as server:
        async with HindsightSession("key", base_url=server.base_url) as hindsight:
            with pytest.raises(OutcomeUnknownError):
                await hindsight.tools.call("forecast-deals")
        assert 1 == len(server.requests)


async def test_a_row_is_read_leniently_and_an_answer_without_rows_is_an_error():
    """Every field may be null, absent, new or of another kind; no rows at all are not the same as none."""
    row = {"deal_id": None, "amount": "12", "stage": None, "new": 1}
    async with raw_server(answering({"results": [row]}, {"has_more": False})) as server:
        async with HindsightSession("key", base_url=server.base_url) as hindsight:
            [found] = [found async for found in hindsight.tools.select_deal()]
            assert SelectedDeal(extra={"amount": "12", "new": 1}) == found
            with pytest.raises(DecodeError, match="results"):
                await ids(hindsight.tools.select_deal())


async def test_a_server_whose_pages_do_not_go_on_is_told_from_one_that_has_many(caplog):
    """A walk that would never end raises where deals come again, and ends, with a warning, where it is sent back."""
    endless = {"results": [{"deal_id": "deal_1"}], "has_more": True, "next_page": None}
    async with raw_server(answering(endless)) as server:
        async with HindsightSession("key", base_url=server.base_url) as hindsight:
            with pytest.raises(DecodeError, match="page 2 lists the very deals of the page before it"):
                await ids(hindsight.tools.select_deal())
    for second in (
        {"results": [], "has_more": True},
        {"results": [{"deal_id": "deal_2"}], "has_more": False},
    ):
        async with raw_server(answering(endless, second)) as server:
            async with HindsightSession("key", base_url=server.base_url) as hindsight:
                found = await ids(hindsight.tools.select_deal())
                assert ["deal_1", *(row["deal_id"] for row in second["results"])] == found
    async with raw_server(answering({**endless, "next_page": 1})) as server:
        async with HindsightSession("key", base_url=server.base_url) as hindsight:
            assert ["deal_1"] == await ids(hindsight.tools.select_deal())
    assert "page 1 is said to follow page 1: the deals end here" in caplog.text


async def test_what_the_server_refuses_is_a_bad_request(emulator, hindsight):
    """An argument that is documented nowhere is passed on, and the refusal says which it was."""
    with pytest.raises(BadRequestError) as raised:
        await hindsight.tools.call("pull-schema", {"size": 5})
    assert {"unknown_fields": ["size"]} == raised.value.details
