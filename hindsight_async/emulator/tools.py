"""The direct tools: whose role may use them, what they take, what they answer. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from attrs import evolve, frozen

from hindsight_async.emulator.answers import (
    Answer,
    WrongRequestError,
    error_answer,
    json_answer,
    wrong_request,
)

Role = Literal["admin", "manager", "member"]
"""The role of the API key."""

Deal = Mapping[str, Any]
"""A deal as `Emulator.tools.deals` has it."""

_EVERYBODY = frozenset({"admin", "manager", "member"})
_NOT_MEMBERS = frozenset({"admin", "manager"})

_THE_OWN_NAME = frozenset({"me", "my", "mine"})


@frozen(kw_only=True)
class _Tool:
    """What one tool takes.

    Args:
        required: Fields that must be there.
        optional: Fields that may be, None for any, where their names are not documented.
        roles: Who may use it.

    """

    required: tuple[str, ...] = ()
    optional: frozenset[str] | None = frozenset()
    roles: frozenset[str] = _EVERYBODY


_FILTERS = frozenset(
    {
        "query", "semantic_query", "segment_id", "competitor_id", "deal_stage", "amount", "close_date", "type",
        "region", "owner_name", "limit", "page",
    }
)  # fmt: skip

TOOLS: Mapping[str, _Tool] = {
    "select-deal": _Tool(optional=_FILTERS),
    "get-deal": _Tool(required=("deal_ids",)),
    "search-across-deals": _Tool(required=("query",), optional=frozenset({"limit", "include_deal_metadata"})),
    "search-deal-documents": _Tool(
        required=("deal_ids", "query"), optional=frozenset({"document_types", "limit"})
    ),
    "search-competitive-assets": _Tool(
        required=("query", "competitor_id"), optional=frozenset({"date_filter", "limit"})
    ),
    "search-competitive-intel": _Tool(required=("query", "competitor_id"), optional=frozenset({"limit"})),
    "search-knowledge-base": _Tool(required=("query",), optional=frozenset({"limit"})),
    "pull-full-document": _Tool(required=("doc_ids",)),
    "search-web": _Tool(required=("query",), optional=None),
    "scrape-url": _Tool(required=("urls",), optional=frozenset({"competitor_id"})),
    "map-site-urls": _Tool(required=("url",), optional=None),
    "pull-schema": _Tool(optional=frozenset({"sample_size"}), roles=_NOT_MEMBERS),
    "create-dataset": _Tool(optional=frozenset({"column_ids", "date_range"}), roles=_NOT_MEMBERS),
    "analyze-dealgrid-subset": _Tool(
        optional=frozenset({"json_id", "filters", "requested_tables"}), roles=_NOT_MEMBERS
    ),
}
"""The tools by name."""

_TEXTS = ("query", "semantic_query", "segment_id", "competitor_id", "type", "region", "owner_name", "url")

_MOST: Mapping[tuple[str, str], int] = {
    ("select-deal", "limit"): 50,
    ("search-across-deals", "limit"): 25,
    ("search-deal-documents", "limit"): 30,
    ("search-competitive-assets", "limit"): 25,
    ("search-competitive-intel", "limit"): 25,
    ("search-knowledge-base", "limit"): 25,
    ("map-site-urls", "limit"): 100,
    ("pull-schema", "sample_size"): 200,
    ("get-deal", "deal_ids"): 10,
    ("pull-full-document", "doc_ids"): 5,
    ("scrape-url", "urls"): 5,
}
"""The largest number, or the most entries of a list, that a tool takes."""


class Tools:
    """What the direct tools know and answer; reached as `Emulator.tools`.

    Attributes:
        deals: What select-deal and get-deal find: dicts with the fields of a deal, of which `id` is needed. `status` is
            its stage, `owner_name` its owner, `segment_ids` where it belongs.
        answers: What each other tool answers, by its name: a document, or a function of the request's body that returns
            one. Without one a tool answers that it found nothing.
        role: Of the API key: "admin", "manager" or "member", who may not use all tools.
        key_owner: Whose deals are `mine`.

    """

    def __init__(self) -> None:
        self.deals: list[Deal] = []
        self.answers: dict[str, Mapping[str, Any] | Callable[[dict[str, Any]], Mapping[str, Any]]] = {}
        self.role: Role = "admin"
        self.key_owner = "The Owner of the Key"


def tool_answer(tools: Tools, name: str, parse: Callable[[], dict[str, Any]]) -> Answer:
    """Do what a request to one tool asks; what the role may not, or the tool does not take, is not charged."""
    if tools.role not in TOOLS[name].roles:
        forbidden = error_answer(403, "Your role does not have permission to use this tool.")
        return evolve(forbidden, charged=False)
    try:
        body = parse()
        _check(name, body)
    except WrongRequestError as wrong:
        return evolve(wrong.answer, charged=False)
    if name == "select-deal":
        return json_answer(200, _select(tools, body))
    if name == "get-deal":
        return json_answer(200, _get(tools.deals, body["deal_ids"]))
    scripted = tools.answers.get(name, {"results": []})
    return json_answer(200, scripted(body) if callable(scripted) else scripted)


def _select(tools: Tools, body: Mapping[str, Any]) -> dict[str, Any]:
    limit, page = body.get("limit", 20), body.get("page", 1)
    fitting = [deal for deal in tools.deals if _fits(tools, deal, body)]
    rows = fitting[(page - 1) * limit : page * limit]
    has_more = len(fitting) > page * limit
    return {
        "total_returned": len(rows),
        "limit_applied": limit,
        "page": page,
        "page_size": limit,
        "has_more": has_more,
        "next_page": page + 1 if has_more else None,
        "results": [_row(deal) for deal in rows],
    }


def _get(deals: Iterable[Deal], deal_ids: Iterable[str]) -> dict[str, Any]:
    by_id = {deal["id"]: deal for deal in deals}
    found = [by_id[deal_id] for deal_id in dict.fromkeys(deal_ids) if deal_id in by_id]
    return {
        "total_returned": len(found),
        "limit_applied": None,
        "results": [
            {
                **_row(deal),
                "summary": deal.get("summary"),
                "competitors": [
                    {name: one.get(name) for name in ("name", "positioning_summary", "key_differentiators")}
                    for one in deal.get("competitors", ())
                ],
            }
            for deal in found
        ],
    }


def _fits(tools: Tools, deal: Deal, body: Mapping[str, Any]) -> bool:
    stage, owner = body.get("deal_stage"), body.get("owner_name")
    owner = tools.key_owner if owner in _THE_OWN_NAME else owner
    titles, contents = ("name", "client_name"), ("name", "client_name", "summary")
    return (
        deal.get("deal_analyzed", True)
        and _names(body.get("query"), deal, titles)
        and _names(body.get("semantic_query"), deal, contents)
        and _is_any(body.get("segment_id"), deal.get("segment_ids", ()))
        and _is_any(
            body.get("competitor_id"), [one.get("competitor_id") for one in deal.get("competitors", ())]
        )
        and (stage is None or deal.get("status") in ([stage] if isinstance(stage, str) else stage))
        and _is_within(body.get("amount"), deal.get("amount"), ("min", "max"))
        and _is_within(body.get("close_date"), deal.get("close_date"), ("from", "to"))
        and _is_any(body.get("type"), [deal.get("type")])
        and _is_any(body.get("region"), [deal.get("region")])
        and _is_any(owner, [deal.get("owner_name")])
    )


def _row(deal: Deal) -> dict[str, Any]:
    primary = [one.get("name") for one in deal.get("competitors", ()) if one.get("is_primary")]
    return {
        "type": "deal",
        "id": deal["id"],
        "deal_id": deal["id"],
        "name": deal.get("name"),
        "client_name": deal.get("client_name"),
        "stage": deal.get("status"),
        "amount": deal.get("amount"),
        "close_date": deal.get("close_date"),
        "url": f"https://hindsight.example/deals/{deal['id']}",
        "deal_type": deal.get("type"),
        "region": deal.get("region"),
        "primary_competitor": primary[0] if primary else None,
    }


def _names(query: str | None, deal: Deal, fields: Sequence[str]) -> bool:
    """Tell whether each word of a query, None for any, stands in one of the fields."""
    text = " ".join(deal.get(field) or "" for field in fields).casefold()
    return query is None or all(word in text for word in query.casefold().split())


def _is_any(wanted: str | None, values: Iterable[str | None]) -> bool:
    return wanted is None or wanted in values


def _is_within(bounds: Mapping[str, Any] | None, value: Any, names: tuple[str, str]) -> bool:
    least, most = (None if bounds is None else bounds.get(name) for name in names)
    if least is None and most is None:
        return True
    return value is not None and (least is None or value >= least) and (most is None or value <= most)


def _check(name: str, body: Mapping[str, Any]) -> None:
    tool = TOOLS[name]
    if missing := [field for field in tool.required if not body.get(field)]:
        raise wrong_request(400, f"Missing: {', '.join(missing)}", missing_fields=missing)
    if tool.optional is not None and (unknown := sorted(body.keys() - {*tool.required, *tool.optional})):
        raise wrong_request(400, f"Not accepted here: {', '.join(unknown)}", unknown_fields=unknown)
    if wrong := [field for field, value in body.items() if not _is_taken(name, field, value)]:
        raise wrong_request(400, f"Wrong value: {', '.join(wrong)}", invalid_fields=wrong)
    named = body.keys() & {"query", "semantic_query", "segment_id"} if name == "select-deal" else set[str]()
    if len(named) > 1:
        raise wrong_request(400, f"Not together: {', '.join(sorted(named))}", invalid_fields=sorted(named))


def _is_taken(name: str, field: str, value: Any) -> bool:
    most = _MOST.get((name, field))
    match value:
        case bool():
            return field in {"include_deal_metadata", "aggressive_filter", "search_only"}
        case int() if field in {"limit", "page", "sample_size"}:
            return value >= 1 and (most is None or value <= most)
        case list() if field in {"deal_ids", "doc_ids", "urls", "deal_stage"}:
            return _are_texts(value) and 1 <= len(value) <= (most or len(value))  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        case dict() if field in {"amount", "close_date"}:
            return value.keys() <= ({"min", "max"} if field == "amount" else {"from", "to"})  # pyright: ignore[reportUnknownVariableType]
        case _ if field in {*_TEXTS, "deal_stage"}:
            return isinstance(value, str)
        case _:
            return field not in {
                "limit",
                "page",
                "sample_size",
                "deal_ids",
                "doc_ids",
                "urls",
                "amount",
                "close_date",
            }


def _are_texts(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) and value for value in values)
