"""The README's web applications under their real servers, called over HTTP against the emulator."""

import asyncio
import signal
import time
from collections import Counter
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientConnectionError

from hindsight_async import Ledger, LedgerStatus, Plan
from hindsight_async.emulator import Emulator
from hindsight_async.session import DEFAULT_MAX_IN_FLIGHT
from web_server import (
    ALL_WARNINGS,
    CLEAN_ENDS,
    COMMANDS,
    DEVELOPMENT,
    application,
    deal,
    environment_of,
    signed,
)

DEALS = 200
DELIVERED_TWICE = DEALS // 3
SECONDS_TO_SEE_IT = 20.0
MEGABYTE = b" " * 1_000_000
MEGABYTES = 20
"""More than any of the frameworks takes in."""

CANCEL_WHEN_THE_CALLER_IS_GONE = {"web_quart", "web_django"}

pytestmark = pytest.mark.slow

every_framework = pytest.mark.parametrize("name", COMMANDS)


@asynccontextmanager
async def served(name, folder, *, mode=DEVELOPMENT, plan=Plan.ENTERPRISE, latency=0.0, window="weighted"):
    async with Emulator(plan=plan, latency=latency, window=window) as emulator:
        async with application(name, folder, environment_of(emulator), mode=mode) as app:
            yield app, emulator


async def ledger_of(folder):
    return {entry.contact_email: entry async for entry in Ledger(folder / "deals.db").entries()}


async def statuses_of(folder):
    counts = await Ledger(folder / "deals.db").counts()
    return {status: number for status, number in counts.items() if number}


async def until(condition):
    """Look again and again, for so long at most, until something holds in another process."""
    async with asyncio.timeout(SECONDS_TO_SEE_IT):
        while not condition():
            await asyncio.sleep(0.01)


def emailed(emulator):
    return sorted(request.body["contact_email"] for request in emulator.requests)


async def deliver_until_done(app, number):
    """Deliver a deal as the CRM does, again after a 503; return all answers."""
    answers = [await app.deliver(deal(number))]
    async with asyncio.timeout(SECONDS_TO_SEE_IT):
        while answers[-1].status == 503:
            assert int(answers[-1].retry_after) > 0
            await asyncio.sleep(0.1)
            answers.append(await app.deliver(deal(number)))
    return answers


async def is_refused_for_its_size(app):
    async def pieces():
        for _ in range(MEGABYTES):
            yield MEGABYTE

    try:
        answer = await app.deliver(pieces(), {"Connection": "close"})
    except ClientConnectionError:  # the server did not wait for the rest
        return True
    return answer.status in {400, 413}


def deal_as_context(number):
    """Return what the API gets: the contact with the deal, and nothing else that the CRM sends."""
    return {
        "contact_email": f"contact{number}@acme.example",
        "sequence_id": "seq_abc123",
        "contact_context": {
            "dealname": f"Acme no. {number} \N{EN DASH} renewal",
            "dealstage": "closedlost",
            "amount": "12000",
            "closed_lost_reason": None,
        },
    }


@every_framework
def test_each_deal_is_enrolled_once_over_one_pool_of_connections(name, tmp_path):
    """200 webhooks at once, a third of them delivered twice: each contact is emailed once, and the server ends quietly."""

    async def deliver_all():
        async with served(name, tmp_path, mode=ALL_WARNINGS) as (app, emulator):
            at_once = [*range(DEALS), *range(0, DELIVERED_TWICE, 2)]
            first = await asyncio.gather(*(deliver_until_done(app, number) for number in at_once))
            again = await asyncio.gather(
                *(app.deliver(deal(number)) for number in range(1, DELIVERED_TWICE, 2))
            )
            ended = await app.stop()
            return [answers[-1] for answers in first], again, emulator, ended

    first, again, emulator, (code, complaints) = asyncio.run(deliver_all())
    assert {201: DEALS, 200: len(first) - DEALS} == Counter(answer.status for answer in first)
    assert {200} == {answer.status for answer in again}
    assert sorted(f"contact{number}@acme.example" for number in range(DEALS)) == emailed(emulator)
    assert DEALS == len(emulator.outbox)
    connections = {request.peer_port for request in emulator.requests}
    # A call that meets its deadline just as it would leave gives its connection up, and is delivered again; on a slow
    # machine that may happen to all in flight at once. Without a pool there would be DEALS.
    assert len(connections) <= 4 * DEFAULT_MAX_IN_FLIGHT < DEALS
    ids = {answer.content["interview"] for answer in first}
    assert set(emulator.interviews) == ids
    assert {"sent"} == {answer.content["status"] for answer in (*first, *again)}
    assert {answer.content["interview"] for answer in again} <= ids
    assert {LedgerStatus.CREATED: DEALS} == asyncio.run(statuses_of(tmp_path))
    assert [] == complaints
    assert code in CLEAN_ENDS


