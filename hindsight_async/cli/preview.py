"""What was understood of a file, shown before anything is sent: its columns, and its first rows."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from attrs import frozen
from rich.cells import cell_len, set_cell_size

from hindsight_async.call.codec import encode
from hindsight_async.cli.contacts import CheckedRows, ColumnMapping, product_of
from hindsight_async.cli.file_arguments import STDIN
from hindsight_async.cli.results import is_of_a_run
from hindsight_async.cli.terminal import counted, open_console, say, wrapped
from hindsight_async.redaction import escaped

WIDEST = 120
"""Columns beyond which no table grows, however wide the terminal is."""

CONTEXT_COLUMNS_SHOWN = 6
"""How many of the columns that become context are shown; the others are counted."""

LEFT_OUT_SHOWN = 3
"""How many of the columns that become nothing are named; the others are counted."""

NOTHING = "\u2013"
"""What stands where a row says nothing."""

_GAP = "  "
_NARROWEST = 5
"""Columns that a cell of a table keeps, however many there are."""

_HEADING_LENGTH = 40
_CONTEXT = "contact_context"
_FIRST = {"contact_email", "interview_request_id", "contact_name"}
_NAME_PARTS = ("first_name", "last_name")


@frozen
class Shown:
    """A row as it would be sent."""

    line: int
    fields: Mapping[str, Any]


def shown_as_sent(line: int, request: object, path: Mapping[str, Any] = MappingProxyType({})) -> Shown:
    """Return what a request of that line says, field by field: first what its path names, then its body."""
    return Shown(line, {**path, **json.loads(encode(request))})


def say_what_was_understood(
    file: str, rows_in_file: int | None, rows: CheckedRows[Any], first: Sequence[Shown]
) -> None:
    """Say what kind of file it is, what becomes of its columns, and what its first rows are as they would be sent.

    Args:
        file: The input's path, or `-` for stdin.
        rows_in_file: How many rows it has; None where they were not all read.
        rows: The file.
        first: The first rows that would be sent.

    """
    kind = [
        "stdin" if file == STDIN else Path(file).name,
        None if rows_in_file is None else counted(rows_in_file, "row"),
        rows.described,
        product_of(rows.columns),
    ]
    say(wrapped(" · ".join(filter(None, kind))))
    for assumption in rows.assumed:
        say(wrapped(assumption))
    width = min(open_console(stderr=True).width, WIDEST)
    say("\n".join(["", *_table(_columns(rows.columns, rows.mapping), width)]))
    if first:
        say("\n".join(["", *_table(_rows(first, rows.mapping), width, numbered=True)]))


def _columns(columns: Sequence[str], mapping: ColumnMapping) -> Iterable[Sequence[str]]:
    yield ("column", "becomes", "")
    fed = mapping.fields
    for name, column in fed.items():
        if name not in _NAME_PARTS:
            yield (_heading(column), name, "")
    if parts := [_heading(fed[part]) for part in _NAME_PARTS if part in fed]:
        yield (", ".join(parts), "contact_name", " + ".join(parts) if len(parts) > 1 else "")
    for column in mapping.context[:CONTEXT_COLUMNS_SHOWN]:
        yield (_heading(column), _CONTEXT, "")
    if (more := len(mapping.context) - CONTEXT_COLUMNS_SHOWN) > 0:
        yield (f"+ {counted(more, 'more column')}", _CONTEXT, "")
    used = {*fed.values(), *mapping.context}
    left = [column for column in columns if column not in used]
    # One more is named rather than counted as one.
    named = left if len(left) <= LEFT_OUT_SHOWN + 1 else left[:LEFT_OUT_SHOWN]
    can_be_context = _CONTEXT not in fed and any(not is_of_a_run(column, columns) for column in left)
    how = "--context rest takes them along" if can_be_context else ""
    for place, column in enumerate(named, start=1):
        yield (_heading(column), "left out", how if place == len(left) else "")
    if len(left) > len(named):
        yield (f"+ {len(left) - len(named):,} more columns", "left out", how)


def _rows(first: Sequence[Shown], mapping: ColumnMapping) -> Iterable[Sequence[str]]:
    told: dict[str, set[str]] = defaultdict(set)
    for row in first:
        for name, value in row.fields.items():
            told[name].add(str(value))
    from_columns = {"contact_name" if name in _NAME_PARTS else name for name in mapping.fields} | {_CONTEXT}
    # What an option gives to all rows alike needs no column here: the question names it.
    names = [name for name in told if name in from_columns or len(told[name]) > 1 or name == "contact_name"]
    names.sort(key=lambda name: (name == _CONTEXT, name not in _FIRST))
    yield ("row", *names)
    for row in first:
        yield (f"{row.line}", *(_cell(row.fields.get(name)) for name in names))


def _cell(value: Any) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, dict):
        parts = cast("dict[str, object]", value)
        return ", ".join(f"{key}: {_cell(part)}" for key, part in parts.items())
    if isinstance(value, list):
        return ", ".join(map(_cell, cast("list[object]", value)))
    return str(value)


def _heading(column: str) -> str:
    """Return a heading on one line, with a mark where it was longer."""
    text = " ".join(column.split())
    return text if len(text) <= _HEADING_LENGTH else f"{text[: _HEADING_LENGTH - 1]}…"


def _table(rows: Iterable[Sequence[str]], width: int, *, numbered: bool = False) -> list[str]:
    """Return the lines of a table that is at most so wide, what is cut off marked; numbers stand at the right."""
    cells = [[" ".join(escaped(cell).split()) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    room = width - len(_GAP) * len(widths)
    while sum(widths) > room and max(widths) > _NARROWEST:
        widths[widths.index(max(widths))] -= 1
    lines: list[str] = []
    for row in cells:
        fitted = [_fitted(cell, size) for cell, size in zip(row, widths, strict=True)]
        if numbered:
            fitted[0] = row[0].rjust(widths[0])
        lines.append(f"{_GAP}{_GAP.join(fitted)}".rstrip())
    return lines


def _fitted(cell: str, size: int) -> str:
    return set_cell_size(cell, size) if cell_len(cell) <= size else f"{set_cell_size(cell, size - 1)}…"
