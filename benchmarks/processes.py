"""Modules of this package run in processes of their own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def environment() -> dict[str, str]:
    """Take this process's, without the machine's proxies, and with the same hashes each time."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**kept, "PYTHONHASHSEED": "0"}


@contextmanager
def started(module: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a module until the block ends, with its input and output at hand."""
    with subprocess.Popen(  # noqa: S603  our own package
        [sys.executable, "-m", f"benchmarks.{module}", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def cpus_apart() -> tuple[int | None, int | None]:
    """Name two CPUs that this process may use; None where there is but one, or the system does not tell."""
    if not hasattr(os, "sched_getaffinity") or len(usable := sorted(os.sched_getaffinity(0))) == 1:
        return None, None
    return usable[0], usable[1]


def keep_on(cpu: int | None, process: "subprocess.Popen[str]") -> None:
    """Let a process run on this CPU alone, so that moving between them does not blur what it costs."""
    if cpu is not None:
        os.sched_setaffinity(process.pid, {cpu})


def next_line(process: "subprocess.Popen[str]") -> str:
    """Wait for the next line that it writes; raises RuntimeError where it has ended instead."""
    line = process.stdout.readline() if process.stdout is not None else ""
    if not line:
        raise RuntimeError(f"{process.args!r} has ended")
    return line.strip()


def tell(process: "subprocess.Popen[str]", *words: object) -> None:
    """Write a line to it."""
    print(*words, file=process.stdin, flush=True)


def output_of(*arguments: str) -> str:
    """Run a Python to its end; return what it wrote."""
    return subprocess.run(  # noqa: S603  our own package
        [sys.executable, *arguments], env=environment(), stdout=subprocess.PIPE, text=True, check=True
    ).stdout
