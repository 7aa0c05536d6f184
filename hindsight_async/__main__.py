"""The `hindsight-async` command, also `python -m hindsight_async`."""

import sys
from importlib import import_module

MISSING_EXTRA = 2


def main() -> int:
    """Run the command line, or say what to install where its extra is missing.

    Returns:
        The exit code: `MISSING_EXTRA` where there is no command line, else the command's own.

    """
    try:
        for needed in ("cyclopts", "rich", "sqlalchemy", "aiosqlite"):
            import_module(needed)
    except ModuleNotFoundError as error:
        sys.stderr.write(
            f"{error.name} is not installed: the command line needs pip install 'hindsight-async[cli]'\n"
        )
        return MISSING_EXTRA
    from hindsight_async.cli import run  # noqa: PLC0415  needs the extra

    return run()


if __name__ == "__main__":
    sys.exit(main())
