"""The emulator's deals and exports over a real socket, against tables of the documented fields written down here."""

import asyncio
import csv
import io
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from hindsight_async.emulator import Emulator
from hindsight_async.rate import Plan

STARTED = datetime(2026, 7, 24, 12, 0, tzinfo=UTC)
TEXT, NUMBER, BOOLEAN, OBJECT, TEXTS, OBJECTS = "text", "number", "boolean", "object", "texts", "objects"
MOMENT, DAY = "moment", "day"

SCORES = "product_fit sales_execution relationship price_sensitivity competitive_intensity customer_fit messaging_fit messaging_accuracy"  # fmt: skip

DEAL = {
    **dict.fromkeys(["id", "name", "org_id", "owner_id", "type", "region", "industry", "status", "status_id", "previous_status_id", "summary"], TEXT),
    **dict.fromkeys(["website_url", "hubspot_id", "hubspot_url", "salesforce_id", "salesforce_url", "client_name", "logo_url"], TEXT),
    **dict.fromkeys(["short_description", "linkedin_url", "twitter_url", "phone", "city", "state", "country"], TEXT),
    **dict.fromkeys(["primary_competitor_id", "incumbent_competitor_id", "selected_competitor_id"], TEXT),
    **dict.fromkeys([f"wl_{score}_explanation" for score in SCORES.split()], TEXT),
    **dict.fromkeys([f"wl_{score}_score" for score in SCORES.split()], NUMBER),
    **dict.fromkeys(["amount", "founded_year", "num_employees", "annual_revenue", "total_funding"], NUMBER),
    **dict.fromkeys(["last_status_updated", "created_at", "updated_at", "last_synced"], MOMENT),
    **dict.fromkeys(["archived", "deal_analyzed", "analysis_verified"], BOOLEAN),
    **dict.fromkeys(["collaborators", "contact_ids", "competitor_ids", "driver_ids", "driver_names", "feature_ids"], TEXTS),
    **dict.fromkeys(["competitors", "drivers", "features", "custom_metrics", "custom_answers"], OBJECTS),
    **dict.fromkeys(["metadata", "hubspot_custom_properties", "salesforce_custom_properties"], OBJECT),
    **dict.fromkeys(["hubspot_custom_properties_account", "salesforce_custom_properties_account"], OBJECT),
    "close_date": DAY,
}  # fmt: skip
STARTED_EXPORT = dict.fromkeys(["export_id", "status", "message"], TEXT) | {"success": BOOLEAN}
PENDING = {"export_id": TEXT, "status": TEXT, "created_at": MOMENT}
COMPLETED = PENDING | {
    "download_url": TEXT,
    "rows_exported": NUMBER,
    "completed_at": MOMENT,
    "expires_at": MOMENT,
}
FAILED = PENDING | {"error": TEXT, "failed_at": MOMENT}

CHECKS = {
    TEXT: lambda value: isinstance(value, str),
    NUMBER: lambda value: type(value) in (int, float),
    BOOLEAN: lambda value: isinstance(value, bool),
    OBJECT: lambda value: isinstance(value, dict),
    TEXTS: lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value),
    OBJECTS: lambda value: isinstance(value, list) and all(isinstance(item, dict) for item in value),
    MOMENT: lambda value: bool(datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)),
    DAY: lambda value: bool(datetime.strptime(value, "%Y-%m-%d").replace(tzinfo=UTC)),
}
EXAMPLES = {
    TEXT: "x", NUMBER: 3, BOOLEAN: True, OBJECT: {"a": 1}, TEXTS: ["x"], OBJECTS: [{"name": "x"}],
    MOMENT: "2026-01-02T03:04:05Z", DAY: "2026-03-15",
}  # fmt: skip


def check(document, table, *, nullable=False):
    """Compare an answer's fields, all of them, with a table."""
    assert set(table) == set(document)
    for name, value in document.items():
        assert (nullable and value is None) or CHECKS[table[name]](value), name


@asynccontextmanager
async def served(**options):
    async with Emulator(started_at=STARTED, plan=Plan.ENTERPRISE, **options) as emulator:
        key = {"Authorization": f"Bearer {emulator.api_key}"}
        async with aiohttp.ClientSession(f"{emulator.base_url}/", headers=key) as http:
            yield emulator, http


