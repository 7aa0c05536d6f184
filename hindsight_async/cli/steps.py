"""What is being done: a live line on a terminal, a plain one every few seconds elsewhere."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from attrs import define
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape

from hindsight_async.cli.progress import LIVE_SECONDS, PLAIN_SECONDS
from hindsight_async.cli.terminal import say


@define
class Steps:
    """What is being done now, in words."""

    now: str

    def received(self, size: int, total: int | None) -> None:
        """Say how much of a download is here."""
        self.now = f"downloaded {decimal(size)}" + ("" if total is None else f" of {decimal(total)}")


@asynccontextmanager
async def show_steps(steps: Steps, *, quiet: bool = False) -> AsyncGenerator[None]:
    """Show them on stderr while the block runs, unless what it prints shows them already."""
    if quiet:
        yield
        return
    console = Console(stderr=True)
    task = asyncio.create_task(_live(steps, console) if console.is_terminal else _plain(steps))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _plain(steps: Steps) -> None:
    while True:
        await asyncio.sleep(PLAIN_SECONDS)
        say(steps.now)


async def _live(steps: Steps, console: Console) -> None:
    began = time.monotonic()
    # A terminal that is gone takes no line any more: the work goes on to its end without.
    with suppress(OSError), console.status("") as status:
        while True:
            status.update(f"{escape(steps.now)} ({time.monotonic() - began:.0f} s)")
            await asyncio.sleep(LIVE_SECONDS)
