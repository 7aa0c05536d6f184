"""What `enroll` does before it sends anything: it checks every row, shows what it understood, and refuses or asks."""

from collections.abc import Iterable

from attrs import evolve, frozen

from hindsight_async.cli.contacts import BadRow, CheckedRows, ContactRow
from hindsight_async.cli.preflight import (
    Rules,
    check_file,
    refuse_bad_rows,
    say_counts,
    say_who_is_kept_back,
)
from hindsight_async.cli.preview import say_what_was_understood, shown_as_sent
from hindsight_async.cli.problems import Problems, problems_path
from hindsight_async.cli.question import Question
from hindsight_async.cli.results import status_column
from hindsight_async.cli.selection import RowsToOneself
from hindsight_async.cli.shared_options import SharedOptions
from hindsight_async.cli.terminal import counted, say, wrapped
from hindsight_async.delivery.ledger.ledger import Ledger


@frozen
class BeforeSending:
    """What is to be sent, and by which rules."""

    file: str
    contacts: CheckedRows[ContactRow]
    """All of the file."""
    rows: Iterable[ContactRow | BadRow]
    """What of it may be sent."""
    ledger: Ledger | None
    ledger_shown: str | None
    """Where the ledger is, without a password."""
    rules: Rules
    shared: SharedOptions
    """How fast it goes."""

    async def check(self, *, skip_invalid: bool, yes: bool) -> Question:
        """Check every row and show what was understood.

        Args:
            skip_invalid: Whether bad rows hold nobody back.
            yes: Whether nobody is asked. Then no rows are shown either: logs are no place for people's addresses.

        Returns:
            The question before the rest is sent.

        Raises:
            ValueError: Nothing may be sent: rows are bad, or have an interview of which the ledger knows nothing.
            ContactFileError: The file cannot be read to its end.
            LedgerError: The ledger cannot be read.

        """
        test_to = self.rows.address if isinstance(self.rows, RowsToOneself) else None
        earlier = status_column(self.contacts.columns) if test_to is None else None
        problems = Problems(problems_path(self.file))
        rules = evolve(self.rules, status_column=earlier)
        preflight = await check_file(self.rows, self.ledger, rules, problems.add)
        first = [] if yes else [shown_as_sent(row.line, row.request) for row in preflight.first]
        # Of a test no more is read than it takes.
        counted_rows = preflight.rows_in_file if test_to is None else None
        say_what_was_understood(self.file, counted_rows, self.contacts, first)
        if test_to is None:
            say_counts(preflight)
            problems.say()
            say_who_is_kept_back(preflight)
        self._refuse_strangers(preflight.strangers, earlier)
        if preflight.bad and not skip_invalid:
            refuse_bad_rows(preflight.bad)
        return Question(
            preflight=preflight, shared=self.shared, ledger=await self._ledger_told(test_to), test_to=test_to
        )

    def _refuse_strangers(self, strangers: int, column: str | None) -> None:
        if not strangers:
            return
        who = "1 row has its interview" if strangers == 1 else f"{strangers:,} rows have their interviews"
        why = "no ledger is given" if self.ledger is None else "this ledger does not know that"
        say(
            wrapped(
                f'By the column "{column}" {who} from an earlier run, and {why}. Name that run\'s ledger with --ledger,'
                " or take those rows out of the file; without that column all of them are sent again."
            )
        )
        raise ValueError("nothing was sent")

    async def _ledger_told(self, test_to: str | None) -> str:
        if test_to is not None:
            return "No ledger, no check for duplicates: the same command sends it all again."
        if self.ledger is None:
            return "No ledger: nothing will remember who was sent."
        state = "new"
        if await self.ledger.exists():
            state = f"knows {counted(sum((await self.ledger.counts()).values()), 'row')}"
        return f"Ledger: {self.ledger_shown} ({state})."
