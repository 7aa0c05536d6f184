"""The filters of GET /deals and of an export: which there are, by both routes' names, and which deals pass."""

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, cast

from attrs import frozen

from hindsight_async.emulator.answers import WrongRequestError, wrong_request

Deal = Mapping[str, Any]

_MODIFIERS = {
    "is": "any", "is any of": "any", "is not": "none", "exclude": "none", "include all of": "all",
}  # fmt: skip
"""What a modifier's value does; GET /deals has no synonyms."""

_OF_THE_QUERY = ("is any of", "is not", "include all of")
_OF_AN_EXPORT = tuple(_MODIFIERS)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)  # pyright: ignore[reportUnknownVariableType]


def _is_flag(value: Any) -> bool:
    return value in (["true"], ["false"])


def _is_boolean(value: Any) -> bool:
    return isinstance(value, bool)


def _is_range(value: Any, names: Collection[str], kinds: tuple[type, ...]) -> bool:
    if not isinstance(value, dict) or not value:
        return False
    bounds = cast("dict[str, Any]", value)
    return bounds.keys() <= {*names} and all(type(bound) in kinds for bound in bounds.values())


def _is_days(value: Any) -> bool:
    return _is_range(value, ("from", "to"), (str,))


def _is_numbers(value: Any) -> bool:
    return _is_range(value, ("min", "max"), (int, float))


_CRM_OPERATORS: Final[Mapping[str, Callable[[Any, str], bool]]] = {
    "is": lambda found, value: str(found) == value,
    "is not": lambda found, value: str(found) != value,
    "is greater than": lambda found, value: float(found) > float(value),
    "is less than": lambda found, value: float(found) < float(value),
    "is greater than or equal to": lambda found, value: float(found) >= float(value),
    "is less than or equal to": lambda found, value: float(found) <= float(value),
    "is before": lambda found, value: str(found) < value,
    "is after": lambda found, value: str(found) > value,
    "contains": lambda found, value: value in str(found),
    "does not contain": lambda found, value: value not in str(found),
}


def _is_crm_filters(value: Any) -> bool:
    return isinstance(value, list) and all(_is_crm_filter(item) for item in value)  # pyright: ignore[reportUnknownVariableType]


def _is_crm_filter(found: Any) -> bool:
    item = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    if item.keys() != {"property", "operator", "value"}:
        return False
    named: Any = item["property"]
    is_named = isinstance(named, str) or (
        isinstance(named, dict) and {"id"} <= named.keys() <= {"id", "map_to"}
    )
    return is_named and item["operator"] in _CRM_OPERATORS and isinstance(item["value"], str)


def _crm_passes(field: str) -> Callable[[Deal, Any, str], bool]:
    def passes(deal: Deal, wanted: Any, _how: str) -> bool:
        return all(_one_crm_passes(deal, deal[field] or {}, item) for item in wanted)

    return passes


def _one_crm_passes(deal: Deal, properties: Mapping[str, Any], item: Mapping[str, Any]) -> bool:
    given: Any = item["property"]
    named = cast("dict[str, str]", given) if isinstance(given, dict) else {"id": given}
    found = deal.get(named["map_to"]) if "map_to" in named else properties.get(named["id"])
    if found is None:
        return item["operator"] in ("is not", "does not contain")
    try:
        return _CRM_OPERATORS[item["operator"]](found, item["value"])
    except ValueError:  # a text where numbers are compared
        return False


def _values_pass(values_of: Callable[[Deal], Collection[Any]]) -> Callable[[Deal, Any, str], bool]:
    def passes(deal: Deal, wanted: Any, how: str) -> bool:
        found = {value for value in values_of(deal) if value is not None}
        match _MODIFIERS[how]:
            case "none":
                return not found & set(wanted)
            case "all":
                return set(wanted) <= found
            case _:
                return bool(found & set(wanted))

    return passes


def _one(field: str) -> Callable[[Deal, Any, str], bool]:
    return _values_pass(lambda deal: (deal[field],))


def _many(field: str) -> Callable[[Deal, Any, str], bool]:
    return _values_pass(lambda deal: deal[field] or ())


def _range_passes(field: str, first: str, last: str) -> Callable[[Deal, Any, str], bool]:
    def passes(deal: Deal, wanted: Any, _how: str) -> bool:
        found = deal[field]
        if found is None:
            return False
        # Both bounds count: the API does not say.
        return bool(wanted.get(first, found) <= found <= wanted.get(last, found))

    return passes


def _truth_passes(truth_of: Callable[[Deal], bool]) -> Callable[[Deal, Any, str], bool]:
    return lambda deal, wanted, _how: truth_of(deal) is (wanted in (True, ["true"]))


@frozen
class Filter:
    """One filter: which values it takes, which deals pass it, and how its modifier is called."""

    takes: Callable[[Any], bool]
    passes: Callable[[Deal, Any, str], bool]
    modifier: str | None = None
    choices: Collection[str] = ()


