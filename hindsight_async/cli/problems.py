"""The rows of a file that cannot be used, grouped by what is wrong with them; all of them in a file, where they are many."""

import csv
from pathlib import Path
from typing import Any, TextIO

from attrs import define, field

from hindsight_async.cli.contacts import RIGHT, SELF_EXPLAINING, BadRow
from hindsight_async.cli.file_arguments import STDIN
from hindsight_async.cli.ledger_beside import NO_FILES, beside
from hindsight_async.cli.results import spreadsheet_cell
from hindsight_async.cli.terminal import say, wrapped
from hindsight_async.delivery.ledger.sqlite import open_for_owner

PROBLEMS_SUFFIX = ".problems.csv"
"""What stands in place of the input's suffix in the name of the file of problems beside it."""

PROBLEM_COLUMNS = ("row", "kind", "value", "what would be right")
"""The columns of that file."""

EXAMPLES = 3
"""How many of a group's rows are named, with what stands in the cell at fault, where a file has them all."""

ROWS_NAMED = 50
"""How many of a group's rows are named by their number where no file has them all."""

GROUPS_SHOWN = 20
"""How many groups there may be; what is wrong in yet another way is counted together."""

_VALUE_LENGTH = 40
_INDENT = " " * 9
_OTHER = "wrong in other ways"


def problems_path(file: str) -> Path | None:
    """Return where the problems of an input are written; None where it is no file that has a place beside it."""
    path = Path(file)
    if file == STDIN or not path.is_file() or path.absolute().parts[1:2] in NO_FILES:
        return None
    return beside(path, PROBLEMS_SUFFIX)


@define
class _Group:
    count: int = 0
    rows: list[str] = field(factory=list[str])

    def add(self, line: int, value: Any) -> None:
        self.count += 1
        if len(self.rows) < ROWS_NAMED:
            shown = value is not None and len(self.rows) < EXAMPLES
            self.rows.append(f"{line} {_quoted(value)}" if shown else f"{line}")

    def named(self, most: int) -> str:
        """Return the group's first rows in words."""
        rows = self.rows[:most]
        more = self.count - len(rows)
        return f"row{'s' * (self.count > 1)} {', '.join(rows)}{f' and {more:,} more' * (more > 0)}"


@define
class Problems:
    """Problems by their kind; the values at fault are the user's own, and no log has them.

    The file is made once there are more than are shown; what is in the way of that is said, and the rows are named.
    """

    path: Path | None = None
    """Where all of them are written; None for nowhere."""
    _groups: dict[str, _Group] = field(init=False, factory=dict[str, _Group])
    _held: list[BadRow] = field(init=False, factory=list[BadRow])
    """Those that came before the file was made."""
    _file: TextIO | None = field(init=False, default=None)
    _failure: OSError | None = field(init=False, default=None)

    def add(self, row: BadRow) -> None:
        """Take a row in."""
        name = row.kind if row.kind in SELF_EXPLAINING else row.problem
        if name not in self._groups and len(self._groups) >= GROUPS_SHOWN:
            name = _OTHER
        group = self._groups.setdefault(name, _Group())
        group.add(row.line, row.value)
        if self.path is None or self._failure is not None:
            return
        self._held.append(row)
        if self._file is not None or group.count > EXAMPLES or name == _OTHER:
            try:
                self._write(self.path)
            except OSError as error:
                self._failure = error

    def _write(self, path: Path) -> None:
        is_new = self._file is None
        if self._file is None:
            path.unlink(missing_ok=True)  # one of an earlier look, whose mode may be another
            self._file = open(path, "x", encoding="utf-8", newline="", opener=open_for_owner)  # noqa: SIM115
        writer = csv.writer(self._file)
        writer.writerows([PROBLEM_COLUMNS] if is_new else [])
        for row in self._held:
            right = RIGHT.get(row.kind, row.problem)
            writer.writerow([row.line, row.kind, spreadsheet_cell(row.value), right])
        self._held.clear()

    def say(self) -> None:
        """Say what is wrong, the most frequent first, in lines of a terminal's width; nothing where nothing is."""
        self._close()
        if not self._groups:
            return
        is_written = self._file is not None and self._failure is None
        lines = [wrapped(f"Problems (all of them in {self.path})") if is_written else "Problems"]
        for name, group in sorted(self._groups.items(), key=lambda item: -item[1].count):
            lines.append(wrapped(f"{group.count:>7,}  {name}", _INDENT))
            lines.append(wrapped(f"{_INDENT}{group.named(EXAMPLES if is_written else ROWS_NAMED)}", _INDENT))
            if hint := SELF_EXPLAINING.get(name):
                lines.append(wrapped(f"{_INDENT}{hint}", _INDENT))
        if self._failure is not None:
            lines.append(f"{self.path} cannot be written: {self._failure.strerror}")
        say("\n".join(lines))

    def _close(self) -> None:
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                self._failure = error


def _quoted(value: object) -> str:
    text = str(value)
    return repr(text if len(text) <= _VALUE_LENGTH else f"{text[:_VALUE_LENGTH]}…")
