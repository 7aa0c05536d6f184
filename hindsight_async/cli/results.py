"""What became of each row, written beside the row: CSV or JSON Lines."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO, cast

from attrs import field, frozen

from hindsight_async.redaction import escaped, json_text

JSON_LINES_SUFFIXES = (".jsonl", ".json", ".ndjson")
"""Of an output file that gets JSON Lines; every other one gets CSV."""

STATUS_COLUMN = "status"
ID_COLUMN = "interview_request_id"
LINK_COLUMN = "survey_url"
_OF_AN_INTERVIEW = (ID_COLUMN, LINK_COLUMN)
KEY_COLUMN = "ledger_key"
_WITH_INTERVIEW = {"created", "already_done", "unknown", "duplicate"}
"""The statuses of rows whose people have an interview, or may have one; of a duplicate another row has it."""
RESULT_COLUMNS = (STATUS_COLUMN, *_OF_AN_INTERVIEW, "error", KEY_COLUMN)

CLASH_PREFIX = "hindsight_"
"""Put before a result column whose name the input has already."""

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""A spreadsheet may run a cell that begins so, or (the last four, full-width) in some languages."""


LONGEST_LINK = 8000
"""Characters of a survey link, from the server, that go into the results; RFC 9110, 4.1, asks for as many to be taken."""


@frozen(kw_only=True)
class RowResult:
    """What became of one row; `survey_url` opens the interview without a login, so keep the file secret."""

    status: str
    interview_request_id: int | None = None
    survey_url: str | None = field(default=None, repr=False)
    error: str | None = None
    ledger_key: str | None = None
    """By what a ledger knows the row; `ledger resolve` takes it."""

    def values(self) -> tuple[str | int | None, ...]:
        """Return the values in the order of RESULT_COLUMNS."""
        # An address in a link stays, since without it that would lead nowhere.
        link = self.survey_url and self.survey_url[:LONGEST_LINK]
        return (self.status, self.interview_request_id, link, self.error, self.ledger_key)


class CsvResults:
    """CSV rows: the input's columns, then the result's; each row is flushed as it is written.

    A cell that a spreadsheet would run as a formula gets a leading `'`. The input's cells are else as they were; in the
    result's, hidden characters are spelled out.

    Args:
        file: Open for text, and the caller's to close. It is switched to UTF-8 without newline translation
            where it can be.
        columns: The input's columns.

    """

    def __init__(self, file: TextIO, columns: Sequence[str]) -> None:
        self._file = file
        _prepare(file)
        self._columns = tuple(columns)
        self._writer = csv.writer(file)
        self._write([*columns, *result_names(columns)])

    def write(self, cells: Mapping[str, Any], result: RowResult) -> None:
        """Write one row: its cells by column name (a missing one stays empty), and what became of it."""
        said = [escaped(value) if isinstance(value, str) else value for value in result.values()]
        self._write([*(cells.get(column) for column in self._columns), *said])

    def _write(self, values: Sequence[Any]) -> None:
        self._writer.writerow([spreadsheet_cell(value) for value in values])
        self._file.flush()


class JsonLinesResults:
    """One JSON object per row: the input's cells as they were, then the result's; each is flushed.

    Args:
        file: As in `CsvResults`.
        columns: The input's columns, by which clashing names are told.

    """

    def __init__(self, file: TextIO, columns: Sequence[str]) -> None:
        self._file = file
        _prepare(file)
        self._names = result_names(columns)

    def write(self, cells: Mapping[str, Any], result: RowResult) -> None:
        """Write one row: its cells, and what became of it (null where there is nothing to say)."""
        document = {**cells, **dict(zip(self._names, result.values(), strict=True))}
        self._file.write(json_text(document) + "\n")
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


def are_results(columns: Iterable[str]) -> bool:
    """Tell whether these are the columns of an earlier run's results, in any case, with the prefix or without.

    The status is one, and what an interview is found by: somebody may have deleted the others.
    """
    names = {column.casefold().removeprefix(CLASH_PREFIX) for column in columns}
    return STATUS_COLUMN in names and not names.isdisjoint(_OF_AN_INTERVIEW)


def status_column(columns: Iterable[str]) -> str | None:
    """Return in which column an earlier run has written what became of a row; None where these are no results of one."""
    names = {column.casefold(): column for column in columns}
    if not are_results(names):
        return None
    # Results of results have two, of which the later run's is the one with the prefix.
    return names.get(f"{CLASH_PREFIX}{STATUS_COLUMN}", names.get(STATUS_COLUMN))


def may_have_interview(status: object) -> bool:
    """Tell whether the status in a row of results means that the person has an interview, or may have one."""
    return str(status).strip() in _WITH_INTERVIEW


def is_of_a_run(column: str, columns: Iterable[str]) -> bool:
    """Tell whether one of these columns is what an earlier run wrote, and not about the contact."""
    return is_result_column(column) and are_results(columns)


def is_result_column(column: str) -> bool:
    """Tell whether a column of results is one that a run wrote, not the input's own."""
    return column.casefold().removeprefix(CLASH_PREFIX) in RESULT_COLUMNS


def column_of(columns: Sequence[str], name: str) -> str | None:
    """Return which of the columns of results is ours of this name: the last one, since ours stand behind the input's."""
    return next(
        (each for each in reversed(columns) if each.casefold().removeprefix(CLASH_PREFIX) == name), None
    )


def _prepare(file: TextIO) -> None:
    # A row that cannot be written would end a run whose requests are out already.
    if isinstance(file, io.TextIOWrapper):
        cast("io.TextIOWrapper", file).reconfigure(encoding="utf-8", errors="backslashreplace", newline="")


def spreadsheet_cell(value: object) -> str:
    """Return a cell as text that no spreadsheet runs as a formula."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
