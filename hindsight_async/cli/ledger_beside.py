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


_NEEDED_BY = {
    "--ledger": "says where it is",
    "--once-per-contact": "asks it who was written to",
    "--store-contexts": "keeps them in it",
    "--key": "tells rows apart in it",
}
"""What options do with a ledger, by their names."""


def check_ledger_options(*, no_ledger: bool, test_to: str | None, **given: object) -> bool:
    """Check that no option that needs a ledger is given with one that does without.

    Args:
        no_ledger: Whether --no-ledger is given.
        test_to: The address of --test-to, None where it is not given.
        given: What is given with the options that need one, None for nothing.

    Returns:
        Whether there is no ledger.

    Raises:
        ValueError: They do not go together; the text says why.

    """
    without = "--test-to" if test_to is not None else "--no-ledger" if no_ledger else None
    for name, value in given.items():
        option = f"--{name.replace('_', '-')}"
        if without and value is not None:
            raise ValueError(
                f"{option} needs a ledger, since it {_NEEDED_BY[option]}; with {without} there is none"
            )
    return without is not None


def location_beside(file: str, columns: Iterable[str], *, without: bool, dry_run: bool) -> str | None:
    """Return where the input's ledger is; ValueError where it can have none, which a dry run only hears.

    None where it is to do `without` one.

    Results of an earlier run raise it for a dry run too: a new ledger would know none of those who were emailed.
    """
    if without:
        return None
    if are_results(columns):
        raise ValueError(
            f"{file} has the results of an earlier run, and that run's ledger lies beside its input: correct rows in"
            " that input and run it again; or name its ledger with --ledger"
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
