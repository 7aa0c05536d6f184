"""`deals list`, `deals count` and `deals export`: which deals there are, and a file of them."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.cells import set_cell_size

from hindsight_async.cli.file_arguments import JsonOption
from hindsight_async.cli.help import command_app, examples
from hindsight_async.cli.json_lines import json_line, values_that_are_set
from hindsight_async.cli.shared_options import DEFAULT_SHARED, SharedOption, SharedOptions
from hindsight_async.cli.steps import Steps, show_steps
from hindsight_async.cli.terminal import ExitCode, counted, refuse, say
from hindsight_async.errors import HindsightError
from hindsight_async.resources.deals.calls import DealSort, SortOrder
from hindsight_async.resources.deals.export_file import check_writable
from hindsight_async.resources.deals.exports import DEFAULT_WAIT_SECONDS
from hindsight_async.resources.deals.filters import DateRange, DealFilters, ExportFilters, NumberRange
from hindsight_async.resources.deals.models import Deal
from hindsight_async.session import HindsightSession

deals_app = command_app(
    "deals",
    "List and count deals, or export them to a CSV file.",
    "deals list --closed-from 2026-07-01",
    "deals export deals.csv --columns name,amount",
)

Several = Parameter(negative=(), show_default=False)

WIDTHS = (10, 12, 12, 24)
"""Of close date, amount, status and name on a terminal; the id comes last, and is never cut."""


@dataclass(frozen=True, kw_only=True)
class Which:
    """Which deals: those that pass every option that is given.

    Parameters
    ----------
    status
        Of this stage; give it again for another.
    owner
        Of the owner with this id; give it again for another.
    deal_type
        Of this type; give it again for another.
    region
        Of this region; give it again for another.
    industry
        Of this industry; give it again for another.
    closed_from
        Closed on or after this day, as 2026-07-01.
    closed_to
        Closed on or before this day.
    amount_from
        Of at least this amount.
    amount_to
        Of at most this amount.

    """

    status: Annotated[tuple[str, ...], Several] = ()
    owner: Annotated[tuple[str, ...], Several] = ()
    deal_type: Annotated[tuple[str, ...], Several] = ()
    region: Annotated[tuple[str, ...], Several] = ()
    industry: Annotated[tuple[str, ...], Several] = ()
    closed_from: date | None = None
    closed_to: date | None = None
    amount_from: float | None = None
    amount_to: float | None = None

    def arguments(self) -> dict[str, Any]:
        """Return what both classes of filters call by the same name."""
        is_dated = self.closed_from is not None or self.closed_to is not None
        is_priced = self.amount_from is not None or self.amount_to is not None
        return {
            "status": self.status or None,
            "owner_ids": self.owner or None,
            "deal_type": self.deal_type or None,
            "region": self.region or None,
            "industry": self.industry or None,
            "close_date": DateRange(start=self.closed_from, end=self.closed_to) if is_dated else None,
            "amount": NumberRange(min=self.amount_from, max=self.amount_to) if is_priced else None,
        }


EVERY = Which()
WhichDeals = Annotated[Which, Parameter(name="*")]


@deals_app.command(
    name="list",
    help_epilogue=examples(
        "deals list --closed-from 2026-07-01 --limit 20", "deals list --search acme --json"
    ),
)
def list_deals(
    *,
    which: WhichDeals = EVERY,
    search: str | None = None,
    sort: DealSort = "created_at",
    order: SortOrder = "asc",
    columns: str | None = None,
    limit: int | None = None,
    as_json: JsonOption = False,
    shared: SharedOption = DEFAULT_SHARED,
) -> int:
    """Print deals, a line each: close date, amount, status, name and id; tab-separated where no terminal reads them.

    Parameters
    ----------
    which
        Which deals.
    search
        Whose name is like this.
    sort
        By which column.
    order
        Whether the least comes first or last.
    columns
        Which fields to read, separated by commas; else all.
    limit
        How many at most.
    as_json
        Print JSON, with every field that is set, one deal a line.
    shared
        For all commands.

    """
    if limit is not None and limit < 1:
        return refuse("--limit must be at least 1")

    async def work(hindsight: HindsightSession) -> int:
        found = hindsight.deals.list(
            filters=DealFilters(**which.arguments()), sort=sort, sort_order=order, search_query=search,
            columns=None if columns is None else columns.split(","),
        )  # fmt: skip
        steps = Steps("0 deals read")
        on_terminal = sys.stdout.isatty()
        async with show_steps(steps, quiet=on_terminal):
            number = 0
            async for deal in found:
                line = _line(deal, on_terminal=on_terminal)
                sys.stdout.write(json_line(values_that_are_set(deal)) if as_json else f"{line}\n")
                number += 1
                steps.now = f"{counted(number, 'deal')} read"
                if number == limit:
                    break
        return ExitCode.DONE

    return _run(work, shared)


@deals_app.command(help_epilogue=examples("deals count", "deals count --amount-from 50000"))
def count(
    *,
    which: WhichDeals = EVERY,
    search: str | None = None,
    as_json: JsonOption = False,
    shared: SharedOption = DEFAULT_SHARED,
) -> int:
    """Print how many deals there are.

    Parameters
    ----------
    which
        Which deals.
    search
        Whose name is like this.
    as_json
        Print a JSON object with the field `count`.
    shared
        For all commands.

    """

    async def work(hindsight: HindsightSession) -> int:
        number = await hindsight.deals.count(filters=DealFilters(**which.arguments()), search_query=search)
        sys.stdout.write(f"{json.dumps({'count': number}) if as_json else number}\n")
        return ExitCode.DONE

    return _run(work, shared)


@deals_app.command(
    help_epilogue=examples(
        "deals export deals.csv --columns name,amount,close_date",
        "deals export deals.csv --export-id exp_123",
    )
)
def export(
    file: Path,
    /,
    *,
    columns: str | None = None,
    which: WhichDeals = EVERY,
    export_id: str | None = None,
    wait: float = DEFAULT_WAIT_SECONDS,
    as_json: JsonOption = False,
    shared: SharedOption = DEFAULT_SHARED,
) -> int:
    """Have the API make a CSV file of deals, wait for it, and download it.

    Parameters
    ----------
    file
        The file; one that is there is replaced once the new one is whole.
    columns
        Which columns it has, separated by commas, such as name,amount,custom_answer_{name}.
    which
        Which deals.
    export_id
        Take up this export, of an earlier run, instead of starting one.
    wait
        Seconds to wait for it.
    as_json
        Print a JSON object with export_id, path and rows_exported.
    shared
        For all commands.

    """
    if (columns is None) is (export_id is None) or (export_id is not None and which != EVERY):
        return refuse(
            "give --columns, or the --export-id of an export that is started, which has its columns"
        )

    async def work(hindsight: HindsightSession) -> int:
        await check_writable(file)
        deals, steps = hindsight.deals, Steps("starting the export")
        asked_for = export_id
        async with show_steps(steps):
            try:
                if asked_for is None:
                    filters = ExportFilters(**which.arguments())
                    started = await deals.start_export(columns=(columns or "").split(","), filters=filters)
                    asked_for = started.export_id
                steps.now = f"waiting for export {asked_for}"
                done = await deals.wait_for_export(asked_for, timeout=wait)
                path = await deals.download_export(done, file, on_progress=steps.received)
            except (asyncio.CancelledError, HindsightError, OSError):
                if asked_for is not None:
                    say(f"the export {asked_for} is not in {file}; --export-id {asked_for} takes it up")
                raise
        told = {"export_id": asked_for, "path": str(path), "rows_exported": done.rows_exported}
        rows = "deals" if done.rows_exported is None else counted(done.rows_exported, "deal")
        sys.stdout.write(f"{json.dumps(told) if as_json else f'{rows} in {path}'}\n")
        return ExitCode.DONE

    return _run(work, shared)


def _run(work: Callable[[HindsightSession], Awaitable[int]], shared: SharedOptions) -> int:
    async def within() -> int:
        async with shared.session() as hindsight:
            return await work(hindsight)

    try:
        return asyncio.run(within())
    except BrokenPipeError:
        raise
    except (HindsightError, OSError) as error:
        say(f"hindsight-async: {error}")
        return ExitCode.SOME_FAILED


def _line(deal: Deal, *, on_terminal: bool) -> str:
    cells = [
        "" if deal.close_date is None else deal.close_date.isoformat(),
        ""
        if deal.amount is None
        else f"{deal.amount:,.2f}".removesuffix(".00")
        if on_terminal
        else str(deal.amount),
        deal.status or deal.status_id or "",
        deal.name or "",
        deal.id,
    ]
    # Names come from a CRM: none may end a line, or steer the terminal.
    shown = ["".join(sign if sign.isprintable() else " " for sign in cell) for cell in cells]
    if not on_terminal:
        return "\t".join(shown)
    return " ".join(
        [*(set_cell_size(cell, width) for cell, width in zip(shown, WIDTHS, strict=False)), shown[-1]]
    )
