"""Everything that can go wrong, as one tree.

HindsightError
├── APIError                        the server answered with an error
│   ├── BadRequestError             400
│   ├── UnauthorizedError           401
│   ├── ForbiddenError              403
│   ├── NotFoundError               404
│   ├── RateLimitExceededError      429
│   │   └── QuotaExceededError      429 that lasts: the monthly quota
│   ├── InternalServerError         5xx
│   └── ExportExpiredError          the export's link is too old
├── NotSentError                    no byte of the request left
├── OutcomeUnknownError             the request left, and no readable answer came
├── DecodeError                     an answer came that is not what the API promises
├── DeadlineExceededError           the deadline would pass, or has passed
├── WaitTimeoutError                what was waited for was not over in time
├── ExportFailedError               the server could not make the export
├── RecipientNotAllowedError        a create to somebody the session may not email
├── CreateLimitReachedError         one create more than the session may make
├── BulkAbortedError                too many failures in a row, or no network for too long, ended a bulk run
├── QueuePausedError                a queue sends nothing until somebody lifts its pause
├── LedgerError                     the ledger could not be opened, read or written
│   └── LedgerInUseError            another run or call has it, or the row
├── WrongEventLoopError             a session or budget was used on two event loops that both live
├── SessionClosedError              the session was used after close()
└── RedisRefusedError               the fleet's Redis answers, but not as it should

Wrong arguments are ValueError and TypeError, raised before any of this.
"""

from collections.abc import Mapping
from typing import Any

from hindsight_async.errors.api import APIError as APIError
from hindsight_async.errors.api import BadRequestError as BadRequestError
from hindsight_async.errors.api import ExportExpiredError as ExportExpiredError
from hindsight_async.errors.api import ForbiddenError as ForbiddenError
from hindsight_async.errors.api import InternalServerError as InternalServerError
from hindsight_async.errors.api import NotFoundError as NotFoundError
from hindsight_async.errors.api import QuotaExceededError as QuotaExceededError
from hindsight_async.errors.api import RateLimitExceededError as RateLimitExceededError
from hindsight_async.errors.api import UnauthorizedError as UnauthorizedError
from hindsight_async.errors.endings import Ending
from hindsight_async.errors.http_info import HTTPInfo as HTTPInfo
from hindsight_async.errors.root import Delivery as Delivery
from hindsight_async.errors.root import HindsightError as HindsightError


class NotSentError(HindsightError):
    """No byte of the request left: no connection, no name, no TLS, no way through the proxy.

    Attributes:
        no_connection: Whether nothing was reached to which it could have gone, as where the network is gone: the name was
            not found, the connection was refused or not made in time, or the proxy was not there. A bulk run waits for
            that to pass.

    """

    def __init__(self, summary: str, *, no_connection: bool = False, **fields: Any) -> None:
        super().__init__(summary, **fields)
        self.no_connection = no_connection


