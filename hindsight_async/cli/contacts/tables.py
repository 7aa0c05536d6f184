"""A table in a file: its rows, streamed, with their line numbers."""

import csv
import io
import re
from collections.abc import Generator, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from itertools import islice
from typing import Any, BinaryIO, NoReturn

from attrs import field, frozen

from hindsight_async.cli.contacts.columns import column_names, refuse_many, trimmed
from hindsight_async.cli.contacts.file_format import (
    BYTE_NOT_UTF8,
    BYTE_ORDER_MARK,
    UTF_8,
    ContactFileError,
    FileFormat,
    refuse_encoding,
    sniff,
)
from hindsight_async.cli.contacts.json_objects import json_object
from hindsight_async.cli.contacts.report_layout import (
    TITLE_ROWS,
    Row,
    delimiter_of,
    header_place,
    without_footer,
)
from hindsight_async.cli.contacts.workbook import workbook_rows

FIELD_LIMIT = 131_072
"""Characters in one CSV cell. More is a quote that was never closed, or a file that is no contact list."""

ROW_LIMIT = 1_048_576
"""Characters in one row, also of JSON Lines: what is held in memory at a time."""

_BYTE_ONLY_IN_WINDOWS_1252 = re.compile("[\udc80-\udc9f]")


@frozen(kw_only=True)
class TableRow:
    """One row, as it was read."""

    line: int
    """Which row of the file it is, as a spreadsheet counts them from 1; of JSON Lines, which line."""
    cells: Mapping[str, Any] = field(repr=False)
    """Its cells by column, untrimmed. In CSV each is text; in JSON Lines any JSON value, and absent keys have none."""


@frozen(kw_only=True)
class BadRow:
    """A row that cannot be used."""

    line: int
    """Which row of the file it is, as a spreadsheet counts them from 1; of JSON Lines, which line."""
    cells: Mapping[str, Any] = field(repr=False)
    """What could be read of it, by column."""
    problem: str
    """What is wrong, without repeating an address."""
    kind: str = "cannot be read"
    """What sort of problem it is, in the same words for each row that has it."""
    value: Any = field(default=None, repr=False)
    """What is at fault, as it stands in the file; None where it is no single cell."""


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
        if BYTE_NOT_UTF8.search(line):
            windows = _BYTE_ONLY_IN_WINDOWS_1252.search(line)
            refuse_encoding("Windows-1252" if windows else "Latin-1 or Windows-1252", self._number)
        return line.lstrip(BYTE_ORDER_MARK)


@contextmanager
def lines_of(file: BinaryIO, encoding: str = UTF_8) -> Generator[Lines, None, None]:
    """Read a file from its beginning, line by line; where that fails, a ContactFileError names the line."""
    file.seek(0)
    # Escaped bytes instead of an exception from the middle of a buffer: so the line is known.
    errors = "surrogateescape" if encoding == UTF_8 else "strict"
    text = io.TextIOWrapper(file, encoding=encoding, errors=errors, newline="")
    try:
        yield Lines(text)
    finally:
        if not file.closed:
            text.detach()


