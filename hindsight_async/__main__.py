"""The `hindsight-async` command, also `python -m hindsight_async`."""

import sys
from importlib import import_module


def main() -> int:
    """Run the command line; say what to install where its extra is missing. Returns the exit code."""
    try:
        for needed in ("cyclopts", "rich", "sqlalchemy", "aiosqlite"):
            import_module(needed)
    except ModuleNotFoundError as error:
        sys.stderr.write(
            f"{error.name} is not installed: the command line needs pip install 'hindsight-async[cli]'\n"
        )
        return 2
    from hindsight_async.cli import run  # noqa: PLC0415  needs the extra

    return run()


if __name__ == "__main__":
    sys.exit(main())
