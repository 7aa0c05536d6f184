"""The command line: `python -m benchmarks [NAME ...] [--quick] [--out FOLDER]`."""

import argparse
import importlib
import logging
import time
from pathlib import Path

NAMES = ("calls", "rate", "bulk", "waiters", "startup")
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Run what is asked for, one after another, and write a table and a plot for each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(NAMES)}; else all")
    parser.add_argument(
        "--quick", action="store_true", help="so few repetitions that the numbers mean nothing"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder to write to")
    options = parser.parse_args()
    unknown = set(options.names) - set(NAMES)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    # That callers wait is what is measured, and no news.
    logging.getLogger("hindsight_async").setLevel(logging.ERROR)
    for name in options.names or NAMES:
        began = time.perf_counter()
        report = importlib.import_module(f"benchmarks.{name}").run(quick=options.quick)
        report.write(options.out, name)
        print(report.text(name))
        print(f"[{name}: {time.perf_counter() - began:.0f} s]\n", flush=True)


if __name__ == "__main__":
    main()