async def asked(http, method, path, **arguments):
    async with http.request(method, path, **arguments) as response:
        return response.status, await response.json()


async def ids(http, **query):
    status, found = await asked(http, "GET", "deals", params={"sort": "name", "sort_order": "asc", **query})
    assert 200 == status, found
    return [deal["id"] for deal in found]


async def test_a_deal_has_every_documented_field_and_no_other():
    """Set or null, of the documented kind; what it is only filtered by is not shown."""
    async with served() as (emulator, http):
        emulator.deals.add(id="bare")
        emulator.deals.add(
            **{name: EXAMPLES[kind] for name, kind in DEAL.items()}, segment_ids=["s"], product_labels=["p"]
        )
        _, (full, bare) = await asked(http, "GET", "deals")
    check(full, DEAL)
    check(bare, DEAL, nullable=True)
    assert ["id"] == [name for name, value in bare.items() if value is not None]


async def test_an_export_has_the_documented_fields_of_each_of_its_states():
    """Started, pending, completed and failed."""
    async with served() as (emulator, http):
        emulator.exports.seconds = 60
        status, started = await asked(http, "POST", "deals/export", json={"columns": ["name"]})
        assert (200, True, "pending") == (status, started["success"], started["status"])
        check(started, STARTED_EXPORT)
        path = f"deals/export/{started['export_id']}"
        check((await asked(http, "GET", path))[1], PENDING)
        await asyncio.sleep(61)
        _, completed = await asked(http, "GET", path)
        check(completed, COMPLETED)
        assert ("completed", 0) == (completed["status"], completed["rows_exported"])
        emulator.exports.fail_next("no such column")
        await asked(http, "POST", "deals/export", json={"columns": ["name"]})
        await asyncio.sleep(61)
        _, failed = await asked(http, "GET", "deals/export/exp_000002")
        check(failed, FAILED)
        assert ("failed", "no such column") == (failed["status"], failed["error"])


A = {
    "id": "a", "name": "Acme big", "owner_id": "o1", "collaborators": ["u1", "u2"], "status": "Won", "type": "New",
    "region": "EU", "industry": "Tech", "product_labels": ["core", "plus"], "close_date": "2026-07-10", "amount": 100,
    "competitor_ids": ["c1", "c2"], "primary_competitor_id": "c1", "deal_analyzed": True, "analysis_verified": True,
    "segment_ids": ["s1", "s2"], "salesforce_custom_properties": {"Stage": "5"}, "hubspot_custom_properties": {"tier": "gold"},
    "salesforce_custom_properties_account": {"Account.Size": "10"}, "hubspot_custom_properties_account": {"size": 10},
    **{f"wl_{score}_score": 4 for score in SCORES.split()},
}  # fmt: skip
B = {
    "id": "b", "name": "Beta", "owner_id": "o2", "collaborators": ["u2"], "status": "Lost", "type": "Renewal",
    "region": "US", "industry": "Bank", "product_labels": ["core"], "close_date": "2026-06-10", "amount": 5,
    "competitor_ids": None, "deal_analyzed": False, "segment_ids": ["s1"],
    **{f"wl_{score}_score": 2 for score in SCORES.split()},
}  # fmt: skip


def crm(name, operator, value, **options):
    return [{"property": {"id": name, **options}, "operator": operator, "value": value}]


