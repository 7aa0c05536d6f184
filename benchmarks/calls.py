"""What a call costs: `interviews.create` beside other clients' calls to the same loopback server."""

import json
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import chain
from typing import TYPE_CHECKING

from attrs import define, field
from matplotlib.figure import Figure

from benchmarks.contenders import CONTENDERS, MOST_IN_FLIGHT, ON_UVLOOP, OURS, RAW
from benchmarks.processes import cpus_apart, keep_on, next_line, started, tell
from benchmarks.report import OTHERS, Report, Table
from benchmarks.report import OURS as OUR_COLOUR

if TYPE_CHECKING:
    import subprocess

SITTINGS = 10
TURNS = 4
CALLS_IN_A_ROW = 200
CALLS_IN_FLIGHT = 400
QUICK_CALLS = 3
MICROSECONDS = 1e6

METHOD = f"""\
Each client runs in a process of its own and makes the same call to one light server on this machine: a POST of five
fields, an answer of six. They take turns, {CALLS_IN_A_ROW} calls one after another and {CALLS_IN_FLIGHT} calls with
{MOST_IN_FLIGHT} in flight each turn, every other turn in the reverse order. Before each comes a number of calls that do
not count, so that all connections are there. After {TURNS} turns all processes are started afresh, {SITTINGS} times in
all, because where a process happens to lie in memory makes it up to a tenth quicker or slower for as long as it lives.
Where the system lets it, the server has one CPU and the clients share another. CPU is the process's own
(`time.process_time`), a ratio is the median over all turns of CPU beside `aiohttp + json` in the same turn.
`aiohttp + json` is `session.post(json=...)` and `json.loads` and nothing else; hindsight-async makes and checks the
request, asks the rate budget (one so large that it never waits), reads the rate headers and the answer, and is ready to
retry. slack_sdk shares one aiohttp session (by default it opens one per call), httpx keeps {MOST_IN_FLIGHT} connections
(20 by default), stripe sends a form; each client's retries are on as they are by default, and none was needed. What runs
on uvloop is compared with aiohttp on uvloop."""


@define
class Measured:
    """What one contender took, turn by turn: seconds of CPU per call, seconds of each call, calls per second."""

    cpu_in_a_row: list[float] = field(factory=list)
    cpu_in_flight: list[float] = field(factory=list)
    latencies: list[float] = field(factory=list)
    throughput: list[float] = field(factory=list)


def measure(process: "subprocess.Popen[str]", calls: int, in_flight: int) -> tuple[float, float, list[float]]:
    """Have so many calls made; tell the CPU and the clock's seconds per call, and each one's latency."""
    tell(process, calls, in_flight)
    took = json.loads(next_line(process))
    return took["cpu"] / calls, took["clock"] / calls, took["latencies"]


def take_turns(measured: dict[str, Measured], turns: int, in_a_row: int, in_flight: int) -> None:
    """Start these contenders and measure them, each turn in the reverse order of the one before."""
    servers_cpu, clients_cpu = cpus_apart()
    with ExitStack() as stack:
        server = stack.enter_context(started("answering_machine"))
        keep_on(servers_cpu, server)
        port = next_line(server)
        processes = {name: stack.enter_context(started("contenders", name, port)) for name in measured}
        for process in processes.values():
            keep_on(clients_cpu, process)
            next_line(process)
        for turn in range(turns):
            for name in list(processes)[:: -1 if turn % 2 else 1]:
                cpu, _, latencies = measure(processes[name], in_a_row, 1)
                measured[name].cpu_in_a_row.append(cpu)
                measured[name].latencies += latencies
                cpu, clock, _ = measure(processes[name], in_flight, MOST_IN_FLIGHT)
                measured[name].cpu_in_flight.append(cpu)
                measured[name].throughput.append(1 / clock)


def ratio(own: Sequence[float], raw: Sequence[float]) -> float:
    """Compare turn by turn."""
    return statistics.median(mine / other for mine, other in zip(own, raw, strict=True))


def run(*, quick: bool) -> Report:
    """Measure, and tabulate."""
    measured = {name: Measured() for name in ((RAW, OURS) if quick else CONTENDERS)}
    if quick:
        take_turns(measured, 1, QUICK_CALLS, QUICK_CALLS)
    else:
        for _ in range(SITTINGS):
            take_turns(measured, TURNS, CALLS_IN_A_ROW, CALLS_IN_FLIGHT)
    ratios = {
        name: (
            ratio(each.cpu_in_a_row, beside(name, measured).cpu_in_a_row),
            ratio(each.cpu_in_flight, beside(name, measured).cpu_in_flight),
        )
        for name, each in measured.items()
    }
    rows = [
        [name, *(f"{one:.2f}" for one in ratios[name]), *absolute(each)] for name, each in measured.items()
    ]
    columns = [
        "client",
        "CPU, one after another (x)",
        f"CPU, {MOST_IN_FLIGHT} in flight (x)",
        "CPU, one after another (us)",
        f"CPU, {MOST_IN_FLIGHT} in flight (us)",
        "p50 (us)",
        "p99 (us)",
        f"calls/s, {MOST_IN_FLIGHT} in flight",
    ]
    return Report(
        title="What a call costs",
        method=METHOD,
        distributions=(
            "hindsight-async",
            "aiohttp",
            "httpx",
            "openai",
            "slack-sdk",
            "stripe",
            "uvloop",
            "orjson",
        ),
        tables=[Table("CPU per call beside aiohttp, and what it is made of", columns, rows)],
        figure=plot(ratios),
    )


def beside(name: str, measured: dict[str, Measured]) -> Measured:
    """Find what a contender is compared with: aiohttp on the same event loop."""
    return measured[RAW + ON_UVLOOP if name.endswith(ON_UVLOOP) else RAW]


def absolute(measured: Measured) -> list[str]:
    """Write times in microseconds, and calls per second."""
    latencies = sorted(measured.latencies)
    seconds = (
        statistics.median(measured.cpu_in_a_row),
        statistics.median(measured.cpu_in_flight),
        latencies[len(latencies) // 2],
        latencies[len(latencies) * 99 // 100],
    )
    return [
        *(f"{each * MICROSECONDS:.0f}" for each in seconds),
        f"{statistics.median(measured.throughput):.0f}",
    ]


def plot(ratios: dict[str, tuple[float, float]]) -> Figure:
    """Draw two bars for each client, on a logarithmic scale."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    names = list(reversed(ratios))
    colours = [OUR_COLOUR if name.startswith("hindsight") else OTHERS for name in names]
    titles = ("one after another", f"{MOST_IN_FLIGHT} in flight")
    for which, (ax, title) in enumerate(zip(axes, titles, strict=True)):
        bars = ax.barh(names, [ratios[name][which] for name in names], color=colours)
        ax.bar_label(bars, fmt="%.2f", padding=3)
        ax.set(title=title, xscale="log", xlabel="CPU per call, aiohttp + json = 1")
        ax.set_xticks([1, 2, 5, 10], ["1", "2", "5", "10"])
        ax.minorticks_off()
        ax.set_xlim(0.5, 2 * max(chain(*ratios.values())))
        ax.axvline(1, color="black", linewidth=0.8)
        ax.spines[["top", "right"]].set_visible(False)
    return figure
