"""What starting up costs: import time, memory, and how much is installed."""

import compileall
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import Distribution, distribution
from importlib.util import find_spec
from pathlib import Path

from attrs import field, frozen
from matplotlib.figure import Figure
from packaging.requirements import Requirement

from benchmarks.processes import output_of
from benchmarks.report import OTHERS, OURS, Report, Table

ROUNDS = 15
QUICK_ROUNDS = 1
QUICK_CLIENTS = ("hindsight-async", "aiohttp")
MILLISECONDS = 1e3
BYTES_PER_MB = 1e6
KIB_PER_MIB = 1024

IMPORT = """\
import time
began = time.process_time()
{}
print(time.process_time() - began)
try:
    with open("/proc/self/status") as status:
        print(next(line.split()[1] for line in status if line.startswith("VmRSS")))
except OSError:
    print("nan")
"""
"""Prints the seconds of CPU, and the memory in KiB where the system tells it as Linux does."""

METHOD = """\
Import time is the CPU of the import statement in a fresh process, the median of 15, the clients taking turns; an import
is what a user of that client writes. All bytecode is compiled before, as an installer does; of hindsight-async, what a first
call does not need is loaded later. Memory is what the process has resident after it. What is installed follows from each distribution's own requirements, as they hold on this
machine, down to the last; sizes are those of the installed files without compiled bytecode."""


@frozen
class Client:
    """A client: how it is imported, and what is installed for it."""

    statement: str
    requirements: Sequence[str] = field(repr=False)


CLIENTS: Mapping[str, Client] = {
    "hindsight-async": Client("import hindsight_async", ["hindsight-async"]),
    "hindsight-async[bulk]": Client("from hindsight_async import Ledger", ["hindsight-async[bulk]"]),
    "aiohttp": Client("import aiohttp, json", ["aiohttp"]),
    "httpx": Client("import httpx", ["httpx"]),
    "slack_sdk": Client("import slack_sdk.web.async_client", ["slack-sdk", "aiohttp"]),
    "stripe on aiohttp": Client("import stripe, aiohttp", ["stripe", "aiohttp"]),
    "openai": Client("import openai", ["openai"]),
    "openai on aiohttp": Client("import openai; openai.DefaultAioHttpClient", ["openai[aiohttp]"]),
}


def import_costs(clients: Mapping[str, Client], rounds: int) -> dict[str, tuple[float, float]]:
    """Tell the seconds of CPU that each import takes, and the KiB of memory after it, the clients taking turns."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in clients}
    for _ in range(rounds):
        for name, client in clients.items():
            seconds, memory = map(float, output_of("-c", IMPORT.format(client.statement)).split())
            taken[name].append((seconds, memory))
    return {
        name: (statistics.median(cpu for cpu, _ in costs), statistics.median(memory for _, memory in costs))
        for name, costs in taken.items()
    }


def compile_bytecode(installed: Iterable[Distribution]) -> None:
    """Compile what is installed, which a package in a work tree may never have been."""
    for path in {path for each in installed for path in _files_of(each)}:
        if path.suffix == ".py":
            compileall.compile_file(path, quiet=2)


def closure(requirements: Iterable[str]) -> dict[str, Distribution]:
    """Find all that is installed for some requirements, by normalised name."""
    found: dict[str, Distribution] = {}
    done: set[tuple[str, str]] = set()
    left = [Requirement(text) for text in requirements]
    while left:
        wanted = left.pop()
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        found[name] = distribution(wanted.name)
        for extra in ("", *wanted.extras):
            if (name, extra) in done:
                continue
            done.add((name, extra))
            needed = map(Requirement, found[name].requires or [])
            left += [each for each in needed if _applies(each, extra)]
    return found


def _applies(requirement: Requirement, extra: str) -> bool:
    marker = requirement.marker
    if marker is None:
        return not extra
    # What holds without the extra is counted once, with the distribution itself.
    return marker.evaluate({"extra": extra}) and not (extra and marker.evaluate({"extra": ""}))


def size(installed: Distribution) -> int:
    """Count the bytes of the installed files."""
    return sum(path.stat().st_size for path in _files_of(installed) if path.suffix != ".pyc")


def _files_of(installed: Distribution) -> list[Path]:
    files = [Path(str(each.locate())) for each in installed.files or []]
    if any(path.name.startswith("_editable_impl") or path.suffix == ".pth" for path in files):
        files = list(_package_of(installed).rglob("*"))
    return [path for path in files if path.is_file()]


def _package_of(installed: Distribution) -> Path:
    spec = find_spec(installed.metadata["Name"].replace("-", "_"))
    if spec is None or spec.origin is None:
        raise RuntimeError(f"{installed.metadata['Name']} cannot be imported")
    return Path(spec.origin).parent


def run(*, quick: bool) -> Report:
    """Measure, and tabulate."""
    clients = {name: CLIENTS[name] for name in QUICK_CLIENTS} if quick else CLIENTS
    closures = {name: closure(client.requirements) for name, client in clients.items()}
    compile_bytecode(each for found in closures.values() for each in found.values())
    costs = import_costs(clients, QUICK_ROUNDS if quick else ROUNDS)
    times = {name: seconds for name, (seconds, _) in costs.items()}
    sizes = {name: sum(map(size, found.values())) for name, found in closures.items()}
    lines = [
        [
            name,
            f"{times[name] * MILLISECONDS:.0f}",
            f"{times[name] / times['aiohttp']:.2f}",
            f"{costs[name][1] / KIB_PER_MIB:.1f}",
            str(len(closures[name])),
            f"{sizes[name] / BYTES_PER_MB:.1f}",
        ]
        for name in clients
    ]
    columns = [
        "client",
        "import (ms of CPU)",
        "beside aiohttp (x)",
        "memory (MiB)",
        "distributions installed",
        "their size (MB)",
    ]
    return Report(
        title="What starting up costs",
        method=METHOD,
        distributions=("hindsight-async", "aiohttp", "httpx", "openai", "slack-sdk", "stripe"),
        tables=[Table("Import and installation", columns, lines)],
        figure=plot(times, {name: len(found) for name, found in closures.items()}),
    )


def plot(times: Mapping[str, float], counts: Mapping[str, int]) -> Figure:
    """Draw import times and numbers of distributions."""
    figure = Figure(figsize=(8, 3), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    names = list(reversed(times))
    colours = [OURS if name.startswith("hindsight") else OTHERS for name in names]
    left.bar_label(
        left.barh(names, [times[n] * MILLISECONDS for n in names], color=colours), fmt="%.0f", padding=3
    )
    left.set(xlabel="import (ms of CPU)")
    right.bar_label(right.barh(names, [counts[n] for n in names], color=colours), padding=3)
    right.set(xlabel="distributions installed")
    for ax in (left, right):
        ax.margins(x=0.15)
        ax.spines[["top", "right"]].set_visible(False)
    return figure
