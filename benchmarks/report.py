"""A table and a plot, written so that the same numbers always give the same bytes."""

import os
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

import matplotlib as mpl
from attrs import field, frozen
from matplotlib.figure import Figure

# Text stays text and ids do not change: the files are small, and differ only where the numbers do.
mpl.rcParams.update({"svg.hashsalt": "hindsight-async", "svg.fonttype": "none", "font.size": 9})

OURS = "#c2410c"
OTHERS = "#64748b"


@frozen
class Table:
    """Rows under a heading; numbers are written by the caller."""

    heading: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def text(self) -> str:
        """Write it as Markdown, with all columns but the first to the right."""
        lines = [self.columns, ["---", *["---:"] * (len(self.columns) - 1)], *self.rows]
        return "\n".join([f"## {self.heading}", "", *(f"| {' | '.join(line)} |" for line in lines)])


@frozen
class Report:
    """What one benchmark found: what was measured, on which versions, the tables, and the plot."""

    title: str
    method: str
    distributions: Sequence[str]
    tables: Sequence[Table]
    figure: Figure = field(repr=False)

    def text(self, name: str) -> str:
        """Write everything as one Markdown page that shows the plot called `name`."""
        parts = [
            f"# {self.title}",
            self.method,
            f"Measured on {machine()}, with {versions(self.distributions)}.",
            f"To repeat it: `pip install -e '.[bench]'` and `python -m benchmarks {name}`.",
            f"![{self.title}]({name}.svg)",
            *(table.text() for table in self.tables),
        ]
        return "\n\n".join(parts) + "\n"

    def write(self, folder: Path, name: str) -> None:
        """Write `name`.md and `name`.svg into the folder, which is made where it is not there."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.md").write_text(self.text(name), encoding="utf-8")
        self.figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None})


def machine() -> str:
    """Name the processor, the system and the Python."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{_processor()} ({os.cpu_count()} cores, {platform.system()}), {python}"


def versions(distributions: Iterable[str]) -> str:
    """List the versions that were measured."""
    return ", ".join(f"{name} {version(name)}" for name in distributions)


def _processor() -> str:
    cpus = Path("/proc/cpuinfo")
    if cpus.exists():
        for line in cpus.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
