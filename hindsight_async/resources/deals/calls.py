"""The deals resource: typed arguments to calls."""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import partial
from typing import Any, Literal, get_args

from hindsight_async.call.request import Call, Endpoint, Query
from hindsight_async.rate import Lane
from hindsight_async.resources.deals.exports import DealExports
from hindsight_async.resources.deals.filter_encoding import query_of
from hindsight_async.resources.deals.filters import DealFilters, checked_texts
from hindsight_async.resources.deals.models import Deal, DealPage

_COLLECTION = "/deals"

_LIST = Endpoint(method="GET", route="GET /deals", reply_type=DealPage, repeatable=True)
_COUNT = Endpoint(method="GET", route="GET /deals", reply_type=int, repeatable=True)

DealSort = Literal[
    "created_at", "updated_at", "close_date", "amount", "name",
    "wl_product_fit_score", "wl_sales_execution_score", "wl_relationship_score", "wl_price_sensitivity_score",
    "wl_competitive_intensity_score", "wl_customer_fit_score", "wl_messaging_fit_score", "wl_messaging_accuracy_score",
]  # fmt: skip
"""The column by which deals are sorted.

The vendor's page does not have `updated_at`, and its OpenAPI description does not have the scores.
"""

SortOrder = Literal["asc", "desc"]
"""Whether the least comes first or last."""

LARGEST_PAGE = 100
"""How many deals the API gives at once at most."""

DEFAULT_PAGE = 50
"""How many it gives where nothing is said."""

REMEMBERED_PAGES = 2
"""Of how many pages a walk remembers the ids: newcomers that are sorted before them push deals onto the next page."""


class DealList:
    """Deals, read page by page as they are asked for; made by `Deals.list`.

    `async for` gives one deal after another, `pages` one page after another. Each of them is a walk of its own, from
    the first page on, and holds one page and the ids of the last `REMEMBERED_PAGES`, however many deals there are.
    """

    def __init__(self, read_page: Callable[[int], Awaitable[DealPage]], page_size: int) -> None:
        self._read_page = read_page
        self._page_size = page_size

    async def __aiter__(self) -> AsyncIterator[Deal]:
        async for page in self.pages():
            for deal in page:
                yield deal

    async def pages(self) -> AsyncIterator[DealPage]:
        """Give the pages, each a list of deals, up to the first that is not full.

        Yields:
            The deals of a page that stood on none of the last `REMEMBERED_PAGES`; never an empty list.

        Raises:
            HindsightError: A page cannot be read.

        """
        remembered: deque[set[str]] = deque(maxlen=REMEMBERED_PAGES)
        index = 0
        while True:
            page = await self._read_page(index)
            ids: set[str] = set()
            fresh: DealPage = []
            for deal in page:
                if deal.id not in ids and not any(deal.id in earlier for earlier in remembered):
                    fresh.append(deal)
                ids.add(deal.id)
            if fresh:
                yield fresh
            if len(page) < self._page_size:
                return
            remembered.append(ids)
            index += 1


