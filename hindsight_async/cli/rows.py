"""The run over a file's rows: signals, progress, results beside each row, and what to do next."""

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Generic, TextIO, TypeVar

from attrs import define, field

from hindsight_async.bulk import BulkRun
from hindsight_async.cli import exits
from hindsight_async.cli.exits import say
from hindsight_async.cli.progress import Pace, shown
from hindsight_async.cli.results import CsvResults, JsonLinesResults, RowResult
from hindsight_async.contacts import BadRow, ContactRow, UpdateRow
from hindsight_async.errors import HindsightError, LedgerError
from hindsight_async.outcomes import Outcome, OutcomeStatus
from hindsight_async.session import HindsightSession

FAILURES_LISTED = 10
"""How many rows of each kind the summary names; the results have them all."""

KEY_SHOWN = 12
"""How many characters of a key are shown; `ledger resolve` takes as few."""

JSON_LINES_SUFFIX = ".jsonl"

INVALID = "invalid"
"""The status of a row that could not be read, in the results."""

_PROBLEMS = (OutcomeStatus.REJECTED, OutcomeStatus.NOT_SENT, OutcomeStatus.UNKNOWN)

Request = TypeVar("Request")


Row = TypeVar("Row", ContactRow, UpdateRow)
Results = CsvResults | JsonLinesResults


@contextmanager
def results_in(output: Path | None, columns: tuple[str, ...]) -> Generator[Callable[[], Results]]:
    """Open the results file, or stdout; the results begin when the yielded function is called.

    Raises ValueError where the file cannot be written.
    """

    def begin(file: TextIO) -> Results:
        json_lines = output is not None and output.suffix == JSON_LINES_SUFFIX
        return JsonLinesResults(file, columns) if json_lines else CsvResults(file, columns)

    if output is None:
        yield lambda: begin(sys.stdout)
        return
    try:
        opened = output.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise ValueError(f"{output} cannot be written: {error.strerror}") from None
    with opened:
        yield lambda: begin(opened)


@define(eq=False)
class RowRun(Generic[Row, Request]):
    """One run: rows go in as requests, and come out as results in the order in which they end."""

    rows: Iterable[Row | BadRow]
    request_of: Callable[[Row], Request]
    results: Callable[[], Results]
    advice: Mapping[OutcomeStatus, str]
    pace: Pace
    _written: Results = field(init=False)
    _in_hand: dict[int, Row] = field(init=False, factory=dict[int, Any])
    _problems: dict[OutcomeStatus, list[str]] = field(init=False)
    _interrupted: bool = field(init=False, default=False)

    def requests(self) -> Iterator[Request]:
        """Yield what is to be sent, and write down at once what cannot be."""
        index = 0
        for row in self.rows:
            if isinstance(row, BadRow):
                self._written.write(row.cells, RowResult(status=INVALID, error=row.problem))
                continue
            self._in_hand[index] = row
            index += 1
            yield self.request_of(row)

    async def run(
        self, hindsight: HindsightSession, start: Callable[[Iterator[Request]], BulkRun[Request, Any]]
    ) -> int:
        """Send every row; return the exit code."""
        self._problems = {status: [] for status in _PROBLEMS}
        failure: HindsightError | None = None
        async with shown(self.pace, hindsight.budget.snapshot):
            # Begun inside, so that results on a terminal and the live line do not write over each other.
            self._written = self.results()
            try:
                async with start(self.requests()) as run, self._stopped_by_signals(run):
                    async for outcome in run:
                        self._take(outcome)
            except HindsightError as error:
                if not self.pace.done and isinstance(error, LedgerError):
                    return exits.refuse(str(error))
                failure = error
        return self._sum_up(failure)

    def _take(self, outcome: Outcome[Request, Any]) -> None:
        self.pace.advance(outcome.status, outcome.attempts)
        row = self._in_hand.pop(outcome.index)
        error = None if outcome.error is None else str(outcome.error)
        if outcome.duplicate_of is not None:
            error = f"the same contact and interview as row {outcome.duplicate_of + 1}"
        result = RowResult(
            status=outcome.status.value,
            interview_request_id=outcome.interview_request_id,
            survey_url=getattr(outcome.response, "survey_url", None),
            error=error,
        )
        self._written.write(row.cells, result)
        listed = self._problems.get(outcome.status)
        if listed is not None and len(listed) < FAILURES_LISTED:
            listed.append(f"  line {row.line}, key {outcome.key[:KEY_SHOWN]}: {error}")

    @asynccontextmanager
    async def _stopped_by_signals(self, run: BulkRun[Request, Any]) -> AsyncGenerator[None]:
        """First signal: take no more rows and finish what is in flight; second: leave now."""
        loop = asyncio.get_running_loop()
        stops: list[asyncio.Task[None]] = []

        def stop() -> None:
            if stops:
                # A stop that is cancelled cuts off what it waits for.
                stops[0].cancel()
                return
            self._interrupted = True
            say("stopping: no more rows are taken, those in flight are finished; once more to leave now")
            stops.append(asyncio.create_task(run.stop()))

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
            await asyncio.gather(*stops, return_exceptions=True)

    def _sum_up(self, failure: HindsightError | None) -> int:
        counts = self.pace.counts
        say(
            ", ".join(f"{counts[status]} {status.value}" for status in OutcomeStatus if counts[status])
            or "no rows"
        )
        for status, lines in self._problems.items():
            if counts[status]:
                say(f"{counts[status]} {status.value}: {self.advice[status]}")
                say("\n".join(lines))
            if counts[status] > len(lines):
                say(f"  and {counts[status] - len(lines)} more, in the results")
        if failure is not None:
            say(f"the run ended early: {failure}")
        if self._interrupted:
            return exits.INTERRUPTED
        if counts[OutcomeStatus.UNKNOWN]:
            return exits.UNKNOWN_OUTCOMES
        failed = failure or counts[OutcomeStatus.REJECTED] or counts[OutcomeStatus.NOT_SENT]
        return exits.SOME_FAILED if failed else exits.DONE
