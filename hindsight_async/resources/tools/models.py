"""What the tools with a documented answer give back: frozen attrs classes with the API's own field names."""

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from hindsight_async.call.answered import Answered, extra_field


@frozen(kw_only=True)
class SelectedDeal(Answered):
    """A deal as select-deal lists it (page select-deal).

    `close_date` is text, since its form is not documented. What the answer lacks, or has as another kind of value, is
    None; `extra` has, as they came, the fields that this version does not know or could not read as they are.
    """

    type: str | None = None
    id: str | None = None
    deal_id: str | None = None
    name: str | None = None
    client_name: str | None = None
    stage: str | None = None
    amount: float | None = None
    close_date: str | None = None
    url: str | None = None
    deal_type: str | None = None
    region: str | None = None
    primary_competitor: str | None = None
    extra: Mapping[str, Any] = extra_field()


@frozen(kw_only=True)
class CompetitorPositioning:
    """How one competitor stood in a deal (page get-deal)."""

    name: str | None = None
    positioning_summary: str | None = field(default=None, repr=False)
    key_differentiators: str | None = field(default=None, repr=False)
    extra: Mapping[str, Any] = extra_field()


@frozen(kw_only=True)
class DetailedDeal(SelectedDeal):
    """A deal as get-deal tells of it (page get-deal): a SelectedDeal with its summary and its competitors.

    `competitors` is None where the answer names none.
    """

    summary: str | None = field(default=None, repr=False)
    competitors: list[CompetitorPositioning] | None = None


@frozen(kw_only=True)
class SelectDealPage(Answered):
    """The answer to one select-deal."""

    results: list[SelectedDeal]
    has_more: bool | None = None
    next_page: int | None = None
    page: int | None = None
    page_size: int | None = None
    total_returned: int | None = None
    limit_applied: int | None = None
    extra: Mapping[str, Any] = extra_field()


@frozen(kw_only=True)
class GetDealPage(Answered):
    """The answer to one get-deal."""

    results: list[DetailedDeal]
    total_returned: int | None = None
    limit_applied: int | None = None
    extra: Mapping[str, Any] = extra_field()


@frozen(kw_only=True)
class DealDetails:
    """What `tools.get_deal` found.

    Args:
        results: The deals, in the order in which the answers have them.
        missing: The ids, as they were asked for, of which no answer has a deal: unknown, or another organisation's.

    """

    results: list[DetailedDeal]
    missing: list[str]
