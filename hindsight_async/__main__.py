"""The `hindsight-async` command, also `python -m hindsight_async`."""

import sys


def main() -> int:
    """Run the command line; say what to install where its extra is missing. Returns the exit code."""
    try:
        from hindsight_async.cli import run  # noqa: PLC0415  the extra may be missing
    except ModuleNotFoundError as error:
        if error.name not in {"cyclopts", "rich"}:
            raise
        print(  # noqa: T201
            f"{error.name} is not installed: the command line needs pip install 'hindsight-async[cli]'",
            file=sys.stderr,
        )
        return 2
    return run()


if __name__ == "__main__":
    sys.exit(main())
