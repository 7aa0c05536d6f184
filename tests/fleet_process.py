"""A process of a fleet that enrolls; in a module of its own, so that a child of any parent can import it."""

import os
import sys


def enroll(folder, name, ledger, environment):
    """Become `hindsight-async enroll` on a ledger that others use too."""
    from hindsight_async.cli import run

    os.environ.update(environment)
    os.chdir(folder)
    sys.stderr = open(f"{name}.txt", "a")
    options = ["--sequence", "seq_1", "--ledger", ledger, "--output", f"{name}.csv", "--yes"]
    sys.argv = ["hindsight-async", "enroll", "contacts.csv", *options]
    os._exit(run())
