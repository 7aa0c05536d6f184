"""`queue show`, `queue drain`, `queue pause` and `queue resume`: what is still to be sent, and whether it is."""

import asyncio
import signal
import sys
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

from hindsight_async.cli.file_arguments import JsonOption
from hindsight_async.cli.help import command_app, examples
from hindsight_async.cli.json_lines import json_line, plain_values
from hindsight_async.cli.shared_options import DEFAULT_SHARED, SharedOption
from hindsight_async.cli.signals import handling
from hindsight_async.cli.steps import Steps, show_steps
from hindsight_async.cli.terminal import ExitCode, counted, refuse, say
from hindsight_async.delivery.ledger import queue_from_outside
from hindsight_async.delivery.ledger.ledger import Ledger
from hindsight_async.delivery.ledger.queue_rows import Backlog
from hindsight_async.delivery.outcomes import Outcome, OutcomeStatus
from hindsight_async.errors import LedgerError
from hindsight_async.redaction import escaped
from hindsight_async.resources.interviews.models import CreatedInterview, CreateInterview
from hindsight_async.session import HindsightSession

queue_app = command_app(
    "queue",
    "Look at a queue, send what is in it, or pause it.",
    "queue show queue.db",
    "queue drain queue.db --timeout 600",
)

SAID_EVERY = 0.5
"""Seconds between two looks at how much is left."""

BY_HAND = "paused by hand"

ENDING = (signal.SIGINT, signal.SIGTERM)
"""The signals that end `queue drain`."""


@queue_app.command(help_epilogue=examples("queue show queue.db", "queue show queue.db --json"))
def show(ledger: str, /, *, as_json: JsonOption = False) -> int:
    """Say how much a queue has still to send, and whether it is paused.

    Parameters
    ----------
    ledger
        The ledger's file, or its database's URL.
    as_json
        Print a line of JSON.

    """
    return _carried_out(_show(Ledger(ledger), as_json=as_json))


@queue_app.command(help_epilogue=examples("queue drain queue.db", "queue drain queue.db --timeout 600"))
def drain(ledger: str, /, *, timeout: float | None = None, shared: SharedOption = DEFAULT_SHARED) -> int:
    """Send what is queued; end when nothing is left, or at Ctrl-C, which lets calls in flight finish.

    Parameters
    ----------
    ledger
        The ledger's file, or its database's URL.
    timeout
        End after so many seconds, with the rest kept.
    shared
        For all commands.

    """
    return _carried_out(_drain(Ledger(ledger), shared.session(), timeout))


@queue_app.command(help_epilogue=examples("queue pause queue.db 'until the sequence is corrected'"))
def pause(ledger: str, reason: str = BY_HAND, /) -> int:
    """Have nothing sent from a queue, by no process, until `queue resume`.

    Parameters
    ----------
    ledger
        The ledger's file, or its database's URL.
    reason
        Why; shown by `queue show`.

    """
    return _carried_out(_pause(Ledger(ledger), reason))


@queue_app.command(help_epilogue=examples("queue resume queue.db"))
def resume(ledger: str, /) -> int:
    """Lift a queue's pause: whoever has it open sends on.

    Parameters
    ----------
    ledger
        The ledger's file, or its database's URL.

    """
    return _carried_out(_resume(Ledger(ledger)))


def _carried_out(work: Coroutine[Any, Any, int]) -> int:
    try:
        return asyncio.run(work)
    except LedgerError as error:
        return refuse(error.summary)  # the whole text says that nothing was sent, which nobody asked for


async def _show(ledger: Ledger, *, as_json: bool) -> int:
    backlog = await queue_from_outside.backlog(ledger)
    sys.stdout.write(json_line(plain_values(backlog)) if as_json else f"{_described(backlog)}\n")
    return ExitCode.DONE


def _described(backlog: Backlog) -> str:
    lines = [f"{counted(backlog.queued, 'row')} queued, {backlog.sending:,} on their way"]
    if backlog.oldest is not None:
        waited = timedelta(seconds=round((datetime.now(UTC) - backlog.oldest).total_seconds()))
        lines.append(f"the oldest has waited for {waited}")
    if backlog.paused_because is not None and backlog.paused_at is not None:
        since = backlog.paused_at.isoformat(timespec="seconds")
        lines.append(f"paused since {since}: {backlog.paused_because}")
        lines.append("once that is mended: hindsight-async queue resume")
    return "\n".join(map(escaped, lines))


async def _drain(ledger: Ledger, hindsight: HindsightSession, seconds: float | None) -> int:
    if not await ledger.exists():
        return refuse(
            f"there is no queue at {ledger.name}: name the file or database that a program was given"
        )
    failed = 0

    def note(outcome: Outcome[CreateInterview, CreatedInterview]) -> None:
        nonlocal failed
        failed += outcome.status is not OutcomeStatus.CREATED

    async with hindsight, hindsight.interviews.queue(ledger, on_outcome=note) as queue:
        draining = asyncio.ensure_future(queue.drain(seconds))
        interrupted: list[signal.Signals] = []

        def interrupt(number: signal.Signals) -> None:
            interrupted.append(number)
            draining.cancel()

        steps = Steps("looking at the queue")
        with handling(ENDING, interrupt):
            async with show_steps(steps):
                while not draining.done():
                    left = queue.snapshot()
                    steps.now = f"{counted(left.queued, 'row')} to send, {left.in_flight} in flight"
                    await asyncio.wait([draining], timeout=SAID_EVERY)
    return _ended(draining, failed, interrupted=bool(interrupted))


def _ended(draining: asyncio.Future[None], failed: int, *, interrupted: bool) -> int:
    if interrupted or draining.cancelled():
        say("stopped: what is still queued is sent by whoever opens the queue next")
        return ExitCode.INTERRUPTED
    error = draining.exception()
    if error is not None:
        say(f"hindsight-async: {error}")
        return ExitCode.SOME_FAILED
    say(
        "nothing is queued any more"
        + (f"; {counted(failed, 'row')} failed, see ledger show" if failed else "")
    )
    return ExitCode.SOME_FAILED if failed else ExitCode.DONE


async def _pause(ledger: Ledger, reason: str) -> int:
    await queue_from_outside.pause(ledger, reason)
    say("paused: nothing is sent until hindsight-async queue resume")
    return ExitCode.DONE


async def _resume(ledger: Ledger) -> int:
    was_paused = await queue_from_outside.lift_pause(ledger)
    say("resumed: whoever has the queue open sends on" if was_paused else "it was not paused")
    return ExitCode.DONE
