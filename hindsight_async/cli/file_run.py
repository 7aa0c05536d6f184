"""The run over a file's rows: signals, progress, and each row's result, also of those that it did not get to."""

import asyncio
import signal
from array import array
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from itertools import chain
from typing import Any, Generic, TypeVar

from attrs import define, evolve, field

from hindsight_async.cli.causes import Causes
from hindsight_async.cli.contacts import BadRow, ContactRow, UpdateRow
from hindsight_async.cli.progress import RunProgress, show_progress
from hindsight_async.cli.remaining_rows import verdicts
from hindsight_async.cli.results import RowResult
from hindsight_async.cli.results_file import ResultsFile
from hindsight_async.cli.signals import HANGUP, handling
from hindsight_async.cli.summary import UNKNOWN_SHOWN, Ending
from hindsight_async.cli.survey_links import read_links
from hindsight_async.cli.terminal import ExitCode, refuse, say
from hindsight_async.delivery.bulk import BulkRun
from hindsight_async.delivery.ledger.ledger import Ledger
from hindsight_async.delivery.outcomes import Outcome, OutcomeStatus
from hindsight_async.errors import Delivery, HindsightError, LedgerError, RecipientNotAllowedError
from hindsight_async.session import HindsightSession

INVALID = "invalid"
"""The status of a row that could not be read, in the results."""

Request = TypeVar("Request")
Row = TypeVar("Row", ContactRow, UpdateRow)


def _signals_that_stop() -> list[signal.Signals]:
    """Return which signals end a run; a hangup that whoever started this has ignored, as nohup does, stays ignored."""
    if HANGUP is None or signal.getsignal(HANGUP) is signal.SIG_IGN:
        return [signal.SIGINT, signal.SIGTERM]
    return [signal.SIGINT, signal.SIGTERM, HANGUP]


