"""The run over a file's rows: signals, progress, results beside each row, and what to do next."""

import asyncio
import signal
import textwrap
from array import array
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

from attrs import define, field

from hindsight_async.cli.contacts import BadRow, ContactRow, UpdateRow
from hindsight_async.cli.progress import RunProgress, show_progress
from hindsight_async.cli.results import ResultsFile, RowResult
from hindsight_async.cli.signals import HANGUP, handling
from hindsight_async.cli.terminal import ExitCode, refuse, say
from hindsight_async.delivery.bulk import BulkRun
from hindsight_async.delivery.outcomes import Outcome, OutcomeStatus
from hindsight_async.errors import Delivery, HindsightError, LedgerError, RecipientNotAllowedError
from hindsight_async.resources.interviews.recipients import ALLOWED_RECIPIENTS_VARIABLE
from hindsight_async.session import HindsightSession

FAILURES_LISTED = 10
"""How many rows of each kind the summary names; the results have them all."""

KEY_SHOWN = 12
"""How many characters of a key are shown; `ledger resolve` takes as few."""

LINE_WIDTH = 80
"""Columns of the summary. Commands stay whole however long they are, so that they can be copied."""

INVALID = "invalid"
"""The status of a row that could not be read, in the results."""

# In the order in which the summary lists them: what a person can mend, what is safe, what is not.
_PROBLEMS = (
    OutcomeStatus.REJECTED,
    OutcomeStatus.NOT_SENT,
    OutcomeStatus.UNKNOWN,
    OutcomeStatus.CLAIMED,
)

Request = TypeVar("Request")
Row = TypeVar("Row", ContactRow, UpdateRow)


def _signals_that_stop() -> list[signal.Signals]:
    """Return which signals end a run; a hangup that whoever started this has ignored, as nohup does, stays ignored."""
    if HANGUP is None or signal.getsignal(HANGUP) is signal.SIG_IGN:
        return [signal.SIGINT, signal.SIGTERM]
    return [signal.SIGINT, signal.SIGTERM, HANGUP]


