"""The interviews resource: typed arguments to calls."""

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Unpack, overload

from hindsight_async.call.codec import encode
from hindsight_async.call.execute import Executor, SendHooks
from hindsight_async.call.request import Call, Endpoint, Reply
from hindsight_async.delivery.options import DEFAULT_ABORT_AFTER_FAILURES, DEFAULT_WAIT_FOR_NETWORK
from hindsight_async.rate import Lane
from hindsight_async.resources.interviews.arguments import Update, of_type, request_of
from hindsight_async.resources.interviews.models import (
    CreatedInterview,
    CreateInterview,
    CreateInterviewFields,
    Interview,
    UpdatedInterview,
)
from hindsight_async.resources.interviews.poll_schedule import Pace
from hindsight_async.resources.interviews.queueing import InterviewQueues
from hindsight_async.resources.interviews.recipients import CreateGuard
from hindsight_async.resources.interviews.updates import (
    COLLECTION,
    InterviewUpdates,
    checked_ledger,
    item_path,
)

if TYPE_CHECKING:
    from os import PathLike

    from hindsight_async.delivery.bulk import BulkRun
    from hindsight_async.delivery.ledger.arguments import HasLedgerRun
    from hindsight_async.delivery.ledger.ledger import Ledger
    from hindsight_async.delivery.ledger.run import LedgerRun

_CREATE = Endpoint(method="POST", route="POST /interviews", reply_type=CreatedInterview, repeatable=False)
_GET = Endpoint(method="GET", route="GET /interviews/{id}", reply_type=Interview, repeatable=True)

BULK_ROW_SECONDS = 3600.0
"""The deadline of a row of a bulk run, where the session's own is shorter: rows are there to wait."""


