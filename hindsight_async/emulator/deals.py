"""Deals, and the answers of GET /deals. Pure: only what tests put in is there."""

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hindsight_async.emulator.answers import Answer, json_answer, wrong_request
from hindsight_async.emulator.deal_filters import DEAL_FILTERS, SCORES, check_filters, matches, parse_json

LARGEST_PAGE = 100
DEFAULT_PAGE = 50

DEAL_FIELDS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(
        ("id", "name", "org_id", "owner_id", "type", "region", "industry", "status", "status_id",
         "previous_status_id", "close_date", "last_status_updated", "created_at", "updated_at", "last_synced",
         "summary", "website_url", "hubspot_id", "hubspot_url", "salesforce_id", "salesforce_url", "client_name",
         "logo_url", "short_description", "linkedin_url", "twitter_url", "phone", "city", "state", "country",
         "primary_competitor_id", "incumbent_competitor_id", "selected_competitor_id",
         *(f"wl_{score}_explanation" for score in SCORES)),
        (str,),
    ),
    **dict.fromkeys(
        ("amount", "founded_year", "num_employees", "annual_revenue", "total_funding",
         *(f"wl_{score}_score" for score in SCORES)),
        (int, float),
    ),
    **dict.fromkeys(("archived", "deal_analyzed", "analysis_verified"), (bool,)),
    **dict.fromkeys(
        ("collaborators", "contact_ids", "competitor_ids", "competitors", "driver_ids", "driver_names", "drivers",
         "feature_ids", "features", "custom_metrics", "custom_answers"),
        (list,),
    ),
    **dict.fromkeys(
        ("metadata", "hubspot_custom_properties", "hubspot_custom_properties_account",
         "salesforce_custom_properties", "salesforce_custom_properties_account"),
        (dict,),
    ),
}  # fmt: skip
"""The fields that an answer has, and their types where they are not null."""

HIDDEN_FIELDS: Mapping[str, tuple[type, ...]] = {"segment_ids": (list,), "product_labels": (list,)}
"""What deals are filtered by and no answer shows."""

SORTS = (
    "created_at", "updated_at", "close_date", "amount", "name", *(f"wl_{score}_score" for score in SCORES)
)  # fmt: skip

_PAGING = ("page_size", "page_index", "count", "sort", "sort_order", "columns", "searchQuery")

_OLDER_NAMES = {"proposal_due": "close_date"}
"""Columns that may be asked for by another name than the one they are returned by."""


_KNOWN = {**DEAL_FIELDS, **HIDDEN_FIELDS}


def checked_deal(fields: Mapping[str, Any]) -> None:
    """Check what is to be a deal; an empty or absent id is made up later.

    Raises:
        ValueError: There is no such field.
        TypeError: A value is of another type than the API's.

    """
    if strange := sorted(fields.keys() - _KNOWN.keys()):
        raise ValueError(f"a deal has no {', '.join(strange)}")
    for name, value in fields.items():
        if value is not None and type(value) not in _KNOWN[name]:
            raise TypeError(f"{name} must be {_KNOWN[name][0].__name__}, not {type(value).__name__}")


