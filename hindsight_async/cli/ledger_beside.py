"""Where the ledger of an input file is: beside it."""

import os
from collections.abc import Iterable
from pathlib import Path

from hindsight_async.cli.file_arguments import STDIN
from hindsight_async.cli.results import are_results
from hindsight_async.cli.terminal import say

LEDGER_SUFFIX = ".hindsight.db"
"""What stands in place of the input's suffix in the name of the ledger beside it."""

NO_FILES = (("dev",), ("proc",))
"""Where a name such as /dev/stdin or /dev/fd/63 is another file each time."""


def location_beside(file: str, columns: Iterable[str], *, dry_run: bool) -> str | None:
    """Return where the input's ledger is; ValueError where it can have none, which a dry run only hears.

    Results of an earlier run raise it for a dry run too: a new ledger would know none of those who were emailed.
    """
    if are_results(columns):
        raise ValueError(
            f"{file} has the results of an earlier run, and that run's ledger lies beside its input: correct rows in"
            " that input and run it again; or name its ledger with --ledger (--no-ledger sends every row again)"
        )
    try:
        return ledger_beside(file)
    except ValueError as error:
        if not dry_run:
            raise
        say(f"Counted without a ledger: {error}")
        return None


def ledger_path(file: Path) -> Path:
    """Return where the ledger of an input file would be."""
    return beside(file, LEDGER_SUFFIX)


def beside(file: Path, suffix: str) -> Path:
    """Return the file with another suffix beside an input."""
    # By a link's own name the file would have a second ledger, which knows nobody.
    return (file.resolve() if file.is_symlink() else file).with_suffix(suffix)


def ledger_beside(file: str) -> str:
    """Return the ledger that belongs to an input file.

    Args:
        file: The input's path, or `-` for stdin.

    Returns:
        The path of a file in the same directory; in that of the file itself, where the input is a symbolic link.

    Raises:
        ValueError: The input is no file that will be there again, or its directory takes no ledger.

    """
    path = Path(file)
    choice = "give --ledger FILE for one, or --no-ledger to have nothing remember who was sent"
    if file == STDIN or not path.is_file() or path.absolute().parts[1:2] in NO_FILES:
        raise ValueError(f"{'stdin' if file == STDIN else file} has no ledger beside it: {choice}")
    ledger = ledger_path(path)
    needed = [ledger.parent, *([ledger] if ledger.exists() else [])]
    effective = os.access in os.supports_effective_ids
    for each in needed:
        if not os.access(each, os.W_OK, effective_ids=effective):
            raise ValueError(f"the ledger {ledger} cannot be kept, since {each} is not writable: {choice}")
    return f"./{ledger}" if str(ledger).startswith("-") else str(ledger)