class Interviews(InterviewUpdates, InterviewQueues):
    """Create, read and update interviews, and wait for them; reached as `session.interviews`.

    Args:
        executor: Takes calls to their answers.
        guard: What creates have to pass.
        pace: Of all waiting of the session.
        max_in_flight: How many requests of a bulk run may be under way at a time.

    """

    def __init__(self, executor: Executor, *, guard: CreateGuard, pace: Pace, max_in_flight: int) -> None:
        super().__init__(executor, max_in_flight=max_in_flight, pace=pace)
        self._guard = guard

    @overload
    async def create(self, request: CreateInterview) -> CreatedInterview: ...
    @overload
    async def create(self, **fields: Unpack[CreateInterviewFields]) -> CreatedInterview: ...
    async def create(self, request: CreateInterview | None = None, **fields: Any) -> CreatedInterview:
        """Create an interview; with a sequence this emails the contact (page create-interview).

        It is sent again only where it provably was not processed. Not for a job queue that repeats jobs (arq, Celery
        with acks_late): each run of the job emails the contact again, so use `create_once` there. Hindsight's own
        Interview Agent may email the contact too, when a deal closes; see "Who may be emailed twice" in the documentation.

        Args:
            request: The interview to create.
            **fields: In its place, what CreateInterview takes: `create(contact_email=..., sequence_id=...)`.

        Returns:
            What was created.

        Raises:
            TypeError: `request` or a field is of another type, or both are given.
            ValueError: A field has a value that the API would refuse.
            RecipientNotAllowedError: The contact may not be emailed.
            CreateLimitReachedError: The session has made `max_creates`.
            HindsightError: Anything else; where `delivery` is UNKNOWN the contact may have been emailed.

        """
        request = request_of(CreateInterview, request, fields)
        return await self._create(request, "interactive", self._executor.deadline)

    async def create_once(
        self, request: CreateInterview, *, ledger: "LedgerRun | HasLedgerRun", key: str | None = None
    ) -> CreatedInterview:
        """Create an interview unless the ledger has it already, for events that may be delivered twice.

        The same contact with and without `deal_id` is two interviews and two emails, and the ledger knows nothing of
        those of Hindsight's own Interview Agent; see "Who may be emailed twice" in the documentation.

        Args:
            request: The interview to create.
            ledger: What `Ledger.run()` opens (extra `bulk`), once for all calls, or what has one open.
            key: What tells it from others, such as "hubspot:62515:151088"; else its contact, sequence or type and deal.

        Returns:
            What was created, now or by an earlier call: `created_now` tells which. Of an earlier one the ledger has
            neither link nor token: read it with `get`.

        Raises:
            LedgerInUseError: Another call or another living process is at it; `retry_after` is in how many seconds
                it is free should that one die.
            APIError: The API refused it, now or earlier (`is_earlier`); it is not sent again, unless the key, the
                address or the quota was refused. A 5xx leaves it unknown (`delivery`).
            OutcomeUnknownError: It was sent, now or earlier (`is_earlier`), and its outcome is unknown; it is not sent
                again until a person says so (`Ledger.resolve`).
            LedgerError: The ledger cannot be written; nothing was sent unless `delivery` is UNKNOWN.
            HindsightError: As from `create`. Where `delivery` is NOT_SENT the next call sends it.

        """
        from hindsight_async.delivery.ledger.arguments import open_run  # noqa: PLC0415  needs the extra `bulk`
        from hindsight_async.delivery.row import deliver_once  # noqa: PLC0415  later
        from hindsight_async.resources.interviews.rows import create_with  # noqa: PLC0415  later

        run, kind = open_run(ledger), create_with(key)
        deadline = self._executor.deadline
        return await deliver_once(
            kind, request, run,
            lambda request, hooks: self._create(request, "interactive", deadline, hooks),
        )  # fmt: skip

    async def get(self, interview_request_id: int) -> Interview:
        """Read an interview; its transcript is there once it is completed (page get-interview).

        Interviews take hours: poll every 5 to 15 minutes.

        Args:
            interview_request_id: From 0.

        Returns:
            The interview.

        Raises:
            TypeError: That is no whole number.
            ValueError: It is negative.
            HindsightError: It cannot be read.

        """
        known = {"interview_request_id": interview_request_id}
        call = Call(_GET, item_path(interview_request_id), known=known)
        return await self._executor.run(call, lane="interactive", deadline=self._executor.deadline)

    def create_many(
        self,
        requests: Iterable[CreateInterview] | AsyncIterable[CreateInterview],
        *,
        ledger: "Ledger | str | PathLike[str] | None" = None,
        key_of: Callable[[CreateInterview], str] | None = None,
        once_per_contact_within: timedelta | None = None,
        abort_after_failures: int = DEFAULT_ABORT_AFTER_FAILURES,
        wait_for_network: float | None = DEFAULT_WAIT_FOR_NETWORK,
    ) -> "BulkRun[CreateInterview, CreatedInterview]":
        """Create an interview for each request, at plan speed, and tell what became of each.

        `requests` is read as it goes and never held as a whole. With a `ledger` (one, or the path of its file;
        extra `bulk`) what is about to be sent is on disk before it leaves, and what an earlier run has done is
        not done again. The same contact with and without `deal_id` is two rows and two emails; in a job that may be
        repeated give a `ledger`. See "Who may be emailed twice" in the documentation.

        Args:
            requests: What to create, one for each contact.
            ledger: Where the run keeps its memory; None for none beyond the run.
            key_of: Returns the key of a request, as in `create_once`; None for the default one.
            once_per_contact_within: A person of whom the ledger has another row that was, or may be, sent within this
                time is DUPLICATE (the documentation says which rows count); None to email them all the same.
            abort_after_failures: So many rows in a row without a success, at least 1, end the run by raising; what failed
                together, by one cause, counts once.
            wait_for_network: Seconds without any connection that end it too, while all rows wait; 0 waits for nothing
                and gives up the rows that find none, None waits without end.

        Returns:
            The run, to be entered with `async with` and iterated inside that block.

        Raises:
            TypeError: An argument is of another type.
            ValueError: `abort_after_failures` is below 1, `wait_for_network` below 0, or `once_per_contact_within` not
                above 0 or without ledger.

        """
        from hindsight_async.delivery.bulk import BulkRun  # noqa: PLC0415  later
        from hindsight_async.resources.interviews.rows import creates_with  # noqa: PLC0415  later

        kind = creates_with(key_of, once_per_contact_within, has_ledger=ledger is not None)
        if ledger is not None:
            from hindsight_async.delivery.ledger.arguments import ledger_at  # noqa: PLC0415  as above

            ledger = ledger_at(ledger)
        return BulkRun(
            requests,
            kind,
            lambda request, hooks: self._create(request, "bulk", self._row_deadline, hooks),
            open_session=self._executor.open,
            ledger=ledger,
            max_in_flight=self._max_in_flight,
            abort_after_failures=abort_after_failures,
            wait_for_network=wait_for_network,
        )

    def update_many(
        self,
        updates: Iterable[Update] | AsyncIterable[Update],
        *,
        merge_into: "LedgerRun | None" = None,
        abort_after_failures: int = DEFAULT_ABORT_AFTER_FAILURES,
        wait_for_network: float | None = DEFAULT_WAIT_FOR_NETWORK,
    ) -> "BulkRun[Update, UpdatedInterview]":
        """Make each `(interview_request_id, UpdateInterview)` change, like `create_many`.

        A second update of one interview in the same input is a duplicate: the order of two is not kept.

        Args:
            updates: Interview request ids, each with what to change.
            merge_into: An open ledger that remembers contexts: each `contact_context` is merged into what it remembers, as
                by `enrich`, and a row of whose contact it remembers none is not sent. None to overwrite.
            abort_after_failures: How many rows, at least 1.
            wait_for_network: As for `create_many`.

        Returns:
            The run, to be entered with `async with` and iterated inside that block.

        Raises:
            TypeError: `merge_into` is another thing.
            ValueError: `abort_after_failures` is below 1, or `wait_for_network` below 0.

        """
        from hindsight_async.delivery.bulk import BulkRun  # noqa: PLC0415  later
        from hindsight_async.resources.interviews.rows import UPDATES  # noqa: PLC0415  later

        if merge_into is not None:
            checked_ledger(merge_into)
        return BulkRun(
            updates,
            UPDATES,
            lambda update, hooks: self._update_row(update, self._row_deadline, hooks, merge_into),
            open_session=self._executor.open,
            ledger=None,
            max_in_flight=self._max_in_flight,
            abort_after_failures=abort_after_failures,
            wait_for_network=wait_for_network,
        )

    def _poll(
        self, interview_request_id: int, deadline: float, on_reply: Callable[[Reply], object]
    ) -> Awaitable[Interview]:
        known = {"interview_request_id": interview_request_id}
        call = Call(_GET, item_path(interview_request_id), known=known, on_reply=on_reply)
        return self._executor.run(call, lane="bulk", deadline=deadline)

    @property
    def _row_deadline(self) -> float | None:
        deadline = self._executor.deadline
        return None if deadline is None else max(deadline, BULK_ROW_SECONDS)

    def _create(
        self, request: CreateInterview, lane: Lane, deadline: float | None, hooks: SendHooks | None = None
    ) -> Awaitable[CreatedInterview]:
        call = Call(_CREATE, COLLECTION, encode(of_type(request, CreateInterview)), request)
        self._guard.check(request.contact_email, _CREATE.method, call.path)
        return self._executor.run(call, lane=lane, deadline=deadline, hooks=hooks)
