"""The page of HubSpot, from its own text: events come in, deals are read, and each person is asked once."""

import asyncio
import base64
import hashlib
import hmac
import importlib
import json
import sys
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doc_pages import named_blocks
from hindsight_async import HindsightSession, LedgerError, Plan
from hindsight_async.emulator import Emulator
from hubspot_double import TOKEN, hubspot_double

pytestmark = pytest.mark.usefixtures("in_memory")

SECRET = "the-app's-client-secret"
PUBLIC_URL = "https://crm-hooks.acme.example/deal-closed"
PORTAL = 62515
BODY = '{"contact_email":"jane@acme.example","dealname":"Acme \N{EN DASH} renewal"}'.encode()
NOW = 1_790_000_000.0
HEADERS = {
    "X-HubSpot-Request-Timestamp": "1790000000000",
    # printf 'POST%s%s%s' "$PUBLIC_URL" "$BODY" 1790000000000 | openssl dgst -sha256 -hmac "$SECRET" -binary | base64
    "X-HubSpot-Signature-v3": "jlIH20ZStYUfB7znT+5qWhcXT12yXQLzC+e8yAWGJFg=",
}


@pytest.fixture(name="page")
def page_modules(tmp_path, monkeypatch):
    for name, text in named_blocks().items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "HUBSPOT_CLIENT_SECRET": SECRET,
        "HUBSPOT_ACCESS_TOKEN": TOKEN,
        "HUBSPOT_PORTAL_ID": str(PORTAL),
        "WEBHOOK_URL": PUBLIC_URL,
        "HINDSIGHT_SEQUENCE": "seq_1",
        "WEBHOOK_SECRET": SECRET,
    }.items():
        monkeypatch.setenv(name, value)
    names = ("deal_closed", "composed_webhook")
    yield importlib.import_module
    for name in names:
        sys.modules.pop(name, None)


def clock():
    """Return the time by the test's own clock."""
    return NOW + asyncio.get_running_loop().time()


@pytest.fixture(name="service")
def service_of_the_page(page, monkeypatch):
    """Give a test the two servers, and the receiver that it may start again and again."""

    @asynccontextmanager
    async def start():
        async with Emulator(plan=Plan.ENTERPRISE) as emulator, hubspot_double() as hubspot:
            for name, value in {
                "HINDSIGHT_API_KEY": emulator.api_key,
                "HINDSIGHT_BASE_URL": emulator.base_url,
                "HINDSIGHT_PLAN": emulator.plan.value,
                "HUBSPOT_URL": hubspot.url,
            }.items():
                monkeypatch.setenv(name, value)
            yield emulator, hubspot, lambda: page("deal_closed").serving(clock)

    return start


def event(deal, **fields):
    return {
        "eventId": 1, "subscriptionId": 2, "portalId": PORTAL, "appId": 3, "occurredAt": int(NOW * 1000),
        "subscriptionType": "deal.propertyChange", "attemptNumber": 0, "objectId": deal,
        "propertyName": "dealstage", "propertyValue": "148923", "changeSource": "CRM", "sourceId": "u:1", **fields,
    }  # fmt: skip


def signed(body, at, url=PUBLIC_URL, secret=SECRET):
    stamp = str(int(at * 1000))
    digest = hmac.new(secret.encode(), b"POST" + url.encode() + body + stamp.encode(), hashlib.sha256)
    signature = base64.b64encode(digest.digest()).decode()
    return {"X-HubSpot-Request-Timestamp": stamp, "X-HubSpot-Signature-v3": signature}


async def deliver(receiver, *events):
    body = json.dumps(events).encode()
    status, _, content = await receiver.answer(signed(body, clock()), body)
    return status, content


async def asked(emulator, seconds=90.0):
    await asyncio.sleep(seconds)
    return sorted(email.address for email in emulator.outbox)


