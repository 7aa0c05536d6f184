"""The rows of a bulk run as they come in."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Any, TypeVar, cast

from attrs import define, field

Row = TypeVar("Row")


@define
class IncomingRows(AsyncIterator[Row]):
    """Any iterable as an async iterator; `at_once` says that its rows come without waiting."""

    _rows: Iterable[Row] | AsyncIterable[Row]
    at_once: bool = field(init=False)
    _iterator: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.at_once = isinstance(self._rows, Iterable)
        self._iterator = iter(self._rows) if isinstance(self._rows, Iterable) else aiter(self._rows)

    async def __anext__(self) -> Row:
        if not self.at_once:
            return cast("Row", await anext(self._iterator))
        try:
            return cast("Row", next(self._iterator))
        except StopIteration:
            raise StopAsyncIteration from None
