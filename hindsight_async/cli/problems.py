"""The rows of a file that cannot be used, grouped by what is wrong with them."""

import textwrap
from typing import Any

from attrs import define, field

from hindsight_async.cli.contacts import SELF_EXPLAINING, BadRow
from hindsight_async.cli.terminal import say

VALUES_SHOWN = 3
"""How many of a group's rows show what stands in the cell at fault."""

ROWS_NAMED = 50
"""How many of a group's rows are named by their number."""

GROUPS_SHOWN = 20
"""How many groups there may be; what is wrong in yet another way is counted together."""

_VALUE_LENGTH = 40
_WIDTH = 80
_INDENT = " " * 9
_OTHER = "wrong in other ways"


@define
class _Group:
    count: int = 0
    rows: list[str] = field(factory=list[str])

    def add(self, line: int, value: Any) -> None:
        self.count += 1
        if len(self.rows) < ROWS_NAMED:
            shown = value is not None and len(self.rows) < VALUES_SHOWN
            self.rows.append(f"{line} {_quoted(value)}" if shown else f"{line}")


@define
class Problems:
    """Problems by their kind; the values at fault are the user's own, and are shown on the user's screen alone."""

    _groups: dict[str, _Group] = field(init=False, factory=dict[str, _Group])

    def add(self, row: BadRow) -> None:
        """Take a row in."""
        name = row.kind if row.kind in SELF_EXPLAINING else row.problem
        if name not in self._groups and len(self._groups) >= GROUPS_SHOWN:
            name = _OTHER
        self._groups.setdefault(name, _Group()).add(row.line, row.value)

    def say(self) -> None:
        """Say what is wrong, the most frequent first, in lines of a terminal's width; nothing where nothing is."""
        lines: list[str] = ["Problems"] if self._groups else []
        for name, group in sorted(self._groups.items(), key=lambda item: -item[1].count):
            lines.append(_filled(f"{group.count:>7,}  {name}"))
            if hint := SELF_EXPLAINING.get(name):
                lines.append(_filled(f"{_INDENT}{hint}"))
            more = group.count - len(group.rows)
            named = (
                f"line{'s' * (group.count > 1)} {', '.join(group.rows)}{f' and {more:,} more' * (more > 0)}"
            )
            lines.append(_filled(f"{_INDENT}{named}"))
        if lines:
            say("\n".join(lines))


def _filled(text: str) -> str:
    return textwrap.fill(
        text, _WIDTH, subsequent_indent=_INDENT, break_on_hyphens=False, drop_whitespace=True
    )


def _quoted(value: object) -> str:
    text = str(value)
    return repr(text if len(text) <= _VALUE_LENGTH else f"{text[:_VALUE_LENGTH]}…")