BOTH_NAMES = [
    ("ids", "deal_ids", ["a", "x"], "a"),
    ("owner_ids", "owner_ids", ["o2"], "b"),
    ("collaborators", "collaborators", ["u1"], "a"),
    ("status", "status", ["Won", "Open"], "a"),
    ("deal_type", "deal_type", ["Renewal"], "b"),
    ("region", "region", ["EU"], "a"),
    ("industry", "industry", ["Bank"], "b"),
    ("product_labels", "product_labels", ["plus"], "a"),
    ("close_date", "close_date", {"from": "2026-07-01"}, "a"),
    ("close_date", "close_date", {"to": "2026-06-10"}, "b"),
    ("amount", "amount", {"min": 5, "max": 50}, "b"),
    ("competitor", "competitors", ["c2"], "a"),
    (None, "primary_competitor", ["c1"], "a"),
    (None, "primary_competitor", ["c2"], ""),
    ("any_competitor", "has_competitor", True, "a"),
    ("deal_analyzed", "analyzed", False, "b"),
    ("analysis_verified", "verified", True, "a"),
    *((f"wl_{score}_score", None, {"min": 3}, "a") for score in SCORES.split()),
    ("segment", None, ["s2"], "a"),
    ("salesforce_filters", "salesforce_filters", crm("Stage", "is greater than", "4"), "a"),
    ("hubspot_filters", "hubspot_filters", crm("tier", "contains", "old"), "a"),
    ("hubspot_filters", "hubspot_filters", crm("x", "is", "Bank", map_to="industry"), "b"),
    (None, "salesforce_filters_account", crm("Account.Size", "is", "10"), "a"),
    (None, "hubspot_filters_account", crm("size", "is less than or equal to", "10"), "a"),
]


@pytest.mark.parametrize(("name", "export_name", "value", "expected"), BOTH_NAMES)
async def test_each_filter_is_applied_by_either_name(name, export_name, value, expected):
    """To a page, a count and an export, which call some of them by other names and refuse those of the other."""
    async with served() as (emulator, http):
        emulator.deals.add(**A)
        emulator.deals.add(**B)
        if name is not None:
            text = json.dumps([str(value).lower()] if isinstance(value, bool) else value)
            assert list(expected) == await ids(http, **{name: text})
            assert (200, len(expected)) == await asked(
                http, "GET", "deals", params={name: text, "count": "true"}
            )
        if export_name is not None:
            body = {"columns": ["id"], "filters": {export_name: value}}
            await asked(http, "POST", "deals/export", json=body)
            _, export = await asked(http, "GET", "deals/export/exp_000001")
            async with http.get(export["download_url"]) as response:
                rows = list(csv.reader(io.StringIO(await response.text(), newline="")))
            assert [["id"], *([one] for one in expected)] == rows
            assert len(expected) == export["rows_exported"]
        if export_name != name and export_name is not None:
            assert 400 == (await asked(http, "GET", "deals", params={export_name: "[]"}))[0]


@pytest.mark.parametrize(
    ("how", "expected"), [("is any of", ["a", "b"]), ("is not", []), ("include all of", ["a"])]
)
async def test_a_modifier_says_what_becomes_of_a_list(how, expected):
    """Any of them, none of them, or all of them."""
    async with served() as (emulator, http):
        emulator.deals.add(**A)
        emulator.deals.add(**B)
        query = {"collaborators": '["u1","u2"]', "collaborator_filter_type": how}
        assert expected == await ids(http, **query)


async def test_pages_are_sorted_cut_and_narrowed():
    """The unset come last in either order; a column of the workspace's own is found whatever its case."""
    async with served() as (emulator, http):
        for name, amount in (("x", 2), ("y", None), ("z", 9)):
            emulator.deals.add(
                id=name, name=name, amount=amount, close_date="2026-01-01",
                custom_metrics=[{"name": "Deal Fit", "score": 4, "explanation": "good"}],
            )  # fmt: skip
        assert ["x", "z", "y"] == await ids(http, sort="amount")
        assert ["z", "x", "y"] == await ids(http, sort="amount", sort_order="desc")
        assert ["y"] == await ids(http, sort="amount", page_size="2", page_index="1")
        assert ["y"] == await ids(http, searchQuery="Y")
        columns = {"columns": "id,proposal_due,custom_metric_score_dealFIT", "page_size": "1"}
        assert [{"id": "x", "close_date": "2026-01-01", "custom_metric_score_dealFIT": 4}] == (
            await asked(http, "GET", "deals", params=columns)
        )[1]


