"""The public names that are loaded on first use: what a first call does not need, or what needs an extra."""

from importlib import import_module
from typing import Any

_NAMES = {
    "call.events": "AttemptEnded AttemptSent CallEnded CallStarted OutcomeUnknown Paused WaitingForBudget",
    "delivery.bulk": "BulkRun",
    "delivery.ledger.entries": "Forgotten LedgerEntry LedgerRow LedgerStatus",
    "delivery.ledger.ledger": "Ledger",
    "delivery.ledger.run": "LedgerRun",
    "delivery.outcomes": "Outcome OutcomeStatus",
    "delivery.queue.models": "Accepted QueueSnapshot",
    "delivery.queue.queue": "DurableQueue",
    "otel.instrument": "instrument",
    "rate.redis.budget": "RedisBudget",
    "resources.deals.calls": "DealList DealSort Deals SortOrder",
    "resources.deals.filters": "CRMFilter CRMOperator DateRange DealFilters ExportFilterType ExportFilters FilterType NumberRange SegmentFilterType",
    "resources.deals.models": "CustomAnswer CustomMetric Deal DealCompetitor DealDriver DealFeature Export ExportStatus",
    "resources.documents.calls": "Documents",
    "resources.documents.models": "Document UploadedDocument",
    "resources.interviews.poller": "InterviewPoller",
    "resources.responses.calls": "Responses",
    "resources.responses.models": "AssistantMessage Citation CitationEvent ContentDelta Message Response UnknownEvent",
    "resources.responses.stream": "ResponseStream",
    "resources.tools.calls": "Tools",
    "resources.tools.models": "CompetitorPositioning DealDetails DetailedDeal SelectedDeal",
}

ON_FIRST_USE = {
    name: f"hindsight_async.{module}" for module, names in _NAMES.items() for name in names.split()
}
"""Where these names lie."""

NEEDS_AN_EXTRA = {
    "DurableQueue": "bulk",
    "Ledger": "bulk",
    "LedgerRun": "bulk",
    "RedisBudget": "redis",
    "instrument": "otel",
}
"""The extra that installs what they need."""


def load_on_first_use(name: str) -> Any:
    """Return what a public name stands for.

    Raises:
        AttributeError: There is no such name.
        ImportError: Its extra is not installed; the text names it.

    """
    if name not in ON_FIRST_USE:
        raise AttributeError(f"module 'hindsight_async' has no attribute {name!r}")
    try:
        return getattr(import_module(ON_FIRST_USE[name]), name)
    except ModuleNotFoundError as error:
        if name not in NEEDS_AN_EXTRA:
            raise
        raise ImportError(how_to_install(error, name, NEEDS_AN_EXTRA[name]), name=error.name) from error


def how_to_install(error: ModuleNotFoundError, what: str, extra: str) -> str:
    """Return what to do about a module that is missing: `what` needs the extra."""
    return f"{error.name} is not installed: {what} needs pip install 'hindsight-async[{extra}]'"
