"""What a person at the terminal is told and asked, and the code with which a command ends.

What is said goes to stderr: stdout belongs to the results, which other programs read.
"""

import io
import os
import re
import sys
import textwrap
from contextlib import suppress
from enum import IntEnum
from typing import cast

from rich.console import Console

from hindsight_async.redaction import escaped

LINE_WIDTH = 80
"""Columns of what is said in sentences."""

_NO_BREAK = "\u2007"


class ExitCode(IntEnum):
    """How a command ended, for the shell or script that started it."""

    DONE = 0
    SOME_FAILED = 1
    """Some rows were rejected, not sent, or in another run's hand; or the output could not be written."""
    USAGE = 2
    """A wrong word, file or setting: nothing was sent."""
    UNKNOWN_OUTCOMES = 3
    """Somebody may have been emailed without a record of it: a person has to look."""
    DECLINED = 4
    """A person was asked and did not say yes: nothing was sent."""
    INTERRUPTED = 130
    """By a signal; what shells use for Ctrl-C (128 + SIGINT)."""


class _Nowhere(io.TextIOBase):
    def write(self, text: str, /) -> int:
        return len(text)


NOWHERE = _Nowhere()
"""What stands for stdout where it was closed before we came, as by `>&-`; Python itself has None then."""


def prepare_stdout() -> None:
    """Let neither a closed stdout nor a character that it cannot take end a command whose requests are out."""
    stdout = sys.stdout
    if not stdout:
        sys.stdout = NOWHERE
    elif isinstance(stdout, io.TextIOWrapper):
        # What another program reads is JSON or CSV, which are UTF-8 wherever that program runs.
        encoding = None if stdout.isatty() else "utf-8"
        cast("io.TextIOWrapper", stdout).reconfigure(encoding=encoding, errors="backslashreplace")


def open_console(*, stderr: bool = False) -> Console:
    """Return a console: without colours where NO_COLOR is set, and as in a pipe where nobody watches it being redrawn."""
    # Programs that build and test others set CI, often with a terminal that keeps each line.
    is_plain = bool(os.environ.get("CI")) or os.environ.get("TERM") == "dumb"
    return Console(stderr=stderr, highlight=False, force_terminal=False if is_plain else None)


def can_write(text: str) -> bool:
    """Return whether stdout takes all the characters of a text, which a terminal with an old code page does not."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def say(text: str) -> None:
    """Write lines for the person at the terminal, which do what they say and nothing else."""
    lines = "\n".join(map(escaped, text.split("\n")))
    # A closed terminal or pipe must not end a run whose requests are out already; Python has no stderr at all
    # (None) where it was closed before we came.
    with suppress(OSError, AttributeError):
        sys.stderr.write(f"{lines}\n")
        sys.stderr.flush()


def harmless(text: str) -> str:
    """Return what others wrote with what a terminal would obey spelled out, but for line ends and tabs."""
    return "".join(part if part in {"\n", "\t"} else escaped(part) for part in re.split(r"([\n\t])", text))


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return `1 row`, `2 rows`."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def unbroken(words: str) -> str:
    """Return words that no end of a line takes apart in `wrapped`."""
    return words.replace(" ", _NO_BREAK)


def wrapped(text: str, indent: str = "") -> str:
    """Return a text in lines of LINE_WIDTH, those below the first indented; longer words, such as paths, stay whole."""
    filled = textwrap.fill(
        text, LINE_WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return filled.replace(_NO_BREAK, " ")


def refuse(text: str) -> ExitCode:
    """Say why nothing was done; return the exit code for that."""
    say(f"hindsight-async: {text}")
    return ExitCode.USAGE


class NotConfirmedError(Exception):
    """A person did not say yes, or nobody could be asked.

    Args:
        code: With which the command ends.

    """

    def __init__(self, code: ExitCode) -> None:
        super().__init__(code)
        self.code = code


def confirm(
    question: str, *, from_stdin: bool, how: str = "Go on? [y/N]", otherwise: str = "Nothing was sent."
) -> None:
    """Ask the person at the terminal whether to go on.

    Args:
        question: What is about to happen, as a sentence.
        from_stdin: Whether the input is read from stdin, which then has no answer to give.
        how: What to type.
        otherwise: What is said where they did not say yes.

    Raises:
        NotConfirmedError: They said anything but yes, or nobody can be asked.

    """
    if from_stdin or not sys.stdin.isatty() or not sys.stderr.isatty():
        say(f"{question}\nNobody can be asked here: give --yes to go on.\n{otherwise}")
        raise NotConfirmedError(ExitCode.USAGE)
    sys.stderr.write(f"{question} {how} ")
    sys.stderr.flush()
    answer = sys.stdin.readline()
    if answer.strip().lower() not in {"y", "yes"}:
        # Ctrl-D leaves the cursor behind the question.
        say(otherwise if answer else f"\n{otherwise}")
        raise NotConfirmedError(ExitCode.DECLINED)