def test_a_true_signature_is_accepted(page):
    """What another tool signed in the documented way passes, within five minutes, and nothing else does."""
    is_signed = page("deal_closed").is_signed
    right = {"headers": HEADERS, "body": BODY, "secret": SECRET, "url": PUBLIC_URL, "now": NOW}
    assert is_signed(**right)
    assert [True, False, True, False] == [
        is_signed(**right | {"now": NOW + age}) for age in (299, 301, -299, -301)
    ]
    for wrong in (
        {"body": BODY + b" "},
        {"secret": "x"},
        {"secret": ""},
        {"url": PUBLIC_URL + "/"},
        {"headers": {}},
    ):
        assert not is_signed(**right | wrong)


def test_the_listed_escapes_of_the_url_are_decoded(page):
    """HubSpot signs the URL with these twelve decoded and every other one as it is."""
    headers = signed(BODY, NOW, "https://a.example/x?to=a:b/c&d=%20")
    url = "https://a.example/x?to=a%3Ab%2Fc&d=%20"
    assert page("deal_closed").is_signed(headers, BODY, secret=SECRET, url=url, now=NOW)


def test_no_forgery_raises(page):
    """Whatever stands in the headers, the answer is no and not an error."""
    is_signed = page("deal_closed").is_signed

    @given(stamp=st.text(), signature=st.text(st.characters()), body=st.binary())
    def forge(stamp, signature, body):
        for timestamp in (stamp, HEADERS["X-HubSpot-Request-Timestamp"]):
            forged = {"X-HubSpot-Request-Timestamp": timestamp, "X-HubSpot-Signature-v3": signature}
            assert not is_signed(forged, body, secret=SECRET, url=PUBLIC_URL, now=NOW)

    forge()


@pytest.mark.parametrize("name", HEADERS)
def test_a_missing_header_is_refused(page, name):
    """Both headers are needed."""
    headers = {key: value for key, value in HEADERS.items() if key != name}
    assert not page("deal_closed").is_signed(headers, BODY, secret=SECRET, url=PUBLIC_URL, now=NOW)


@pytest.mark.parametrize(
    "stamp",
    [
        "",
        "now",
        "1790000000",
        "1790000000000.0",
        "-1790000000000",
        "1790000000000\n",
        "\N{ARABIC-INDIC DIGIT ZERO}" * 13,
        "9" * 5000,
        "1790000000001",
    ],
)
def test_a_timestamp_that_is_none_is_refused(page, stamp):
    """Seconds, words, other digits, endless ones, and another than was signed are refused, quietly."""
    headers = HEADERS | {"X-HubSpot-Request-Timestamp": stamp}
    assert not page("deal_closed").is_signed(headers, BODY, secret=SECRET, url=PUBLIC_URL, now=NOW)


def test_an_empty_secret_lets_nobody_in(page):
    """An empty secret in the environment is a mistake, not a key that everybody knows."""
    headers = signed(BODY, NOW, secret="")
    assert not page("deal_closed").is_signed(headers, BODY, secret="", url=PUBLIC_URL, now=NOW)


TOLD = {
    "portal": PORTAL,
    "deal": 1,
    "contact": 11,
    "contact_email": "jane@acme.example",
    "contact_name": "",
    "amount": "5",
}


async def test_a_composed_body_is_written_down(page, tmp_path):
    """Told twice it is one interview; without the secret nothing is taken, and what is malformed is answered 2xx."""
    answer = page("composed_webhook").answer
    async with Emulator(plan=Plan.ENTERPRISE) as emulator:
        session = HindsightSession(emulator.api_key, base_url=emulator.base_url)
        async with session as hindsight, hindsight.interviews.queue(tmp_path / "deals.db") as queue:

            async def told(what, secret=SECRET):
                body = what if isinstance(what, bytes) else json.dumps(what).encode()
                status, _, content = await answer(queue, "salesforce", {"Authorization": secret}, body)
                return status, content

            assert (401, {"error": "not the CRM's secret"}) == await told(TOLD, "\N{EURO SIGN}")
            assert (200, {"accepted": True, "is_new": True}) == await told(TOLD)
            assert (200, {"accepted": True, "is_new": False}) == await told(TOLD)
            for malformed in (
                b"",
                b"[]",
                {},
                TOLD | {"contact_email": "nobody"},
                TOLD | {"contact_email": None},
            ):
                assert (200, {"accepted": False}) == await told(malformed)
            await queue.drain(timeout=60)
        assert [("jane@acme.example", {"amount": "5"})] == [
            (request.body["contact_email"], request.body["contact_context"]) for request in emulator.requests
        ]


