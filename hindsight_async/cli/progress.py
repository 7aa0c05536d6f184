"""How far a run is: two live lines on a terminal, a plain one every few seconds elsewhere."""

import asyncio
import logging
import sys
import textwrap
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from math import ceil, inf

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hindsight_async.cli.run_failures import unreached
from hindsight_async.cli.terminal import open_console, say
from hindsight_async.delivery.network import NetworkWait
from hindsight_async.delivery.outcomes import OutcomeStatus
from hindsight_async.rate import BudgetSnapshot

LIVE_SECONDS = 0.2
"""How often the live lines are renewed."""

PLAIN_SECONDS = 10.0
"""How often a plain line is written."""

RATE_SECONDS = 60.0
"""The span over which the rate is shown: the one that the plan is counted in."""

SECONDS_SPOKEN = 120.0
"""From how many seconds on a time is told in minutes."""

WIDEST = 80
"""Columns that the lines take at most, however wide the terminal is."""

_FAILURES = (OutcomeStatus.REJECTED, OutcomeStatus.UNKNOWN)
_TO_BE_SENT = (OutcomeStatus.CREATED, OutcomeStatus.UPDATED, OutcomeStatus.NOT_SENT, *_FAILURES)


class RunProgress:
    """How many rows have which verdict, how fast requests leave, and how long the rest takes.

    Args:
        total: How many rows get a verdict.
        to_send: How many of them are sent, as far as was known before; None for all.
        clock: Seconds, never running backwards.

    """

    def __init__(
        self, total: int, to_send: int | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.total = total
        self.counts: Counter[OutcomeStatus] = Counter()
        self._failed = 0
        self._to_send = total if to_send is None else to_send
        self._clock = clock
        self._began = clock()
        self._sent_at: deque[float] = deque()  # of each row in the last RATE_SECONDS, oldest first
        self._network: NetworkWait | None = None

    @property
    def done(self) -> int:
        """How many rows have their verdict."""
        return self.counts.total()

    @property
    def seconds(self) -> float:
        """For how long the run has been going."""
        return self._clock() - self._began

    def advance(self, status: OutcomeStatus, attempts: int) -> None:
        """Note one more verdict, and how often its row was tried."""
        self.counts[status] += 1
        # What was kept back on purpose, or by a run that stops, was never tried.
        self._failed += status in _FAILURES or (status is OutcomeStatus.NOT_SENT and attempts > 0)
        if attempts:
            # As if it had left just now, and once: a verdict does not say when its requests did, or whether each left.
            self._sent_at.append(self._clock())

    def follow(self, network: NetworkWait) -> None:
        """Say when the network of the run is gone and when it is back, and show meanwhile that it is waited for."""
        self._network = network
        network.on_change = self._say_network

    def _say_network(self, network: NetworkWait) -> None:
        if network.is_gone and network.error is not None:
            where, why = unreached(network.error)
            until = "" if network.seconds == inf else f" until {spoken_out(network.seconds)} have passed"
            done = f"{self.done:,} of {self.total:,} done, nothing is lost"
            text = f"No connection to {where} ({why}). Trying again{until}; {done}."
            say(textwrap.fill(text, WIDEST, break_long_words=False, break_on_hyphens=False))
        elif network.given_up is None:
            say(f"The connection is back after {spoken(network.gone_for)}.")

    def parts(self, budget: BudgetSnapshot) -> list[str]:
        """Return the rate, the time left, and how many rows failed."""
        rate = f"{self._rate():,}/min" if self._rate() else ""
        left = self.total - self.done
        time_left = f"{spoken_roughly(self._seconds_left(budget))} left" if left else ""
        failed = f"{self._failed:,} failed" if self._failed else ""
        return [part for part in (rate, time_left, failed) if part]

    def wait(self, budget: BudgetSnapshot) -> str:
        """Return what is waited for, with how much of the plan is left to others; nothing where nothing is."""
        network = self._network
        if network is not None and network.is_gone and network.error is not None:
            where, why = unreached(network.error)
            return f"no connection to {where} for {spoken(network.seconds_gone)} ({why})"
        reason = ""
        if budget.closed_until is not None:
            reason = f"closed by the server until {budget.closed_until.astimezone():%H:%M:%S}"
        elif 1 <= budget.seconds_until_next_permit < inf:
            reason = f"waiting for the plan's next minute, {budget.seconds_until_next_permit:.0f} s"
        others = f"{budget.left_to_others:,} a minute left to other programs" if budget.left_to_others else ""
        return " · ".join(part for part in (reason, others) if part)

    def plain(self, budget: BudgetSnapshot) -> str:
        """Return all of it in one line."""
        parts = [f"{self.done:,} of {self.total:,} done", *self.parts(budget), self.wait(budget)]
        return " · ".join(part for part in parts if part)

    def _rate(self) -> int:
        while self._sent_at and self._sent_at[0] <= self._clock() - RATE_SECONDS:
            self._sent_at.popleft()
        return len(self._sent_at)

    def _seconds_left(self, budget: BudgetSnapshot) -> float:
        """Return how long the rows that are left take, by what the plan lets through of them."""
        sent = sum(self.counts[status] for status in _TO_BE_SENT)
        left = min(max(1, self._to_send - sent), self.total - self.done)
        limit = max(1, min([budget.limit, *budget.route_limits.values()]) - budget.left_to_others)
        wait = budget.seconds_until_next_permit
        return seconds_left(left, limit=limit, free_now=budget.free_now, wait=0.0 if wait == inf else wait)


def seconds_left(rows: int, *, limit: int, free_now: int, wait: float) -> float:
    """Return how long so many rows take, answers apart.

    Args:
        rows: How many are still to be sent.
        limit: Requests in a minute.
        free_now: How many of them may leave at once.
        wait: Seconds until the next one may where none may now.

    """
    beyond = rows - free_now
    if beyond <= 0:
        return 0.0
    # Where all of a minute's requests leave at its beginning, the last of them wait for whole minutes.
    first = wait if not free_now else RATE_SECONDS
    return max(first + (beyond - 1) // limit * RATE_SECONDS, beyond / limit * RATE_SECONDS)


def spoken(seconds: float) -> str:
    """Return a time as people say it: 40 s, 10 min."""
    return f"{seconds:.0f} s" if seconds < SECONDS_SPOKEN else f"{seconds / 60:.0f} min"


def spoken_exactly(seconds: float) -> str:
    """Return a time as people note it: 40 s, 16 min 4 s, 1 h 5 min."""
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    parts = [(hours, "h"), (minutes, "min"), (0 if hours else rest, "s")]
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 s"


def spoken_out(seconds: float) -> str:
    """Return a time in words of a sentence: 40 seconds, 10 minutes."""
    for unit, name in ((3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= unit and seconds % unit == 0:
            number = int(seconds // unit)
            return f"{number:,} {name}{'s' * (number != 1)}"
    return f"{seconds:g} seconds"


def spoken_roughly(seconds: float) -> str:
    """Return a time that is a guess: under a minute, whole minutes, or hours and minutes."""
    if seconds < RATE_SECONDS:
        return "under 1 min"
    return spoken_exactly(ceil(seconds / RATE_SECONDS) * RATE_SECONDS)


@asynccontextmanager
async def show_progress(
    progress: RunProgress, snapshot: Callable[[], BudgetSnapshot]
) -> AsyncGenerator[None]:
    """Show the progress on stderr while the block runs."""
    console = open_console(stderr=True)
    renew = _live(progress, snapshot, console) if console.is_terminal else _plain(progress, snapshot)
    task = asyncio.create_task(renew)
    try:
        with quiet_about_waits():
            yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@contextmanager
def quiet_about_waits() -> Generator[None]:
    """Keep Python from printing that a request waits for the plan: the screen says so, and a log that is asked for."""
    logger, handler = logging.getLogger("hindsight_async.rate"), logging.NullHandler()
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


async def _plain(progress: RunProgress, snapshot: Callable[[], BudgetSnapshot]) -> None:
    while True:
        await asyncio.sleep(PLAIN_SECONDS)
        say(progress.plain(snapshot()))


class ProgressLines:
    """The bar with what stands behind it, and below it what is waited for.

    Args:
        progress: How far the run is.
        budget: How its budget stands.
        is_over: Whether nothing is waited for any more.

    """

    def __init__(self, progress: RunProgress, budget: BudgetSnapshot, *, is_over: bool = False) -> None:
        self._progress = progress
        self._budget = budget
        self._is_over = is_over

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines, no wider than the console."""
        width = min(options.max_width, WIDEST)
        progress = self._progress
        *usual, last = f"{progress.done:,}/{progress.total:,}", *progress.parts(self._budget)
        numbers = Text("  ".join(["", *usual]))
        numbers.append(f"  {last}", style="red" if last.endswith("failed") else "")
        lines = Table.grid()
        bar: RenderableType = ProgressBar(
            total=max(1, progress.total), completed=progress.done, width=max(4, width - numbers.cell_len)
        )
        lines.add_row(bar, numbers)
        yield lines
        wait = Text("" if self._is_over else progress.wait(self._budget), style="dim")
        wait.truncate(width, overflow="ellipsis")
        yield wait


async def _live(progress: RunProgress, snapshot: Callable[[], BudgetSnapshot], console: Console) -> None:
    live = Live(console=console, redirect_stdout=sys.stdout.isatty(), auto_refresh=False)
    # A terminal that is gone takes no line any more: the run goes on to its end without. Renewed here alone, since an
    # error in a thread of rich would be nobody's.
    with suppress(OSError), live:
        try:
            while True:
                live.update(ProgressLines(progress, snapshot()), refresh=True)
                await asyncio.sleep(LIVE_SECONDS)
        finally:
            live.update(ProgressLines(progress, snapshot(), is_over=True), refresh=True)
