"""The benchmarks still run."""

import subprocess
import sys
from pathlib import Path


def test_the_bulk_benchmark_runs():
    """On a few rows it prints its three lines and warns of nothing."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "benchmarks.bulk", "200"],
        cwd=Path(__file__).parent.parent, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (0, "") == (done.returncode, done.stderr)
    assert 3 == len(done.stdout.splitlines())
    assert "resume to the first unsent row" in done.stdout
