"""The rows of a bulk run as they come in, and which of them stood in the input before."""

import asyncio
from collections.abc import AsyncIterable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar, cast

from hindsight_async.errors import LedgerError

if TYPE_CHECKING:
    from sqlite3 import Connection

Request = TypeVar("Request")

MOST_ROWS_AHEAD: Final = 500
"""How many rows more are looked up at once while an earlier run has done them all, so that resuming is quick."""


class IncomingRows(Generic[Request]):
    """The rows of any iterable, in batches; it is read no further than there are places.

    Args:
        rows: Where they come from.
        places: How many may be taken that were not given back.

    """

    def __init__(self, rows: Iterable[Request] | AsyncIterable[Request], places: int) -> None:
        self._come_at_once = isinstance(rows, Iterable)
        """Whether the next row is there without waiting, so that a batch may be made of many."""
        self._iterator: Any = iter(rows) if isinstance(rows, Iterable) else aiter(rows)
        self._places = asyncio.Semaphore(places)
        self._taken = 0
        """How many the last batch had."""

    async def next_batch(self, *, ahead: bool) -> list[tuple[Request, bool]]:
        """Wait for one row, and take with it what comes at once: as many as have a place.

        Args:
            ahead: Whether to take others too, twice as many as the last batch had.

        Returns:
            Each row, with whether it was taken ahead and so has no place to give back; none at the end.

        """
        batch: list[tuple[Request, bool]] = []
        left = min(2 * self._taken, MOST_ROWS_AHEAD) if ahead else 0
        while not batch or self._come_at_once:
            is_ahead = bool(batch) and self._places.locked()
            if is_ahead and not left:
                break
            if is_ahead:
                left -= 1
            else:
                await self._places.acquire()
            try:
                batch.append((await self._next(), is_ahead))
            except StopAsyncIteration:
                break
        self._taken = len(batch)
        return batch

    def give_back(self) -> None:
        """Make room for another row."""
        self._places.release()

    async def _next(self) -> Request:
        if not self._come_at_once:
            return cast("Request", await anext(self._iterator))
        try:
            return cast("Request", next(self._iterator))
        except StopIteration:
            raise StopAsyncIteration from None


def _has_room_for_files() -> bool:
    """Return whether there is a folder for temporary files: a container that is read-only has none, and memory has to do."""
    # Loaded on first use, as sqlite3 is below.
    from tempfile import gettempdir  # noqa: PLC0415

    try:
        gettempdir()
    except OSError:
        return False
    return True


class SeenKeys:
    """Remembers the index of each key's first row, in a temporary file, so that memory does not grow with the input."""

    def __init__(self) -> None:
        self._in_memory: dict[str, int] = {}
        self._database: Connection | None = None
        try:
            # Loaded on first use: many programs import this package, and few of them have a bulk run.
            from sqlite3 import Error, connect  # noqa: PLC0415
        except ModuleNotFoundError:  # Python can be built without it; then memory has to do
            return
        self._failures = Error
        # An empty name is a private database on disk, which SQLite removes by itself; only its page cache is in memory.
        database = connect("" if _has_room_for_files() else ":memory:", isolation_level=None)
        database.execute("CREATE TABLE seen (key TEXT PRIMARY KEY, row_index INTEGER) WITHOUT ROWID")
        database.execute("BEGIN")
        self._database = database

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._database is not None:
            self._database.close()

    def first_index(self, key: str, index: int) -> int:
        """Return the index of the first row with this key.

        Args:
            key: What names the row.
            index: The row's own index, which is returned where it is the first.

        Raises:
            LedgerError: The temporary file cannot be written.

        """
        if self._database is None:
            return self._in_memory.setdefault(key, index)
        try:
            if self._database.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (key, index)).rowcount:
                return index
            (first,) = self._database.execute("SELECT row_index FROM seen WHERE key = ?", (key,)).fetchone()
        except self._failures as error:
            raise LedgerError(f"the temporary file in which duplicates are found: {error}") from error
        return int(first)
