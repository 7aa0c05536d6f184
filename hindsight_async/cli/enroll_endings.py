"""What `enroll` advises at its end. Nothing that emails somebody stands there ready to be pasted: ADDRESS and ID are typed."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from hindsight_async.cli.summary import Ending, shown_path
from hindsight_async.cli.terminal import wrapped
from hindsight_async.delivery.outcomes import OutcomeStatus

_WHAT_STARS_MEAN = """\
Where a command above says ***, type the ledger's password; or take it out, and
set PGPASSWORD."""
"""No password is printed, so a command with one cannot be copied as it is."""

_WITHOUT_LEDGER = {
    OutcomeStatus.REJECTED: "Correct them in the file, and run these alone.",
    OutcomeStatus.NOT_SENT: "Nothing remembers the rows that were sent: run these alone, not the whole file.",
    OutcomeStatus.UNKNOWN: """\
They may have been emailed: look them up in Hindsight before anybody sends
them again.""",
    OutcomeStatus.CLAIMED: "Run these alone again.",
}

_BEFORE_RUN_AGAIN = "the same command again: it goes on where it stopped"
_NOT_AGAIN = "not the whole file again: without a ledger nothing remembers who was sent"


@frozen
class EnrollEndings:
    """The advice of one run.

    Args:
        ledger: Where its ledger is, without a password; None for none.
        is_secret: Whether a password was left out.

    """

    ledger: str | None
    is_secret: bool = False

    @property
    def list_unknown(self) -> str | None:
        """The command that lists unknown rows."""
        return (
            self.ledger and f"hindsight-async ledger show {shlex.quote(self.ledger)} --status unknown --csv"
        )

    @property
    def advice(self) -> Mapping[OutcomeStatus, str]:
        """What to do about the rows of a verdict."""
        if self.ledger is None:
            return _WITHOUT_LEDGER
        stars = f"\n{_WHAT_STARS_MEAN}" if self.is_secret else ""
        resolve = f"  hindsight-async ledger resolve {shlex.quote(self.ledger)} ADDRESS"
        refused = f"""\
Correct the file and run the same command again. Where contact, sequence and
deal stay as they are, a row is sent again only after
{resolve} --not-created{stars}"""
        return {
            OutcomeStatus.REJECTED: refused,
            OutcomeStatus.ALREADY_DONE: refused,
            OutcomeStatus.NOT_SENT: "Safe to run again: the same command sends these alone.",
            OutcomeStatus.UNKNOWN: f"""\
They may have been emailed, so they are not sent again. Look them up in
Hindsight, then, for each,
{resolve} --created ID
{resolve} --not-created{stars}""",
            OutcomeStatus.CLAIMED: wrapped(
                "Another run with this ledger is at them; should it end before its time, run this again."
            ),
        }

    def next_step(self, ending: Ending) -> str | None:
        """Return what to do once a run has ended so."""
        counts = ending.counts
        if ending.interrupted:
            return _NOT_AGAIN if self.ledger is None else _BEFORE_RUN_AGAIN
        if not counts[OutcomeStatus.CREATED] + counts[OutcomeStatus.ALREADY_DONE]:
            return None
        source: str | Path | None = self.ledger or ending.results
        if source is None or self.is_secret:
            return None
        return f"hindsight-async status {shown_path(Path(source))} --watch"
