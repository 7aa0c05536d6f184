"""How far a run is: a live line on a terminal, a plain one every few seconds elsewhere."""

import asyncio
import sys
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hindsight_async.cli.exit_codes import say
from hindsight_async.delivery.outcomes import OutcomeStatus
from hindsight_async.rate import BudgetSnapshot

LIVE_SECONDS = 0.2
PLAIN_SECONDS = 5.0
"""How often each kind of progress is renewed."""

RATE_SECONDS = 60.0
"""The span over which the rate is shown: the one that the plan is counted in."""

_FAILURES = (OutcomeStatus.REJECTED, OutcomeStatus.NOT_SENT, OutcomeStatus.UNKNOWN)


class Pace:
    """What a run has done so far."""

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.total = total
        self.counts: Counter[OutcomeStatus] = Counter()
        self._clock = clock
        self._sent_at: deque[float] = deque()

    @property
    def done(self) -> int:
        """How many rows have their verdict."""
        return self.counts.total()

    def advance(self, status: OutcomeStatus, attempts: int) -> None:
        """Note one more verdict, and how many requests left for it."""
        self.counts[status] += 1
        self._sent_at.extend([self._clock()] * attempts)

    def describe(self, budget: BudgetSnapshot) -> str:
        """Say the rate against the plan, what is waited for, and what failed."""
        now = self._clock()
        while self._sent_at and self._sent_at[0] <= now - RATE_SECONDS:
            self._sent_at.popleft()
        parts = [f"{len(self._sent_at)} of {budget.limit} in the last minute"]
        if budget.closed_until is not None:
            parts.append(f"closed by the server until {budget.closed_until.astimezone():%H:%M:%S}")
        elif budget.seconds_until_next_permit >= 1:
            parts.append(f"window full, {budget.seconds_until_next_permit:.0f} s")
        failed = sum(self.counts[status] for status in _FAILURES)
        return ", ".join([*parts, *([f"{failed} failed"] if failed else [])])


@asynccontextmanager
async def shown(pace: Pace, snapshot: Callable[[], BudgetSnapshot]) -> AsyncGenerator[None]:
    """Show the pace on stderr while the block runs."""
    console = Console(stderr=True)
    renew = _live(pace, snapshot, console) if console.is_terminal else _plain(pace, snapshot)
    task = asyncio.create_task(renew)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _plain(pace: Pace, snapshot: Callable[[], BudgetSnapshot]) -> None:
    while True:
        await asyncio.sleep(PLAIN_SECONDS)
        say(f"{pace.done} of {pace.total} done; {pace.describe(snapshot())}")


async def _live(pace: Pace, snapshot: Callable[[], BudgetSnapshot], console: Console) -> None:
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    # A terminal that is gone takes no line any more: the run goes on to its end without. Renewed here alone, since an
    # error in a thread of Progress would be nobody's.
    with (
        suppress(OSError),
        Progress(
            *columns, console=console, redirect_stdout=sys.stdout.isatty(), auto_refresh=False
        ) as progress,
    ):
        task = progress.add_task("", total=pace.total)

        def renew() -> None:
            progress.update(task, completed=pace.done, description=pace.describe(snapshot()), refresh=True)

        try:
            while True:
                renew()
                await asyncio.sleep(LIVE_SECONDS)
        finally:
            renew()
