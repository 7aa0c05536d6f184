"""A table in a file: its rows, streamed, with their line numbers."""

import csv
import io
import json
import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, NoReturn, cast

from attrs import field, frozen

from hindsight_async.cli.contacts.columns import column_names, refuse_many, repeated, trimmed
from hindsight_async.cli.contacts.file_format import (
    BYTE_ORDER_MARK,
    SAMPLE_SIZE,
    ContactFileError,
    FileFormat,
    refuse_encoding,
    sniff,
)
from hindsight_async.resources.interviews.context import json_ready, sendable_text

FIELD_LIMIT = 131_072
"""Characters in one CSV cell. More is a quote that was never closed, or a file that is no contact list."""

ROW_LIMIT = 1_048_576
"""Characters in one row, also of JSON Lines: what is held in memory at a time."""

_PROBLEM_LENGTH = 300
_INTEGER_LENGTH = 20  # the digits of 64 bits, the widest integer that can be sent
_BYTE_NOT_UTF8 = re.compile("[\udc80-\udcff]")
_BYTE_ONLY_IN_WINDOWS_1252 = re.compile("[\udc80-\udc9f]")


@frozen(kw_only=True)
class TableRow:
    """One row, as it was read."""

    line: int
    """Where it starts in the file, from 1."""
    cells: Mapping[str, Any] = field(repr=False)
    """Its cells by column, untrimmed. In CSV each is text; in JSON Lines any JSON value, and absent keys have none."""


@frozen(kw_only=True)
class BadRow:
    """A row that cannot be used."""

    line: int
    """Where it starts in the file, from 1."""
    cells: Mapping[str, Any] = field(repr=False)
    """What could be read of it, by column."""
    problem: str
    """What is wrong, without repeating an address."""


def json_object(text: str) -> dict[str, Any]:
    """Return the JSON object in `text`.

    Raises:
        ValueError: It is anything else; the text repeats no address.

    """
    try:
        value: object = _JSON.decode(text.strip())
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON on one line: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise ValueError("the JSON nests too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004  # for the caller it is one more bad text
    entries = cast("dict[str, Any]", value)
    try:
        return {sendable_text(name, "a name"): json_ready(item, name) for name, item in entries.items()}
    except ValueError as error:
        raise ValueError(_presentable(str(error))) from None


def _presentable(problem: str) -> str:
    # The path in it is made of the file's own names, which may be addresses, or endless.
    text = " ".join(_withheld(word) if "@" in word else word for word in problem.split(" "))
    if len(text) <= _PROBLEM_LENGTH:
        return text
    return f"{text[: _PROBLEM_LENGTH // 2]}…{text[-_PROBLEM_LENGTH // 2 :]}"


def _withheld(path: str) -> str:
    name = path.partition(".")[0]
    return "(withheld)" if "@" in name else f"{name}.(withheld)"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if twice := repeated([name for name, _ in pairs]):
        raise ValueError(f"{twice} stands more than once in one object")
    return dict(pairs)


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > _INTEGER_LENGTH:
        raise ValueError(f"an integer of more than {_INTEGER_LENGTH} digits cannot be sent")
    return int(digits)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_JSON = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_constant=_refuse_constant)