def _filters(
    names: Mapping[str, str], is_truth: Callable[[Any], bool], how: Collection[str]
) -> dict[str, Filter]:
    """Return what both routes have; `names` are those of the route for what each of them calls otherwise."""
    return {
        names["ids"]: Filter(_is_texts, _one("id")),
        "owner_ids": Filter(_is_texts, _one("owner_id"), "owner_filter_type", how),
        "collaborators": Filter(_is_texts, _many("collaborators"), "collaborator_filter_type", how),
        "status": Filter(_is_texts, _one("status"), "status_filter_type", how),
        "deal_type": Filter(_is_texts, _one("type"), "deal_type_filter_type", how),
        "region": Filter(_is_texts, _one("region"), "region_filter_type", how),
        "industry": Filter(_is_texts, _one("industry"), "industry_filter_type", how),
        "product_labels": Filter(_is_texts, _many("product_labels"), "product_filter_type", how),
        "close_date": Filter(_is_days, _range_passes("close_date", "from", "to")),
        "amount": Filter(_is_numbers, _range_passes("amount", "min", "max")),
        names["competitors"]: Filter(
            _is_texts, _many("competitor_ids"), f"{names['competitors']}_filter_type", how
        ),
        names["has_competitor"]: Filter(is_truth, _truth_passes(lambda deal: bool(deal["competitor_ids"]))),
        names["analyzed"]: Filter(is_truth, _truth_passes(lambda deal: bool(deal["deal_analyzed"]))),
        names["verified"]: Filter(is_truth, _truth_passes(lambda deal: bool(deal["analysis_verified"]))),
        "salesforce_filters": Filter(_is_crm_filters, _crm_passes("salesforce_custom_properties")),
        "hubspot_filters": Filter(_is_crm_filters, _crm_passes("hubspot_custom_properties")),
    }


def _all_pass(_deal: Deal, _wanted: Any, _how: str) -> bool:
    return True


def _with_modifiers(filters: dict[str, Filter]) -> dict[str, Filter]:
    modifiers = {
        each.modifier: Filter(each.choices.__contains__, _all_pass)
        for each in filters.values()
        if each.modifier
    }
    return filters | modifiers


SCORES = (
    "product_fit", "sales_execution", "relationship", "price_sensitivity", "competitive_intensity", "customer_fit",
    "messaging_fit", "messaging_accuracy",
)  # fmt: skip

DEAL_FILTERS: Final[Mapping[str, Filter]] = _with_modifiers(
    _filters(
        {"ids": "ids", "competitors": "competitor", "has_competitor": "any_competitor", "analyzed": "deal_analyzed",
         "verified": "analysis_verified"},
        _is_flag, _OF_THE_QUERY,
    )
    | {
        f"wl_{score}_score": Filter(_is_numbers, _range_passes(f"wl_{score}_score", "min", "max"))
        for score in SCORES
    }
    | {"segment": Filter(_is_texts, _many("segment_ids"), "segment_filter_type", ("is any of", "include all of"))}
)  # fmt: skip
"""Those of GET /deals, its modifiers among them."""

EXPORT_FILTERS: Final[Mapping[str, Filter]] = _with_modifiers(
    _filters(
        {"ids": "deal_ids", "competitors": "competitors", "has_competitor": "has_competitor", "analyzed": "analyzed",
         "verified": "verified"},
        _is_boolean, _OF_AN_EXPORT,
    )
    | {
        "primary_competitor": Filter(
            _is_texts, _one("primary_competitor_id"), "primary_competitor_filter_type", _OF_AN_EXPORT
        ),
        "salesforce_filters_account": Filter(_is_crm_filters, _crm_passes("salesforce_custom_properties_account")),
        "hubspot_filters_account": Filter(_is_crm_filters, _crm_passes("hubspot_custom_properties_account")),
    }
)  # fmt: skip
"""Those of an export, its modifiers among them."""


def parse_json(name: str, text: str) -> Any:
    """Return what a filter in a query holds; a modifier is plain text.

    Raises:
        WrongRequestError: It is no JSON (400).

    """
    if name.endswith("_filter_type"):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise _wrong_filter(name) from None


def check_filters(filters: Mapping[str, Any], known: Mapping[str, Filter]) -> None:
    """Raise WrongRequestError (400) for a filter that there is not, or whose value is of no use."""
    if unknown := sorted(filters.keys() - known.keys()):
        raise wrong_request(400, f"Not accepted here: {', '.join(unknown)}", unknown_fields=unknown)
    for name, value in filters.items():
        if not known[name].takes(value):
            raise _wrong_filter(name)


def matches(deal: Deal, filters: Mapping[str, Any], known: Mapping[str, Filter]) -> bool:
    """Return whether a deal passes every filter, once they were checked."""
    return all(
        known[name].passes(deal, value, filters.get(known[name].modifier or "", "is any of"))
        for name, value in filters.items()
    )


def _wrong_filter(name: str) -> WrongRequestError:
    return wrong_request(400, f"Wrong filter: {name}", invalid_fields=[name])
