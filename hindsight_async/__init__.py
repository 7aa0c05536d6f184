"""Async Python SDK for the Hindsight win-loss interview API.

Each request goes out at most once unless it provably never happened, as fast as the plan allows and
no faster, and the caller can always tell what became of it.

The rooms, in the order in which a call travels:

    session       opens and closes the parts
    interviews    typed arguments to a call
    ledger        what was about to be sent, and what became of it, on disk
    bulk          many requests: checked, written down, sent by a fixed set of workers
    bulk_row      one row of it on its way to its verdict
    journal       what a bulk run writes down about each row
    outcomes      the verdict on one row
    incoming      the rows of a bulk run as they come in
    seen          which rows stood in the input before
    addresses     who may be emailed, and when two rows mean the same
    executor      the only loop: budget, send, judge, wait or return
    retry         whether to send again, and after how long
    budget        when a request may leave
    transport     a call to a reply over aiohttp, at most once
    pool          the connections: one event loop in one process at a time
    connector     connections that carry no answer that nobody asked for
    alarm         one timer for the deadlines of all requests
    access        where requests go and with which key, read when a session opens
    proxy         a proxy, out of its URL
    call          the call, the reply, and what a reply means
    codec         JSON to models and back, nothing coerced
    models        requests and responses
    context       a contact's notes
    rate_headers  what the server's headers say about its limits
    forks         what a child process does with the state of its parent
    to_the_end    work that is finished also where its caller is cancelled
    errors        the error tree
    redaction     what stays out of error texts and logs

Imports run downward only. Beside them, and imported by none of them: `emulator` and `testing`, `redis` (one
rate budget for a whole fleet), and what the command line is made of (`cli`, `contacts`, `demo`).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hindsight_async.call.retry import RetryPolicy
from hindsight_async.call.transport import Timeouts
from hindsight_async.delivery.bulk import BulkRun
from hindsight_async.delivery.ledger.entries import LedgerEntry, LedgerRow, LedgerStatus
from hindsight_async.delivery.outcomes import Outcome, OutcomeStatus
from hindsight_async.errors import (
    APIError,
    BadRequestError,
    BulkAbortedError,
    CreateLimitReachedError,
    DeadlineExceededError,
    DecodeError,
    Delivery,
    ForbiddenError,
    HindsightError,
    InternalServerError,
    LedgerError,
    LedgerInUseError,
    NotFoundError,
    NotSentError,
    OutcomeUnknownError,
    QuotaExceededError,
    RateLimitExceededError,
    RecipientNotAllowedError,
    RedisRefusedError,
    SessionClosedError,
    UnauthorizedError,
    WrongEventLoopError,
)
from hindsight_async.rate import BudgetSnapshot, Lane, Plan, RateBudget
from hindsight_async.resources.interviews.calls import Interviews
from hindsight_async.resources.interviews.context import merge_context
from hindsight_async.resources.interviews.models import (
    CreatedInterview,
    CreateInterview,
    Interview,
    InterviewStatus,
    Transcript,
    UpdatedInterview,
    UpdateInterview,
)
from hindsight_async.session import HindsightSession

if TYPE_CHECKING:
    from hindsight_async.delivery.ledger.ledger import Ledger
    from hindsight_async.delivery.ledger.run import LedgerRun
    from hindsight_async.rate.redis.budget import RedisBudget

__all__ = [
    "APIError",
    "BadRequestError",
    "BudgetSnapshot",
    "BulkAbortedError",
    "BulkRun",
    "CreateInterview",
    "CreateLimitReachedError",
    "CreatedInterview",
    "DeadlineExceededError",
    "DecodeError",
    "Delivery",
    "ForbiddenError",
    "HindsightError",
    "HindsightSession",
    "InternalServerError",
    "Interview",
    "InterviewStatus",
    "Interviews",
    "Lane",
    "Ledger",
    "LedgerEntry",
    "LedgerError",
    "LedgerInUseError",
    "LedgerRow",
    "LedgerRun",
    "LedgerStatus",
    "NotFoundError",
    "NotSentError",
    "Outcome",
    "OutcomeStatus",
    "OutcomeUnknownError",
    "Plan",
    "QuotaExceededError",
    "RateBudget",
    "RateLimitExceededError",
    "RecipientNotAllowedError",
    "RedisBudget",
    "RedisRefusedError",
    "RetryPolicy",
    "SessionClosedError",
    "Timeouts",
    "Transcript",
    "UnauthorizedError",
    "UpdateInterview",
    "UpdatedInterview",
    "WrongEventLoopError",
    "merge_context",
]


_NEEDS_AN_EXTRA = {
    "Ledger": ("hindsight_async.delivery.ledger.ledger", "bulk"),
    "LedgerRun": ("hindsight_async.delivery.ledger.run", "bulk"),
    "RedisBudget": ("hindsight_async.rate.redis.budget", "redis"),
}
"""Where the names lie that are loaded on first use, and the extra that installs what they need."""


def __getattr__(name: str) -> Any:
    if name not in _NEEDS_AN_EXTRA:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, extra = _NEEDS_AN_EXTRA[name]
    try:
        value = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{error.name} is not installed: {name} needs pip install 'hindsight-async[{extra}]'",
            name=error.name,
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NEEDS_AN_EXTRA})
