"""The emulator's side of the tools: its answers beside field tables written down from the documentation."""

import asyncio
from contextlib import asynccontextmanager
from datetime import datetime

import aiohttp
import pytest

from hindsight_async.emulator import Emulator

HOUR = 3600.0

TEXT, NUMBER, WHOLE, FLAG, ROWS, NULL = {str}, {int, float}, {int}, {bool}, {list}, {type(None)}

DEAL_ROW = {
    "type": TEXT,
    "id": TEXT | NULL,
    "deal_id": TEXT | NULL,
    "name": TEXT | NULL,
    "client_name": TEXT | NULL,
    "stage": TEXT | NULL,
    "amount": NUMBER | NULL,
    "close_date": TEXT | NULL,
    "url": TEXT | NULL,
    "deal_type": TEXT | NULL,
    "region": TEXT | NULL,
    "primary_competitor": TEXT | NULL,
}
"""A result of select-deal (pages tools, select-deal)."""

DETAILED_DEAL = DEAL_ROW | {"summary": TEXT | NULL, "competitors": ROWS}
"""A result of get-deal (pages tools, get-deal)."""

COMPETITOR = {
    "name": TEXT | NULL,
    "positioning_summary": TEXT | NULL,
    "key_differentiators": TEXT | NULL,
}

SELECT_DEAL = {
    "total_returned": WHOLE,
    "limit_applied": WHOLE | NULL,
    "page": WHOLE,
    "page_size": WHOLE,
    "has_more": FLAG,
    "next_page": WHOLE | NULL,
    "results": ROWS,
}

GET_DEAL = {"total_returned": WHOLE, "limit_applied": NULL, "results": ROWS}

INTERVIEW = {
    "interview_request_id": WHOLE,
    "contact_id": TEXT | NULL,
    "deal_id": TEXT | NULL,
    "survey_url": TEXT | NULL,
    "status": TEXT,
    "objective": TEXT | NULL,
    "email_sent_at": TEXT | NULL,
    "created_at": TEXT,
    "transcript": {dict} | NULL,
}
"""An interview (page get-interview)."""

TRANSCRIPT = {"document_id": TEXT, "content": TEXT, "created_at": TEXT}

WHOLE_DEAL = {
    "id": "deal_1",
    "name": "Acme renewal",
    "client_name": "Acme",
    "status": "Closed Lost",
    "amount": 500.5,
    "close_date": "2026-07-15",
    "type": "New",
    "region": "EMEA",
    "summary": "Lost on price.",
    "competitors": [
        {"competitor_id": "comp_1", "name": "Rival", "is_primary": True, "positioning_summary": "Cheaper."}
    ],
}


@asynccontextmanager
async def served(**options):
    async with Emulator(**options) as emulator:
        key = {"Authorization": f"Bearer {emulator.api_key}"}
        async with aiohttp.ClientSession(f"{emulator.base_url}/", headers=key) as http:
            yield emulator, http


async def asked(http, name, body):
    async with http.post(f"tools/{name}", json=body) as response:
        return response.status, await response.json(), response.headers


def kinds_of(document):
    return {name: {type(value)} for name, value in document.items()}


def assert_has_fields(table, document):
    """Every documented field is there with a value of a documented kind, and no other field."""
    assert table.keys() == document.keys()
    assert {} == {name: kind for name, kind in kinds_of(document).items() if not kind <= table[name]}


@pytest.mark.parametrize("deal", [WHOLE_DEAL, {"id": "deal_1"}], ids=["all fields", "only its id"])
async def test_the_answers_of_both_tools_have_the_documented_fields(deal):
    """What is known of a deal and what is not: each field of the tables, and none beside."""
    async with served() as (emulator, http):
        emulator.tools.deals.append(deal)
        _, selected, _ = await asked(http, "select-deal", {})
        assert_has_fields(SELECT_DEAL, selected)
        assert_has_fields(DEAL_ROW, selected["results"][0])
        _, got, _ = await asked(http, "get-deal", {"deal_ids": ["deal_1"]})
        assert_has_fields(GET_DEAL, got)
        assert_has_fields(DETAILED_DEAL, got["results"][0])
        for competitor in got["results"][0]["competitors"]:
            assert_has_fields(COMPETITOR, competitor)


