"""What a person reads when a run over a file is over: counts, causes, what to do about each, and what comes next."""

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from attrs import define, field

from hindsight_async.cli.causes import Cause, Causes, named_rows
from hindsight_async.cli.progress import spoken_exactly
from hindsight_async.cli.run_failures import say_failure
from hindsight_async.cli.terminal import LINE_WIDTH, wrapped
from hindsight_async.delivery.outcomes import OutcomeStatus
from hindsight_async.errors import HindsightError, RecipientNotAllowedError

UNKNOWN_SHOWN = 5
"""Up to how many unknown rows are shown with their addresses; more are listed by a command."""

WORDS = {
    OutcomeStatus.CREATED: "created",
    OutcomeStatus.UPDATED: "updated",
    OutcomeStatus.REJECTED: "refused",
    OutcomeStatus.NOT_SENT: "not sent",
    OutcomeStatus.UNKNOWN: "unknown",
    OutcomeStatus.DUPLICATE: "duplicate",
    OutcomeStatus.ALREADY_DONE: "done before",
    OutcomeStatus.CLAIMED: "in another run's hand",
}
"""What a verdict is called on the screen; results and ledgers have the API's own words."""

_OPTIONS = {"sequence_id": "--sequence", "interview_type_id": "--interview-type"}
"""Which option feeds a field that no column does."""

_LISTED = (
    OutcomeStatus.REJECTED,
    OutcomeStatus.ALREADY_DONE,
    OutcomeStatus.NOT_SENT,
    OutcomeStatus.UNKNOWN,
    OutcomeStatus.CLAIMED,
)
"""In which order causes are told: what a person can mend, what is safe, what is not."""


