"""`status`: what became of interviews, as far as it is known and can be read."""

import asyncio
import shlex
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import attrs
from cyclopts import Parameter
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from hindsight_async.call.access import is_on_this_machine, read_base_url
from hindsight_async.cli.file_arguments import Flag, JsonOption
from hindsight_async.cli.followed import COMPLETED, Followed, Source
from hindsight_async.cli.json_lines import json_line, plain_values
from hindsight_async.cli.progress import PLAIN_SECONDS, spoken
from hindsight_async.cli.shared_options import DEFAULT_SHARED, SharedOption
from hindsight_async.cli.terminal import ExitCode, can_write, counted, open_console, refuse, say
from hindsight_async.cli.which_interviews import find
from hindsight_async.errors import LedgerError, NotFoundError
from hindsight_async.redaction import escaped
from hindsight_async.resources.interviews.waiting import DEFAULT_EVERY_OF_MANY, SHORTEST_EVERY
from hindsight_async.session import HindsightSession

NEW_SHOWN = 10
"""How many of the newly completed are listed below the table."""

BAR_WIDTH = 30
WATCH_SECONDS = 1.0
"""How often the live table is renewed, and what was learnt is written down."""

_ORDER = (COMPLETED, "sent", "created")
_STYLES = {COMPLETED: "green", "created": "dim"}
_NOT_READ = "not read"

Only = Literal["completed", "sent", "created"]


def status(
    *which: str,
    watch: Annotated[bool, Flag] = False,
    only: Only | None = None,
    every: Annotated[float, Parameter(show_default=False)] = DEFAULT_EVERY_OF_MANY,
    as_json: JsonOption = False,
    yes: Annotated[bool, Flag] = False,
    shared: SharedOption = DEFAULT_SHARED,
) -> int:
    """Say what became of interviews: created, sent, completed.

    Each takes one request of the plan and the month. What is learnt is kept in the ledger, where there is one, and a
    completed interview is not read again.

    Parameters
    ----------
    which
        A ledger, the input or the results of a run, or interview ids; else the one ledger in this folder.
    watch
        Keep reading until all are completed, each every 15 minutes at first, and more seldom as it grows older.
    only
        List those of this status alone, one a line; tab-separated where no terminal reads them.
    every
        Seconds between two reads of one interview while watching, at least 60.
    as_json
        Print each as a line of JSON.
    yes
        Read them even if that leaves less than a fifth of the month's requests to others.
    shared
        For all commands.

    """
    try:
        return asyncio.run(_status(which, shared.session(), _Wishes(watch, only, every, as_json, yes)))
    except LedgerError as error:
        return refuse(error.summary)


@attrs.frozen
class _Wishes:
    watch: bool
    only: str | None
    every: float
    as_json: bool
    yes: bool


async def _status(which: tuple[str, ...], hindsight: HindsightSession, wishes: _Wishes) -> int:
    source = await find(which)
    async with hindsight:
        pause = 0.0 if is_on_this_machine(read_base_url(None)) else SHORTEST_EVERY
        if wishes.watch:
            hindsight.interviews.wait_many([], every=wishes.every)  # which says at once what is wrong with it
        # Watching alone would spread the first look over hours, too.
        await source.read(hindsight, source.due(pause), yes=wishes.yes)
        if wishes.watch:
            await _watch(source, hindsight, wishes.every)
    _print(source, wishes)
    is_any_completed = any(not each.is_open for each in source.interviews.values())
    if is_any_completed and not (wishes.as_json or wishes.only):
        # Of a database as it was called no password may stand here.
        words = ["LEDGER"] if any("://" in word for word in which) else which
        say(f"Next: hindsight-async {shlex.join(['transcripts', *words, '--to', 'interviews/'])}")
    return say_failed(source)


async def _watch(source: Source, hindsight: HindsightSession, every: float) -> None:
    still_open = [number for number in source.due(0.0) if number not in source.failed]
    poller = hindsight.interviews.wait_many(still_open, every=every, on_read=source.learn)
    if poller.open:
        say(
            f"Watching {counted(len(poller.open), 'interview')}: Ctrl-C ends it, and what was learnt is kept."
        )
    console = open_console(stderr=True)
    renew = _live(source, console) if console.is_terminal else _plain(source)
    task = asyncio.create_task(renew)
    try:
        if poller.open:
            await asyncio.sleep(every)  # since each was read just now
        async for _ in poller:
            pass
    except NotFoundError:
        source.failed.update(poller.failed)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await source.note()


async def _live(source: Source, console: Console) -> None:
    # A terminal that is gone takes no table any more: what is learnt is written down all the same.
    with suppress(OSError), Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            live.update(Group(*_table(source, console.width)), refresh=True)
            await asyncio.sleep(WATCH_SECONDS)
            await source.note()
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        await source.note()


