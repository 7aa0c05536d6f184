"""`transcripts`: what was said in completed interviews, as Markdown files or a CSV file."""

import asyncio
import csv
import io
import re
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Protocol

from attrs import define
from cyclopts import Parameter

from hindsight_async.call.access import is_on_this_machine, read_base_url
from hindsight_async.cli.file_arguments import Flag, JsonOption
from hindsight_async.cli.followed import Followed, Source
from hindsight_async.cli.results import spreadsheet_cell
from hindsight_async.cli.shared_options import DEFAULT_SHARED, SharedOption
from hindsight_async.cli.status import say_failed
from hindsight_async.cli.terminal import counted, harmless, refuse, say
from hindsight_async.cli.which_interviews import find
from hindsight_async.errors import LedgerError
from hindsight_async.redaction import json_text
from hindsight_async.resources.deals.export_file import check_writable, written_whole
from hindsight_async.resources.interviews.models import Interview, InterviewStatus
from hindsight_async.resources.interviews.waiting import DEFAULT_EVERY
from hindsight_async.session import HindsightSession
from hindsight_async.shielding import to_the_end

COLUMNS = (
    "interview_request_id",
    "contact_email",
    "deal_id",
    "sequence_id",
    "objective",
    "created_at",
    "completed_at",
    "transcript",
)
"""Of the CSV file; all but the last stand before each Markdown text too."""

LONGEST_NAME = 80
"""Characters of an address in a file's name."""

LONGEST_CELL = 2**31 - 1
"""Characters of a cell in our own CSV file; Python's csv takes no more than 131,072 unless it is told."""

_NOT_IN_NAMES = re.compile(r"[^a-z0-9@._+-]")
_OUR_NAME = re.compile(r"([0-9]+)(-.*)?\.md")


def transcripts(
    *which: str,
    to: Path | None = None,
    csv_file: Annotated[Path | None, Parameter(name="--csv")] = None,
    as_json: JsonOption = False,
    yes: Annotated[bool, Flag] = False,
    shared: SharedOption = DEFAULT_SHARED,
) -> int:
    """Save what was said in completed interviews, each once.

    Those that are in the folder or file already are not read again, and of the others those that were open at a look
    within the last five minutes are not either. Each read takes one request of the plan and the month.

    Parameters
    ----------
    which
        A ledger, the input or the results of a run, or interview ids; else the one ledger in this folder.
    to
        A folder, made where there is none: a Markdown file for each interview, with what is known of it before the text.
    csv_file
        A file in its place, with a row for each; what is in it stays.
    as_json
        Print what was done as a line of JSON.
    yes
        Read them even if that leaves less than a fifth of the month's requests to others.
    shared
        For all commands.

    """
    if (to is None) is (csv_file is None):
        return refuse("give either --to FOLDER or --csv FILE")
    shelf: Shelf = Folder(to) if to is not None else CsvFile(csv_file or Path())
    try:
        return asyncio.run(_transcripts(which, shared.session(), shelf, as_json=as_json, yes=yes))
    except LedgerError as error:
        return refuse(error.summary)
    except OSError as error:
        return refuse(f"{shelf.path} cannot be written: {error.strerror or error}")


class Shelf(Protocol):
    """Where transcripts are put."""

    path: Path

    async def open(self) -> set[int]:
        """Return the interviews that are there already; OSError or ValueError where no more can be put there."""
        ...

    async def put(self, of: Followed, interview: Interview, text: str) -> None:
        """Put one there."""
        ...

    async def close(self) -> None:
        """Keep what was put there."""
        ...


