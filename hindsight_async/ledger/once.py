"""One create, made once however often it is asked for."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

from hindsight_async.addresses import interview_key
from hindsight_async.bulk_row import BulkRow, cut_off
from hindsight_async.errors import HindsightError, LedgerError, LedgerInUseError
from hindsight_async.journal import LedgerEntry
from hindsight_async.ledger.journal import RunJournal
from hindsight_async.ledger.run import LedgerRun
from hindsight_async.models import CreatedInterview, CreateInterview
from hindsight_async.outcomes import OutcomeStatus, status_of

Send = Callable[[BulkRow[CreateInterview]], Awaitable[CreatedInterview]]


async def create_once(
    request: CreateInterview, ledger: LedgerRun, send: Send
) -> CreatedInterview | LedgerEntry:
    """Return what `send` returns, or the entry of a row that the ledger has already, which is then not sent."""
    if not isinstance(ledger, LedgerRun):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"ledger must be a LedgerRun, as Ledger.run() opens it, not {type(ledger).__name__}")
    journal = RunJournal(ledger)
    row = BulkRow(0, interview_key(request), request, ahead=False, journal=journal)
    while True:
        entry = (await journal.plan({row.key: (row.index, request)})).get(row.key)
        if entry is not None and not entry.may_be_sent:
            return entry
        try:
            return await _create(row, send)
        except LedgerInUseError:
            # Others took this run for dead, and the row with it: ask what they made of it.
            continue


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
    try:
        await journal.finished(row.outcome(OutcomeStatus.CREATED, interview_request_id=made))
    except LedgerError as error:
        error.add_note(f"the API had created it: interview_request_id {made}")
        raise
    return response