async def _plain(source: Source) -> None:
    said: set[int] = set()
    while True:
        await asyncio.sleep(PLAIN_SECONDS)
        await source.note()
        for each in _new(source):
            if each.interview_request_id not in said:
                said.add(each.interview_request_id)
                say(f"{each.interview_request_id} completed {_moment(each.completed_at)}")


def _print(source: Source, wishes: _Wishes) -> None:
    asked = [each for each in source.interviews.values() if wishes.only in {None, each.status}]
    if wishes.as_json:
        for each in asked:
            sys.stdout.write(json_line(plain_values(each)))
        return
    console = open_console(stderr=wishes.only is not None)
    for line in _table(source, console.width):
        console.print(line, soft_wrap=True)
    if wishes.only is not None:
        _print_rows(asked)
        return
    new = _new(source)
    if new:
        sys.stdout.write(f"New since the last look: {len(new):,} completed\n")
        _print_rows(new[:NEW_SHOWN])
        if len(new) > NEW_SHOWN:
            sys.stdout.write(f"  … {len(new) - NEW_SHOWN:,} more with --only completed\n")


def _print_rows(rows: Iterable[Followed]) -> None:
    for each in rows:
        cells = (
            str(each.interview_request_id),
            each.contact_email or "",
            each.status or _NOT_READ,
            _moment(each.completed_at)
            if sys.stdout.isatty()
            else each.completed_at and each.completed_at.isoformat(),
            each.deal_id or "",
        )
        texts = [escaped(cell or "") for cell in cells]
        if sys.stdout.isatty():
            number, address, state, moment, deal = texts
            line = f"  {number:>6}  {address:<28} {state:<9}  {moment:<16}  {deal}".rstrip()
        else:
            line = "\t".join(texts)
        sys.stdout.write(f"{line}\n")


def _new(source: Source) -> list[Followed]:
    oldest = datetime.min.replace(tzinfo=UTC)
    new = [each for each in source.interviews.values() if each.is_new]
    return sorted(new, key=lambda each: each.completed_at or oldest, reverse=True)


def _table(source: Source, width: int) -> list[Text]:
    """Return how many there are of each status, as lines of text."""
    everything = source.interviews.values()
    reads = [each.read_at for each in everything if each.read_at is not None]
    ago = (datetime.now(UTC) - max(reads)).total_seconds() if reads else None
    when = "never read" if ago is None else "read just now" if ago < 60 else f"read {spoken(ago)} ago"  # noqa: PLR2004
    lines = [Text(escaped(f"{source.name} · {counted(len(everything), 'interview')} · {when}"))]
    counts = Counter(each.status or _NOT_READ for each in everything)
    known = [*_ORDER, *sorted(counts.keys() - set(_ORDER))]
    digits = len(f"{max(counts.values(), default=0):,}")
    bar = min(BAR_WIDTH, max(0, width - 32 - digits))
    full, least = ("▇", "▏") if can_write("▇▏") else ("#", "|")
    for name in known:
        share = counts[name] / len(everything) if everything else 0.0
        percent = "<1" if 0 < share < 0.005 else f"{share:.0%}".rstrip("%")  # noqa: PLR2004
        drawn = full * round(share * bar) or (least if share else "")
        text = f"  {escaped(name):<10} {counts[name]:>{digits},}  {percent:>3} %   "
        line = Text.assemble(text, (drawn, _STYLES.get(name, "default")))
        line.rstrip()
        lines.append(line)
    return lines


def _moment(when: datetime | None) -> str:
    if when is None:
        return ""
    local, today = when.astimezone(), datetime.now().astimezone().date()
    if local.date() == today:
        return f"today {local:%H:%M}"
    if local.date() == today - timedelta(days=1):
        return f"yesterday {local:%H:%M}"
    return f"{local:%Y-%m-%d %H:%M}"


def say_failed(source: Source) -> ExitCode:
    """Say which interviews could not be read; return the exit code for that."""
    gone = [number for number, error in source.failed.items() if isinstance(error, NotFoundError)]
    others = {number: error for number, error in source.failed.items() if number not in gone}
    if gone:
        named = ", ".join(map(str, gone[:NEW_SHOWN]))
        say(
            f"{counted(len(gone), 'interview')} not found in this organisation: {named}{' …' * (len(gone) > NEW_SHOWN)}"
        )
    for number, error in list(others.items())[:NEW_SHOWN]:
        say(f"{number} could not be read: {error.summary}")
    return ExitCode.SOME_FAILED if source.failed else ExitCode.DONE