@define
class Folder:
    """A folder with a Markdown file for each interview, whole or not at all."""

    path: Path

    async def open(self) -> set[int]:
        """Return the interviews that have a file; make the folder, for its owner alone, where there is none."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        await check_writable(self.path / "0.md")
        found = (_OUR_NAME.fullmatch(each.name) for each in self.path.iterdir())
        return {int(match[1]) for match in found if match}

    async def put(self, of: Followed, interview: Interview, text: str) -> None:
        """Write its file."""
        async with written_whole(self.path / file_name(of)) as write:
            await write(markdown(_fields(of, interview), text).encode("utf-8", "replace"))

    async def close(self) -> None:
        """Do nothing: each file is whole."""


class CsvFile:
    """One file with a row for each interview; what was there before stays, also where the rest cannot be written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened = AsyncExitStack()
        self._write: Callable[[bytes], Awaitable[None]] | None = None  # None before the first row
        self._turn = asyncio.Lock()
        self._failure: OSError | None = None  # what ended the writing

    async def open(self) -> set[int]:
        """Return the interviews that have a row; ValueError where the file is not ours."""
        await check_writable(self.path)
        if not self.path.exists() or not self.path.stat().st_size:
            return set()
        csv.field_size_limit(LONGEST_CELL)
        with self.path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            rows = csv.reader(file)
            if tuple(next(rows, ())) != COLUMNS:
                raise ValueError(
                    f"{self.path} is there, and was not written by this command: name another file"
                )
            return {int(row[0]) for row in rows if row and row[0].isdecimal()}

    async def put(self, of: Followed, interview: Interview, text: str) -> None:
        """Add its row."""
        row = [*_fields(of, interview).values(), text]
        async with self._turn:
            try:
                if self._write is None:
                    self._write = await self._begin()
                await self._write(_csv_line(row))
            except OSError as error:
                self._failure = error
                raise

    async def close(self) -> None:
        """Give the file its name, unless it could not be written: then what was there before stays."""
        if self._failure is None:
            await self._opened.aclose()
        else:
            await self._opened.__aexit__(type(self._failure), self._failure, None)

    def _bytes_there(self) -> bytes:
        return self.path.read_bytes() if self.path.exists() else b""

    async def _begin(self) -> Callable[[bytes], Awaitable[None]]:
        there = await to_the_end(asyncio.to_thread(self._bytes_there))
        write = await self._opened.enter_async_context(written_whole(self.path))
        await write(there or _csv_line(COLUMNS))
        if there and not there.endswith(b"\n"):
            await write(b"\r\n")
        return write


async def _transcripts(
    which: tuple[str, ...], hindsight: HindsightSession, shelf: Shelf, *, as_json: bool, yes: bool
) -> int:
    source = await find(which)
    there = await shelf.open()
    saved: list[int] = []
    without_text: list[int] = []

    async def save(interview: Interview) -> None:
        number = interview.interview_request_id
        if interview.transcript is not None:
            await shelf.put(source.interviews[number], interview, interview.transcript.content)
            saved.append(number)
        elif interview.status is InterviewStatus.COMPLETED:
            without_text.append(number)

    async with hindsight:
        try:
            wanted = _wanted(source, there)
            await source.read(hindsight, wanted, yes=yes, on_read=save)
        finally:
            # Also what came before an error or Ctrl-C: each row is whole, and need not be read again.
            await shelf.close()
    if as_json:
        done = {
            "path": str(shelf.path),
            "saved": saved,
            "without_transcript": without_text,
            "there_before": len(there),
        }
        sys.stdout.write(f"{json_text(done)}\n")
    _say_done(source, shelf, saved, without_text)
    return say_failed(source)


def _wanted(source: Source, there: set[int]) -> list[int]:
    pause = 0.0 if is_on_this_machine(read_base_url(None)) else DEFAULT_EVERY
    perhaps = set(source.due(pause))
    return [
        number
        for number, each in source.interviews.items()
        if number not in there and (number in perhaps or not each.is_open)
    ]


def _say_done(source: Source, shelf: Shelf, saved: list[int], without_text: list[int]) -> None:
    still_open = sum(each.is_open for each in source.interviews.values())
    say(
        f"{counted(len(saved), 'new transcript')} in {shelf.path}; {counted(still_open, 'interview')} not completed yet"
    )
    if without_text:
        say(
            f"{counted(len(without_text), 'interview')} completed without a transcript so far: the next time looks again"
        )


def _fields(of: Followed, interview: Interview) -> dict[str, str | int | None]:
    """Return what is known of an interview, by COLUMNS but for the last."""
    said = interview.transcript
    completed_at = (said and said.created_at) or of.completed_at
    values: tuple[str | int | None, ...] = (
        interview.interview_request_id,
        of.contact_email,
        interview.deal_id or of.deal_id,
        of.sequence_id,
        interview.objective,
        None if interview.created_at is None else interview.created_at.isoformat(),
        None if completed_at is None else completed_at.isoformat(),
    )
    return dict(zip(COLUMNS[:-1], values, strict=True))


def file_name(of: Followed) -> str:
    """Return the name of an interview's file: its id, and whose it is in characters that every file system takes."""
    whose = _NOT_IN_NAMES.sub("_", (of.contact_email or "").lower())[:LONGEST_NAME]
    return f"{of.interview_request_id}{whose and f'-{whose}'}.md"


def markdown(fields: dict[str, str | int | None], text: str) -> str:
    """Return a Markdown text with its front matter in YAML, of which JSON's values are a part."""
    head = "".join(f"{name}: {json_text(value)}\n" for name, value in fields.items() if value is not None)
    body = harmless(text.replace("\r\n", "\n")).strip("\n")
    return f"---\n{head}---\n\n{body}\n"


def _csv_line(values: "tuple[object, ...] | list[str | int | None]") -> bytes:
    line = io.StringIO(newline="")
    csv.writer(line).writerow([spreadsheet_cell(value) for value in values])
    return line.getvalue().encode("utf-8", "replace")