class Deals(dict[str, dict[str, Any]]):
    """The deals by id, each as an answer shows it, with the fields it is filtered by (`HIDDEN_FIELDS`) beside."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers = itertools.count(1)

    def add(self, **fields: Any) -> dict[str, Any]:
        """Put a deal in.

        Args:
            **fields: Those that are set, by the API's names, and `segment_ids` and `product_labels`, which no answer
                shows; all others are null. `id` is made up where it is not given.

        Returns:
            The deal as it is kept; changed, it is answered changed.

        Raises:
            ValueError: There is no such field, or the id is taken.
            TypeError: A value is of another type than the API's.

        """
        checked_deal(fields)
        deal_id: str = fields.get("id") or next(
            new for number in self._numbers if (new := f"deal_{number:06}") not in self
        )
        if deal_id in self:
            raise ValueError(f"there is a deal {deal_id} already")
        self[deal_id] = dict.fromkeys(_KNOWN) | fields | {"id": deal_id}
        return self[deal_id]


def answer_deals(deals: Deals, query: Mapping[str, str]) -> Answer:
    """Return the answer to GET /deals: a page of deals, or their number.

    Raises:
        WrongRequestError: The query says what the API does not have (400); the details name it.

    """
    if unknown := sorted(query.keys() - {*_PAGING, *DEAL_FILTERS}):
        raise wrong_request(400, f"Not accepted here: {', '.join(unknown)}", unknown_fields=unknown)
    filters: dict[str, Any] = {
        name: parse_json(name, query[name]) for name in query.keys() & DEAL_FILTERS.keys()
    }
    check_filters(filters, DEAL_FILTERS)
    found = [deal for deal in deals.values() if matches(deal, filters, DEAL_FILTERS)]
    wanted = query.get("searchQuery", "").casefold()
    found = [deal for deal in found if wanted in str(deal["name"] or "").casefold()]
    columns = _columns(query.get("columns", "*"))
    size = _number(query, "page_size", DEFAULT_PAGE, 1, LARGEST_PAGE)
    start = size * _number(query, "page_index", 0, 0, None)
    found = _sorted(found, query.get("sort", "created_at"), query.get("sort_order", "desc"))
    if _choice(query, "count", "false", ("false", "true")) == "true":
        return json_answer(200, len(found))
    return json_answer(200, [columns(deal) for deal in found[start : start + size]])


def _sorted(deals: Iterable[dict[str, Any]], column: str, order: str) -> list[dict[str, Any]]:
    _choice({"sort": column}, "sort", "", SORTS)
    _choice({"sort_order": order}, "sort_order", "", ("asc", "desc"))
    by_id = sorted(deals, key=lambda deal: str(deal["id"]))
    given = [deal for deal in by_id if deal[column] is not None]
    unset = [deal for deal in by_id if deal[column] is None]
    return [*sorted(given, key=lambda deal: deal[column], reverse=order == "desc"), *unset]


def _columns(wanted: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    names = [_OLDER_NAMES.get(name, name) for name in wanted.split(",")]
    if "*" in names:
        names = list(DEAL_FIELDS)
    readers = {name: column_of(name) for name in names}
    return lambda deal: {name: read(deal) for name, read in readers.items()}


def column_of(name: str) -> Callable[[Mapping[str, Any]], Any]:
    """Return what reads a column of a deal.

    Raises:
        WrongRequestError: There is no such column (400).

    """
    if name in DEAL_FIELDS:
        return lambda deal: deal[name]
    for prefix, parts, field in (
        ("custom_metric_score_", "custom_metrics", "score"),
        ("custom_metric_explanation_", "custom_metrics", "explanation"),
        ("custom_answer_", "custom_answers", "answer"),
    ):
        if name.startswith(prefix):
            wanted = _same_name(name.removeprefix(prefix))
            return lambda deal: next(
                (part[field] for part in deal[parts] or () if _same_name(part["name"]) == wanted), None
            )
    raise wrong_request(400, f"Unknown column: {name}", invalid_fields=["columns"])


def _same_name(name: str) -> str:
    return name.casefold().replace(" ", "")


def _number(query: Mapping[str, str], name: str, usual: int, least: int, most: int | None) -> int:
    text = query.get(name, str(usual))
    if (
        not text.isascii()
        or not text.isdigit()
        or int(text) < least
        or (most is not None and int(text) > most)
    ):
        raise wrong_request(400, f"{name} must be a whole number in range", invalid_fields=[name])
    return int(text)


def _choice(query: Mapping[str, str], name: str, usual: str, choices: Iterable[str]) -> str:
    text = query.get(name, usual)
    if text not in choices:
        raise wrong_request(400, f"{name} must be one of {', '.join(choices)}", invalid_fields=[name])
    return text