@every_framework
def test_each_answer_tells_the_crm_what_to_do(name, tmp_path):
    """Forged and malformed is refused, a true deal goes out with its context, and a full plan is a 503 with a time."""

    async def deliver_each():
        async with served(name, tmp_path, plan=Plan.ESSENTIALS, window="sliding") as (app, emulator):
            forged = signed(deal(1)) | {"X-HubSpot-Signature-v3": "\N{LATIN SMALL LETTER E WITH ACUTE}"}
            answers = {
                "unsigned": await app.deliver(deal(1), {}),
                "stale": await app.deliver(deal(1), signed(deal(1), at=time.time() - 301)),
                "other body": await app.deliver(deal(1), signed(deal(2))),
                "not ASCII": await app.deliver(deal(1), forged),
                "no JSON": await app.deliver(b"{"),
                "no deal": await app.deliver(b"[]"),
                "no contact": await app.deliver(b"{}"),
                "no address": await app.deliver(b'{"contact_email": "nobody"}'),
                "true": await app.deliver(deal(1)),
            }
            too_large = await is_refused_for_its_size(app)
            emulator.fail("POST /interviews", how=400)
            answers["refused by the API"] = await app.deliver(deal(2))
            answers["refused earlier"] = await app.deliver(deal(2))
            answers["true again"] = await app.deliver(deal(1))
            emulator.fail("POST /interviews", how="disconnect", at="after_commit")
            answers["in doubt"] = await app.deliver(deal(5))
            answers["in doubt since earlier"] = await app.deliver(deal(5))
            emulator.spend(Plan.ESSENTIALS.requests_per_minute)
            answers["full, says the API"] = await app.deliver(deal(3))
            answers["full, as is known"] = await app.deliver(deal(4))
            # After Ctrl-C uvicorn leaves the interpreter its end, at which Python tells what was not closed.
            return answers, too_large, emulator.requests, await app.stop(signal.SIGINT)

    answers, too_large, requests, (code, complaints) = asyncio.run(deliver_each())
    expected = dict.fromkeys(("unsigned", "stale", "other body", "not ASCII"), 401)
    expected |= dict.fromkeys(("no JSON", "no deal", "no contact", "no address"), 400)
    expected |= dict.fromkeys(("refused by the API", "refused earlier"), 400)
    in_doubt = ("in doubt", "in doubt since earlier")
    expected |= {"true again": 200} | dict.fromkeys(in_doubt, 200)
    full = ("full, says the API", "full, as is known")
    expected |= {"true": 201} | dict.fromkeys(full, 503)
    assert expected == {case: answer.status for case, answer in answers.items()}
    assert too_large
    assert ["unknown"] * 2 == [answers[case].content["status"] for case in in_doubt]
    assert [f"contact{number}@acme.example" for number in (1, 2, 5, 3)] == [
        request.body["contact_email"] for request in requests
    ]
    assert deal_as_context(1) == requests[0].body
    assert all(30 <= int(answers[case].retry_after) <= 65 for case in full)
    assert [] == complaints
    assert code in CLEAN_ENDS


def test_what_a_full_plan_turned_away_is_enrolled_when_it_comes_again(tmp_path):
    """A 503 leaves the deal to be sent: delivered again when there is room, it is enrolled, and only then."""

    async def deliver_twice():
        # A weighted window would give some of it back within a second, where a clock minute has just begun.
        async with served("web_fastapi", tmp_path, plan=Plan.ESSENTIALS, window="sliding") as (app, full):
            full.spend(Plan.ESSENTIALS.requests_per_minute)
            first = [await app.deliver(deal(number)) for number in (1, 2)]
            await app.stop()
        async with served("web_fastapi", tmp_path) as (app, emulator):
            later = [await app.deliver(deal(number)) for number in (1, 2)]
            return first, full.outbox, later, emailed(emulator)

    first, outbox, later, emails = asyncio.run(deliver_twice())
    assert [503, 503] == [answer.status for answer in first]
    assert [] == outbox
    assert [201, 201] == [answer.status for answer in later]
    assert ["contact1@acme.example", "contact2@acme.example"] == emails


@every_framework
def test_callers_that_leave_and_a_server_that_stops_lose_nothing(name, tmp_path):
    """A caller gone and SIGTERM, both during the call: the ledger has every outcome, and no one is emailed twice."""

    async def leave_and_stop():
        async with served(name, tmp_path, latency=0.5) as (app, emulator):
            leaving = asyncio.create_task(app.deliver(deal(1)))
            await until(lambda: len(emulator.requests) == 1)
            leaving.cancel()
            await asyncio.wait([leaving])
            staying = asyncio.create_task(app.deliver(deal(2)))
            await until(lambda: len(emulator.requests) == 2)
            app.process.terminate()
            answer = await staying
            return answer, emailed(emulator), await app.end()

    answer, emails, (code, complaints) = asyncio.run(leave_and_stop())
    assert (201, "sent") == (answer.status, answer.content["status"])
    assert ["contact1@acme.example", "contact2@acme.example"] == emails
    entries = asyncio.run(ledger_of(tmp_path))
    left = LedgerStatus.UNKNOWN if name in CANCEL_WHEN_THE_CALLER_IS_GONE else LedgerStatus.CREATED
    assert {"contact1@acme.example": left, "contact2@acme.example": LedgerStatus.CREATED} == {
        address: entry.status for address, entry in entries.items()
    }
    assert left is LedgerStatus.CREATED or "the call was cancelled" in complaints.pop()
    assert [] == complaints
    assert code in CLEAN_ENDS


def test_a_slow_answer_is_waited_for(tmp_path):
    """A create that left before the deadline is in no doubt because its answer comes later."""

    async def deliver_slowly():
        async with served("web_fastapi", tmp_path) as (app, emulator):
            emulator.fail("POST /interviews", how="slow", at="after_commit", seconds=3.0)
            return await app.deliver(deal(1)), emulator.requests, await app.stop()

    answer, requests, (code, complaints) = asyncio.run(deliver_slowly())
    assert (201, "sent") == (answer.status, answer.content["status"])
    assert 1 == len(requests)
    assert {LedgerStatus.CREATED: 1} == asyncio.run(statuses_of(tmp_path))
    assert [] == complaints
    assert code in CLEAN_ENDS
