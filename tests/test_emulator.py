"""The emulator over a real socket: what the wire facts say of each route."""

import asyncio
import json
import re
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import aiohttp
import pytest

from hindsight_async.emulator import Emulator
from hindsight_async.rate import Plan

STARTED = datetime(2026, 7, 24, 12, 0, tzinfo=UTC)
SEQUENCE = {"contact_email": "jane@acme.example", "sequence_id": "seq_abc123"}
LINK_ONLY = {"contact_email": "jane@acme.example", "interview_type_id": "type_abc123"}


@asynccontextmanager
async def served(**options):
    async with Emulator(started_at=STARTED, **options) as emulator:
        key = {"Authorization": f"Bearer {emulator.api_key}"}
        async with aiohttp.ClientSession(f"{emulator.base_url}/", headers=key) as http:
            yield emulator, http


async def asked(http, method, path, **arguments):
    async with http.request(method, path, **arguments) as response:
        return response.status, await response.json()


async def test_a_sequence_emails_the_contact_and_answers_sent():
    """201 with every documented field, and one email in the outbox, which may be held on to."""
    async with served() as (emulator, http):
        outbox = emulator.outbox
        status, created = await asked(http, "POST", "interviews", json=SEQUENCE | {"deal_id": "deal_1"})
        [email] = outbox
        interview = emulator.interviews[created["interview_request_id"]]
        assert 201 == status
        assert {
            "interview_request_id": 1,
            "contact_id": "contact_000001",
            "deal_id": "deal_1",
            "survey_url": interview.survey_url,
            "survey_token": interview.survey_token,
            "status": "sent",
        } == created
        assert interview.survey_url.endswith(f"?token={interview.survey_token}")
        assert ("jane@acme.example", 1, STARTED) == (email.address, email.interview_request_id, email.sent_at)


async def test_a_link_only_interview_emails_nobody():
    """It answers created, with a link to deliver, and null for the deal that was not named."""
    async with served() as (emulator, http):
        _, created = await asked(http, "POST", "interviews", json=LINK_ONLY)
        assert "created" == created["status"]
        assert created["deal_id"] is None
        assert created["survey_url"].startswith(emulator.base_url.removesuffix("/api/v1"))
        assert [] == emulator.outbox


async def test_with_both_ids_the_sequence_wins():
    """The person is emailed."""
    async with served() as (emulator, http):
        _, created = await asked(http, "POST", "interviews", json=SEQUENCE | LINK_ONLY)
        assert "sent" == created["status"]
        assert 1 == len(emulator.outbox)


async def test_the_same_body_twice_is_two_interviews_of_one_contact():
    """There is no idempotency: two requests, two emails, one person, however the address is written."""
    async with served() as (emulator, http):
        _, first = await asked(http, "POST", "interviews", json=SEQUENCE)
        _, second = await asked(
            http, "POST", "interviews", json=SEQUENCE | {"contact_email": " Jane@ACME.example "}
        )
        assert first["contact_id"] == second["contact_id"]
        assert [1, 2] == [email.interview_request_id for email in emulator.outbox]
        assert {"jane@acme.example"} == set(emulator.contacts)


async def test_the_context_of_a_contact_is_overwritten_and_its_name_kept_unless_sent():
    """An object is kept as JSON text; a later text replaces all of it."""
    async with served() as (emulator, http):
        sent = SEQUENCE | {"contact_name": "Jané Smith", "contact_context": {"title": "VP", "team": "é"}}
        await asked(http, "POST", "interviews", json=sent)
        contact = emulator.contacts["jane@acme.example"]
        assert "Jané Smith" == contact.name
        assert {"title": "VP", "team": "é"} == json.loads(contact.notes)
        await asked(http, "POST", "interviews", json=LINK_ONLY | {"contact_context": "Left the firm."})
        assert ("Jané Smith", "Left the firm.") == (contact.name, contact.notes)
        await asked(http, "POST", "interviews", json=LINK_ONLY)
        assert ("Jané Smith", "Left the firm.") == (contact.name, contact.notes)