def _wrapped(text: str) -> str:
    return textwrap.fill(
        text,
        LINE_WIDTH,
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


@define(eq=False)
class FileRun(Generic[Row, Request]):
    """One run: rows go in as requests, and come out as results in the order in which they end."""

    rows: Iterable[Row | BadRow]
    request_of: Callable[[Row], Request]
    results: ResultsFile
    advice: Mapping[OutcomeStatus, str]
    """What to do about the rows of a status; one for each status that the summary lists."""
    progress: RunProgress
    _in_hand: dict[int, Row] = field(init=False, factory=dict[int, Any])
    """The rows that were handed to the run and have no verdict yet, by their index in it: bad rows have none."""
    _lines: "array[int]" = field(init=False, factory=lambda: array("Q"))
    """The line of each row that was handed to the run, by its index: an array, since a file may have millions."""
    _not_allowed: int = field(init=False, default=0)
    """Rows that the allow-list kept back."""
    _excluded: int = field(init=False, default=0)
    """Rows of people who are not to be written to."""
    _refused_before: int = field(init=False, default=0)
    """Rows that the ledger knows as rejected by an earlier run."""
    _invalid: int = field(init=False, default=0)
    """Rows that could not be read as a request."""
    _unwritable: bool = field(init=False, default=False)
    """Whether the results took no more, which stops the run: links that nobody gets are worth nothing."""
    _problems: dict[OutcomeStatus, list[str]] = field(init=False)
    """The summary's lines about the first FAILURES_LISTED rows of a status."""
    _interrupted: bool = field(init=False, default=False)
    """Whether a signal came."""

    def requests(self) -> Iterator[Request]:
        """Yield what is to be sent, and write down at once what cannot be."""
        index = 0
        for row in self.rows:
            if isinstance(row, BadRow):
                self._invalid += 1
                self.results.write(row.cells, RowResult(status=INVALID, error=row.problem))
                continue
            self._in_hand[index] = row
            self._lines.append(row.line)
            index += 1
            yield self.request_of(row)

    async def run(
        self, hindsight: HindsightSession, start: Callable[[Iterator[Request]], BulkRun[Request, Any]]
    ) -> int:
        """Send every row; return the exit code."""
        self._problems = {status: [] for status in _PROBLEMS}
        failure: HindsightError | None = None
        # Begun inside, so that results on a terminal and the live line do not write over each other.
        async with show_progress(self.progress, hindsight.budget.snapshot):
            try:
                async with start(self.requests()) as run, self._stopped_by_signals(run):
                    self.progress.follow(run.network)
                    self.results.begin()
                    async for outcome in run:
                        if not self._take(outcome) and not self._unwritable:
                            self._unwritable = True
                            run.begin_stop()
            except HindsightError as error:
                # A ledger that did not even open is wrong usage; one that broke in the middle ends a run.
                if not self.progress.done and isinstance(error, LedgerError):
                    return refuse(str(error))
                failure = error
            finally:
                self.results.close()
        return self._sum_up(failure)

    def _take(self, outcome: Outcome[Request, Any]) -> bool:
        self.progress.advance(outcome.status, outcome.attempts)
        row = self._in_hand.pop(outcome.index)
        error = None if outcome.error is None else str(outcome.error)
        own_key = isinstance(row, ContactRow) and row.key is not None
        if outcome.duplicate_of is not None:
            same = "key" if own_key else "contact and interview"
            error = f"the same {same} as line {self._lines[outcome.duplicate_of]}"
        elif outcome.status is OutcomeStatus.DUPLICATE:
            error = "the contact has another interview within the time of --once-per-contact"
        result = RowResult(
            status=outcome.status.value,
            interview_request_id=outcome.interview_request_id,
            survey_url=getattr(outcome.response, "survey_url", None),
            error=error,
        )
        written = self.results.write(row.cells, result)
        kept_back = outcome.error if isinstance(outcome.error, RecipientNotAllowedError) else None
        is_excluded = kept_back is not None and kept_back.is_blocked
        self._excluded += is_excluded
        self._not_allowed += kept_back is not None and not is_excluded
        listed = self._problems.get(outcome.status)
        if listed is not None and len(listed) < FAILURES_LISTED and not is_excluded:
            # The ledger's own also where the caller's is another: that may be an address.
            key = row.ledger_key if isinstance(row, ContactRow) else outcome.key
            listed.append(_wrapped(f"line {row.line}, key {key[:KEY_SHOWN]}: {error}"))
        self._refused_before += outcome.status is OutcomeStatus.ALREADY_DONE and outcome.error is not None
        return written

    @asynccontextmanager
    async def _stopped_by_signals(self, run: BulkRun[Request, Any]) -> AsyncGenerator[None]:
        """First signal: take no more rows and finish what is in flight; second: leave now."""
        stops: list[asyncio.Task[None]] = []

        def stop(number: signal.Signals) -> None:
            if not stops:
                self._interrupted = True
                say("stopping: no more rows are taken, those in flight are finished; once more to leave now")
                stops.append(asyncio.create_task(run.stop()))
            elif number is not HANGUP:
                # A stop that is cancelled cuts off what it waits for. Nobody asks for that by a second hangup:
                # one closed terminal sends two, the kernel's and the shell's.
                stops[0].cancel()

        handled = _signals_that_stop()
        try:
            with handling(handled, stop):
                yield
        finally:
            if HANGUP is not None and HANGUP in handled and stops:
                signal.signal(HANGUP, signal.SIG_IGN)  # the second one must not cut off the summary
            await asyncio.gather(*stops, return_exceptions=True)

    def _sum_up(self, failure: HindsightError | None) -> int:
        counts = self.progress.counts
        parts = [f"{counts[status]} {status.value}" for status in OutcomeStatus if counts[status]]
        if self._invalid:
            parts.append(f"{self._invalid} {INVALID}")
        say(", ".join(parts) or "no rows")
        if failure is not None:
            say(f"the run ended early: {failure}")
        if self._excluded:
            say(
                f"{self._excluded} of those not sent {'is' if self._excluded == 1 else 'are'} excluded (--exclude)"
            )
        for status, lines in self._problems.items():
            left = counts[status] - (self._excluded if status is OutcomeStatus.NOT_SENT else 0)
            if left:
                advice = [self.advice[status]]
                if status is OutcomeStatus.NOT_SENT:
                    advice += self._to_be_mended(failure)
                say(f"{left} {status.value}: " + ",\n".join(advice))
                say("\n".join(lines))
            if left > len(lines):
                say(f"  and {left - len(lines)} more, in the results")
        if self._refused_before:
            say(f"{self._refused_before} of those already done had been rejected: see the results")
        return self._exit_code(failure)

    def _to_be_mended(self, failure: HindsightError | None) -> Iterator[str]:
        """Yield what else would keep the rows that were not sent back again."""
        if failure is not None:
            yield "once the cause named above is out of the way"
        if self._not_allowed:
            yield f"once {ALLOWED_RECIPIENTS_VARIABLE} allows those that it keeps back ({self._not_allowed})"

    def _exit_code(self, failure: HindsightError | None) -> int:
        counts = self.progress.counts
        if self._interrupted:
            return ExitCode.INTERRUPTED
        unrecorded = isinstance(failure, LedgerError) and failure.delivery is Delivery.UNKNOWN
        if counts[OutcomeStatus.UNKNOWN] or unrecorded:
            return ExitCode.UNKNOWN_OUTCOMES
        undone = (OutcomeStatus.REJECTED, OutcomeStatus.NOT_SENT, OutcomeStatus.CLAIMED)
        failed = sum(counts[status] for status in undone) - self._excluded + self._invalid
        if failure or failed or self._refused_before or self._unwritable:
            return ExitCode.SOME_FAILED
        return ExitCode.DONE
