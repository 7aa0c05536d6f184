"""The run over a file's rows: signals, progress, results beside each row, and what to do next."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, Generic, TextIO, TypeVar

from attrs import define, field

from hindsight_async.cli import exit_codes
from hindsight_async.cli.contacts import BadRow, ContactRow, UpdateRow
from hindsight_async.cli.exit_codes import say
from hindsight_async.cli.progress import Pace, shown
from hindsight_async.cli.results import CsvResults, JsonLinesResults, RowResult
from hindsight_async.delivery.bulk import BulkRun
from hindsight_async.delivery.ledger.sqlite import open_for_owner
from hindsight_async.delivery.outcomes import Outcome, OutcomeStatus
from hindsight_async.errors import Delivery, HindsightError, LedgerError
from hindsight_async.session import HindsightSession

FAILURES_LISTED = 10
"""How many rows of each kind the summary names; the results have them all."""

KEY_SHOWN = 12
"""How many characters of a key are shown; `ledger resolve` takes as few."""

JSON_LINES_SUFFIXES = (".jsonl", ".json", ".ndjson")

HANGUP: signal.Signals | None = getattr(signal, "SIGHUP", None)
"""What comes when the terminal is closed or its connection drops; Windows has none."""

INVALID = "invalid"
"""The status of a row that could not be read, in the results."""

_PROBLEMS = (
    OutcomeStatus.REJECTED,
    OutcomeStatus.NOT_SENT,
    OutcomeStatus.UNKNOWN,
    OutcomeStatus.CLAIMED,
)

Request = TypeVar("Request")


Row = TypeVar("Row", ContactRow, UpdateRow)


class ResultsFile:
    """The results, in a file or on stdout; not touched before the run has its ledger.

    Raises ValueError where `output` is one of the files that the run reads or keeps its memory in.
    """

    def __init__(self, output: Path | None, columns: tuple[str, ...], *, apart_from: Iterable[Path]) -> None:
        self._output = output
        self._columns = columns
        self._file: TextIO | None = None
        self._results: CsvResults | JsonLinesResults | None = None
        self._failure: OSError | None = None
        for other in apart_from:
            if output is not None and os.path.realpath(output) == os.path.realpath(other):
                raise ValueError(f"{output} cannot be the output too: it would be overwritten")

    def begin(self) -> None:
        """Open the file; one that is there already is kept beside it. Raises ValueError where it cannot be written."""
        where = self._output or Path("stdout")
        kind = JsonLinesResults if where.suffix in JSON_LINES_SUFFIXES else CsvResults
        try:
            self._results = kind(self._open(), self._columns)
        except OSError as error:
            raise ValueError(f"{where} cannot be written: {error.strerror}") from None

    def _open(self) -> TextIO:
        if self._output is None:
            return sys.stdout
        _keep(self._output)
        # Survey links stand in it, each of which opens an interview without a login.
        self._file = open(self._output, "w", encoding="utf-8", newline="", opener=open_for_owner)  # noqa: SIM115
        return self._file

    def write(self, cells: Mapping[str, Any], result: RowResult) -> bool:
        """Write one row; False where the file takes no more, which is said once."""
        if self._failure is None and self._results is not None:
            try:
                self._results.write(cells, result)
            except OSError as error:
                self._failure = error
                say(f"the results cannot be written any more ({error.strerror}); the run is stopped")
        return self._failure is None

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()


def _signals_that_stop() -> list[signal.Signals]:
    """Return which signals end a run; a hangup that whoever started this has ignored, as nohup does, stays ignored."""
    if HANGUP is None or signal.getsignal(HANGUP) is signal.SIG_IGN:
        return [signal.SIGINT, signal.SIGTERM]
    return [signal.SIGINT, signal.SIGTERM, HANGUP]


def _keep(output: Path) -> None:
    """Move a file of earlier results out of the way: their links are nowhere else."""
    if not output.is_file():
        return
    names = (output.with_name(f"{output.name}.{number}") for number in count(1))
    kept = next(name for name in names if not name.exists())
    output.rename(kept)
    say(f"the earlier {output.name} is now {kept.name}")


@define(eq=False)
class FileRun(Generic[Row, Request]):
    """One run: rows go in as requests, and come out as results in the order in which they end."""

    rows: Iterable[Row | BadRow]
    request_of: Callable[[Row], Request]
    results: ResultsFile
    advice: Mapping[OutcomeStatus, str]
    pace: Pace
    _in_hand: dict[int, Row] = field(init=False, factory=dict[int, Any])
    _refused_before: int = field(init=False, default=0)
    _invalid: int = field(init=False, default=0)
    _unwritable: bool = field(init=False, default=False)
    _problems: dict[OutcomeStatus, list[str]] = field(init=False)
    _interrupted: bool = field(init=False, default=False)

    def requests(self) -> Iterator[Request]:
        """Yield what is to be sent, and write down at once what cannot be."""
        index = 0
        for row in self.rows:
            if isinstance(row, BadRow):
                self._invalid += 1
                self.results.write(row.cells, RowResult(status=INVALID, error=row.problem))
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
        # Begun inside, so that results on a terminal and the live line do not write over each other.
        async with shown(self.pace, hindsight.budget.snapshot):
            try:
                async with start(self.requests()) as run, self._stopped_by_signals(run):
                    self.results.begin()
                    async for outcome in run:
                        if not self._take(outcome) and not self._unwritable:
                            self._unwritable = True
                            run.begin_stop()
            except HindsightError as error:
                if not self.pace.done and isinstance(error, LedgerError):
                    return exit_codes.refuse(str(error))
                failure = error
            finally:
                self.results.close()
        return self._sum_up(failure)

    def _take(self, outcome: Outcome[Request, Any]) -> bool:
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
        written = self.results.write(row.cells, result)
        listed = self._problems.get(outcome.status)
        if listed is not None and len(listed) < FAILURES_LISTED:
            listed.append(f"  line {row.line}, key {outcome.key[:KEY_SHOWN]}: {error}")
        self._refused_before += outcome.status is OutcomeStatus.ALREADY_DONE and outcome.error is not None
        return written

    @asynccontextmanager
    async def _stopped_by_signals(self, run: BulkRun[Request, Any]) -> AsyncGenerator[None]:
        """First signal: take no more rows and finish what is in flight; second: leave now."""
        loop = asyncio.get_running_loop()
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
        for number in handled:
            loop.add_signal_handler(number, stop, number)
        try:
            yield
        finally:
            for number in handled:
                loop.remove_signal_handler(number)
            if HANGUP is not None and HANGUP in handled and stops:
                signal.signal(HANGUP, signal.SIG_IGN)  # the second one must not cut off the summary
            await asyncio.gather(*stops, return_exceptions=True)

    def _sum_up(self, failure: HindsightError | None) -> int:
        counts = self.pace.counts
        parts = [f"{counts[status]} {status.value}" for status in OutcomeStatus if counts[status]]
        if self._invalid:
            parts.append(f"{self._invalid} {INVALID}")
        say(", ".join(parts) or "no rows")
        for status, lines in self._problems.items():
            if counts[status]:
                say(f"{counts[status]} {status.value}: {self.advice[status]}")
                say("\n".join(lines))
            if counts[status] > len(lines):
                say(f"  and {counts[status] - len(lines)} more, in the results")
        if self._refused_before:
            say(f"{self._refused_before} of those already done had been rejected: see the results")
        if failure is not None:
            say(f"the run ended early: {failure}")
        return self._exit_code(failure)

    def _exit_code(self, failure: HindsightError | None) -> int:
        counts = self.pace.counts
        if self._interrupted:
            return exit_codes.INTERRUPTED
        unrecorded = isinstance(failure, LedgerError) and failure.delivery is Delivery.UNKNOWN
        if counts[OutcomeStatus.UNKNOWN] or unrecorded:
            return exit_codes.UNKNOWN_OUTCOMES
        undone = (OutcomeStatus.REJECTED, OutcomeStatus.NOT_SENT, OutcomeStatus.CLAIMED)
        failed = sum(counts[status] for status in undone) + self._invalid
        if failure or failed or self._refused_before or self._unwritable:
            return exit_codes.SOME_FAILED
        return exit_codes.DONE
