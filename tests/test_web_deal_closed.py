"""What the README's web applications share: the CRM's signature, and a deal as a request."""

import asyncio
import importlib.util
import json
import math
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hindsight_async import HindsightSession, Ledger, LedgerStatus, Plan
from hindsight_async.emulator import Emulator
from hindsight_async.resources.interviews.recipients import interview_key
from postgres_server import running
from web_server import PUBLIC_URL, SECRET, deal, signed, write_modules

BODY = '{"contact_email":"jane@acme.example","dealname":"Acme \N{EN DASH} renewal"}'.encode()
NOW = 1_790_000_000.0
HEADERS = {
    "X-HubSpot-Request-Timestamp": "1790000000000",
    # printf 'POST%s%s%s' "$PUBLIC_URL" "$BODY" 1790000000000 | openssl dgst -sha256 -hmac "$SECRET" -binary | base64
    "X-HubSpot-Signature-v3": "jlIH20ZStYUfB7znT+5qWhcXT12yXQLzC+e8yAWGJFg=",
}


@pytest.fixture(name="deal_closed", scope="module")
def deal_closed_module(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web")
    write_modules(folder)
    spec = importlib.util.spec_from_file_location("deal_closed", folder / "deal_closed.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("HUBSPOT_CLIENT_SECRET", SECRET)
        environment.setenv("WEBHOOK_URL", PUBLIC_URL)
        spec.loader.exec_module(module)
    return module


def is_signed(deal_closed, headers=HEADERS, body=BODY, *, secret=SECRET, url=PUBLIC_URL, now=NOW):
    return deal_closed.is_signed(headers, body, secret=secret, url=url, now=now)


def test_a_true_signature_is_accepted(deal_closed):
    """What another tool signed in the documented way passes, and so does what these tests sign."""
    assert is_signed(deal_closed)
    assert signed(BODY, at=NOW).items() >= HEADERS.items()


@pytest.mark.parametrize(("age", "accepted"), [(299, True), (301, False), (-299, True), (-301, False)])
def test_a_signature_counts_for_five_minutes(deal_closed, age, accepted):
    """Recorded requests are worth nothing later, nor can one be dated ahead; clocks may differ a little."""
    assert accepted is is_signed(deal_closed, now=NOW + age)


@pytest.mark.parametrize("name", HEADERS)
def test_a_missing_header_is_refused(deal_closed, name):
    """Both headers are needed."""
    assert not is_signed(deal_closed, {key: value for key, value in HEADERS.items() if key != name})


@pytest.mark.parametrize(
    "other", [{"body": BODY + b" "}, {"secret": "other"}, {"secret": ""}, {"url": PUBLIC_URL + "/"}]
)
def test_everything_is_under_the_signature(deal_closed, other):
    """Another body, secret or address does not pass, and no secret lets nobody in."""
    assert not is_signed(deal_closed, **other)


def test_without_a_secret_nobody_gets_in(deal_closed):
    """An empty secret in the environment is a mistake, not a key that everybody knows."""
    assert not is_signed(deal_closed, signed(BODY, at=NOW, secret=""), secret="")


def test_the_timestamp_is_under_the_signature(deal_closed):
    """An old request does not become new by another date."""
    later = str(int((NOW + 200) * 1000))
    assert not is_signed(deal_closed, HEADERS | {"X-HubSpot-Request-Timestamp": later})


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
    ],
)
def test_a_timestamp_that_is_none_is_refused(deal_closed, stamp):
    """Seconds, words, other digits and endless ones are refused, quietly."""
    assert not is_signed(deal_closed, HEADERS | {"X-HubSpot-Request-Timestamp": stamp})


@given(stamp=st.text(), signature=st.text(st.characters()), body=st.binary())
def test_no_forgery_raises(deal_closed, stamp, signature, body):
    """Whatever stands in the headers, the answer is no and not an error."""
    for timestamp in (stamp, HEADERS["X-HubSpot-Request-Timestamp"]):
        forged = {"X-HubSpot-Request-Timestamp": timestamp, "X-HubSpot-Signature-v3": signature}
        assert not is_signed(deal_closed, forged, body)


