"""The tools resource: typed arguments to calls."""

import logging
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import date
from typing import Any, TypeVar

from hindsight_async.call.answered import with_http
from hindsight_async.call.codec import json_of
from hindsight_async.call.execute import Executor
from hindsight_async.call.request import Call, Endpoint
from hindsight_async.errors import DecodeError
from hindsight_async.resources.tools.arguments import (
    LARGEST_PAGE,
    MOST_DEAL_IDS,
    NOT_DOCUMENTED,
    TOOLS,
    checked,
    date_range,
    number_range,
    text,
    texts,
)
from hindsight_async.resources.tools.models import (
    DealDetails,
    DetailedDeal,
    GetDealPage,
    SelectDealPage,
    SelectedDeal,
)

logger = logging.getLogger("hindsight_async.tools")

T = TypeVar("T")

_SELECT_DEAL = Endpoint(
    method="POST", route="POST /tools/select-deal", reply_type=SelectDealPage, repeatable=True
)
_GET_DEAL = Endpoint(method="POST", route="POST /tools/get-deal", reply_type=GetDealPage, repeatable=True)

_NEW_TOOL = "POST /tools/{name}"
"""The route of all tools that are not documented."""


def _endpoint(route: str, *, writes: bool) -> Endpoint[dict[str, Any]]:
    return Endpoint(method="POST", route=route, reply_type=dict[str, Any], repeatable=not writes)


