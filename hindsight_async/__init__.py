"""Async Python SDK for the Hindsight win-loss interview API.

Each request goes out at most once unless it provably never happened, as fast as the plan allows and
no faster, and the caller can always tell what became of it.

The rooms, in the order in which a call travels:

    session       opens and closes the parts
    interviews    typed arguments to a call
    pipeline      the only loop: budget, send, judge, wait or return
    retry         whether to send again, and after how long
    budget        when a request may leave
    transport     a call to a reply over aiohttp, at most once
    call          the call, the reply, and what a reply means
    codec         JSON to models and back, strictly
    models        requests and responses
    context       a contact's notes
    rate_headers  what the server's headers say about its limits
    errors        the error tree

Imports run downward only. Beside them: `emulator`, `testing` and the command line, none of which is
imported from here.
"""

from hindsight_async.budget import Plan, RateBudget
from hindsight_async.context import merge_context
from hindsight_async.errors import (
    APIError,
    BadRequestError,
    DeadlineExceededError,
    DecodeError,
    Delivery,
    ForbiddenError,
    HindsightError,
    InternalServerError,
    NotFoundError,
    NotSentError,
    OutcomeUnknownError,
    RateLimitExceededError,
    SessionClosedError,
    UnauthorizedError,
)
from hindsight_async.models import (
    CreatedInterview,
    CreateInterview,
    Interview,
    InterviewStatus,
    Transcript,
    UpdatedInterview,
    UpdateInterview,
)
from hindsight_async.retry import RetryPolicy
from hindsight_async.session import HindsightSession
from hindsight_async.transport import Timeouts

__all__ = [
    "APIError",
    "BadRequestError",
    "CreateInterview",
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
    "NotFoundError",
    "NotSentError",
    "OutcomeUnknownError",
    "Plan",
    "RateBudget",
    "RateLimitExceededError",
    "RetryPolicy",
    "SessionClosedError",
    "Timeouts",
    "Transcript",
    "UnauthorizedError",
    "UpdateInterview",
    "UpdatedInterview",
    "merge_context",
]
