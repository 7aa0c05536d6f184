"""The page of the nightly job, from its own text: against doubles of the CRMs, night after night."""

import asyncio
import importlib
import os
import re
import subprocess
import sys
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from crm_double import TOKEN, crm_double
from hindsight_async import HindsightSession, Ledger, LedgerInUseError, LedgerStatus, Plan
from hindsight_async.emulator import Emulator

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "nightly-job.md").read_text(encoding="utf-8")
MODULES = dict(re.findall(r"```python\n(?=# (\w+)\.py)(.*?)```", PAGE, re.DOTALL))
LABEL = "Decision maker"
TODAY = date(2026, 3, 20)
PATIENCE = 60.0


def write_modules(folder, crm="hubspot"):
    """Write the page's modules, with the import that its comment names for the other CRM."""
    for name, text in MODULES.items():
        changed = text.replace("from hubspot_contacts import", f"from {crm}_contacts import")
        (folder / f"{name}.py").write_text(changed, encoding="utf-8")


def variables(emulator, crm):
    return {
        "HINDSIGHT_API_KEY": emulator.api_key,
        "HINDSIGHT_BASE_URL": emulator.base_url,
        "HINDSIGHT_PLAN": emulator.plan.value,
        "HUBSPOT_URL": crm.url,
        "HUBSPOT_ACCESS_TOKEN": TOKEN,
        "HUBSPOT_PORTAL_ID": "62515",
        "SALESFORCE_URL": crm.url,
        "SALESFORCE_TOKEN": TOKEN,
        "SALESFORCE_ORG": "00D1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }


@pytest.fixture(name="nights")
def nights_of_a_job(tmp_path, monkeypatch):
    """Give a test what lives through the nights: the emulator, the CRM, and the job as it is run on a day."""

    @asynccontextmanager
    async def start(crm_name="hubspot", **options):
        write_modules(tmp_path, crm_name)
        monkeypatch.syspath_prepend(tmp_path)
        async with Emulator(plan=Plan.ENTERPRISE) as emulator, crm_double(**options) as crm:
            for name, value in variables(emulator, crm).items():
                monkeypatch.setenv(name, value)
            for name in MODULES:
                monkeypatch.delitem(sys.modules, name, raising=False)
            job = importlib.import_module("nightly")

            async def run(today=TODAY):
                async with HindsightSession() as hindsight:
                    return await job.nightly(hindsight, today, str(tmp_path / "deals.db"))

            yield emulator, crm, run
        for name in MODULES:
            sys.modules.pop(name, None)

    return start


def put_deal(emulator, number, status="Closed Lost", close_date="2026-03-18", **fields):
    fields = fields or {"hubspot_id": str(number)}
    return emulator.deals.add(
        name=f"Deal {number}", status=status, close_date=close_date, amount=100 * number,
        created_at=f"2026-01-01T00:00:{number % 60:02}Z", **fields,
    )  # fmt: skip


def put_person(crm, deal, contact, *labels, email=""):
    crm.deals.setdefault(deal, {})[contact] = list(labels)
    address = f"p{contact}@acme.example" if email == "" else email
    crm.contacts[contact] = {"email": address, "firstname": "Jane", "lastname": f"No. {contact}"}


def addresses(emulator):
    return Counter(email.address for email in emulator.outbox)


def test_the_page_has_the_modules_that_are_run_here():
    """No block of the page is only decoration."""
    assert {"nightly", "nightly_scheduled", "hubspot_contacts", "salesforce_contacts"} == set(MODULES)
    assert len(MODULES) == PAGE.count("```python")


async def test_three_nights_enroll_each_person_of_each_deal_once(nights):
    """Reopened deals, edited dates, deals without contacts, contacts without addresses: once each, the rest by ids."""
    async with nights() as (emulator, crm, run):
        lost, won, bare, unmarked, mute, open_one, elsewhere = (
            put_deal(emulator, number) for number in range(101, 108)
        )
        open_one["status"] = "Negotiation"
        elsewhere["hubspot_id"] = None
        put_person(crm, "101", "1")
        put_person(crm, "102", "2", LABEL)
        put_person(crm, "102", "3", LABEL, "Champion")
        put_person(crm, "102", "4")
        put_person(crm, "104", "5")
        put_person(crm, "104", "6", "Champion")
        put_person(crm, "105", "7", email=None)
        put_person(crm, "106", "8")
        first, report = await run()
        assert 3 == first
        assert {"p1@acme.example": 1, "p2@acme.example": 1, "p3@acme.example": 1} == addresses(emulator)
        assert [
            f"deal {elsewhere['id']}: not from this CRM",
            "deal 103: no contact",
            "deal 104: no contact",
        ] == [line.partition(",")[0] for line in report[:3]]
        assert report[3].startswith("deal 105, contact 7: contact_email ")
        assert 4 == len(report)

        # The second day one is reopened, another's date is edited, an address is filled in, a deal is closed.
        lost["status"] = "Negotiation"
        won["close_date"] = "2026-03-02"
        crm.contacts["7"]["email"] = "seven@acme.example"
        put_person(crm, "103", "2")  # who has been asked about another deal
        open_one["status"] = "Closed Won"
        second, report = await run(TODAY + timedelta(days=1))
        assert 3 == second
        assert ["deal 104"] == [line.partition(":")[0] for line in report[1:]]

        # The third, the first is closed again, the date goes ahead, and whom it is about has another address.
        lost |= {"status": "Closed Won", "close_date": "2026-04-01"}
        crm.contacts["1"]["email"] = "married@acme.example"
        put_person(crm, "104", "6", LABEL)
        third, report = await run(TODAY + timedelta(days=2))
        assert 1 == third
        assert [f"deal {elsewhere['id']}: not from this CRM"] == report
        once = ("p1", "p3", "p6", "p8", "seven")
        assert {**{f"{name}@acme.example": 1 for name in once}, "p2@acme.example": 2} == addresses(emulator)
        about = Counter((body["deal_id"], body["contact_email"]) for body in created(emulator))
        assert 1 == max(about.values())
        assert {bare["id"], won["id"]} == {deal for deal, email in about if email == "p2@acme.example"}
        assert unmarked["id"] in {deal for deal, _ in about}
        assert mute["id"] in {deal for deal, _ in about}


def created(emulator):
    return [request.body for request in emulator.requests if request.route == "POST /interviews"]


async def test_what_cannot_be_enrolled_makes_no_row(nights, tmp_path):
    """The ledger has the people who were written to, under the keys of the CRM's ids, and nobody else."""
    async with nights() as (emulator, crm, run):
        put_deal(emulator, 101)
        put_deal(emulator, 102)
        put_deal(emulator, 103)
        put_person(crm, "101", "1")
        put_person(crm, "102", "2", email="not an address")
        await run()
        entries = [entry async for entry in Ledger(tmp_path / "deals.db").entries()]
    assert [("hubspot:62515:101:1", LedgerStatus.CREATED)] == [
        (entry.caller_key, entry.status) for entry in entries
    ]


async def test_the_report_has_ids_and_no_address(nights):
    """It goes out as mail, and into logs."""
    async with nights() as (emulator, crm, run):
        put_deal(emulator, 101)
        put_person(crm, "101", "1", email="jane at acme.example")
        _, report = await run()
    assert "acme" not in " ".join(report)
    assert "deal 101, contact 1" in report[0]


async def test_one_address_of_two_contacts_of_a_deal_is_one_person(nights):
    """A CRM has people twice; who is written to has one inbox."""
    async with nights() as (emulator, crm, run):
        put_deal(emulator, 101)
        put_person(crm, "101", "1", LABEL, email="Jane@acme.example")
        put_person(crm, "101", "2", LABEL, email="jane@acme.example")
        assert 1 == (await run())[0]
        assert 0 == (await run())[0]


@pytest.mark.slow
async def test_more_deals_and_contacts_than_fit_one_read(nights):
    """250 deals are three batch reads of each kind, and a deal with many contacts is read to its end."""
    async with nights(associations_at_once=3) as (emulator, crm, run):
        for number in range(1, 251):
            put_deal(emulator, number)
            put_person(crm, str(number), str(number))
        for contact in range(1001, 1006):
            put_person(crm, "250", str(contact), *([LABEL] if contact == 1005 else []))
        assert (250, []) == await run()
        assert 1 == addresses(emulator)["p1005@acme.example"]
        assert 0 == addresses(emulator)["p250@acme.example"]
        assert [3, 3] == list(Counter(crm.requests).values())


async def test_a_crm_that_does_not_answer_leaves_nobody_half_enrolled(nights):
    """Nobody is emailed, the night ends with an error, and the next one makes up for it."""
    async with nights() as (emulator, crm, run):
        put_deal(emulator, 101)
        put_person(crm, "101", "1")
        answers, crm.contacts = crm.contacts, None
        with pytest.raises(Exception, match="500"):
            await run()
        assert {} == addresses(emulator)
        crm.contacts = answers
        assert (1, []) == await run(TODAY + timedelta(days=1))


async def test_without_deals_nothing_is_asked_of_the_crm(nights):
    """An empty night is a quiet one."""
    async with nights() as (_, crm, run):
        assert (0, []) == await run()
        assert [] == crm.requests


async def test_salesforce_asks_the_primary_contact(nights):
    """Ids of 15 and of 18 characters are the same opportunity, and only the primary contact is written to."""
    deals = [f"006A00000{number:06}" for number in range(1, 121)]
    async with nights("salesforce") as (emulator, crm, run):
        for number, deal in enumerate(deals, 1):
            put_deal(emulator, number, salesforce_id=deal + ("AAA" if number % 2 else ""))
            crm.deals[deal] = {f"003X{number}": ["Buyer", True], f"003Y{number}": ["User"]}
            crm.contacts[f"003X{number}"] = {"Email": f"x{number}@acme.example", "Name": "Jane"}
        crm.deals[deals[0]] = {"003Y1": ["User"]}
        crm.contacts["003X2"]["Email"] = None
        put_deal(emulator, 500, salesforce_id="x') OR (Name != '")
        enrolled, report = await run()
        assert 118 == enrolled
        assert {f"x{number}@acme.example": 1 for number in range(3, 121)} == addresses(emulator)
        assert [deals[0], deals[1], "x')"] == sorted(
            re.match(r"deal ([^\s:,]+)", line)[1].removesuffix("AAA") for line in report
        )
        assert 2 == len(crm.requests)
        assert 0 == (await run(TODAY + timedelta(days=1)))[0]


async def test_two_that_overlap_do_no_harm(nights, tmp_path):
    """The second finds the ledger in use, and sends nothing."""
    async with nights() as (emulator, crm, run):
        put_deal(emulator, 101)
        put_person(crm, "101", "1")
        async with Ledger(tmp_path / "deals.db").run():
            with pytest.raises(LedgerInUseError):
                await run()
        assert {} == addresses(emulator)


def in_a_process(folder, *arguments, environment):
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=folder, env=os.environ | environment, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip


def served(program):
    """Run `program(environment, emulator)` on a thread while an emulator and a CRM with two deals serve on this one."""

    async def serve():
        async with Emulator(plan=Plan.ENTERPRISE) as emulator, crm_double() as crm:
            closed = datetime.now(UTC).date().isoformat()
            put_deal(emulator, 101, close_date=closed)
            put_deal(emulator, 102, close_date=closed)
            put_person(crm, "101", "1")
            return await asyncio.to_thread(program, variables(emulator, crm)), emulator

    return asyncio.run(serve())


@pytest.mark.slow
def test_as_a_script_run_twice_it_sends_nothing_twice(tmp_path):
    """As cron starts it: the report is what it prints, and the second run enrolls nobody."""
    write_modules(tmp_path)
    (first, second), emulator = served(
        lambda variables: [in_a_process(tmp_path, "nightly.py", environment=variables) for _ in range(2)]
    )
    rest = "1 need a person\ndeal 102: no contact, or several and none has the label\n"
    assert ("", f"1 enrolled, {rest}") == (first.stderr, first.stdout)
    assert ("", f"0 enrolled, {rest}") == (second.stderr, second.stdout)
    assert {"p1@acme.example": 1} == addresses(emulator)


AT_ONCE = """
import asyncio
from datetime import UTC, datetime
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED
import nightly_scheduled

async def two_nights():
    jobs, ran = nightly_scheduled.scheduler(), asyncio.Queue()
    jobs.add_listener(ran.put_nowait, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)
    jobs.start()
    print(jobs.get_job("nightly").next_run_time.time())
    for _ in range(2):
        jobs.get_job("nightly").modify(next_run_time=datetime.now(UTC))
        print((await ran.get()).exception)
    jobs.shutdown()

asyncio.run(two_nights())
"""
"""Runs the scheduled job when it is not two o'clock."""


@pytest.mark.slow
def test_under_apscheduler_two_nights_send_nothing_twice(tmp_path):
    """The job is set for two o'clock; each time that it is due the report is printed, and the second enrolls nobody."""
    pytest.importorskip("apscheduler")
    write_modules(tmp_path)
    done, emulator = served(lambda variables: in_a_process(tmp_path, "-c", AT_ONCE, environment=variables))
    assert "" == done.stderr
    rest = ["deal 102: no contact, or several and none has the label", "None"]
    first, second = "1 enrolled, 1 need a person", "0 enrolled, 1 need a person"
    assert ["02:00:00", first, *rest, second, *rest] == done.stdout.splitlines()
    assert {"p1@acme.example": 1} == addresses(emulator)
