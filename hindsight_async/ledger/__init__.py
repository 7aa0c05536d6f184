"""The ledger: what was about to be sent, and what became of it, on disk before the bytes leave (extra `bulk`).

    ledger    opening one, reading it, resolving what is unknown
    journal   a ledger as the journal of a bulk run
    writer    concurrent writes that share one transaction
    file      the SQLite file: how it comes to be, its run lock, what its failures mean
    rows      tables and statements

Import from here.
"""

from importlib import import_module

try:
    for needed in ("sqlalchemy", "aiosqlite"):
        import_module(needed)
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{error.name} is not installed: a ledger needs pip install 'hindsight-async[bulk]'", name=error.name
    ) from error

from hindsight_async.journal import LedgerEntry, LedgerRow, LedgerStatus
from hindsight_async.ledger.journal import LedgerJournal
from hindsight_async.ledger.ledger import Ledger, LedgerRun

__all__ = ["Ledger", "LedgerEntry", "LedgerJournal", "LedgerRow", "LedgerRun", "LedgerStatus"]
