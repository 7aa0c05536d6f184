"""What starting up costs: import time, and how much is installed."""

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

IMPORT = "import time; began = time.process_time(); {}; print(time.process_time() - began)"

METHOD = """\
Import time is the CPU of the import statement in a fresh process, the median of 15, the clients taking turns; an import
is what a user of that client writes. What is installed follows from each distribution's own requirements, as they hold on this
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


def import_times(clients: Mapping[str, Client], rounds: int) -> dict[str, float]:
    """Tell the seconds of CPU that each import takes, the clients taking turns."""
    taken: dict[str, list[float]] = {name: [] for name in clients}
    for _ in range(rounds):
        for name, client in clients.items():
            taken[name].append(float(output_of("-c", IMPORT.format(client.statement))))
    return {name: statistics.median(times) for name, times in taken.items()}


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
    files = [Path(str(each.locate())) for each in installed.files or []]
    if any(path.name.startswith("_editable_impl") or path.suffix == ".pth" for path in files):
        files = list(_package_of(installed).rglob("*"))
    return sum(path.stat().st_size for path in files if path.is_file() and path.suffix != ".pyc")


def _package_of(installed: Distribution) -> Path:
    spec = find_spec(installed.metadata["Name"].replace("-", "_"))
    if spec is None or spec.origin is None:
        raise RuntimeError(f"{installed.metadata['Name']} cannot be imported")
    return Path(spec.origin).parent


def run(*, quick: bool) -> Report:
    """Measure, and tabulate."""
    clients = {name: CLIENTS[name] for name in QUICK_CLIENTS} if quick else CLIENTS
    times = import_times(clients, QUICK_ROUNDS if quick else ROUNDS)
    closures = {name: closure(client.requirements) for name, client in clients.items()}
    sizes = {name: sum(map(size, found.values())) for name, found in closures.items()}
    lines = [
        [
            name,
            f"{times[name] * MILLISECONDS:.0f}",
            f"{times[name] / times['aiohttp']:.2f}",
            str(len(closures[name])),
            f"{sizes[name] / BYTES_PER_MB:.1f}",
        ]
        for name in clients
    ]
    columns = [
        "client",
        "import (ms of CPU)",
        "beside aiohttp (x)",
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
