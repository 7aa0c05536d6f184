"""The life of one row, of a bulk run or of `create_once`: with a ledger nothing leaves that is not on disk.

    claim             what is new or free may be sent by this call alone; what became of the others is told
    deliver           sends a claimed row, until it has an outcome:
      about_to_send     the ledger says `sending` before the first byte leaves
      not_processed     it says `not_sent` again before waiting to send once more what provably came to nothing,
                        be it for the budget, a retry or a network that is gone (`network`)
      record            it says what became of the row

Where another run took it for abandoned, `deliver` claims it anew and, if it is free, sends it in a call of its own.
Without a ledger the row goes the same way, and nothing outlives the run.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

from attrs import define, evolve, field

from hindsight_async.call.failure import unexpected
from hindsight_async.delivery.keys import caller_key_hash
from hindsight_async.delivery.ledger.entries import LedgerEntry, LedgerRow, LedgerStatus
from hindsight_async.delivery.ledger.kept_errors import error_of, kept_of
from hindsight_async.delivery.outcomes import Outcome, OutcomeStatus, status_of
from hindsight_async.delivery.row_kind import RowKind, Send
from hindsight_async.errors import (
    HindsightError,
    LedgerError,
    LedgerInUseError,
    NotSentError,
    OutcomeUnknownError,
)

if TYPE_CHECKING:
    from hindsight_async.delivery.ledger.run import LedgerRun
    from hindsight_async.delivery.network import NetworkWait

Request = TypeVar("Request")
Response = TypeVar("Response")

IN_HAND_SECONDS: Final = 5.0
"""When to ask again for a row that another call of this process is at, where no lease says how long it may be."""


@define(eq=False)
class Row(Generic[Request, Response]):
    """One row on its way to its outcome; `call.execute` tells it when a request leaves and when nothing came of one."""

    kind: RowKind[Request, Response]
    index: int
    """Its place in the input, from 0."""

    request: Request
    ledger: "LedgerRun | None"
    """Where it is written down; None where nothing is."""

    ahead: bool = False
    """Whether it has no place in a bulk run: taken to see whether earlier runs have done it, or in another run's hand."""

    key: str = field(init=False)
    """As the ledger knows it: a hash."""

    caller_key: str | None = field(init=False)
    """As the caller knows it, where they gave a key of their own."""

    attempts: int = field(default=0, init=False)
    """How many times it was tried."""

    in_flight: bool = field(default=False, init=False)
    """Whether a request may have left of which it is not known that nothing came of it."""

    given_up: bool = field(default=False, init=False)
    """Whether its worker was cancelled to keep it back, because its bulk run takes no more rows."""

    at_its_last: bool = field(default=False, init=False)
    """Whether it is kept back as soon as nothing is in flight, because its bulk run takes no more rows."""

    outcome: Outcome[Request, Response] | None = field(default=None, init=False)
    """What became of it. Set before it is recorded, so that a cancellation meanwhile loses nothing."""

    unrecorded: Exception | None = field(default=None, init=False)
    """Why the ledger does not have its outcome."""

    def __attrs_post_init__(self) -> None:
        own = self.kind.caller_key_of
        self.caller_key = None if own is None else own(self.request)
        self.key = (
            self.kind.key_of(self.request) if self.caller_key is None else caller_key_hash(self.caller_key)
        )

    async def about_to_send(self) -> None:
        """Write down, before the first byte leaves, that it will."""
        if self.ledger is not None:
            await self.ledger.sending(self.key)
        self.in_flight = True
        self.attempts += 1

    async def not_processed(self) -> None:
        """Write down that nothing came of it, so that waiting to send it again is no doubt."""
        try:
            if self.ledger is not None:
                await self.ledger.not_processed(self.key)
        finally:
            # Also where that fails or is cut off: that nothing came of it is known. Not before, since a stopping
            # run cancels what is not in flight, and a row is best left to finish the step that it is at.
            self.in_flight = False
        if self.at_its_last:
            raise asyncio.CancelledError  # as the stopping run would have done, had it been a moment later

    async def record(self) -> None:
        """Write down what became of it; where that fails, `unrecorded` says why."""
        outcome = self.outcome
        if self.ledger is None or outcome is None:
            return
        kept: Mapping[str, Any] = {} if outcome.error is None else kept_of(outcome.error)
        if outcome.response is not None:
            kept = {**self.kind.kept_of(outcome.response), "context": self.kind.context_of(self.request)}
        kept = {**kept, **self.kept_beside(outcome)}
        try:
            await self.ledger.finished(
                self.key,
                LedgerStatus(outcome.status),
                attempts=self.attempts,
                interview_request_id=outcome.interview_request_id,
                **kept,
            )
        except Exception as error:  # noqa: BLE001  whatever it is, it is said: this row's request may have left
            self.unrecorded = error

    def kept_beside(self, outcome: Outcome[Request, Response]) -> Mapping[str, Any]:
        """Return what the ledger keeps beside what became of the row, by the names of LedgerEntry."""
        del outcome
        return {}

    def ends_as(self, status: OutcomeStatus, **fields: Any) -> Outcome[Request, Response]:
        """Return the outcome with this status."""
        return Outcome(
            index=self.index,
            key=self.caller_key or self.key,
            request=self.request,
            status=status,
            attempts=self.attempts,
            **fields,
        )

    def succeeded(self, response: Response) -> Outcome[Request, Response]:
        """Return the outcome of a row that the API took."""
        return self.ends_as(
            self.kind.success, response=response, interview_request_id=self.kind.id_of(response)
        )

    def failed(self, error: Exception) -> Outcome[Request, Response]:
        """Return the outcome of a row whose call raised this, foreseen or not."""
        if not isinstance(error, HindsightError):
            error = unexpected(error, self.attempts, left=self.in_flight)
        return self.ends_as(status_of(error, creating=self.kind.is_create), error=error)

    def cut_off(self) -> Outcome[Request, Response]:
        """Return the outcome of a row whose call was cancelled: in doubt only where a request is in flight."""
        if not self.in_flight:
            error: HindsightError = NotSentError("the run was cut off before")
        else:
            what = "the run was cut off before the answer was there"
            error = OutcomeUnknownError(what, request=self.request, attempts=self.attempts)
        return self.failed(error)

    def for_the_ledger(self) -> LedgerRow:
        """Return what the ledger is told of it."""
        told = self.kind.ledger_row(self.key, self.index, self.request)
        return told if self.caller_key is None else evolve(told, caller_key=self.caller_key)

    def known_as(self, entry: LedgerEntry) -> Outcome[Request, Response] | None:
        """Return what others made of the row or are at, or None where it may be sent.

        Asked of an entry that a claim told. Each claim decides anew which rows are duplicates, so one that says so was held
        back by this very claim.
        """
        if entry.may_be_sent:
            return None
        if entry.in_hand:
            retry_after = IN_HAND_SECONDS if entry.lease_seconds is None else max(0.0, entry.lease_seconds)
            in_use = LedgerInUseError(
                "another call or another run has this row in hand, and sends it unless it dies",
                retry_after=retry_after,
            )
            return self.ends_as(OutcomeStatus.CLAIMED, error=in_use)
        if entry.status is LedgerStatus.CREATED:
            made = self.kind.earlier_response(entry)
            return self.ends_as(
                OutcomeStatus.ALREADY_DONE, response=made, interview_request_id=entry.interview_request_id
            )
        if entry.status is LedgerStatus.DUPLICATE:
            return self.ends_as(OutcomeStatus.DUPLICATE)
        is_over = entry.status in {LedgerStatus.REJECTED, LedgerStatus.EXPIRED}
        status = OutcomeStatus.ALREADY_DONE if is_over else OutcomeStatus.UNKNOWN
        return self.ends_as(status, error=error_of(entry, self.request))


