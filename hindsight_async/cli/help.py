"""How `--help` looks: plain lines no wider than the terminal, grouped, with examples that can be tried."""

import re
from typing import Any

from cyclopts import App, Group
from cyclopts.help import HelpEntry, HelpPanel
from rich.console import Console, ConsoleOptions
from rich.text import Text

PROGRAM = "hindsight-async"

INDENT = 2
"""Columns before each line below a heading."""

GAP = 2
"""Columns at least between a name and what it is for."""

COMMAND_NAMES = 11
"""Columns at least for the names of commands, so that those of all groups stand below each other."""

NAMES_SHARE = 0.35
"""The part of the terminal that names take at most; what a longer one is for stands below it."""

_KINDS = {"STR": "TEXT", "INT": "NUMBER", "FLOAT": "NUMBER"}
"""What people call the kinds of values."""


def examples(*lines: str) -> str:
    """Return what stands at the end of a command's help.

    Args:
        lines: What is typed behind the program's name.

    """
    return "\n".join(["Examples", *(f"{' ' * INDENT}{PROGRAM} {line}".rstrip() for line in lines)])


OPTIONS = Group("Options", sort_key=9)


def command_app(name: str, about: str, *lines: str) -> App:
    """Return a command that has commands of its own.

    Args:
        name: What is typed.
        about: What it is for.
        lines: Its examples, as `examples` takes them.

    """
    return App(name=name, help=about, help_epilogue=examples(*lines), group_parameters=OPTIONS)


class PlainHelp:
    """Help without boxes, which fits a narrow terminal, a pipe and a screen reader alike."""

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:
        """Print how the command is called."""
        del options
        if usage:
            console.print(Text(f"Usage: {str(usage).strip().removeprefix('Usage: ')}"))

    def render_description(self, console: Console, options: ConsoleOptions, description: Any) -> None:
        """Print what the command is for: its docstring's paragraphs, set anew for the terminal's width."""
        del options
        paragraphs = _plain(description).split("\n\n")
        for paragraph in paragraphs:
            if paragraph.strip():
                console.print()
                console.print(Text(_one_line(paragraph)))

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Print the commands or options of one group, each with what it is for beside it, or below a long name."""
        del options
        if not panel.entries:
            return
        is_command = panel.format == "command"
        longest = int(console.width * NAMES_SHARE)
        least = COMMAND_NAMES if is_command else 0
        fitting = [len(_names(entry)) for entry in panel.entries if len(_names(entry)) <= longest]
        column = max(least, *fitting) + GAP if fitting else longest
        console.print()
        console.print(Text(_one_line(_plain(panel.title)), style="bold"))
        for entry in panel.entries:
            head = Text(" " * INDENT + _names(entry), style="cyan")
            if len(_names(entry)) > longest:
                console.print(head)
                head = Text()
            for line in _said(entry, is_command=is_command).wrap(console, console.width - INDENT - column):
                line.rstrip()
                head.pad_right(INDENT + column - len(head))
                console.print(Text.assemble(head, line), soft_wrap=True)
                head = Text()


def _names(entry: HelpEntry) -> str:
    names = ", ".join(entry.display_labels_with_metavar)
    return re.sub(r"\b(?:STR|INT|FLOAT)\b", lambda found: _KINDS[found[0]], names)


def _said(entry: HelpEntry, *, is_command: bool) -> Text:
    said = _one_line(_plain(entry.description))
    if is_command:
        return Text(said.removesuffix("."))
    facts: list[str] = []
    if entry.choices:
        facts.append(f"one of {', '.join(entry.choices)}")
    if entry.required:
        facts.append("required")
    if entry.default is not None:
        facts.append(f"default: {entry.default.removesuffix('.0')}")
    return Text.assemble(said, (f" [{'; '.join(facts)}]" if facts else "", "dim"))


def _plain(text: Any) -> str:
    return "" if text is None else str(getattr(text, "primary_renderable", text))


def _one_line(text: str) -> str:
    return " ".join(text.split())