@define(eq=False)
class Ending:
    """How a run over a file ended, as plain values."""

    counts: Counter[OutcomeStatus]
    causes: Causes
    advice: Mapping[OutcomeStatus, str]
    """What to do about the rows of a verdict, after its causes."""
    seconds: float = 0.0
    """How long it took."""
    invalid: int = 0
    """Rows that could not be read as a request."""
    excluded: int = 0
    """Rows of people who are not to be written to; among those not sent."""
    failure: HindsightError | None = None
    """What ended it before its input did."""
    interrupted: bool = False
    """Whether a signal ended it."""
    columns: Mapping[str, str] = field(factory=dict[str, str])
    """The column that feeds a field, by the field's name."""
    unknown: Sequence[tuple[int, str]] = field(factory=list[tuple[int, str]], repr=False)
    """The number and the address of the first unknown rows."""
    list_unknown: str | None = None
    """The command that lists them; None without a ledger."""
    results: Path | None = None
    """The file of results."""
    has_links: bool = True
    """Whether these have survey links, which are secret."""
    next_step: str | None = None
    """What to type, or do, next."""

    def text(self) -> str:
        """Return all of it, in lines of a terminal's width."""
        blocks = [self._counts(), *self._of_the_run(), *self._of_rows(), self._what_is_there()]
        return "\n\n".join(block for block in blocks if block)

    def _counts(self) -> str:
        refused_before = sum(cause.count for cause in self.causes.of(OutcomeStatus.ALREADY_DONE))
        told_apart = {OutcomeStatus.ALREADY_DONE: refused_before, OutcomeStatus.NOT_SENT: self.excluded}
        numbers = [(self.counts[status] - told_apart.get(status, 0), word) for status, word in WORDS.items()]
        numbers += [
            (refused_before, "refused before"),
            (self.excluded, "left out by --exclude"),
            (self.invalid, "with a problem"),
        ]
        parts = [f"{number:,} {word}" for number, word in numbers if number]
        took = [spoken_exactly(self.seconds)] if self.seconds >= 1 else []
        return wrapped(" · ".join([*(parts or ["no rows"]), *took]))

    def _of_the_run(self) -> Iterator[str]:
        if self.failure is not None:
            done = self.counts[OutcomeStatus.CREATED] + self.counts[OutcomeStatus.UPDATED]
            yield say_failure(self.failure, done=done, in_doubt=self.counts[OutcomeStatus.UNKNOWN])

    def _of_rows(self) -> Iterator[str]:
        blocks = [(lines, self.advice.get(status)) for status in _LISTED if (lines := self._lines_of(status))]
        for number, (lines, advice) in enumerate(blocks):
            is_said_below = advice in [each for _, each in blocks[number + 1 :]]
            yield "\n".join([*lines, *([advice] if advice and not is_said_below else [])])

    def _lines_of(self, status: OutcomeStatus) -> list[str]:
        """Return the causes of one verdict."""
        lines = [line for cause in self._causes(status) for line in self._of_cause(cause)]
        if status is OutcomeStatus.NOT_SENT and (left := self._cut_short()):
            lines.append(f"{left:,} not sent: the run ended before")
        if status is OutcomeStatus.UNKNOWN and lines:
            lines += self._who_is_unknown()
        return lines

    def _causes(self, status: OutcomeStatus) -> list[Cause]:
        causes = [cause for cause in self.causes.of(status) if not _is_excluded(cause)]
        if status is OutcomeStatus.NOT_SENT and (self.failure or self.interrupted):
            # Said once, of the run: each row that it kept back has met the same.
            return [cause for cause in causes if isinstance(cause.error, RecipientNotAllowedError)]
        return causes

    def _cut_short(self) -> int:
        if not (self.failure or self.interrupted):
            return 0
        kept_back = sum(cause.count for cause in self._causes(OutcomeStatus.NOT_SENT))
        return self.counts[OutcomeStatus.NOT_SENT] - self.excluded - kept_back

    def _of_cause(self, cause: Cause) -> Iterator[str]:
        word = (
            "refused by an earlier run" if cause.status is OutcomeStatus.ALREADY_DONE else WORDS[cause.status]
        )
        yield wrapped(f"{cause.count:,} {word}: {cause.text}", indent="   ")
        if cause.status is OutcomeStatus.UNKNOWN and cause.count <= UNKNOWN_SHOWN:
            return  # shown with their addresses
        where = named_rows(cause)
        if cause.about and cause.values:
            more = ", …" if cause.count > len(cause.values) > 1 else ""
            where += f" {'have' if cause.count > 1 else 'has'} {', '.join(cause.values)}{more}"
        if cause.about is not None and cause.about in self.columns:
            where += f'. Check the column "{self.columns[cause.about]}".'
        elif cause.about in _OPTIONS:
            where += f". Check {_OPTIONS[cause.about]}."
        yield wrapped(f"   {where}", indent="   ")

    def _who_is_unknown(self) -> Iterator[str]:
        count = self.counts[OutcomeStatus.UNKNOWN]
        if count <= UNKNOWN_SHOWN:
            yield from (f"   row {row}  {address}" for row, address in self.unknown)
        elif self.list_unknown:
            yield f"   All {count:,} of them, as a file that ledger resolve takes once it is filled in:"
            yield f"  {self.list_unknown}"

    def _what_is_there(self) -> str:
        lines: list[str] = []
        if self.results is not None:
            secret = "with ids and links: keep it private" if self.has_links else "a line for each"
            remark = f"(all rows, {secret})"
            line = f"Results   {shown_path(self.results)}"
            lines.append(
                f"{line}  {remark}"
                if len(line) + len(remark) + 2 <= LINE_WIDTH
                else f"{line}\n          {remark}"
            )
        if self.next_step:
            lines.append(f"Next      {self.next_step}")
        return "\n".join(lines)


def _is_excluded(cause: Cause) -> bool:
    """Tell whether these rows were left out because a person said so: no failure."""
    return isinstance(cause.error, RecipientNotAllowedError) and cause.error.is_blocked


def shown_path(path: Path) -> str:
    """Return a path as a shell takes it."""
    return shlex.quote(str(path))
