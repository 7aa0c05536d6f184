"""Which keys were in the input before, in memory that does not grow with their number."""

from types import TracebackType
from typing import Self

from hindsight_async.errors import LedgerError


class SeenKeys:
    """Remembers the index of each key's first row, in a temporary file that SQLite removes by itself."""

    def __init__(self) -> None:
        import sqlite3  # noqa: PLC0415  some Pythons are built without it, and not every user needs it

        self._failure = sqlite3.Error
        # An empty name is a private database on disk; only its page cache is in memory.
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("CREATE TABLE seen (key TEXT PRIMARY KEY, row_index INTEGER) WITHOUT ROWID")
        self._database.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._database.close()

    def first_index(self, key: str, index: int) -> int:
        """Return the index of the first row with this key; `index` where this is the first.

        Raises LedgerError where the temporary file cannot be written.
        """
        try:
            if self._database.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (key, index)).rowcount:
                return index
            (first,) = self._database.execute("SELECT row_index FROM seen WHERE key = ?", (key,)).fetchone()
        except self._failure as error:
            raise LedgerError(f"the temporary file in which duplicates are found: {error}") from error
        return int(first)
