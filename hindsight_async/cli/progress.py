"""How far a run is: a live line on a terminal, a plain one every few seconds elsewhere."""

import asyncio
import sys
import textwrap
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from math import inf

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hindsight_async.cli.terminal import say
from hindsight_async.delivery.network import NetworkWait
from hindsight_async.delivery.outcomes import OutcomeStatus
from hindsight_async.rate import BudgetSnapshot

LIVE_SECONDS = 0.2
"""How often the live line is renewed."""

PLAIN_SECONDS = 5.0
"""How often a plain line is written."""

RATE_SECONDS = 60.0
"""The span over which the rate is shown: the one that the plan is counted in."""

SECONDS_SPOKEN = 120.0
"""From how many seconds on a time is told in minutes."""

LINE_WIDTH = 80
"""Columns of what is said about the network."""

_FAILURES = (OutcomeStatus.REJECTED, OutcomeStatus.NOT_SENT, OutcomeStatus.UNKNOWN)


class RunProgress:
    """How many rows have which verdict, and how fast requests leave.

    Args:
        total: How many rows get a verdict.
        clock: Seconds, never running backwards.

    """

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.total = total
        self.counts: Counter[OutcomeStatus] = Counter()
        self._clock = clock
        self._sent_at: deque[float] = deque()  # of each request in the last RATE_SECONDS, oldest first
        self._network: NetworkWait | None = None

    @property
    def done(self) -> int:
        """How many rows have their verdict."""
        return self.counts.total()

    def advance(self, status: OutcomeStatus, attempts: int) -> None:
        """Note one more verdict, and how many requests left for it."""
        self.counts[status] += 1
        # As if they had left just now: a verdict does not say when its requests did.
        self._sent_at.extend([self._clock()] * attempts)

    def follow(self, network: NetworkWait) -> None:
        """Say when the network of the run is gone and when it is back, and show meanwhile that it is waited for."""
        self._network = network
        network.on_change = self._say_network

    def _say_network(self, network: NetworkWait) -> None:
        if network.is_gone and network.error is not None:
            what = network.error.summary
            wait = "" if network.seconds == inf else f" for up to {spoken(network.seconds)}"
            text = f"{what[:1].upper()}{what[1:]}. Trying again{wait}; {self.done:,} of {self.total:,} done, nothing is lost."
            say(textwrap.fill(text, LINE_WIDTH, break_long_words=False, break_on_hyphens=False))
        elif network.given_up is None:
            say(f"The connection is back after {spoken(network.gone_for)}.")

    def describe(self, budget: BudgetSnapshot) -> str:
        """Say the rate against the plan, what is waited for, and what failed."""
        now = self._clock()
        while self._sent_at and self._sent_at[0] <= now - RATE_SECONDS:
            self._sent_at.popleft()
        parts = [f"{len(self._sent_at)} of {budget.limit} in the last minute"]
        if self._network is not None and self._network.is_gone:
            parts = [f"no connection for {spoken(self._network.seconds_gone)}"]
        elif budget.closed_until is not None:
            parts.append(f"closed by the server until {budget.closed_until.astimezone():%H:%M:%S}")
        elif 1 <= budget.seconds_until_next_permit < inf:
            parts.append(f"window full, {budget.seconds_until_next_permit:.0f} s")
        failed = sum(self.counts[status] for status in _FAILURES)
        return ", ".join([*parts, *([f"{failed} failed"] if failed else [])])


def spoken(seconds: float) -> str:
    """Return a time as people say it: 40 s, 10 min."""
    return f"{seconds:.0f} s" if seconds < SECONDS_SPOKEN else f"{seconds / 60:.0f} min"


@asynccontextmanager
async def show_progress(
    progress: RunProgress, snapshot: Callable[[], BudgetSnapshot]
) -> AsyncGenerator[None]:
    """Show the progress on stderr while the block runs."""
    console = Console(stderr=True)
    renew = _live(progress, snapshot, console) if console.is_terminal else _plain(progress, snapshot)
    task = asyncio.create_task(renew)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _plain(progress: RunProgress, snapshot: Callable[[], BudgetSnapshot]) -> None:
    while True:
        await asyncio.sleep(PLAIN_SECONDS)
        say(f"{progress.done} of {progress.total} done; {progress.describe(snapshot())}")


async def _live(progress: RunProgress, snapshot: Callable[[], BudgetSnapshot], console: Console) -> None:
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    # A terminal that is gone takes no line any more: the run goes on to its end without. Renewed here alone, since an
    # error in a thread of Progress would be nobody's.
    with (
        suppress(OSError),
        Progress(*columns, console=console, redirect_stdout=sys.stdout.isatty(), auto_refresh=False) as bar,
    ):
        task = bar.add_task("", total=progress.total)

        def renew() -> None:
            bar.update(task, completed=progress.done, description=progress.describe(snapshot()), refresh=True)

        try:
            while True:
                renew()
                await asyncio.sleep(LIVE_SECONDS)
        finally:
            renew()
