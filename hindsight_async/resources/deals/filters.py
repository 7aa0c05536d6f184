"""Which deals are meant: the filters of GET /deals and those of an export, whose names differ."""

import math
from collections.abc import Iterable
from datetime import date, datetime
from functools import partial
from types import NoneType
from typing import Any, Literal, cast, get_args, get_origin

import attrs
from attrs import Attribute, field, frozen

FilterType = Literal["is any of", "is not", "include all of"]
"""What a filter of GET /deals does with its values; "is any of" where nothing is said."""

SegmentFilterType = Literal["is any of", "include all of"]
"""What the filter `segment` does with its values."""

ExportFilterType = Literal["is", "is any of", "is not", "exclude", "include all of"]
"""What a filter of an export does with its values; "is any of" where nothing is said. Some mean the same."""

CRMOperator = Literal[
    "is", "is not", "is greater than", "is less than", "is greater than or equal to", "is less than or equal to",
    "is before", "is after", "contains", "does not contain",
]  # fmt: skip
"""How a property of a CRM is compared."""


def _kind(value: object) -> str:
    return "None" if value is None else type(value).__name__


def _choice(_filters: object, field: "Attribute[Any]", value: object, choices: Any) -> None:
    if value is not None and value not in get_args(choices):
        raise ValueError(f"{field.name} must be one of {', '.join(map(repr, get_args(choices)))}")


def _day(_range: object, field: "Attribute[Any]", value: object) -> None:
    # A datetime is a date to Python, and would be sent with its time.
    if value is not None and (not isinstance(value, date) or isinstance(value, datetime)):
        raise TypeError(f"{field.name} must be a date, not {_kind(value)}")


