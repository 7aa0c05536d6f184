"""A deal with its heavy parts, and an export: frozen attrs classes with the API's own field names."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from attrs import Factory, field, frozen

from hindsight_async.call.answered import Answered, extra_field
from hindsight_async.call.values import OpenEnum


@frozen(kw_only=True)
class DealCompetitor:
    """A competitor in a deal; the one with the highest threat comes first (page deal-schema).

    `threat_level` is from 1 to 5. The older shape has ids and the two flags alone.
    """

    competitor_id: str | None = None
    name: str | None = None
    is_primary: bool | None = None
    is_incumbent: bool | None = None
    threat_level: float | None = None
    outcome: str | None = None
    positioning_summary: str | None = None
    key_differentiators: str | None = None
    extra: Mapping[str, Any] = extra_field()


@frozen(kw_only=True)
class DealDriver:
    """A reason why a deal went as it did; the strongest comes first (page deal-schema).

    `sentiment` is positive, negative or neutral. The older shape has `reason_id`, `positive` and the summary.
    """

    name: str | None = None
    tag: str | None = None
    score: float | None = None
    sentiment: str | None = None
    summary: str | None = None
    reason_id: str | None = None
    positive: bool | None = None
    extra: Mapping[str, Any] = extra_field()


@frozen(kw_only=True)
class DealFeature:
    """A feature that mattered in a deal; `impact_score` is from 1 to 5 (page deal-schema)."""

    name: str | None = None
    product: str | None = None
    impact_score: float | None = None
    sentiment: str | None = None
    influence_summary: str | None = None
    extra: Mapping[str, Any] = extra_field()


@frozen(kw_only=True)
class CustomMetric:
    """A metric of your workspace's own, for one deal (page deal-schema)."""

    id: str | None = None
    name: str | None = None
    score: float | None = None
    explanation: str | None = None
    created_at: datetime | None = None
    extra: Mapping[str, Any] = extra_field()


@frozen(kw_only=True)
class CustomAnswer:
    """An answer to a question of your workspace's own, for one deal (page deal-schema).

    `length` is select, boolean, sentence or paragraph; `answer` and `evidence_used` are as they came.
    """

    id: str | None = None
    name: str | None = None
    type: str | None = None
    answer: Any = None
    length: str | None = None
    prompt: str | None = None
    confidence: Any = None
    generated_at: datetime | None = None
    evidence_used: list[Any] | None = None
    group_id: str | None = None
    group_name: str | None = None
    extra: Mapping[str, Any] = extra_field()


@frozen(kw_only=True)
class Deal(Answered):
    """One deal (pages get-deals and deal-schema).

    None stands for what is not set, was not asked for (`columns=`), or cannot be read; the last is in `extra` as it
    came, and so is each column that this version does not know, such as `custom_answer_{name}`. Scores are from 1 to 5.

    Of the older shape, `close_date` is read from `proposal_due`, and `competitors` from `deal_competitor_associations`.

    Two deals with the same id are equal only if all else is, and have the same hash.
    """

    id: str
    name: str | None = None
    org_id: str | None = None
    owner_id: str | None = None
    type: str | None = None
    region: str | None = None
    industry: str | None = None
    amount: float | None = None
    status: str | None = None
    status_id: str | None = None
    previous_status_id: str | None = None
    proposal_due: date | None = None
    close_date: date | None = field(default=Factory(lambda deal: deal.proposal_due, takes_self=True))
    last_status_updated: datetime | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    last_synced: datetime | None = None
    archived: bool | None = None
    deal_analyzed: bool | None = None
    analysis_verified: bool | None = None
    summary: str | None = None
    website_url: str | None = None
    collaborators: list[str] | None = None
    contact_ids: list[str] | None = None
    metadata: Mapping[str, Any] | None = None

    hubspot_id: str | None = None
    hubspot_url: str | None = None
    salesforce_id: str | None = None
    salesforce_url: str | None = None
    hubspot_custom_properties: Mapping[str, Any] | None = None
    hubspot_custom_properties_account: Mapping[str, Any] | None = None
    salesforce_custom_properties: Mapping[str, Any] | None = None
    salesforce_custom_properties_account: Mapping[str, Any] | None = None

    client_name: str | None = None
    logo_url: str | None = None
    short_description: str | None = None
    linkedin_url: str | None = None
    twitter_url: str | None = None
    phone: str | None = None
    city: str | None = None
    state: str | None = None
    country: str | None = None
    founded_year: int | None = None
    num_employees: int | None = None
    annual_revenue: float | None = None
    total_funding: float | None = None

    competitor_ids: list[str] | None = None
    primary_competitor_id: str | None = None
    incumbent_competitor_id: str | None = None
    selected_competitor_id: str | None = None
    deal_competitor_associations: list[DealCompetitor] | None = None
    competitors: list[DealCompetitor] | None = field(
        default=Factory(lambda deal: deal.deal_competitor_associations, takes_self=True)
    )
    driver_ids: list[str] | None = None
    driver_names: list[str] | None = None
    drivers: list[DealDriver] | None = None
    feature_ids: list[str] | None = None
    features: list[DealFeature] | None = None

    wl_product_fit_score: float | None = None
    wl_product_fit_explanation: str | None = None
    wl_sales_execution_score: float | None = None
    wl_sales_execution_explanation: str | None = None
    wl_relationship_score: float | None = None
    wl_relationship_explanation: str | None = None
    wl_price_sensitivity_score: float | None = None
    wl_price_sensitivity_explanation: str | None = None
    wl_competitive_intensity_score: float | None = None
    wl_competitive_intensity_explanation: str | None = None
    wl_customer_fit_score: float | None = None
    wl_customer_fit_explanation: str | None = None
    wl_messaging_fit_score: float | None = None
    wl_messaging_fit_explanation: str | None = None
    wl_messaging_accuracy_score: float | None = None
    wl_messaging_accuracy_explanation: str | None = None
    custom_metrics: list[CustomMetric] | None = None
    custom_answers: list[CustomAnswer] | None = None
    extra: Mapping[str, Any] = extra_field()

    def __repr__(self) -> str:
        # All else is long, and some of it is people's.
        return (
            f"Deal(id={self.id!r}, name={self.name!r}, status={self.status!r}, "
            f"amount={self.amount!r}, close_date={self.close_date and self.close_date.isoformat()})"
        )

    def __hash__(self) -> int:
        return hash(self.id)


DealPage = list[Deal]
"""The deals of one page, in the order that was asked for."""


class ExportStatus(OpenEnum):
    """How far an export is (page export-deals).

    Open: a value that this version does not know becomes a member of its own, and is waited for as `pending` is.
    """

    PENDING = "pending"
    """It is being made."""

    COMPLETED = "completed"
    """There is a file to download, for 7 days."""

    FAILED = "failed"
    """There will be no file; `error` says why."""


@frozen(kw_only=True)
class Export(Answered):
    """An export of deals as the API tells of it (page export-deals).

    `download_url` opens the file without a login, so it is in no repr; keep it secret. Times are aware. What is not
    known yet, or cannot be read, is None; the last is in `extra` as it came.
    """

    export_id: str
    status: ExportStatus | None = None
    success: bool | None = None
    message: str | None = None
    estimated_completion: str | None = None
    created_at: datetime | None = None
    completed_at: datetime | None = None
    failed_at: datetime | None = None
    expires_at: datetime | None = None
    rows_exported: int | None = None
    error: str | None = None
    download_url: str | None = field(default=None, repr=False)
    extra: Mapping[str, Any] = extra_field()
