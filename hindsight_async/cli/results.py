"""What became of each row, written beside the row: CSV or JSON Lines."""

import csv
import io
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, TextIO, cast

from attrs import field, frozen

from hindsight_async.cli.terminal import NOWHERE, say
from hindsight_async.delivery.ledger.sqlite import open_for_owner
from hindsight_async.redaction import escaped, json_text

JSON_LINES_SUFFIXES = (".jsonl", ".json", ".ndjson")
"""Of an output file that gets JSON Lines; every other one gets CSV."""

STATUS_COLUMN = "status"
_OF_AN_INTERVIEW = ("interview_request_id", "survey_url")
RESULT_COLUMNS = (STATUS_COLUMN, *_OF_AN_INTERVIEW, "error")

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

    def values(self) -> tuple[str | int | None, ...]:
        """Return the values in the order of RESULT_COLUMNS."""
        # An address in a link stays, since without it that would lead nowhere.
        link = self.survey_url and self.survey_url[:LONGEST_LINK]
        return (self.status, self.interview_request_id, link, self.error)


class ResultsFile:
    """Where the results go: a file, or stdout. Not touched before `begin`, when the run has its ledger.

    Args:
        output: The file; None for stdout.
        columns: The input's columns.
        apart_from: The files that the run reads or keeps its memory in.

    Raises:
        ValueError: `output` is one of those, or stdout is closed.

    """

    def __init__(self, output: Path | None, columns: tuple[str, ...], *, apart_from: Iterable[Path]) -> None:
        self._output = output
        self._columns = columns
        self._file: TextIO | None = None  # what is ours to close: stdout is not
        self._results: CsvResults | JsonLinesResults | None = None  # None before `begin`
        self._failure: OSError | None = None  # what ended the writing
        if output is None and sys.stdout is NOWHERE:
            raise ValueError("stdout is closed, and the results' links are nowhere else: give --output FILE")
        for other in apart_from:
            if output is not None and os.path.realpath(output) == os.path.realpath(other):
                raise ValueError(f"{output} cannot be the output too: it would be overwritten")

    def begin(self) -> None:
        """Open the file; one that is there already is kept beside it.

        Raises:
            ValueError: It cannot be written.

        """
        where = self._output or Path("stdout")
        kind = JsonLinesResults if where.suffix in JSON_LINES_SUFFIXES else CsvResults
        try:
            self._results = kind(self._open(), self._columns)
        except OSError as error:
            raise ValueError(f"{where} cannot be written: {error.strerror}") from None

    def _open(self) -> TextIO:
        if self._output is None:
            return sys.stdout
        _keep(self._output)
        # Survey links stand in it, each of which opens an interview without a login.
        self._file = open(self._output, "w", encoding="utf-8", newline="", opener=open_for_owner)  # noqa: SIM115
        return self._file

    def write(self, cells: Mapping[str, Any], result: RowResult) -> bool:
        """Write one row; False where the file takes no more, which is said once."""
        if self._failure is None and self._results is not None:
            try:
                self._results.write(cells, result)
            except OSError as error:
                self._failure = error
                say(f"the results cannot be written any more ({error.strerror}); the run is stopped")
        return self._failure is None

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()


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


def is_result_column(column: str) -> bool:
    """Tell whether a column of results is one that a run wrote, not the input's own."""
    return column.casefold().removeprefix(CLASH_PREFIX) in RESULT_COLUMNS


def _keep(output: Path) -> None:
    """Move a file of earlier results out of the way: their links are nowhere else."""
    if not output.is_file():
        return
    names = (output.with_name(f"{output.name}.{number}") for number in count(1))
    kept = next(name for name in names if not name.exists())
    output.rename(kept)
    say(f"the earlier {output.name} is now {kept.name}")


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