async def test_a_read_shows_the_documented_fields_without_the_token():
    """Times end in Z with whole seconds, and the transcript is null before completion."""
    async with served() as (emulator, http):
        await asked(http, "POST", "interviews", json=SEQUENCE | {"objective": "Why us?"})
        status, interview = await asked(http, "GET", "interviews/1")
        assert 200 == status
        assert {
            "interview_request_id": 1,
            "contact_id": "contact_000001",
            "deal_id": None,
            "survey_url": emulator.interviews[1].survey_url,
            "status": "sent",
            "objective": "Why us?",
            "email_sent_at": "2026-07-24T12:00:00Z",
            "created_at": "2026-07-24T12:00:00Z",
            "transcript": None,
        } == interview


async def test_a_completed_interview_shows_its_transcript():
    """A link-only one goes from created to completed."""
    async with served() as (emulator, http):
        await asked(http, "POST", "interviews", json=LINK_ONLY)
        assert "created" == (await asked(http, "GET", "interviews/1"))[1]["status"]
        await asyncio.sleep(3600)
        emulator.complete(1, transcript="**Paige:** Why?\n\n**Jane:** Price.")
        _, interview = await asked(http, "GET", "interviews/1")
        assert "completed" == interview["status"]
        assert interview["email_sent_at"] is None
        assert {
            "document_id": "doc_000001",
            "content": "**Paige:** Why?\n\n**Jane:** Price.",
            "created_at": "2026-07-24T13:00:00Z",
        } == interview["transcript"]
        with pytest.raises(KeyError):
            emulator.complete(2)


async def test_a_delayed_email_is_created_until_it_is_out():
    """POST says sent at once; a GET says created, and the outbox is empty, until the delay is over."""
    async with served(email_delay=90.0) as (emulator, http):
        assert "sent" == (await asked(http, "POST", "interviews", json=SEQUENCE))[1]["status"]
        assert [] == emulator.outbox
        early = (await asked(http, "GET", "interviews/1"))[1]
        assert ("created", None) == (early["status"], early["email_sent_at"])
        await asyncio.sleep(90)
        late = (await asked(http, "GET", "interviews/1"))[1]
        assert ("sent", "2026-07-24T12:01:30Z") == (late["status"], late["email_sent_at"])
        assert 1 == len(emulator.outbox)
        await asked(http, "POST", "interviews", json=SEQUENCE)
        await asyncio.sleep(90)
        assert "sent" == emulator.interviews[2].status


async def test_an_update_changes_the_contact_and_this_interview_only():
    """Name and context belong to the contact, the objective to the interview; what is absent stays."""
    async with served() as (emulator, http):
        await asked(http, "POST", "interviews", json=SEQUENCE | {"objective": "first"})
        await asked(http, "POST", "interviews", json=SEQUENCE | {"objective": "second"})
        changes = {"contact_name": "Jane", "contact_context": {"role": "CTO"}, "objective": "changed"}
        assert (200, {"interview_request_id": 1}) == await asked(http, "PATCH", "interviews/1", json=changes)
        assert ["changed", "second"] == [emulator.interviews[i].objective for i in (1, 2)]
        contact = emulator.interviews[2].contact
        assert ("Jane", '{"role": "CTO"}') == (contact.name, contact.notes)
        await asked(http, "PATCH", "interviews/1", json={"objective": "again"})
        assert ("Jane", "again") == (contact.name, emulator.interviews[1].objective)


@pytest.mark.parametrize(
    ("body", "details"),
    [
        ({"sequence_id": "s"}, {"missing_fields": ["contact_email"]}),
        ({"contact_email": "", "sequence_id": "s"}, {"missing_fields": ["contact_email"]}),
        ({"contact_email": "a@b.example"}, {"missing_fields": ["sequence_id", "interview_type_id"]}),
        ({}, {"missing_fields": ["contact_email", "sequence_id", "interview_type_id"]}),
        (SEQUENCE | {"contact_email": "jane"}, {"invalid_fields": ["contact_email"]}),
        (SEQUENCE | {"contact_email": "a@b@c.example"}, {"invalid_fields": ["contact_email"]}),
        (SEQUENCE | {"contact_name": 7}, {"invalid_fields": ["contact_name"]}),
        (SEQUENCE | {"deal_id": None}, {"invalid_fields": ["deal_id"]}),
        (SEQUENCE | {"contact_context": ["a"]}, {"invalid_fields": ["contact_context"]}),
        (SEQUENCE | {"email": "a@b.example", "Objective": ""}, {"unknown_fields": ["Objective", "email"]}),
    ],
)
async def test_a_wrong_create_is_a_400_that_names_the_fields(body, details):
    """Nothing is created: not a contact, not an email."""
    async with served() as (emulator, http):
        status, answer = await asked(http, "POST", "interviews", json=body)
        assert (400, "bad_request", details) == (status, answer["error"]["code"], answer["error"]["details"])
        assert ({}, {}, []) == (emulator.interviews, emulator.contacts, emulator.outbox)


