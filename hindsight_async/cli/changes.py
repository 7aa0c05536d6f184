"""What the updates of a file overwrite: its rows counted, shown, and asked about before they are sent."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator

from attrs import define, field

from hindsight_async.cli.contacts import BadRow, CheckedRows, UpdateRow
from hindsight_async.cli.preflight import ROWS_SHOWN, joined, takes
from hindsight_async.cli.preview import Shown, say_what_was_understood, shown_as_sent
from hindsight_async.cli.problems import Problems, problems_path
from hindsight_async.cli.question import where_to
from hindsight_async.cli.results import are_results
from hindsight_async.cli.shared_options import SharedOptions
from hindsight_async.cli.terminal import counted, say, wrapped
from hindsight_async.delivery.input import SeenKeys

OVERWRITTEN = {
    "contact_context": ("contact's notes (contact_context)", "contacts' notes (contact_context)"),
    "contact_name": ("contact's name (contact_name)", "contacts' names (contact_name)"),
    "objective": ("objective", "objectives"),
}
"""What is overwritten, by the field's name: of one interview, and of more."""


@define
class UpdatableRows:
    """The rows of a file that update an interview.

    Of an earlier run's results those are left out that have none; those are bad that would merge into nothing.
    """

    rows: CheckedRows[UpdateRow]
    remembered: Collection[int] | None = None
    """The interviews whose contact's context a ledger remembers; None where nothing is merged."""
    left_out: int = field(init=False, default=0)
    """How many the last iteration left out."""

    def __iter__(self) -> Iterator[UpdateRow | BadRow]:
        has_results = are_results(self.rows.columns)
        column = self.rows.mapping.fields["interview_request_id"]
        self.left_out = 0
        for row in self.rows:
            if isinstance(row, BadRow):
                if has_results and not str(row.cells.get(column) or "").strip():
                    self.left_out += 1
                    continue
                yield row
            elif self._can_be_merged(row):
                yield row
            else:
                problem = (
                    f"the ledger remembers no context of the contact of interview {row.interview_request_id}:"
                    " nothing to merge into"
                )
                yield BadRow(line=row.line, cells=row.cells, problem=problem)

    def _can_be_merged(self, row: UpdateRow) -> bool:
        if self.remembered is None or row.update.contact_context is None:
            return True
        return row.interview_request_id in self.remembered


@define
class Changes:
    """How many rows are what, and what they overwrite."""

    rows_in_file: int = 0
    """All of them."""
    bad: int = 0
    """Cannot be read as an update."""
    duplicates: int = 0
    """Name an interview that an earlier row names."""
    left_out: int = 0
    """Of an earlier run's results, have no interview."""
    to_send: int = 0
    """Would be sent."""
    fields: Counter[str] = field(factory=Counter[str])
    """How many of `to_send` overwrite a field, by its name."""
    first: list[Shown] = field(factory=list[Shown])
    """The first ROWS_SHOWN that would go out."""

    def question(self, shared: SharedOptions, *, merges: bool) -> str:
        """Return what is about to be overwritten, and where.

        Args:
            shared: How fast it goes.
            merges: Whether notes are merged into what a ledger remembers.

        """
        how = {"contact_context": ", merged with what the ledger remembers" * merges}
        lost = [
            f"  {self.fields[name]:>7,}  {labels[self.fields[name] > 1]}{how.get(name, '')}"
            for name, labels in OVERWRITTEN.items()
            if self.fields[name]
        ]
        updates = f"This updates {counted(self.to_send, 'interview')} ({where_to(shared)}) and overwrites"
        return "\n".join(
            [
                "",
                wrapped(updates),
                *lost,
                f"{takes(self.to_send, shared.requests_per_minute)}. Hindsight keeps no old values.",
            ]
        )


def check_changes(file: str, checked: CheckedRows[UpdateRow], rows: UpdatableRows, *, yes: bool) -> Changes:
    """Read all rows once, and show what was understood of them and what is wrong with some.

    Args:
        file: The input's path, or `-` for stdin.
        checked: The whole file.
        rows: What of it is to be sent.
        yes: Whether nobody is asked, and so no rows are shown.

    Raises:
        ContactFileError: The file cannot be read to its end.

    """
    problems = Problems(problems_path(file))
    changes = _counted(rows, problems)
    changes.left_out = rows.left_out
    changes.rows_in_file += rows.left_out
    say_what_was_understood(file, changes.rows_in_file, checked, [] if yes else changes.first)
    counts = [
        f"{changes.to_send:,} to update",
        f"{changes.bad:,} with a problem",
        f"{changes.duplicates:,} twice in the file",
    ]
    if changes.left_out:
        counts.append(f"{changes.left_out:,} without an interview, left out")
    say(f"\n{joined(counts)}")
    problems.say()
    return changes


def _counted(rows: Iterable[UpdateRow | BadRow], problems: Problems) -> Changes:
    changes = Changes()
    with SeenKeys() as seen:
        for index, row in enumerate(rows):
            changes.rows_in_file += 1
            if isinstance(row, BadRow):
                changes.bad += 1
                problems.add(row)
            elif seen.first_index(str(row.interview_request_id), index) != index:
                changes.duplicates += 1
            else:
                changes.to_send += 1
                changes.fields.update(name for name in OVERWRITTEN if getattr(row.update, name) is not None)
                if len(changes.first) < ROWS_SHOWN:
                    ids = {"interview_request_id": row.interview_request_id}
                    changes.first.append(shown_as_sent(row.line, row.update, ids))
    return changes
