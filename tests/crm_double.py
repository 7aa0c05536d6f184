"""Doubles of a HubSpot and a Salesforce, as far as they tell who the contacts of deals are."""

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aiohttp import web
from attrs import define, field

MOST_INPUTS = 100
TOKEN = "the-crm's-token"
CHECKSUM = "AAA"
"""What a Salesforce appends to an id of 15 characters."""


@define(eq=False)
class CRM:
    """What stands in it, to be changed from night to night; the requests that it answered are counted."""

    deals: dict[str, dict[str, list[str | None]]] = field(factory=dict)
    """By deal the ids of its contacts, each with the labels of the association (HubSpot) or roles (Salesforce)."""

    contacts: dict[str, dict[str, str | None]] = field(factory=dict)
    """By contact its properties; one that is deleted is not here."""

    associations_at_once: int = 500
    url: str = ""
    requests: list[str] = field(factory=list)

    async def associations(self, request):
        results, errors = [], []
        for one in await self._inputs(request):
            after = int(one.get("after", 0))
            people = list(self.deals.get(one["id"], {}).items())
            page = people[after : after + self.associations_at_once]
            if not page:
                errors.append({"status": "error", "subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND"})
                continue
            result = {"from": {"id": one["id"]}, "to": [associated(*each) for each in page]}
            if len(people) > after + len(page):
                result["paging"] = {"next": {"after": str(after + len(page))}}
            results.append(result)
        answer = {"status": "COMPLETE", "results": results}
        if errors:
            answer |= {"numErrors": len(errors), "errors": errors}
        return web.json_response(answer, status=207 if errors else 200)

    async def read_contacts(self, request):
        wanted = (await request.json())["properties"]
        ids = [one["id"] for one in await self._inputs(request)]
        results = [
            {"id": contact, "properties": {name: self.contacts[contact].get(name) for name in wanted}}
            for contact in ids
            if contact in self.contacts
        ]
        return web.json_response({"status": "COMPLETE", "results": results})

    async def query(self, request):
        self._admit(request)
        asked = re.fullmatch(
            r"SELECT (.+) FROM OpportunityContactRole WHERE IsPrimary = true AND OpportunityId IN \((.+)\)",
            request.query["q"],
        )
        if asked is None:
            raise web.HTTPBadRequest(text='[{"errorCode": "MALFORMED_QUERY"}]')
        assert {"OpportunityId", "ContactId", "Contact.Email", "Contact.Name"} <= {*asked[1].split(", ")}
        ids = [re.fullmatch(r"'(\w{15})(?:\w{3})?'", quoted)[1] for quoted in asked[2].split(", ")]
        records = [
            {
                "OpportunityId": deal + CHECKSUM,
                "ContactId": contact,
                "Contact": self.contacts.get(contact),
                "Role": role,
            }
            for deal in ids
            for contact, (role, *primary) in self.deals.get(deal, {}).items()
            if primary
        ]
        return web.json_response({"totalSize": len(records), "done": True, "records": records})

    async def _inputs(self, request):
        self._admit(request)
        inputs = (await request.json())["inputs"]
        if not 1 <= len(inputs) <= MOST_INPUTS:
            raise web.HTTPBadRequest
        return inputs

    def _admit(self, request):
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise web.HTTPUnauthorized
        self.requests.append(request.path)


def associated(contact, labels):
    unlabelled = {"category": "HUBSPOT_DEFINED", "typeId": 3, "label": None}
    kinds = [{"category": "USER_DEFINED", "typeId": 36, "label": label} for label in labels]
    return {"toObjectId": int(contact), "associationTypes": [unlabelled, *kinds]}


@asynccontextmanager
async def crm_double(**options) -> AsyncGenerator[CRM]:
    """Serve one on a free port."""
    crm = CRM(**options)
    app = web.Application()
    app.router.add_post("/crm/associations/2026-03/deals/contacts/batch/read", crm.associations)
    app.router.add_post("/crm/objects/2026-03/contacts/batch/read", crm.read_contacts)
    app.router.add_get("/services/data/v62.0/query", crm.query)
    async with served(crm, app):
        yield crm


@asynccontextmanager
async def served(crm: CRM, app: web.Application) -> AsyncGenerator[None]:
    """Serve an application from a free port, and tell the CRM its address."""
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        crm.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield
    finally:
        await runner.cleanup()