@pytest.mark.parametrize(
    ("body", "details"),
    [
        ({}, {"missing_fields": ["contact_context", "contact_name", "objective"]}),
        ({"objective": None}, {"invalid_fields": ["objective"]}),
        ({"objective": "x", "deal_id": "d"}, {"unknown_fields": ["deal_id"]}),
        ({"objective": "x", "contact_email": "a@b.example"}, {"unknown_fields": ["contact_email"]}),
    ],
)
async def test_a_wrong_update_is_a_400_that_names_the_fields(body, details):
    """What cannot be changed here is refused, not ignored."""
    async with served() as (emulator, http):
        await asked(http, "POST", "interviews", json=SEQUENCE)
        status, answer = await asked(http, "PATCH", "interviews/1", json=body)
        assert (400, "bad_request", details) == (status, answer["error"]["code"], answer["error"]["details"])
        assert emulator.interviews[1].objective is None


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "Invalid JSON"),
        (b"{", "Invalid JSON"),
        (b'{"objective": NaN}', "Invalid JSON"),
        (b"\xff\xfe\x00", "Invalid JSON"),
        (b"[" * 100_000, "Invalid JSON"),
        (b"null", "The request body must be a JSON object"),
        (b'[{"objective": "x"}]', "The request body must be a JSON object"),
    ],
)
async def test_a_body_that_is_no_json_object_is_a_400(raw, message):
    """The same for both routes that take one."""
    async with served() as (_, http):
        await asked(http, "POST", "interviews", json=SEQUENCE)
        for method, path in (("POST", "interviews"), ("PATCH", "interviews/1")):
            status, answer = await asked(http, method, path, data=raw)
            assert (400, {"error": {"code": "bad_request", "message": message}}) == (status, answer)


@pytest.mark.parametrize(
    ("declared", "field"),
    [("sequences", "sequence_id"), ("interview_types", "interview_type_id"), ("deals", "deal_id")],
)
async def test_an_id_that_was_not_declared_is_a_400(declared, field):
    """Where ids are declared only those are taken, where not any is."""
    body = SEQUENCE | LINK_ONLY | {"deal_id": "deal_xyz789"}
    async with served(**{declared: {body[field]}}) as (emulator, http):
        assert 201 == (await asked(http, "POST", "interviews", json=body))[0]
        status, answer = await asked(http, "POST", "interviews", json=body | {field: "nonsense"})
        assert (400, f"{field} not found") == (status, answer["error"]["message"])
        assert 1 == len(emulator.interviews)


@pytest.mark.parametrize("interview_id", ["2", "0", "01", "-1", "abc", "1.0", "%D9%A1", "9" * 5000])
async def test_an_unknown_interview_is_a_404(interview_id):
    """So is an id that is no integer at all."""
    async with served() as (_, http):
        await asked(http, "POST", "interviews", json=SEQUENCE)
        for method, arguments in (("GET", {}), ("PATCH", {"json": {"objective": "x"}})):
            status, answer = await asked(http, method, f"interviews/{interview_id}", **arguments)
            assert 404 == status
            assert {"error": {"code": "not_found", "message": "Interview request not found"}} == answer


@pytest.mark.parametrize(
    "path", ["/", "/api/v1", "/api/v1/deal", "/api/v1/interviews/", "/api/v1/interviews/1/x", "/interviews"]
)
async def test_an_unknown_route_is_a_404_with_the_envelope(path):
    """Also one outside the API."""
    async with served() as (emulator, http):
        status, answer = await asked(http, "GET", emulator.base_url.removesuffix("/api/v1") + path)
        assert (404, "not_found") == (status, answer["error"]["code"])
        assert emulator.requests[0].route is None