class OutcomeUnknownError(HindsightError):
    """The request left, and no readable answer came: it may or may not have taken effect.

    Attributes:
        status: The HTTP status where at least that arrived (a 2xx means that it did take effect), else None.
        request: The CreateInterview or UpdateInterview that left; None for any other call.
        received: The fields that could be read of an answer without a readable id, {} where there were none; survey
            links among them are secret.

    """

    _usual_delivery = Delivery.UNKNOWN

    def __init__(
        self,
        summary: str,
        *,
        status: int | None = None,
        request: object = None,
        received: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> None:
        super().__init__(summary, **fields)
        self.status = status
        self.request = request
        self.received: Mapping[str, Any] = dict(received or {})

    def _if_unknown(self) -> str:
        return Ending.DONE if self.status in _SUCCESS else Ending.UNKNOWN


_SUCCESS = range(200, 300)


class DecodeError(HindsightError):
    """An answer came that is not what the API promises.

    Attributes:
        problems: A text for each wrong place: its path, what was found, what belongs there.

    """

    _usual_delivery = Delivery.UNKNOWN

    def __init__(self, summary: str, *, problems: tuple[str, ...] = (), **fields: Any) -> None:
        super().__init__(summary, **fields)
        self.problems = problems

    def _if_unknown(self) -> str:
        return Ending.DONE


class DeadlineExceededError(HindsightError):
    """The call's deadline passed, or the next step could not be done before it.

    Attributes:
        retry_after: Seconds to wait before the call could succeed, None where that is not known.

    """

    def __init__(self, summary: str, *, retry_after: float | None = None, **fields: Any) -> None:
        super().__init__(summary, **fields)
        self.retry_after = retry_after


class WaitTimeoutError(HindsightError, TimeoutError):
    """What was waited for was not over when the time was up. It goes on: wait again.

    Attributes:
        last: What was last read of it, such as an Export; None where nothing could be read in time.

    """

    _usual_delivery = Delivery.UNKNOWN

    def __init__(self, summary: str, *, last: object = None, **fields: Any) -> None:
        super().__init__(summary, **fields)
        self.last = last

    def _ending(self) -> str:
        return Ending.GOES_ON


class ExportFailedError(HindsightError):
    """The server could not make an export; there is no file, so start another one.

    Attributes:
        export_id: Which one; None where the server named none.
        reason: What the server says, None where it says nothing.

    """

    _usual_delivery = Delivery.REJECTED

    def __init__(
        self, summary: str, *, export_id: str | None = None, reason: str | None = None, **fields: Any
    ) -> None:
        super().__init__(summary, **fields)
        self.export_id = export_id
        self.reason = reason

    def _ending(self) -> str:
        return Ending.NO_FILE


class RecipientNotAllowedError(HindsightError):
    """A create to an address that `allowed_recipients` does not allow, or `blocked_recipients` blocks.

    Attributes:
        is_blocked: Whether it is the latter.

    """

    is_blocked = False


class CreateLimitReachedError(HindsightError):
    """A create beyond `max_creates`."""


class BulkAbortedError(HindsightError):
    """So many rows of a bulk run failed one after another, or the network was gone for so long, that it ended."""

    def __init__(self, summary: str, **fields: Any) -> None:
        super().__init__(summary, **fields)
        self.ended_run = True


class QueuePausedError(HindsightError):
    """A queue that was to be drained is paused; the text says why. What is queued stays."""


class LedgerError(HindsightError):
    """The ledger could not be opened, read or written; the text names the file or database and what to do.

    `delivery` is UNKNOWN where an outcome could not be recorded: the row stays `sending`, and the
    next run takes it for `unknown`.

    Attributes:
        interview_request_id: The id that the API gave to `create_once` where that could not be recorded; else None.
        unrecorded: How many such rows a bulk run leaves, None where it is not about the end of one.

    """

    interview_request_id: int | None = None
    unrecorded: int | None = None

    def _ending(self) -> str:
        if self.unrecorded is not None:
            return Ending.RUN_UNRECORDED if self.unrecorded else Ending.RUN_RECORDED
        return super()._ending()

    def _if_unknown(self) -> str:
        made = self.interview_request_id
        return Ending.UNRECORDED if made is None else Ending.CREATED_UNRECORDED.format(made)


class LedgerInUseError(LedgerError):
    """Another run has the ledger, or took this row, or another call is at it.

    Attributes:
        retry_after: Seconds until the row is free where whoever has it dies, in what `create_once` raises; else None.

    """

    _if_not_sent = Ending.NOT_FROM_HERE

    def __init__(self, summary: str, *, retry_after: float | None = None, **fields: Any) -> None:
        super().__init__(summary, **fields)
        self.retry_after = retry_after


class WrongEventLoopError(HindsightError):
    """A session or budget that one living event loop uses was used on another; the text names both."""


class SessionClosedError(HindsightError):
    """The session was used after close()."""


class RedisRefusedError(HindsightError):
    """Redis answers, but not as it should: a wrong password, a missing right, a command it does not know."""
