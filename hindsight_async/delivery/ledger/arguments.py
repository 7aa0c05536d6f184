"""What calls take as `ledger=`: one that is open, or where one is that they open themselves."""

import os
from typing import Any, Protocol

from hindsight_async.delivery.ledger.ledger import Ledger
from hindsight_async.delivery.ledger.run import LedgerRun


class HasLedgerRun(Protocol):
    """What has an open ledger run."""

    @property
    def ledger_run(self) -> LedgerRun:
        """The run."""
        ...


def open_run(ledger: Any) -> LedgerRun:
    """Return the open run that a single call was given, or that of what it was given.

    Raises:
        TypeError: It has none.

    """
    run = ledger if isinstance(ledger, LedgerRun) else getattr(ledger, "ledger_run", None)
    if not isinstance(run, LedgerRun):
        # What has one open will do, too; most who come here gave a path.
        raise TypeError(
            f"ledger must be a LedgerRun, as Ledger.run() opens it, not {type(ledger).__name__}:"
            " a single call opens no ledger"
        )
    return run


def ledger_at(ledger: Any) -> Ledger:
    """Return the ledger that a run of many was given, or the one where it was told.

    Raises:
        TypeError: It is neither a ledger nor a path or URL.
        ValueError: As from `Ledger`.

    """
    if isinstance(ledger, Ledger):
        return ledger
    if not isinstance(ledger, (str, os.PathLike)):
        raise TypeError(
            f"ledger must be a path, a URL or a Ledger, which the run opens itself, not {type(ledger).__name__}"
        )
    return Ledger(ledger)  # pyright: ignore[reportUnknownArgumentType]