class Deals(DealExports):
    """Read deals, and export them; reached as `session.deals`.

    Args:
        executor: Takes calls to their answers.

    """

    def list(
        self,
        *,
        filters: DealFilters | None = None,
        sort: DealSort = "created_at",
        sort_order: SortOrder = "asc",
        columns: Iterable[str] | None = None,
        search_query: str | None = None,
        page_size: int = LARGEST_PAGE,
    ) -> DealList:
        """Return the deals, to be read with `async for`, or page by page with `.pages()` (page get-deals).

        Nothing is asked for before that, and then a page at a time, behind single calls. Sorted by `created_at`, as it
        is unless told otherwise, what is created meanwhile comes last; in another order newcomers push others onto the
        next page, where they are left out if they stood on one of the last two. What is deleted meanwhile may have as
        many others overlooked: the API has nothing to tell where a page goes on.

        Args:
            filters: Which deals; None for all.
            sort: By which column.
            sort_order: "asc" or "desc".
            columns: Which fields to read, None for all; `id` always is. Others are None then.
            search_query: What their name is like.
            page_size: How many to read at once, 1 to `LARGEST_PAGE`.

        Returns:
            The deals; iterating them raises HindsightError where a page cannot be read.

        Raises:
            TypeError: An argument is of the wrong type; the text names it.
            ValueError: An argument has a value that the API would refuse; the text names it.

        """
        query = _query(filters, search_query, sort, sort_order, columns)
        size = _whole_number("page_size", page_size, 1, LARGEST_PAGE)
        return DealList(partial(self._page, query, size, lane="bulk"), size)

    async def get_page(
        self,
        index: int = 0,
        size: int = DEFAULT_PAGE,
        *,
        filters: DealFilters | None = None,
        sort: DealSort | None = None,
        sort_order: SortOrder | None = None,
        columns: Iterable[str] | None = None,
        search_query: str | None = None,
    ) -> DealPage:
        """Read one page of deals (page get-deals).

        Args:
            index: Which one, from 0.
            size: How many deals, 1 to `LARGEST_PAGE`.
            filters: Which deals; None for all.
            sort: By which column; None for the API's own, `created_at`.
            sort_order: "asc" or "desc"; None for the API's own, "desc".
            columns: Which fields to read, None for all; `id` always is. Others are None then.
            search_query: What their name is like.

        Returns:
            The deals, fewer than `size` on the last page, none behind it.

        Raises:
            TypeError: As from `list`.
            ValueError: As from `list`.
            HindsightError: The page cannot be read.

        """
        query = _query(filters, search_query, sort, sort_order, columns)
        _whole_number("size", size, 1, LARGEST_PAGE)
        return await self._page(query, size, _whole_number("index", index, 0, None), lane="interactive")

    async def count(self, *, filters: DealFilters | None = None, search_query: str | None = None) -> int:
        """Count deals (page get-deals).

        Args:
            filters: Which deals; None for all.
            search_query: What their name is like.

        Returns:
            How many there are.

        Raises:
            TypeError: As from `list`.
            ValueError: As from `list`.
            HindsightError: They cannot be counted.

        """
        call = Call(_COUNT, _COLLECTION, query={"count": True, **_query(filters, search_query)})
        return await self._executor.run(call, lane="interactive", deadline=self._executor.deadline)

    def _page(self, query: Query, size: int, index: int, *, lane: Lane) -> Awaitable[DealPage]:
        call = Call(_LIST, _COLLECTION, query={"page_size": size, "page_index": index, **query})
        return self._executor.run(call, lane=lane, deadline=self._executor.deadline)


def _query(
    filters: DealFilters | None,
    search_query: str | None,
    sort: DealSort | None = None,
    sort_order: SortOrder | None = None,
    columns: Iterable[str] | None = None,
) -> Query:
    if filters is not None and not isinstance(filters, DealFilters):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"filters must be DealFilters, not {type(filters).__name__}")
    if search_query is not None and not isinstance(search_query, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"search_query must be text (str), not {type(search_query).__name__}")
    return {
        "sort": _choice("sort", sort, DealSort),
        "sort_order": _choice("sort_order", sort_order, SortOrder),
        "columns": None if columns is None else _columns(columns),
        "searchQuery": search_query,
        **query_of(filters),
    }


def _columns(columns: Iterable[str]) -> str:
    names = checked_texts("columns", columns)
    if any("," in name for name in names):
        raise ValueError("columns must be names without a comma, which the API would take for two")
    # Without its id no deal can be told from another.
    return ",".join(names if {"id", "*"} & {*names} else ("id", *names))


def _choice(name: str, value: str | None, choices: Any) -> str | None:
    if value is not None and value not in get_args(choices):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, get_args(choices)))}")
    return value


def _whole_number(name: str, value: int, least: int, most: int | None) -> int:
    if type(value) is not int:
        raise TypeError(f"{name} must be a whole number, not {type(value).__name__}")
    if value < least or (most is not None and value > most):
        raise ValueError(f"{name} must be {f'from {least} to {most}' if most else f'at least {least}'}")
    return value