async def test_a_composed_body_that_cannot_be_written_down_comes_again(page):
    """A full disk is a 429 with a wait in milliseconds, after which the workflow's action tries again."""

    class FullDisk:
        async def put(self, request, *, key):
            raise LedgerError("no space")

    answer = page("composed_webhook").answer
    status, headers, _ = await answer(
        FullDisk(), "hubspot", {"Authorization": SECRET}, json.dumps(TOLD).encode()
    )
    assert (429, "60000") == (status, headers["Retry-After"])


@pytest.mark.slow
async def test_a_hundred_events_are_a_hundred_interviews(service):
    """A whole array delivered twice asks each deal's contact once."""
    async with service() as (emulator, hubspot, serving), serving() as receiver:
        for deal in range(100, 200):
            hubspot.add(deal)
        events = [event(deal) for deal in range(100, 200)]
        assert [(200, {"deals": 100})] * 2 == [await deliver(receiver, *events) for _ in range(2)]
        assert [f"contact{deal}1@acme.example" for deal in range(100, 200)] == await asked(emulator)


async def test_what_is_not_for_us_is_left_alone(service):
    """Other portals, objects and properties, bodies that are no events and forgeries enroll nobody."""
    others = [{"portalId": 1}, {"subscriptionType": "contact.creation"}, {"propertyName": "amount"}]
    async with service() as (emulator, hubspot, serving), serving() as receiver:
        hubspot.add(1)
        assert (200, {"deals": 0}) == await deliver(receiver, *[event(1, **other) for other in others])
        for body in (b"{}", b"[1]", b"no", b"[{}]", b"\xff", b"[" * 100_000):
            assert 200 == (await receiver.answer(signed(body, clock()), body))[0]
        assert 401 == (await receiver.answer({}, b"[]"))[0]
        assert [] == await asked(emulator)
        assert [] == hubspot.requests


@pytest.mark.slow
async def test_who_cannot_be_asked_is_not(service, caplog):
    """Open deals, several contacts without the label and contacts without an address are logged by ids."""
    async with service() as (emulator, hubspot, serving), serving() as receiver:
        caplog.set_level("INFO", "deal_closed")
        hubspot.add(1, closed="false")
        hubspot.add(2, contacts={})
        hubspot.add(3, contacts={"31": [], "32": []})
        hubspot.add(4, contacts={"41": [], "42": ["Decision maker"]})
        hubspot.contacts["51"] = {"email": None}
        hubspot.add(5)
        await deliver(receiver, *[event(deal) for deal in range(1, 7)])
        assert ["contact42@acme.example"] == await asked(emulator)
        count = len(hubspot.requests)
        await asked(emulator, 300.0)
        assert count == len(hubspot.requests)
        said = [record.getMessage() for record in caplog.records if record.name == "deal_closed"]
    assert 5 == len(said)
    assert "@" not in "".join(said)


@pytest.mark.slow
async def test_one_who_may_not_be_emailed_holds_nobody_back(service, monkeypatch, caplog):
    """The rails stand for one person, and two contacts of one address are one: the others of the batch are asked."""
    monkeypatch.setenv("HINDSIGHT_ALLOWED_RECIPIENTS", "contact21@acme.example")
    async with service() as (emulator, hubspot, serving), serving() as receiver:
        hubspot.add(1)
        hubspot.contacts["22"] = {"email": "Contact21@acme.example"}
        hubspot.add(2, contacts={"21": ["Decision maker"], "22": ["Decision maker"]})
        await deliver(receiver, event(1), event(2))
        assert ["contact21@acme.example"] == await asked(emulator)
    assert f"hubspot:{PORTAL}:1:11 is one who may not be emailed" in caplog.text


