"""Filters as they are sent: JSON inside a query for GET /deals, plain JSON for an export."""

import json
from typing import Any, cast

import attrs

from hindsight_async.resources.deals.filters import (
    CRMFilter,
    DateRange,
    DealFilters,
    ExportFilters,
    Filters,
    NumberRange,
)


def query_of(filters: DealFilters | None) -> dict[str, str]:
    """Return the filters as GET /deals takes them: every value a text, with JSON in it where it is more than one."""
    return {
        name: value
        if isinstance(value, str)
        else _json([str(value).lower()] if isinstance(value, bool) else value)
        for name, value in _plain(filters).items()
    }


def document_of(filters: ExportFilters | None) -> dict[str, Any] | None:
    """Return the filters as an export takes them, None where there are none."""
    return _plain(filters, property_is_object=True) or None


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _plain(filters: Filters | None, *, property_is_object: bool = False) -> dict[str, Any]:
    if filters is None:
        return {}
    given = {each.name: getattr(filters, each.name) for each in attrs.fields(cast("Any", type(filters)))}
    return {
        name: _plain_value(value, property_is_object=property_is_object)
        for name, value in given.items()
        if value is not None
    }


def _plain_value(value: object, *, property_is_object: bool) -> Any:
    match value:
        case DateRange(start=start, end=end):
            days = {"from": start and start.isoformat(), "to": end and end.isoformat()}
            return {name: day for name, day in days.items() if day is not None}
        case NumberRange():
            return attrs.asdict(value, filter=lambda _, number: number is not None)
        case CRMFilter():
            named = {"id": value.property} | ({} if value.map_to is None else {"map_to": value.map_to})
            # The page of GET /deals shows a text here, that of the export an object.
            is_object = property_is_object or value.map_to is not None
            return {
                "property": named if is_object else value.property,
                "operator": value.operator,
                "value": value.value,
            }
        case tuple():
            items = cast("tuple[object, ...]", value)
            return [_plain_value(item, property_is_object=property_is_object) for item in items]
        case _:
            return value