async def test_an_interview_has_the_documented_fields_and_is_completed_after_a_while():
    """Sent until then, without a transcript; completed from that very moment on, with one."""
    async with served(completes_after=HOUR) as (emulator, http):
        body = {"contact_email": "jane@acme.example", "sequence_id": "seq_abc123"}
        async with http.post("interviews", json=body) as response:
            assert 201 == response.status

        async def read():
            async with http.get("interviews/1") as response:
                return await response.json()

        before = await read()
        assert_has_fields(INTERVIEW, before)
        assert ("sent", None) == (before["status"], before["transcript"])
        await asyncio.sleep(2 * HOUR)
        after = await read()
        assert_has_fields(INTERVIEW, after)
        assert "completed" == after["status"]
        assert_has_fields(TRANSCRIPT, after["transcript"])
        created, completed = (
            datetime.fromisoformat(one["created_at"]) for one in (after, after["transcript"])
        )
        assert HOUR == (completed - created).total_seconds()
        assert "completed" == emulator.interviews[1].status


async def test_pages_have_their_numbers():
    """Twenty on a page unless asked otherwise; the last page has no next."""
    async with served() as (emulator, http):
        emulator.tools.deals += [{"id": f"deal_{number}"} for number in range(45)]
        _, first, _ = await asked(http, "select-deal", {})
        assert (20, 20, 1, True, 2) == tuple(
            first[name] for name in ("total_returned", "limit_applied", "page", "has_more", "next_page")
        )
        _, last, _ = await asked(http, "select-deal", {"page": 3})
        assert (5, 3, False, None) == tuple(
            last[name] for name in ("total_returned", "page", "has_more", "next_page")
        )


WRONG = [
    ("select-deal", {"query": "a", "semantic_query": "b"}),
    ("select-deal", {"query": "a", "segment_id": "b"}),
    ("select-deal", {"limit": 51}),
    ("select-deal", {"limit": 0}),
    ("select-deal", {"limit": True}),
    ("select-deal", {"page": "1"}),
    ("select-deal", {"deal_stage": [1]}),
    ("select-deal", {"amount": {"least": 1}}),
    ("select-deal", {"close_date": "2026-07-01"}),
    ("select-deal", {"querry": "a"}),
    ("get-deal", {}),
    ("get-deal", {"deal_ids": []}),
    ("get-deal", {"deal_ids": [str(number) for number in range(11)]}),
    ("get-deal", {"deal_ids": "deal_1"}),
    ("search-across-deals", {"query": "a", "limit": 26}),
    ("search-deal-documents", {"query": "a"}),
    ("search-competitive-assets", {"query": "a"}),
    ("pull-full-document", {"doc_ids": list("abcdef")}),
    ("scrape-url", {"urls": list("abcdef")}),
    ("map-site-urls", {"url": "a", "limit": 101}),
    ("pull-schema", {"sample_size": 201}),
    ("create-dataset", {"columns": []}),
]


@pytest.mark.parametrize(("name", "body"), WRONG, ids=str)
async def test_a_wrong_request_is_refused_and_not_charged(name, body):
    """400 with the fields named, and the month stays whole: charged is what is authorised and valid."""
    async with served(monthly_limit=10) as (_, http):
        status, answer, headers = await asked(http, name, body)
        assert (400, "bad_request") == (status, answer["error"]["code"])
        assert 1 == len(answer["error"]["details"])
        assert "10" == headers["X-Usage-Remaining"]


async def test_a_role_is_refused_before_the_body_is_read_and_not_charged():
    """A member may not use three of the tools; what a manager may use costs one read."""
    async with served(monthly_limit=10) as (emulator, http):
        emulator.tools.role = "member"
        status, answer, _ = await asked(http, "pull-schema", {"sample_size": -1})
        assert (403, "forbidden") == (status, answer["error"]["code"])
        emulator.tools.role = "manager"
        status, answer, headers = await asked(http, "pull-schema", {})
        assert (200, {"results": []}, "9") == (status, answer, headers["X-Usage-Remaining"])


async def test_there_is_no_other_tool():
    """A misspelt name is not found."""
    async with served() as (_, http):
        status, _, _ = await asked(http, "search_web", {"query": "a"})
        assert 404 == status