_TOOLS = {
    name: _endpoint(f"POST /tools/{name}", writes=documented.writes) for name, documented in TOOLS.items()
}

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class Tools:
    """Hindsight's direct tools; reached as `session.tools`.

    They share limits with the rest of the API, and each call counts as a read against the month (page tools). All but
    create-dataset only read, so they are sent again where an answer was lost. A tool that the role of the key may not
    use is a ForbiddenError.

    Args:
        executor: Takes calls to their answers.

    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def select_deal(
        self,
        *,
        query: str | None = None,
        semantic_query: str | None = None,
        segment_id: str | None = None,
        competitor_id: str | None = None,
        deal_stage: str | Sequence[str] | None = None,
        amount_min: float | None = None,
        amount_max: float | None = None,
        close_date_from: date | None = None,
        close_date_to: date | None = None,
        type: str | None = None,  # noqa: A002  the API's own word
        region: str | None = None,
        owner_name: str | None = None,
        limit: int = LARGEST_PAGE,
        page: int = 1,
    ) -> AsyncIterator[SelectedDeal]:
        """List the analysed deals that fit, page after page (page select-deal).

        The next page is read once this one is used up, so who stops early pays for no more. A deal that newer ones have
        pushed onto the next page is not given twice.

        Args:
            query: What the deal's or the client's name resembles. Excludes the next two.
            semantic_query: What is talked about in the deal. Excludes `query` and `segment_id`.
            segment_id: A segment's id. Excludes `query` and `semantic_query`.
            competitor_id: A competitor's id.
            deal_stage: The name of one stage, or of several.
            amount_min: The least amount.
            amount_max: The largest amount.
            close_date_from: The first closing date.
            close_date_to: The last closing date.
            type: The type of deal.
            region: The region.
            owner_name: The owner's name or address, or `me`, `my` or `mine`.
            limit: How many deals one request reads, from 1 to `LARGEST_PAGE`; not how many there are in all.
            page: The page to begin with, from 1.

        Returns:
            The deals, to be iterated with `async for`, which raises as `call` does.

        Raises:
            TypeError: An argument is of another type; the text names it.
            ValueError: One is out of bounds, or excludes another.

        """
        arguments = {
            "query": text("query", query),
            "semantic_query": text("semantic_query", semantic_query),
            "segment_id": text("segment_id", segment_id),
            "competitor_id": text("competitor_id", competitor_id),
            "deal_stage": _stages(deal_stage),
            "amount": number_range("amount", amount_min, amount_max),
            "close_date": date_range("close_date", close_date_from, close_date_to),
            "type": text("type", type),
            "region": text("region", region),
            "owner_name": text("owner_name", owner_name),
            "limit": limit,
            "page": page,
        }
        return self._pages(checked("select-deal", arguments))

    async def get_deal(self, deal_ids: Iterable[str]) -> DealDetails:
        """Read deals whole: summary, and how each competitor stood (page get-deal).

        One request reads `MOST_DEAL_IDS`, so more of them are as many requests as it takes, one after the other.

        Args:
            deal_ids: Hindsight's ids, any number; one that stands there twice is read once.

        Returns:
            The deals, and the ids of which there is none in this organisation.

        Raises:
            TypeError: `deal_ids` is one text, or holds what is none.
            ValueError: An id is empty.
            HindsightError: As from `call`.

        """
        ids = texts("deal_ids", deal_ids)
        results: list[DetailedDeal] = []
        for first in range(0, len(ids), MOST_DEAL_IDS):
            some = checked("get-deal", {"deal_ids": ids[first : first + MOST_DEAL_IDS]})
            answer = await self._run(_GET_DEAL, "get-deal", some)
            results += with_http(answer.results, answer.http)
        found = {known_as for deal in results for known_as in (deal.deal_id, deal.id)}
        return DealDetails(results=results, missing=[deal_id for deal_id in ids if deal_id not in found])

    async def call(self, name: str, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Call a tool by its name, for those whose answers are not documented (page tools).

        What the documentation says of its arguments is checked. A tool that this version does not know is called too, and,
        since it may change something, as create-dataset not sent again once its bytes left.

        Args:
            name: As in the API's path, such as "search-web".
            arguments: What JSON can carry; what is None is left out.

        Returns:
            The answer's JSON object.

        Raises:
            TypeError: An argument is of another type; the text names it.
            ValueError: The name is none, or an argument is missing, out of bounds, or excludes another.
            ForbiddenError: The role of the key may not use this tool.
            HindsightError: Anything else; `delivery` says whether it may have taken effect.

        """
        if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"name must be text (str), not {type(name).__name__}")
        if not _NAME.fullmatch(name):
            raise ValueError(f'name must be a tool\'s, such as "search-web", not {name!r}')
        if arguments is not None and not isinstance(arguments, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"arguments must be a mapping, not {type(arguments).__name__}")
        endpoint = _TOOLS.get(name) or _endpoint(_NEW_TOOL, writes=NOT_DOCUMENTED.writes)
        return await self._run(endpoint, name, checked(name, arguments or {}))

    async def _pages(self, arguments: dict[str, Any]) -> AsyncIterator[SelectedDeal]:
        before: set[str | None] = set()
        while True:
            answer = await self._run(_SELECT_DEAL, "select-deal", arguments)
            here = {deal.deal_id or deal.id for deal in answer.results} - {None}
            if here and here == before:
                raise _in_a_circle(arguments["page"])
            for deal in with_http(answer.results, answer.http):
                if (deal.deal_id or deal.id) not in before:
                    yield deal
            if not answer.has_more or not answer.results:
                return
            page: int = arguments["page"]
            following = page + 1 if answer.next_page is None else answer.next_page
            if following <= page:
                logger.warning("page %d is said to follow page %d: the deals end here", following, page)
                return
            arguments, before = {**arguments, "page": following}, here

    async def _run(self, endpoint: Endpoint[T], name: str, arguments: dict[str, Any]) -> T:
        call = Call(endpoint, f"/tools/{name}", json_of(arguments), arguments)
        return await self._executor.run(call, lane="interactive", deadline=self._executor.deadline)


def _in_a_circle(page: int) -> DecodeError:
    problem = f"page {page} lists the very deals of the page before it"
    return DecodeError(
        f"the answer makes no sense: {problem}", problems=(problem,), method="POST", path="/tools/select-deal"
    )


def _stages(deal_stage: str | Sequence[str] | None) -> str | list[str] | None:
    if deal_stage is None or isinstance(deal_stage, str):
        return text("deal_stage", deal_stage)
    stages = texts("deal_stage", deal_stage)
    if not stages:
        raise ValueError("deal_stage must not be empty; leave it out instead")
    return stages