@pytest.mark.slow
async def test_an_event_that_comes_while_its_deal_is_read_is_not_lost(service):
    """What was read before the event is no answer to it: the deal is read once more, and is closed by then."""
    async with service() as (emulator, hubspot, serving), serving() as receiver:
        hubspot.add(1, closed="false")

        async def close():
            hubspot.add(1)
            assert (200, {"deals": 1}) == await deliver(receiver, event(1))

        hubspot.after_deals = close
        await deliver(receiver, event(1))
        assert ["contact11@acme.example"] == await asked(emulator)


async def test_a_deal_closed_again_is_asked_once(service):
    """What is reopened and closed again has the same key; what closes later is asked then."""
    async with service() as (emulator, hubspot, serving), serving() as receiver:
        for closed in ("false", "true", "false", "true"):
            hubspot.add(1, closed=closed)
            await deliver(receiver, event(1))
            await asked(emulator)
        assert ["contact11@acme.example"] == await asked(emulator)


@pytest.mark.slow
@pytest.mark.parametrize("failure", [(429, {"Retry-After": "50"}), (500, {}), (401, {}), None])
async def test_a_failing_hubspot_is_asked_again(service, failure):
    """A 429, a 5xx, a refused token and no answer at all leave the deal for later, and it is asked once."""
    async with service() as (emulator, hubspot, serving), serving() as receiver:
        hubspot.add(1)
        hubspot.failures += [failure]
        await deliver(receiver, event(1))
        early = await asked(emulator, 5.0)
        assert ([], ["contact11@acme.example"]) == (early, await asked(emulator))


@pytest.mark.slow
async def test_what_is_left_is_read_by_the_next_process(service):
    """The inbox is on disk: what a receiver could not read, the next one does."""
    async with service() as (emulator, hubspot, serving):
        hubspot.add(1)
        hubspot.failures += [(503, {})]
        async with serving() as receiver:
            await deliver(receiver, event(1))
            await asked(emulator, 1.0)
        assert [] == emulator.outbox
        async with serving():
            assert ["contact11@acme.example"] == await asked(emulator)


@pytest.mark.slow
async def test_a_429_is_given_the_time_that_it_asks_for(service):
    """Nothing is read from HubSpot before the seconds of its Retry-After are over."""
    async with service() as (emulator, hubspot, serving), serving() as receiver:
        hubspot.add(1)
        hubspot.failures += [(429, {"Retry-After": "600"})]
        await deliver(receiver, event(1))
        assert [] == await asked(emulator, 590.0)
        assert [] == hubspot.requests
        assert ["contact11@acme.example"] == await asked(emulator)


@pytest.mark.slow
async def test_two_deals_of_one_contact_are_two_interviews(service):
    """Equal requests of two deals keep a key each."""
    async with service() as (emulator, hubspot, serving), serving() as receiver:
        for deal in (1, 2):
            hubspot.add(deal, contacts={"7": []})
            hubspot.stages[str(deal)]["dealname"] = "Renewal"
        await deliver(receiver, event(1), event(2))
        assert ["contact7@acme.example"] * 2 == await asked(emulator)


@pytest.mark.slow
def test_two_receivers_share_a_database(service, postgres, database, monkeypatch):
    """Each deal is read from the one inbox, and asked once, whichever of two receivers is told, also of both."""
    url = postgres.url(database)
    monkeypatch.setenv("LEDGER", url)
    deals = range(100, 160)

    async def share():
        async with service() as (emulator, hubspot, serving), serving() as one, serving() as other:
            for deal in deals:
                hubspot.add(deal)
            deliveries = [deliver(each, *map(event, deals)) for each in (one, other)]
            told = await asyncio.gather(*deliveries)
            async with asyncio.timeout(60):
                while len(emulator.outbox) < len(deals) or await left():
                    await asyncio.sleep(0.02)
            return told, sorted(email.address for email in emulator.outbox)

    async def left():
        return (await asyncio.to_thread(postgres.execute, database, "SELECT count(*) FROM crm_deals"))[0][0]

    told, addresses = asyncio.run(share())
    assert [(200, {"deals": len(deals)})] * 2 == told
    assert [f"contact{deal}1@acme.example" for deal in deals] == addresses