@pytest.mark.parametrize(
    "query",
    [
        {"page_size": "101"}, {"page_size": "0"}, {"page_index": "-1"}, {"count": "yes"}, {"sort": "color"},
        {"sort_order": "up"}, {"columns": "colour"}, {"search_query": "x"}, {"status": "Won"}, {"status": '"Won"'},
        {"amount": '{"low":1}'}, {"any_competitor": "true"}, {"status_filter_type": "isnt"}, {"hubspot_filters": "[1]"},
        {"segment": '["s"]', "segment_filter_type": "is not"},
    ],
)  # fmt: skip
async def test_a_query_that_the_api_does_not_have_is_refused(query):
    """Also a misspelt one, which the real server might overlook."""
    async with served() as (_, http):
        status, answer = await asked(http, "GET", "deals", params=query)
        assert (400, "bad_request") == (status, answer["error"]["code"])


@pytest.mark.parametrize(
    "body",
    [
        {}, {"columns": []}, {"columns": "name"}, {"columns": [1]}, {"columns": ["colour"]},
        {"columns": ["name"], "filter": {}}, {"columns": ["name"], "filters": []},
        {"columns": ["name"], "filters": {"ids": ["a"]}}, {"columns": ["name"], "filters": {"analyzed": ["true"]}},
    ],
)  # fmt: skip
async def test_an_export_of_nothing_that_there_is_is_refused(body):
    """Nothing is started."""
    async with served() as (emulator, http):
        assert 400 == (await asked(http, "POST", "deals/export", json=body))[0]
        assert {} == emulator.exports


async def test_a_link_opens_without_a_key_until_it_is_too_old():
    """For seven days; the record is there for thirty. A wrong token opens nothing."""
    async with served() as (emulator, http):
        emulator.deals.add(
            name="x", hubspot_custom_properties={"tier": "gold"}, competitors=[{"name": "Rival"}]
        )
        await asked(http, "POST", "deals/export", json={"columns": ["name", "crm_tier", "all_competitors"]})
        _, export = await asked(http, "GET", "deals/export/exp_000001")
        link = export["download_url"]
        async with aiohttp.ClientSession() as stranger:
            async with stranger.get(link) as response:
                assert "text/csv" == response.content_type
                assert (
                    'name,crm_tier,all_competitors\r\nx,gold,"[{""name"": ""Rival""}]"\r\n'
                    == await response.text()
                )
            async with stranger.get(f"{link}x") as response:
                assert 403 == response.status
            await asyncio.sleep(timedelta(days=7).total_seconds())
            async with stranger.get(link) as response:
                assert (403, True) == (response.status, "expired" in await response.text())
        assert 200 == (await asked(http, "GET", "deals/export/exp_000001"))[0]
        await asyncio.sleep(timedelta(days=23).total_seconds())
        assert 404 == (await asked(http, "GET", "deals/export/exp_000001"))[0]
        assert link.split("token=")[1] not in repr(emulator.exports)


@pytest.mark.parametrize("path", ["deals/export/exp_9", "deals/export/exp_9/download?token=x"])
async def test_an_export_that_is_not_there_is_a_404(path):
    """Of another organisation, or of none."""
    async with served() as (_, http):
        assert 404 == (await asked(http, "GET", path))[0]


def test_a_deal_that_could_not_be_is_refused():
    """A misspelt field, a wrong type, an id that is taken: the test that puts it in is told."""
    deals = Emulator().deals
    deals.add(id="a")
    for fields, error in (
        ({"colour": 1}, ValueError),
        ({"amount": "5"}, TypeError),
        ({"id": "a"}, ValueError),
    ):
        with pytest.raises(error):
            deals.add(**fields)
    assert ["a"] == list(deals)


@pytest.mark.parametrize(
    "route", ["GET /deals", "POST /deals/export", "GET /deals/export/{id}", "GET /deals/export/{id}/download"]
)
async def test_faults_work_on_each_route(route):
    """As on every other."""
    async with served() as (emulator, http):
        await asked(http, "POST", "deals/export", json={"columns": ["name"]})
        _, export = await asked(http, "GET", "deals/export/exp_000001")
        emulator.fail(route, 503)
        method, template = route.split(" ")
        path = (
            export["download_url"]
            if "download" in template
            else template.replace("{id}", "exp_000001").lstrip("/")
        )
        async with http.request(method, path) as response:
            assert 503 == response.status
