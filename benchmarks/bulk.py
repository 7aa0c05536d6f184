"""What a bulk run costs: rows per second of CPU, memory, and how long it takes to go on where a run has stopped."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.processes import output_of
from benchmarks.report import OTHERS, OURS, Report, Table

ROWS = (10_000, 100_000, 1_000_000)
QUICK_ROWS = (200,)
LEDGER_ROWS_AT_MOST = 100_000
"""With a ledger a row takes so much longer that a million are not measured."""

METHOD = """\
`create_many` over a transport that answers at once, 16 in flight, with a rate budget so large that it never waits: what is left is
the cost of our own code for each row, checks, duplicates, budget and outcome. Each measurement has a process of its own; memory is
the growth of its peak after the first 500 rows; most of it is the budget, which remembers each request for a minute, and with no server
to wait for a minute is hundreds of thousands of rows. "Until the first new row" is the time that a second run over a ledger of finished rows
takes to reach a row that is not finished."""


def measure(rows: int, ledger: Path | None = None) -> dict[str, float]:
    """Do one run in a process of its own."""
    took: dict[str, float] = json.loads(
        output_of("-m", "benchmarks.bulk_run", str(rows), *([str(ledger)] if ledger else []))
    )
    return took


def run(*, quick: bool) -> Report:
    """Measure, and tabulate."""
    lines: list[list[str]] = []
    resumed: list[list[str]] = []
    without: list[float] = []
    with_ledger: list[float] = []
    sizes = QUICK_ROWS if quick else ROWS
    for rows in sizes:
        bare = measure(rows)
        without.append(rows / bare["cpu"])
        lines.append([f"{rows:,}", "no", f"{without[-1]:,.0f}", f"{bare['growth']:.1f}"])
        if rows > LEDGER_ROWS_AT_MOST:
            continue
        with tempfile.TemporaryDirectory() as folder:
            ledger = Path(folder) / "ledger.db"
            kept = measure(rows, ledger)
            with_ledger.append(rows / kept["cpu"])
            lines.append([f"{rows:,}", "yes", f"{with_ledger[-1]:,.0f}", f"{kept['growth']:.1f}"])
            resumed.append([f"{rows:,}", f"{kept['resumed']:.1f}"])
    return Report(
        title="What a bulk run costs",
        method=METHOD,
        distributions=("hindsight-async", "SQLAlchemy", "aiosqlite"),
        tables=[
            Table("A first run", ["rows", "ledger", "rows per second of CPU", "memory grew by (MiB)"], lines),
            Table("Going on with a ledger", ["rows done before", "until the first new row (s)"], resumed),
        ],
        figure=plot(sizes, without, with_ledger),
    )


def plot(sizes: Sequence[int], without: Sequence[float], with_ledger: Sequence[float]) -> Figure:
    """Draw rows per second of CPU."""
    figure = Figure(figsize=(6, 3), layout="constrained")
    ax = figure.subplots()
    ax.plot(sizes, without, "o-", color=OURS, label="without a ledger")
    ax.plot(sizes[: len(with_ledger)], with_ledger, "s--", color=OTHERS, label="with a ledger")
    ax.set(xscale="log", xlabel="rows", ylabel="rows per second of CPU")
    ax.set_ylim(0, 1.2 * max(*without, *with_ledger))
    ax.legend(frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    return figure