def test_the_deal_becomes_the_contact_s_context(deal_closed):
    """The contact is who is emailed; of the deal the interviewer gets what is named, and nothing else."""
    event = {"contact_email": "jane@acme.example", "dealname": "Acme", "amount": "12000", "hs_object_id": 1}
    request = deal_closed.interview_for(json.dumps(event).encode())
    assert "jane@acme.example" == request.contact_email
    context = {"dealname": "Acme", "dealstage": None, "amount": "12000", "closed_lost_reason": None}
    assert context == request.contact_context


@pytest.fixture(name="server", scope="module")
def server_of_a_fleet():
    with running() as server:
        yield server


KILLED_AT_WORK = """
import asyncio, os, signal, sys
from hindsight_async import Ledger
from hindsight_async.delivery.ledger.entries import LedgerRow

async def work(url, *keys):
    async with Ledger(url).run() as run:
        await run.claim([LedgerRow(key=key, row_index=0, contact_email="x@acme.example") for key in keys])
        await run.sending(keys[-1])
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(work(*sys.argv[1:]))
"""
"""A worker that is killed while it has rows in hand, the last of them on its way."""

LEASE_SECONDS = 90.0


def test_no_event_that_a_killed_worker_had_in_hand_is_lost(deal_closed, server):
    """While its lease lasts the CRM is told when to come again; then what had not left is enrolled, the rest in doubt."""
    database = server.database()
    url = server.url(database, lease=LEASE_SECONDS)
    keys = [interview_key(deal_closed.interview_for(deal(number))) for number in (1, 2)]
    killed = subprocess.run([sys.executable, "-c", KILLED_AT_WORK, url, *keys], check=False)
    assert -signal.SIGKILL == killed.returncode
    dead_ones_lease = (
        "SELECT extract(epoch FROM min(lease_until) - clock_timestamp())::float FROM hindsight_runs"
    )

    async def execute(statement):
        return await asyncio.to_thread(server.execute, database, statement)

    async def deliver_all(hindsight, ledger):
        bodies = [deal(number) for number in (1, 2)]
        return [await deal_closed.answer(hindsight, ledger, signed(body), body) for body in bodies]

    async def deliver_twice():
        async with (
            Emulator(plan=Plan.ENTERPRISE) as emulator,
            HindsightSession(emulator.api_key, base_url=emulator.base_url, plan=Plan.ENTERPRISE) as hindsight,
            Ledger(url).run() as ledger,
        ):
            early = await deliver_all(hindsight, ledger)
            ((rest,),) = await execute(dead_ones_lease)
            assert [] == emulator.requests
            waits = [int(headers["Retry-After"]) for _, _, headers in early]
            await execute(f"UPDATE hindsight_runs SET lease_until = lease_until - interval '{min(waits)} s'")
            later = await deliver_all(hindsight, ledger)
            return early, rest, waits, later, [email.address for email in emulator.outbox]

    early, rest, waits, later, outbox = asyncio.run(deliver_twice())
    assert [({"error": "LedgerInUseError"}, 503)] * 2 == [(content, status) for content, status, _ in early]
    assert all(rest <= wait <= math.ceil(LEASE_SECONDS) for wait in waits)
    assert [201, 200] == [status for _, status, _ in later]
    assert {"status": "unknown"} == later[1][0]
    assert ["contact1@acme.example"] == outbox
    statuses = {entry.key: entry.status for entry in asyncio.run(entries_of(url))}
    assert dict(zip(keys, [LedgerStatus.CREATED, LedgerStatus.UNKNOWN], strict=True)) == statuses


async def entries_of(url):
    return [entry async for entry in Ledger(url).entries()]
