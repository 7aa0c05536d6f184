"""What is being done: a live line on a terminal, a plain one every few seconds elsewhere."""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from attrs import define
from rich.console import Console
from rich.filesize import decimal
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner

from hindsight_async.cli.progress import LIVE_SECONDS, PLAIN_SECONDS
from hindsight_async.cli.terminal import open_console, say


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
    console = open_console(stderr=True)
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
    spinner = Spinner("dots")
    live = Live(
        spinner, console=console, auto_refresh=False, transient=True,
        # What is printed meanwhile must not follow the line to stderr where stdout is a file or a pipe.
        redirect_stdout=sys.stdout.isatty(),
    )  # fmt: skip
    # A terminal that is gone takes no line any more: the work goes on to its end without.
    with suppress(OSError), live:
        while True:
            spinner.update(text=escape(f"{steps.now} ({time.monotonic() - began:.0f} s)"))
            live.refresh()
            await asyncio.sleep(LIVE_SECONDS)