async def claim(rows: Sequence[Row[Request, Response]]) -> None:
    """Claim rows of one kind and run, each with a key of its own; those that may not be sent have their outcome then.

    Raises:
        LedgerError: The ledger cannot be written; none of the rows is claimed.

    """
    ledger = rows[0].ledger if rows else None
    if ledger is None:
        return
    once_within = rows[0].kind.once_within
    known = await ledger.claim([row.for_the_ledger() for row in rows], once_within=once_within)
    for row in rows:
        if row.key in known:
            row.outcome = row.known_as(known[row.key])


async def deliver(
    row: Row[Request, Response], send: Send[Request, Response], network: "NetworkWait | None" = None
) -> Outcome[Request, Response]:
    """Send a claimed row, record what became of it, and return that; raises no Exception, only what cancels or ends a program.

    One that has an outcome is not sent. Where there is a `network`, one that finds it gone is sent again once it is back.
    """
    while row.outcome is None:
        try:
            row.outcome = await _sent(row, send, network)
        except LedgerInUseError:
            # From `about_to_send` or `not_processed`: this run stood still until others took it for dead, and the row
            # with it. Ask what they made of it, and send it where it is free again.
            try:
                await claim([row])
            except Exception as error:  # noqa: BLE001  as below
                row.outcome = row.failed(error)  # and not recorded: the row is nobody's or another's
            continue
        except Exception as error:  # noqa: BLE001  somebody else's code: this row's fault and no other's
            row.outcome = row.failed(error)
        except BaseException:
            # Whoever waits gets the cancellation, so the ledger alone can tell what it came to.
            row.outcome = row.cut_off()
            await row.record()
            raise
        await row.record()
    return row.outcome


async def _sent(
    row: Row[Request, Response], send: Send[Request, Response], network: "NetworkWait | None"
) -> Outcome[Request, Response] | None:
    """Send a row once the network is there; None where it was gone all the same, and the row is to be sent again."""
    if network is None:
        return row.succeeded(await send(row.request, row))
    await network.passable()
    try:
        response = await send(row.request, row)
    except BaseException as error:
        if not network.failed(error):
            raise
    else:
        network.worked()
        return row.succeeded(response)
    # In no doubt while it waits, and still this run's: nobody else sends it meanwhile.
    await row.not_processed()
    return None


async def deliver_once(
    kind: RowKind[Request, Response],
    request: Request,
    ledger: "LedgerRun",
    send: Send[Request, Response],
) -> Response:
    """Return what `send` returns, or what an earlier call created; raise what became of it where that is neither.

    Raises:
        LedgerError: Nothing was sent since that could not be written down (`delivery` NOT_SENT), or what became of it
            could not be (UNKNOWN).
        HindsightError: What the outcome's error is.

    """
    row = Row(kind, 0, request, ledger)
    await claim([row])
    outcome = await deliver(row, send)
    unrecorded, made = row.unrecorded, outcome.interview_request_id
    if unrecorded is not None:
        if made is not None and isinstance(unrecorded, LedgerError):
            unrecorded.interview_request_id = made
        raise unrecorded from outcome.error or unrecorded.__cause__
    if outcome.error is not None:
        raise outcome.error
    return cast("Response", outcome.response)
