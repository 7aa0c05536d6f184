"""The rows of a bulk run as they come in, and which of them stood in the input before."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define, field

from hindsight_async.errors import LedgerError

if TYPE_CHECKING:
    from sqlite3 import Connection

Request = TypeVar("Request")


@define
class IncomingRows(AsyncIterator[Request]):
    """Any iterable as an async iterator; `at_once` says that its rows come without waiting."""

    _rows: Iterable[Request] | AsyncIterable[Request]
    at_once: bool = field(init=False)
    _iterator: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.at_once = isinstance(self._rows, Iterable)
        self._iterator = iter(self._rows) if isinstance(self._rows, Iterable) else aiter(self._rows)

    async def __anext__(self) -> Request:
        if not self.at_once:
            return cast("Request", await anext(self._iterator))
        try:
            return cast("Request", next(self._iterator))
        except StopIteration:
            raise StopAsyncIteration from None


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
        database = connect("", isolation_level=None)
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