class Table:
    """The rows of a CSV or JSON Lines file or a workbook, streamed; each iteration reads the file from its beginning.

    Construction reads the column names, and only one iteration may go on at a time.

    Args:
        file: Binary, seekable, and the caller's to close.
        headings: What one of the columns is called, as `heading_of` makes it: by that the header is known where
            titles stand above it.

    Raises:
        ContactFileError: The whole file is unusable; iterating raises it too.

    """

    def __init__(self, file: BinaryIO, headings: AbstractSet[str] = frozenset()) -> None:
        self.assumed: list[str] = []
        """What was assumed in reading it, as sentences; complete after the first iteration."""
        self._file = file
        self._format = sniff(file)
        if self._format.assumed:
            self._assume(self._format.assumed)
        self._sheet = workbook_rows(file, self._assume) if self._format.workbook else None
        self._delimiter = ""
        if self._format.json_lines:
            self.columns = self._names_in_objects()
            return
        self._delimiter = self._format.delimiter or delimiter_of(self._format.sample, headings)
        self._titles = 0
        self._header: list[str] = []
        self.columns = self._names_in_header(headings)

    def __iter__(self) -> Iterator[TableRow | BadRow]:
        empty = True
        for row in self._objects() if self._format.json_lines else self._records():
            empty = False
            yield row
        if empty:
            raise ContactFileError("the file has column names but no row below them")

    @property
    def described(self) -> str:
        """What kind of file it is, such as `UTF-8, semicolons`."""
        return self._format.described(self._delimiter)

    def _assume(self, text: str) -> None:
        if text not in self.assumed:
            self.assumed.append(text)

    def _rows(self) -> Iterator[Row]:
        if self._sheet is not None:
            yield from self._sheet
            return
        with lines_of(self._file, self._format.encoding) as lines:
            yield from _csv_rows(lines, self._format, self._delimiter)

    def _names_in_header(self, headings: AbstractSet[str]) -> tuple[str, ...]:
        first: list[Row] = []
        try:
            first.extend(islice(self._rows(), TITLE_ROWS + 1))
        except ContactFileError:
            if not first:
                raise
        if not first:
            raise ContactFileError("the file is empty: the first line must name the columns")
        self._titles = header_place([cells for _, cells in first], headings) or 0
        line, self._header = first[self._titles]
        if self._titles:
            self._assume(f"The column names stand on line {line}; what is above was left out.")
        return column_names(self._header, line, self._assume)

    def _records(self) -> Iterator[TableRow | BadRow]:
        width = len(self.columns)
        headings = 0
        for line, cells in without_footer(islice(self._rows(), self._titles + 1, None), self._assume):
            if cells == self._header:
                headings += 1
                continue
            named = dict(zip(self.columns, cells, strict=False))
            if len(cells) < width or any(map(trimmed, cells[width:])):
                problem = f"the row has {len(cells)} cell{'s' * (len(cells) > 1)}, the header names {width}"
                yield BadRow(line=line, cells=named, problem=problem, kind="another number of cells")
            else:
                yield TableRow(line=line, cells=named)
        if headings:
            self._assume(f"{headings} more line{'s' * (headings > 1)} with the column names: left out.")

    def _names_in_objects(self) -> tuple[str, ...]:
        names: dict[str, None] = {}
        unreadable: BadRow | None = None
        for row in self._objects():
            if isinstance(row, BadRow):
                unreadable = unreadable or row
            names.update(dict.fromkeys(row.cells))
            refuse_many(names, row.line)
        if unreadable and not names:
            raise ContactFileError(unreadable.problem, line=unreadable.line)
        return tuple(names)

    def _objects(self) -> Iterator[TableRow | BadRow]:
        with lines_of(self._file, self._format.encoding) as lines:
            yield from _json_rows(lines)


def _json_rows(lines: Lines) -> Iterator[TableRow | BadRow]:
    lines.begin_row()
    for text in lines:
        if trimmed(text):
            try:
                row: TableRow | BadRow = TableRow(line=lines.row_line, cells=json_object(text))
            except ValueError as error:
                row = BadRow(line=lines.row_line, cells={}, problem=str(error))
            yield row
        lines.begin_row()


def _csv_rows(lines: Lines, file_format: FileFormat, delimiter: str) -> Iterator[Row]:
    if file_format.delimiter:
        next(lines)  # a spreadsheet follows that line and shows it nowhere, so no row counts it
    number = 1
    limit = min(FIELD_LIMIT, csv.field_size_limit())
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True)
    lines.begin_row()
    try:
        for cells in reader:
            if lines.row_length > limit and any(len(cell) > limit for cell in cells):
                _refuse_quoting(lines, limit)
            if any(map(trimmed, cells)):
                yield number, cells
            number += 1
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
