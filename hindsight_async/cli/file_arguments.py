"""What `enroll` and `update` are given, a file and its options, and the question before they begin."""

import shutil
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

from cyclopts import Parameter

from hindsight_async.cli.contacts import REST, BadRow, ContactFileError
from hindsight_async.cli.exit_codes import say

STDIN = "-"

Flag = Parameter(negative=())
FileArgument = Annotated[str, Parameter(allow_leading_hyphen=True)]
MapOption = Annotated[list[str], Parameter(name="--map", negative=())]


@contextmanager
def opened(file: str) -> Generator[BinaryIO]:
    """Copy the input: it is read twice, and what is sent must be what was checked."""
    with tempfile.TemporaryFile() as copy:
        try:
            if file != STDIN:
                with Path(file).open("rb") as source:
                    shutil.copyfileobj(source, copy)
            else:
                shutil.copyfileobj(sys.stdin.buffer, copy)
        except (OSError, AttributeError) as error:
            # Python has no stdin at all where it is closed.
            why = getattr(error, "strerror", "it is closed")
            raise ContactFileError(f"{file} cannot be read: {why}") from None
        copy.seek(0)
        yield copy


def complain(row: BadRow) -> None:
    """Say what is wrong with a row."""
    say(f"line {row.line}: {row.problem}")


def mapping_of(pairs: Sequence[str]) -> dict[str, str]:
    """Return what the options --map say; ContactFileError where one says nothing."""
    mapping: dict[str, str] = {}
    for pair in pairs:
        name, equals, column = pair.partition("=")
        if not equals:
            raise ContactFileError(
                f'--map takes a field and a column, contact_email="Work Email", not {pair}'
            )
        mapping[name.strip()] = column.strip()
    return mapping


def columns_of(context: str | None) -> Sequence[str]:
    """Return the columns that the option --context names."""
    if context is None or context.strip() == REST:
        return () if context is None else REST
    return [name.strip() for name in context.split(",") if name.strip()]


def time_needed(requests: int, limit: int) -> str:
    """Say how long so many requests take at `limit` a minute."""
    minutes = max(0, requests - 1) // limit
    takes = f"about {minutes} minute{'s' * (minutes > 1)}" if minutes else "less than a minute"
    return f"at {limit} requests per minute this takes {takes}; nothing was sent"


def confirmed(question: str, *, from_stdin: bool) -> bool:
    """Ask the person at the terminal; False also where nobody can be asked."""
    if from_stdin or not sys.stdin.isatty() or not sys.stderr.isatty():
        say(f"{question} Nobody can be asked here: give --yes to go on.")
        return False
    sys.stderr.write(f"{question} Go on? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
