"""A double of the HubSpot that deal_closed.py reads: deals, their contacts, and answers that fail."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from attrs import define, field

from crm_double import CRM, TOKEN, served

UNANSWERED = 3600.0
"""Seconds for which a request hangs that is not to be answered."""


@define(eq=False)
class HubSpot(CRM):
    """What stands in it, and how the next requests fail: a status with headers, or None for no answer at all."""

    stages: dict[str, dict[str, str]] = field(factory=dict)
    failures: list[tuple[int, dict[str, str]] | None] = field(factory=list)
    after_deals: Callable[[], Awaitable[None]] | None = None
    """What happens once, between a read of deals and its answer."""

    def add(self, deal, *, closed="true", contacts=None):
        self.stages[str(deal)] = {"hs_is_closed": closed, "dealname": f"Deal {deal}"}
        people = {f"{deal}1": []} if contacts is None else contacts
        self.deals[str(deal)] = people
        for contact in people:
            self.contacts.setdefault(contact, {"email": f"contact{contact}@acme.example"})

    async def read_deals(self, request):
        inputs = await self._inputs(request)
        results = [
            {"id": one["id"], "properties": self.stages[one["id"]]}
            for one in inputs
            if one["id"] in self.stages
        ]
        happens, self.after_deals = self.after_deals, None
        if happens is not None:
            await happens()
        return web.json_response({"status": "COMPLETE", "results": results})

    @web.middleware
    async def fail(self, request, handler):
        if not self.failures:
            return await handler(request)
        failure = self.failures.pop(0)
        if failure is None:
            await asyncio.sleep(UNANSWERED)
            raise web.HTTPGatewayTimeout
        return web.Response(status=failure[0], headers=failure[1])


@asynccontextmanager
async def hubspot_double() -> AsyncGenerator[HubSpot]:
    """Serve one on a free port."""
    hubspot = HubSpot()
    app = web.Application(middlewares=[hubspot.fail])
    app.router.add_post("/crm/objects/2026-03/deals/batch/read", hubspot.read_deals)
    app.router.add_post("/crm/associations/2026-03/deals/contacts/batch/read", hubspot.associations)
    app.router.add_post("/crm/objects/2026-03/contacts/batch/read", hubspot.read_contacts)
    async with served(hubspot, app):
        yield hubspot


__all__ = ["TOKEN", "HubSpot", "hubspot_double"]
