"""What `enroll` and `update` are both given: a file, and options that say how to read it."""

import io
import re
import shutil
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, BinaryIO, cast

from cyclopts import Parameter
from cyclopts.validators import Number

from hindsight_async.cli.contacts import REST, ContactFileError, read_exclusions
from hindsight_async.delivery.options import DEFAULT_WAIT_FOR_NETWORK

STDIN = "-"
"""As the file's name: read standard input."""

Flag = Parameter(negative=(), show_default=False)
FileArgument = Annotated[str, Parameter(allow_leading_hyphen=True)]
JsonOption = Annotated[bool, Parameter(name="--json", negative=(), show_default=False)]
LinksOption = Annotated[bool, Parameter(name="--links", negative=(), show_default=False)]
DEFAULT_WAIT = f"{DEFAULT_WAIT_FOR_NETWORK / 60:g}m"
OutputOption = Annotated[Path | None, Parameter(allow_leading_hyphen=True)]
LimitOption = Annotated[int | None, Parameter(validator=Number(gte=1))]
MapOption = Annotated[list[str], Parameter(name="--map", negative=(), show_default=False)]


@contextmanager
def open_copy(file: str) -> Generator[BinaryIO]:
    """Copy the input: it is read twice, and what is sent must be what was checked.

    Raises:
        ContactFileError: It cannot be read.

    """
    with _copy() as copy:
        try:
            if file != STDIN:
                with Path(file).open("rb") as source:
                    shutil.copyfileobj(source, copy)
            else:
                shutil.copyfileobj(sys.stdin.buffer, copy)
        except (OSError, AttributeError) as error:
            # Python has no stdin at all (None) where it is closed.
            why = getattr(error, "strerror", "it is closed")
            raise ContactFileError(f"{file} cannot be read: {why}") from None
        copy.seek(0)
        yield copy


def _copy() -> BinaryIO:
    try:
        return cast("BinaryIO", tempfile.TemporaryFile())
    except OSError:  # no folder can be written to, as in a container that is read-only: memory has to do
        return io.BytesIO()


def parse_mapping(pairs: Sequence[str]) -> dict[str, str]:
    """Return the columns that the options --map name, by the fields that they feed.

    Raises:
        ContactFileError: One of them has no `=`.

    """
    mapping: dict[str, str] = {}
    for pair in pairs:
        name, equals, column = pair.partition("=")
        if not equals:
            raise ContactFileError(
                f'--map takes a field and a column, contact_email="Work Email", not {pair}'
            )
        mapping[name.strip()] = column.strip()
    return mapping


def parse_context(names: str | None) -> Sequence[str]:
    """Return the columns that the option --context names, or REST; none where it was not given."""
    if names is None:
        return ()
    if names.strip() == REST:
        return REST
    return parse_columns(names)


def parse_columns(names: str) -> list[str]:
    """Return the names of columns that are parted by commas."""
    return [name.strip() for name in names.split(",") if name.strip()]


def parse_key(names: str | None) -> Sequence[str]:
    """Return the columns that the option --key names; none where it was not given.

    Raises:
        ContactFileError: It names none.

    """
    columns = [] if names is None else parse_columns(names)
    if names is not None and not columns:
        raise ContactFileError("--key takes columns, such as --key 'Deal ID,Contact ID'")
    return columns


def parse_time(text: str | None) -> timedelta | None:
    """Return the time that the option --once-per-contact gives, None where it was not given.

    Raises:
        ValueError: It is no such time, or none at all.

    """
    if text is None:
        return None
    found = _TIME.fullmatch(text.strip())
    time = found and timedelta(**{_UNITS[found[2].lower()]: int(found[1])})
    if not time:
        raise ValueError("--once-per-contact takes hours, days or weeks, such as 36h, 90d or 12w")
    return time


_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_TIME = re.compile("([0-9]{1,5})([hdw])", re.IGNORECASE)


def parse_wait(text: str) -> float:
    """Return the seconds that the option --wait gives.

    Raises:
        ValueError: It is no such time.

    """
    found = _WAIT.fullmatch(text.strip())
    if not found and text.strip() != "0":
        raise ValueError("--wait takes a time such as 30s, 10m or 2h, or 0 for not at all")
    return float(found[1]) * _WAIT_SECONDS[found[2].lower()] if found else 0.0


_WAIT = re.compile("([0-9]{1,6})([smh])", re.IGNORECASE)
_WAIT_SECONDS = {"s": 1, "m": 60, "h": 3600}


def read_excluded(file: Path | None) -> list[str]:
    """Return who stands in the file that the option --exclude names; nobody where it was not given.

    Raises:
        ContactFileError: It cannot be read, or a line of it keeps nobody back.

    """
    if file is None:
        return []
    try:
        return read_exclusions(io.BytesIO(file.read_bytes()))
    except OSError as error:
        raise ContactFileError(f"{file} cannot be read: {error.strerror}") from None
    except ContactFileError as error:
        raise ContactFileError(f"{file}: {error}") from None