def _number(_range: object, field: "Attribute[Any]", value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{field.name} must be a number, not {_kind(value)}")
    if not math.isfinite(value):
        raise ValueError(f"{field.name} must be a finite number")


def _text(_filter: object, field: "Attribute[Any]", value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{field.name} must be text (str), not {_kind(value)}")
    if not value:
        raise ValueError(f"{field.name} must not be empty")


@frozen(kw_only=True)
class DateRange:
    """Days from `start` to `end`, either of them optional; whether they count themselves the API does not say.

    Raises:
        TypeError: One is no date.
        ValueError: Neither is given, or the end comes before the start.

    """

    start: date | None = field(default=None, validator=_day)
    end: date | None = field(default=None, validator=_day)

    def __attrs_post_init__(self) -> None:
        _check_range(self.start, self.end, "start", "end")


@frozen(kw_only=True)
class NumberRange:
    """Numbers from `min` to `max`, either of them optional; whether they count themselves the API does not say.

    Raises:
        TypeError: One is no number.
        ValueError: Neither is given, one is not finite, or the largest is less than the smallest.

    """

    min: float | None = field(default=None, validator=_number)
    max: float | None = field(default=None, validator=_number)

    def __attrs_post_init__(self) -> None:
        _check_range(self.min, self.max, "min", "max")


def _check_range(first: Any, last: Any, first_name: str, last_name: str) -> None:
    if first is None and last is None:
        raise ValueError(f"{first_name} or {last_name} must be given")
    if first is not None and last is not None and last < first:
        raise ValueError(f"{last_name} must not be less than {first_name}")


@frozen(kw_only=True)
class CRMFilter:
    """A property of the CRM, compared with a value.

    Args:
        property: Its name in the CRM, such as `Account.Industry`.
        operator: How it is compared.
        value: With what: always text, also for a number.
        map_to: For a standard property of an account, the deal's own column that holds it, such as `industry`.

    Raises:
        TypeError: One is no text.
        ValueError: One is empty, or the operator is none of those that the API has.

    """

    property: str = field(validator=_text)
    operator: CRMOperator = field(validator=partial(_choice, choices=CRMOperator))
    value: str = field(validator=_text)
    map_to: str | None = field(default=None, validator=attrs.validators.optional(_text))


class Filters:
    """What both classes of filters have in common: each value is checked as its field's annotation says."""

    def __attrs_post_init__(self) -> None:
        kinds: Any = attrs.resolve_types(cast("Any", type(self)))
        for each in attrs.fields(kinds):
            value = getattr(self, each.name)
            if value is not None:
                (kind,) = (one for one in get_args(each.type) if one is not NoneType)
                object.__setattr__(self, each.name, self._checked(each.name, value, kind))

    def _checked(self, name: str, value: object, kind: Any) -> object:
        if get_origin(kind) is Iterable:
            return _several(name, value, *get_args(kind))
        if get_origin(kind) is Literal:
            if value not in get_args(kind):
                raise ValueError(f"{name} must be one of {', '.join(map(repr, get_args(kind)))}")
            modified = _MODIFIED.get(name, name.removesuffix("_filter_type"))
            if getattr(self, modified) is None:
                raise ValueError(f"{name} says what to do with {modified}, which is not given")
        elif type(value) is not kind:
            raise TypeError(f"{name} must be {kind.__name__}, not {type(value).__name__}")
        return value


def checked_texts(name: str, value: object) -> tuple[str, ...]:
    """Return a list of texts as it may be sent; raise, as `DealFilters` does, what is wrong with it."""
    return cast("tuple[str, ...]", _several(name, value, str))


def _several(name: str, value: object, kind: type[object]) -> tuple[object, ...]:
    what = "texts" if kind is str else kind.__name__
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be a list of {what}, not {type(value).__name__}")
    items = tuple(cast("Iterable[object]", value))
    # An empty list that a program came to would else mean every deal there is.
    if not items:
        raise ValueError(f"{name} must not be empty; leave it out for no filter")
    for item in items:
        if not isinstance(item, kind):
            raise TypeError(f"{name} must be a list of {what}, with no {_kind(item)} in it")
        if not item:
            raise ValueError(f"{name} must have no empty text in it")
    return items


_MODIFIED = {
    "owner_filter_type": "owner_ids",
    "collaborator_filter_type": "collaborators",
    "product_filter_type": "product_labels",
}
"""The filter that a modifier is about, where that is not named as the modifier begins."""


@frozen(kw_only=True)
class DealFilters(Filters):
    """Which deals GET /deals is to return, by its own names (page get-deals); a deal must pass all of them.

    A list is one of texts, and may not be empty. A `..._filter_type` says what becomes of the list it is named after.
    Scores are from 1 to 5. `competitor` and `segment` are ids; `product_labels` are product ids.

    Raises:
        TypeError: A value is of the wrong type; the text names the field.
        ValueError: A value is one that the API would refuse, a list is empty, or what a modifier is about is not given.

    """

    ids: Iterable[str] | None = None
    owner_ids: Iterable[str] | None = None
    owner_filter_type: FilterType | None = None
    collaborators: Iterable[str] | None = None
    collaborator_filter_type: FilterType | None = None
    status: Iterable[str] | None = None
    status_filter_type: FilterType | None = None
    deal_type: Iterable[str] | None = None
    deal_type_filter_type: FilterType | None = None
    region: Iterable[str] | None = None
    region_filter_type: FilterType | None = None
    industry: Iterable[str] | None = None
    industry_filter_type: FilterType | None = None
    product_labels: Iterable[str] | None = None
    product_filter_type: FilterType | None = None
    close_date: DateRange | None = None
    amount: NumberRange | None = None
    competitor: Iterable[str] | None = None
    competitor_filter_type: FilterType | None = None
    any_competitor: bool | None = None
    deal_analyzed: bool | None = None
    analysis_verified: bool | None = None
    wl_product_fit_score: NumberRange | None = None
    wl_sales_execution_score: NumberRange | None = None
    wl_relationship_score: NumberRange | None = None
    wl_price_sensitivity_score: NumberRange | None = None
    wl_competitive_intensity_score: NumberRange | None = None
    wl_customer_fit_score: NumberRange | None = None
    wl_messaging_fit_score: NumberRange | None = None
    wl_messaging_accuracy_score: NumberRange | None = None
    salesforce_filters: Iterable[CRMFilter] | None = None
    hubspot_filters: Iterable[CRMFilter] | None = None
    segment: Iterable[str] | None = None
    segment_filter_type: SegmentFilterType | None = None


@frozen(kw_only=True)
class ExportFilters(Filters):
    """Which deals an export is to have, by its own names (page export-deals); a deal must pass all of them.

    As in DealFilters, but `product_labels` are names, and `competitors` and `primary_competitor` are ids: of any
    competitor, and of the primary one. `salesforce_filters` are about the opportunity and `hubspot_filters` about the
    deal, those that end in `_account` about the account and the company.

    Raises:
        TypeError: As from DealFilters.
        ValueError: As from DealFilters.

    """

    deal_ids: Iterable[str] | None = None
    owner_ids: Iterable[str] | None = None
    owner_filter_type: ExportFilterType | None = None
    collaborators: Iterable[str] | None = None
    collaborator_filter_type: ExportFilterType | None = None
    status: Iterable[str] | None = None
    status_filter_type: ExportFilterType | None = None
    deal_type: Iterable[str] | None = None
    deal_type_filter_type: ExportFilterType | None = None
    region: Iterable[str] | None = None
    region_filter_type: ExportFilterType | None = None
    industry: Iterable[str] | None = None
    industry_filter_type: ExportFilterType | None = None
    product_labels: Iterable[str] | None = None
    product_filter_type: ExportFilterType | None = None
    close_date: DateRange | None = None
    amount: NumberRange | None = None
    competitors: Iterable[str] | None = None
    competitors_filter_type: ExportFilterType | None = None
    primary_competitor: Iterable[str] | None = None
    primary_competitor_filter_type: ExportFilterType | None = None
    has_competitor: bool | None = None
    analyzed: bool | None = None
    verified: bool | None = None
    salesforce_filters: Iterable[CRMFilter] | None = None
    salesforce_filters_account: Iterable[CRMFilter] | None = None
    hubspot_filters: Iterable[CRMFilter] | None = None
    hubspot_filters_account: Iterable[CRMFilter] | None = None
