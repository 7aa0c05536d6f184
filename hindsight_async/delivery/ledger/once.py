"""One create, made once however often it is asked for."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import cast

from hindsight_async.delivery.ledger.journal import RunJournal
from hindsight_async.delivery.ledger.run import LedgerRun
from hindsight_async.delivery.outcomes import OutcomeStatus, status_of
from hindsight_async.delivery.row import BulkRow, claim_again, cut_off
from hindsight_async.errors import Delivery, HindsightError, LedgerError, LedgerInUseError
from hindsight_async.resources.interviews.models import CreatedInterview, CreateInterview
from hindsight_async.resources.interviews.recipients import interview_key

Send = Callable[[BulkRow[CreateInterview]], Awaitable[CreatedInterview]]


async def create_once(request: CreateInterview, ledger: LedgerRun, send: Send) -> CreatedInterview:
    """Return what `send` returns, or what an earlier call created; raise what became of it where that is neither."""
    if not isinstance(ledger, LedgerRun):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"ledger must be a LedgerRun, as Ledger.run() opens it, not {type(ledger).__name__}")
    row = BulkRow(0, interview_key(request), request, ahead=False, journal=RunJournal(ledger))
    while True:
        verdict = await claim_again(row)
        if verdict is not None:
            if verdict.error is not None:
                raise verdict.error
            return cast("CreatedInterview", verdict.response)
        try:
            return await _create(row, send)
        except LedgerInUseError as error:
            # Others took this run for dead, and the row with it: ask what they made of it. Not so where it had left
            # and only its end is not theirs to hear: what they made of it since may be that it is to be sent.
            if error.delivery is Delivery.UNKNOWN:
                raise


async def _create(row: BulkRow[CreateInterview], send: Send) -> CreatedInterview:
    """Return what `send` returns, once the ledger has it too."""
    journal = row.journal
    try:
        response = await send(row)
    except LedgerInUseError:
        raise
    except HindsightError as error:
        await journal.finished(row.outcome(status_of(error, creating=True), error=error))
        raise
    except BaseException:  # a cancellation, or the program's own hook failed
        with suppress(LedgerError):  # the row stays as it was, and what is being raised says more
            await journal.finished(cut_off(row))
        raise
    made = response.interview_request_id
    outcome = row.outcome(OutcomeStatus.CREATED, response=response, interview_request_id=made)
    try:
        await journal.finished(outcome)
    except LedgerError as error:
        error.interview_request_id = made
        error.add_note(f"the API had created it: interview_request_id {made}")
        raise
    return response
