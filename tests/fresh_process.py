"""A Python of its own, for what can be seen only in one that has imported nothing yet."""

import os
import subprocess
import sys


def without_coverage(environment):
    """Leave out what has coverage start in a process, and write into files at its end."""
    return {name: value for name, value in environment.items() if not name.startswith("COVERAGE_")}


def run_python(code, *options, seconds=60):
    """Return what `code` prints; coverage, which imports much by itself, stays out of that process."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *options, "-c", code],
        env=without_coverage(os.environ), capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    return done.stdout