class Lines:
    """The lines of a file as text, counted, with their line ends; CR alone ends a line too."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self._number = 0  # of the line that was read last, from 1
        self.row_line = 1  # where the row begins that is being read: a quoted cell may go on over many lines
        self.row_length = 0  # characters of that row so far
        self.ended = False  # whether the file is read to its end

    def begin_row(self) -> None:
        """Take what comes next for the beginning of a row."""
        self.row_line = self._number + 1
        self.row_length = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._text.readline(ROW_LIMIT + 1)
        if not line:
            self.ended = True
            raise StopIteration
        self._number += 1
        self.row_length += len(line)
        if self.row_length > ROW_LIMIT:
            raise ContactFileError(f"the row has more than {ROW_LIMIT:,} characters", line=self.row_line)
        if "\0" in line:
            raise ContactFileError("a NUL byte: this is no text file", line=self._number)
        if line.isascii():
            return line
        if _BYTE_NOT_UTF8.search(line):
            windows = _BYTE_ONLY_IN_WINDOWS_1252.search(line)
            refuse_encoding("Windows-1252" if windows else "Latin-1 or Windows-1252", self._number)
        return line.lstrip(BYTE_ORDER_MARK)


@contextmanager
def lines_of(file: BinaryIO) -> Generator[Lines, None, None]:
    """Read a file from its beginning, line by line; where that fails, a ContactFileError names the line."""
    file.seek(0)
    # Escaped bytes instead of an exception from the middle of a buffer: so the line is known.
    text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
    try:
        yield Lines(text)
    finally:
        if not file.closed:
            text.detach()


class Table:
    """The rows of a CSV or JSON Lines file, streamed; each iteration reads the file from its beginning.

    Construction reads the column names, and only one iteration may go on at a time.

    Args:
        file: Binary, seekable, and the caller's to close.

    Raises:
        ContactFileError: The whole file is unusable; iterating raises it too.

    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        file.seek(0)
        self._format = sniff(file.read(SAMPLE_SIZE))
        self.columns = self._names_in_objects() if self._format.json_lines else self._names_in_header()

    def __iter__(self) -> Iterator[TableRow | BadRow]:
        empty = True
        with lines_of(self._file) as lines:
            for row in self._objects(lines) if self._format.json_lines else self._records(lines):
                empty = False
                yield row
        if empty:
            raise ContactFileError("the file has column names but no row below them")

    def _names_in_header(self) -> tuple[str, ...]:
        with lines_of(self._file) as lines:
            for line, cells in _csv_rows(lines, self._format):
                return column_names(cells, line)
        raise ContactFileError("the file is empty: the first line must name the columns")

    def _records(self, lines: Lines) -> Iterator[TableRow | BadRow]:
        width = len(self.columns)
        rows = _csv_rows(lines, self._format)
        next(rows)
        for line, cells in rows:
            named = dict(zip(self.columns, cells, strict=False))
            if len(cells) < width or any(map(trimmed, cells[width:])):
                problem = f"the row has {len(cells)} cell{'s' * (len(cells) > 1)}, the header names {width}"
                yield BadRow(line=line, cells=named, problem=problem)
            else:
                yield TableRow(line=line, cells=named)

    def _names_in_objects(self) -> tuple[str, ...]:
        names: dict[str, None] = {}
        unreadable: BadRow | None = None
        with lines_of(self._file) as lines:
            for row in self._objects(lines):
                if isinstance(row, BadRow):
                    unreadable = unreadable or row
                names.update(dict.fromkeys(row.cells))
                refuse_many(names, row.line)
        if unreadable and not names:
            raise ContactFileError(unreadable.problem, line=unreadable.line)
        return tuple(names)

    def _objects(self, lines: Lines) -> Iterator[TableRow | BadRow]:
        lines.begin_row()
        for text in lines:
            if trimmed(text):
                try:
                    row: TableRow | BadRow = TableRow(line=lines.row_line, cells=json_object(text))
                except ValueError as error:
                    row = BadRow(line=lines.row_line, cells={}, problem=str(error))
                yield row
            lines.begin_row()


def _csv_rows(lines: Lines, file_format: FileFormat) -> Iterator[tuple[int, list[str]]]:
    if file_format.separator_line:
        next(lines)
    limit = min(FIELD_LIMIT, csv.field_size_limit())
    reader = csv.reader(lines, delimiter=file_format.delimiter, strict=True, skipinitialspace=True)
    lines.begin_row()
    try:
        for cells in reader:
            if lines.row_length > limit and any(len(cell) > limit for cell in cells):
                _refuse_quoting(lines, limit)
            if any(map(trimmed, cells)):
                yield lines.row_line, cells
            lines.begin_row()
    except csv.Error:
        _refuse_quoting(lines, limit)


def _refuse_quoting(lines: Lines, limit: int) -> NoReturn:
    # What follows may be the inside of a cell, so no later row can be trusted to be one.
    if lines.row_length > limit:
        problem = (
            f"a cell has more than {limit:,} characters, or a quote that opens in this row is never closed"
        )
    elif lines.ended:
        problem = "a quote that opens in this row is never closed"
    else:
        problem = "text follows a closing quote: inside a quoted cell, write each quote twice"
    raise ContactFileError(problem, line=lines.row_line)
