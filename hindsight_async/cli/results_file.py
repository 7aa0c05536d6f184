"""The file of results: written beside the one of earlier runs, whose links it takes over before it takes its place.

Survey links are nowhere else, so no moment leaves fewer of them on disk than there were. A run writes to `NAME.part`,
row by row, and puts it in the place of `NAME` at its end; what a killed run left is read by the next one as an earlier
file is. An earlier file with an interview or a column that the new one lacks is kept as `NAME.1`.
"""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, Literal, TextIO

from attrs import evolve

from hindsight_async.cli.earlier_results import EarlierResults, read_earlier
from hindsight_async.cli.file_arguments import STDIN
from hindsight_async.cli.ledger_beside import NO_FILES, beside
from hindsight_async.cli.results import (
    JSON_LINES_SUFFIXES,
    CsvResults,
    JsonLinesResults,
    RowResult,
    result_names,
)
from hindsight_async.cli.terminal import NOWHERE, say
from hindsight_async.delivery.ledger.sqlite import open_for_owner

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]

RESULTS_SUFFIX = ".results.csv"
"""What stands in place of the input's suffix in the name of the results beside it."""

PART_SUFFIX = ".part"
"""Of the file that a run writes to; a number behind it where a killed run has left one."""


def results_beside(file: str, output: Path | None, suffix: str = RESULTS_SUFFIX) -> Path | None:
    """Return where the results of an input go: where a person says, else beside it; None for stdout.

    Args:
        file: The input's path, or `-` for stdin.
        output: What was given, `-` for stdout; None for nothing.
        suffix: What stands in place of the input's suffix.

    """
    if output is not None:
        return None if str(output) == STDIN else output
    path = Path(file)
    if file == STDIN or not path.is_file() or path.absolute().parts[1:2] in NO_FILES:
        return None
    return beside(path, suffix)


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
        self.output = output
        self._place = (
            None if output is None else Path(os.path.realpath(output))
        )  # what a link leads to stays there
        self._columns = columns
        self._file: TextIO | None = None  # what is ours to close: stdout is not
        self._part: Path | None = None  # where it lies until the end; None where it is written in its place
        self._results: CsvResults | JsonLinesResults | None = None  # None before `begin`
        self._failure: OSError | None = None  # what ended the writing
        self._earlier: list[EarlierResults] = []
        self._written: set[int] = set()  # the interviews in it
        if output is None and sys.stdout is NOWHERE:
            raise ValueError("stdout is closed, and the results' links are nowhere else: give --output FILE")
        for other in apart_from:
            if output is not None and os.path.realpath(output) == os.path.realpath(other):
                raise ValueError(f"{output} cannot be the output too: it would be overwritten")

    def begin(self) -> None:
        """Open the file, and read what earlier runs have left in its place.

        Raises:
            ValueError: It cannot be written.

        """
        where = self.output or Path("stdout")
        kind = JsonLinesResults if where.suffix in JSON_LINES_SUFFIXES else CsvResults
        try:
            self._results = kind(self._open(), self._columns)
        except OSError as error:
            raise ValueError(
                f"{where} cannot be written: {error.strerror}; give --output FILE for another"
            ) from None

    def _open(self) -> TextIO:
        place = self._place
        if place is None:
            return sys.stdout
        mode: Literal["w", "x"] = "w"
        if not place.exists() or place.is_file():
            *left_behind, free = _parts_of(place)
            abandoned = [path for path in left_behind if not _is_being_written(path)]
            self._earlier = [read_earlier(path) for path in (place, *abandoned) if path.is_file()]
            place, mode = free, "x"
            self._part = place
        # Survey links stand in it, each of which opens an interview without a login.
        file = open(place, mode, encoding="utf-8", newline="", opener=open_for_owner)  # noqa: SIM115
        _claim(file)
        self._file = file
        return file

    def link_of(self, interview_request_id: int) -> str | None:
        """Return an interview's link out of the results of earlier runs, None where they have none."""
        links = (earlier.links.get(interview_request_id) for earlier in self._earlier)
        return next((link for link in links if link), None)

    def write(self, cells: Mapping[str, Any], result: RowResult) -> bool:
        """Write one row; False where the file takes no more, which is said once."""
        number = result.interview_request_id
        if number is not None and not result.survey_url:
            result = evolve(result, survey_url=self.link_of(number))
        if self._failure is None and self._results is not None:
            try:
                self._results.write(cells, result)
            except OSError as error:
                self._failure = error
                say(f"the results cannot be written any more ({error.strerror}); the run is stopped")
            else:
                self._written.update(() if number is None else (number,))
        return self._failure is None

    def close(self) -> None:
        """Close the file, and put it in its place; what it does not hold of the earlier ones is kept beside it."""
        if self._file is None:
            return
        with suppress(OSError):
            self._file.close()
        if self._part is None or self._place is None:
            return
        try:
            self._take_its_place(self._part, self._place)
        except OSError as error:
            say(f"the results are in {self._part}: {self._place.name} cannot be replaced ({error.strerror})")
            self.output = self._part

    def _take_its_place(self, part: Path, place: Path) -> None:
        columns = (*self._columns, *result_names(self._columns))
        for path in {place, *(earlier.path for earlier in self._earlier)}:
            with suppress(FileNotFoundError):
                # Once more: another run may have put its own there meanwhile.
                if not read_earlier(path).may_be_replaced(columns, self._written):
                    _keep(path, place)
                elif path != place:
                    path.unlink()
        part.replace(place)


def _parts_of(place: Path) -> Iterator[Path]:
    """Yield the files that runs have left behind, then the first that is free."""
    for number in count(1):
        path = place.with_name(f"{place.name}{PART_SUFFIX}{number if number > 1 else ''}")
        yield path
        if not path.exists():
            return


def _claim(file: TextIO) -> None:
    """Keep a file locked for as long as it is open: the kernel lets go of it when the process dies."""
    if fcntl is not None:
        with suppress(OSError):  # a terminal, or a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_being_written(path: Path) -> bool:
    """Tell whether another run, which lives, has the file."""
    if fcntl is None:
        return False  # Windows, which lets nobody rename or remove an open file
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return False


def _keep(path: Path, place: Path) -> None:
    """Move a file of earlier results out of the way: its links are nowhere else."""
    names = (place.with_name(f"{place.name}.{number}") for number in count(1))
    kept = next(name for name in names if not name.exists())
    path.rename(kept)
    say(f"the earlier {path.name} is now {kept.name}")