async def test_a_wrong_method_is_a_405_that_names_the_right_ones():
    """There is no list and no delete."""
    async with served() as (_, http):
        for method, path, allowed in (
            ("GET", "interviews", "POST"),
            ("DELETE", "interviews/1", "GET, PATCH"),
        ):
            async with http.request(method, path) as response:
                assert (405, allowed) == (response.status, response.headers["Allow"])
                assert "method_not_allowed" == (await response.json())["error"]["code"]


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer wrong", "Basic {}", "{}", "bearer {}"])
async def test_a_wrong_or_missing_key_is_a_401(authorization):
    """Nothing is done, and the plan is not charged."""
    async with served() as (emulator, _):
        headers = {} if authorization is None else {"Authorization": authorization.format(emulator.api_key)}
        async with (
            aiohttp.ClientSession() as stranger,
            stranger.post(f"{emulator.base_url}/interviews", json=SEQUENCE, headers=headers) as response,
        ):
            assert 401 == response.status
            assert {"error": {"code": "unauthorized", "message": "Invalid API key"}} == await response.json()
            assert "60" == response.headers["X-RateLimit-Remaining"]
        assert {} == emulator.interviews


async def test_what_arrived_is_written_down():
    """Method, path, route, headers, body, status, moment; and whether two came over one connection."""
    async with served() as (emulator, http):
        await asked(http, "POST", "interviews", json=SEQUENCE, headers={"User-Agent": "probe/1"})
        await asyncio.sleep(2)
        await asked(http, "GET", "interviews/1?a=b")
        await asked(http, "POST", "interviews", data=b"{", headers={"Connection": "close"})
        await asked(http, "GET", "interviews/1")
        first, second, third, fourth = emulator.requests
        assert ("POST", "/api/v1/interviews", "POST /interviews") == (first.method, first.path, first.route)
        assert ("probe/1", SEQUENCE, 201) == (first.headers["user-agent"], first.body, first.status)
        assert ("/api/v1/interviews/1?a=b", "GET /interviews/{id}") == (second.path, second.route)
        assert (None, 200) == (second.body, second.status)
        assert second.arrived_at - first.arrived_at == pytest.approx(2, abs=0.1)
        assert (b"{", 400) == (third.body, third.status)
        assert first.peer_port == second.peer_port == third.peer_port != fourth.peer_port


async def test_nothing_that_is_shown_gives_the_key_or_a_token_away():
    """The repr of the emulator is its address and plan; those of its records hold no secret."""
    async with served(plan=Plan.GROWTH) as (emulator, http):
        _, created = await asked(http, "POST", "interviews", json=SEQUENCE)
        assert f"<Emulator {emulator.base_url} GROWTH>" == repr(emulator)
        shown = repr([emulator, emulator.requests, emulator.interviews, emulator.outbox, emulator.contacts])
        assert emulator.api_key not in shown
        assert created["survey_token"] not in shown


async def test_a_given_key_is_the_one_that_is_let_in_and_made_up_keys_differ():
    """No two emulators share a key by accident."""
    assert "k-123" == Emulator(api_key="k-123").api_key
    assert re.fullmatch(r"test-key-[0-9a-f]{24}", Emulator().api_key)
    assert Emulator().api_key != Emulator().api_key
    async with served(api_key="k-123") as (_, http):
        assert 201 == (await asked(http, "POST", "interviews", json=SEQUENCE))[0]


async def test_every_answer_takes_the_latency():
    """A number of seconds, or whatever a function returns."""
    loop = asyncio.get_running_loop()
    for latency in (1.5, lambda: 1.5):
        async with served(latency=latency) as (emulator, http):
            before = loop.time()
            await asked(http, "POST", "interviews", json=SEQUENCE)
            assert loop.time() - before == pytest.approx(1.5, abs=0.1)
            assert STARTED == emulator.interviews[1].created_at.replace(microsecond=0)


async def test_an_idle_connection_is_closed_after_five_seconds():
    """As servers built on Node do by default."""
    async with served() as (emulator, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(emulator.base_url.split(":")[2][:-7]))
        writer.write(b"GET / HTTP/1.1\r\nHost: emulator\r\n\r\n")
        assert b"HTTP/1.1 401" == (await reader.read(4096))[:12]
        loop = asyncio.get_running_loop()
        before = loop.time()
        assert b"" == await reader.read()
        assert loop.time() - before == pytest.approx(5, abs=0.1)
        writer.close()
        await writer.wait_closed()