@define(eq=False)
class FileRun(Generic[Row, Request]):
    """One run: rows go in as requests, and come out as results in the order in which they end."""

    rows: Iterable[Row | BadRow]
    request_of: Callable[[Row], Request]
    results: ResultsFile
    advice: Mapping[OutcomeStatus, str]
    """What to do about the rows of a status, after what they met."""
    progress: RunProgress
    ledger: Ledger | None = None
    """Which knows what became of rows that this run did not get to; None for none."""
    columns: Mapping[str, str] = field(factory=dict[str, str])
    """The column that feeds a field, by the field's name."""
    next_step: Callable[[Ending], str | None] = lambda _: None
    """Says what to do next."""
    list_unknown: str | None = None
    """The command that lists the rows that are unknown; None without a ledger."""
    yes: bool = False
    """Whether to go on without asking where links that are missing would take what is kept of the month for others."""
    _coming: Iterator[Row | BadRow] = field(init=False)
    """The rows that nobody has taken yet."""
    _in_hand: dict[int, Row] = field(init=False, factory=dict[int, Any])
    """The rows that were handed to the run and have no verdict yet, by their index in it: bad rows have none."""
    _lines: "array[int]" = field(init=False, factory=lambda: array("Q"))
    """The line of each row that was handed to the run, by its index: an array, since a file may have millions."""
    _causes: Causes = field(init=False, factory=Causes)
    """Why rows failed."""
    _unknown: list[tuple[int, str]] = field(init=False, factory=list[tuple[int, str]])
    """The numbers and addresses of the first UNKNOWN_SHOWN unknown rows."""
    _without_link: list[tuple[Mapping[str, Any], RowResult]] = field(init=False, factory=list[Any])
    """Rows of interviews that earlier runs made and whose link no earlier results have: written at the end."""
    _links: dict[int, str] = field(init=False, factory=dict[int, str], repr=False)
    """Those that were read back, by the interview."""
    _excluded: int = field(init=False, default=0)
    """Rows of people who are not to be written to."""
    _not_allowed: bool = field(init=False, default=False)
    """Whether the allow-list kept any back."""
    _refused_before: int = field(init=False, default=0)
    """Rows that the ledger knows as rejected by an earlier run."""
    _invalid: int = field(init=False, default=0)
    """Rows that could not be read as a request."""
    _unwritable: bool = field(init=False, default=False)
    """Whether the results took no more, which stops the run: links that nobody gets are worth nothing."""
    _interrupted: bool = field(init=False, default=False)
    """Whether a signal came."""

    def __attrs_post_init__(self) -> None:
        self._coming = iter(self.rows)

    def requests(self) -> Iterator[Request]:
        """Yield what is to be sent, and write down at once what cannot be."""
        index = 0
        for row in self._coming:
            if isinstance(row, BadRow):
                self._take_bad(row)
                continue
            self._in_hand[index] = row
            self._lines.append(row.line)
            index += 1
            yield self.request_of(row)

    def _take_bad(self, row: BadRow) -> None:
        self._invalid += 1
        self.results.write(row.cells, RowResult(status=INVALID, error=row.problem))

    async def run(
        self, hindsight: HindsightSession, start: Callable[[Iterator[Request]], BulkRun[Request, Any]]
    ) -> int:
        """Send every row, say what came of it, and return the exit code."""
        failure: HindsightError | None = None
        try:
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
            if failure is not None or self._interrupted:
                await self._take_the_rest()
            else:
                await self._read_links(hindsight)
        finally:
            for cells, result in self._without_link:
                link = self._links.get(result.interview_request_id or 0)
                self.results.write(cells, evolve(result, survey_url=link))
            self.results.close()
        return self._sum_up(failure)

    def _take(self, outcome: Outcome[Request, Any]) -> bool:
        row = self._in_hand.pop(outcome.index)
        return self._note(row, outcome.status, outcome.error, self._result_of(row, outcome), outcome.attempts)

    def _result_of(self, row: ContactRow | UpdateRow, outcome: Outcome[Request, Any]) -> RowResult:
        error = None if outcome.error is None else str(outcome.error)
        if outcome.duplicate_of is not None:
            own_key = isinstance(row, ContactRow) and row.key is not None
            same = "key" if own_key else "contact and interview"
            error = f"the same {same} as row {self._lines[outcome.duplicate_of]}"
        elif outcome.status is OutcomeStatus.DUPLICATE:
            error = "the contact has another interview within the time of --once-per-contact"
        return RowResult(
            status=outcome.status.value,
            interview_request_id=outcome.interview_request_id,
            survey_url=getattr(outcome.response, "survey_url", None),
            error=error,
        )

    def _note(
        self,
        row: ContactRow | UpdateRow,
        status: OutcomeStatus,
        error: HindsightError | None,
        result: RowResult,
        attempts: int = 0,
    ) -> bool:
        """Count a verdict with its cause, and write it down; return whether the results took it."""
        self.progress.advance(status, attempts)
        kept_back = error if isinstance(error, RecipientNotAllowedError) else None
        is_excluded = kept_back is not None and kept_back.is_blocked
        self._excluded += is_excluded
        self._not_allowed = self._not_allowed or (kept_back is not None and not is_excluded)
        self._refused_before += status is OutcomeStatus.ALREADY_DONE and error is not None
        if error is not None:
            self._causes.add(status, error, row.line, _values(row))
        if status is OutcomeStatus.UNKNOWN and len(self._unknown) < UNKNOWN_SHOWN:
            self._unknown.append((row.line, _who(row)))
        if isinstance(row, ContactRow) and self.ledger is not None:
            result = evolve(result, ledger_key=row.ledger_key)
        number = result.interview_request_id
        if status is OutcomeStatus.ALREADY_DONE and number is not None and not self.results.link_of(number):
            self._without_link.append((row.cells, result))
            return not self._unwritable
        return self.results.write(row.cells, result)

    async def _take_the_rest(self) -> None:
        """Give a verdict to each row that the run did not get to, so that the results have all rows."""
        rest = chain(list(self._in_hand.values()), self._coming)
        async for each in verdicts(rest, self.ledger):
            if isinstance(each, BadRow):
                self._take_bad(each)
            else:
                result = RowResult(
                    status=each.status.value, interview_request_id=each.number, error=each.said
                )
                self._note(each.row, each.status, each.error, result)

    async def _read_links(self, hindsight: HindsightSession) -> None:
        """Read the links that no earlier results have back from the API."""
        ids = [
            number for _, result in self._without_link if (number := result.interview_request_id) is not None
        ]
        if not ids:
            return
        reading = asyncio.create_task(read_links(hindsight, ids, self._links, yes=self.yes))

        def stop(_: signal.Signals) -> None:
            self._interrupted = True
            reading.cancel()

        with handling(_signals_that_stop(), stop):
            try:
                await reading
            except asyncio.CancelledError:
                if not self._interrupted:
                    raise

    @asynccontextmanager
    async def _stopped_by_signals(self, run: BulkRun[Request, Any]) -> AsyncGenerator[None]:
        """First signal: take no more rows and finish what is in flight; second: leave now."""
        stops: list[asyncio.Task[None]] = []

        def stop(number: signal.Signals) -> None:
            if not stops:
                self._interrupted = True
                say("stopping: no more rows are taken, what is in flight ends first; again: at once")
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
        ending = Ending(
            counts=self.progress.counts, causes=self._causes, advice=self.advice,
            seconds=self.progress.seconds, invalid=self._invalid, excluded=self._excluded,
            failure=failure, interrupted=self._interrupted, columns=self.columns, unknown=self._unknown,
            list_unknown=self.list_unknown, results=self.results.output,
        )  # fmt: skip
        ending.next_step = self.next_step(ending)
        say(ending.text())
        return self._exit_code(failure)

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


def _values(row: ContactRow | UpdateRow) -> Mapping[str, Any]:
    """Return what a row asks for, by the API's names of the fields."""
    if isinstance(row, UpdateRow):
        return {"interview_request_id": row.interview_request_id}
    request = row.request
    return {
        "contact_email": request.contact_email, "sequence_id": request.sequence_id,
        "interview_type_id": request.interview_type_id, "deal_id": request.deal_id,
    }  # fmt: skip


def _who(row: ContactRow | UpdateRow) -> str:
    """Return whom a row is about, as it stands in the file."""
    return (
        f"interview {row.interview_request_id}" if isinstance(row, UpdateRow) else row.request.contact_email
    )
