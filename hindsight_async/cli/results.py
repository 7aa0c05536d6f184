"""What became of each row, written beside the row: CSV or JSON Lines."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, TextIO, cast

from attrs import field, frozen

RESULT_COLUMNS = ("status", "interview_request_id", "survey_url", "error")

CLASH_PREFIX = "hindsight_"
"""Put before a result column whose name the input has already."""

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""A spreadsheet may run a cell that begins so, or (the last four, full-width) in some languages."""


@frozen(kw_only=True)
class RowResult:
    """What became of one row; `survey_url` opens the interview without a login, so keep the file secret."""

    status: str
    interview_request_id: int | None = None
    survey_url: str | None = field(default=None, repr=False)
    error: str | None = None

    def values(self) -> tuple[str | int | None, ...]:
        """Return the values in the order of RESULT_COLUMNS."""
        return (self.status, self.interview_request_id, self.survey_url, self.error)


class CsvResults:
    """CSV rows: the input's columns, then the result's; each row is flushed as it is written.

    `file` is open for text and stays the caller's to close. It is switched to UTF-8 without newline
    translation where it can be. A cell that a spreadsheet would run as a formula gets a leading `'`.
    """

    def __init__(self, file: TextIO, columns: Sequence[str]) -> None:
        self._file = file
        _prepare(file)
        self._columns = tuple(columns)
        self._writer = csv.writer(file)
        self._write([*columns, *result_names(columns)])

    def write(self, cells: Mapping[str, Any], result: RowResult) -> None:
        """Write one row: its cells by column name (a missing one stays empty), and what became of it."""
        self._write([*(cells.get(column) for column in self._columns), *result.values()])

    def _write(self, values: Sequence[Any]) -> None:
        self._writer.writerow([_cell(value) for value in values])
        self._file.flush()


class JsonLinesResults:
    """One JSON object per row: the input's cells as they were, then the result's; each is flushed.

    `file` is as in `CsvResults`; `columns` are the input's, by which clashing names are told.
    """

    def __init__(self, file: TextIO, columns: Sequence[str]) -> None:
        self._file = file
        _prepare(file)
        self._names = result_names(columns)

    def write(self, cells: Mapping[str, Any], result: RowResult) -> None:
        """Write one row: its cells, and what became of it (null where there is nothing to say)."""
        document = {**cells, **dict(zip(self._names, result.values(), strict=True))}
        self._file.write(json.dumps(document, ensure_ascii=False) + "\n")
        self._file.flush()


def result_names(columns: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the result's columns beside these; case does not tell two names apart."""
    taken = {column.casefold() for column in columns}
    names: list[str] = []
    for column in RESULT_COLUMNS:
        name = column
        while name in taken:
            name = CLASH_PREFIX + name
        names.append(name)
    return tuple(names)


def _prepare(file: TextIO) -> None:
    # A row that cannot be written would end a run whose requests are out already.
    if isinstance(file, io.TextIOWrapper):
        cast("io.TextIOWrapper", file).reconfigure(encoding="utf-8", errors="backslashreplace", newline="")


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
