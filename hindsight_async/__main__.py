"""The `hindsight-async` command, also `python -m hindsight_async`."""

import os
import signal
import sys
from importlib.util import find_spec
from typing import Any

MISSING_EXTRA = 2
INTERRUPTED = 130
"""What shells use for Ctrl-C (128 + SIGINT)."""


def main() -> int:
    """Run the command line, or say what to install where its extra is missing.

    Returns:
        The exit code: `MISSING_EXTRA` where there is no command line, else the command's own.

    """
    try:
        return _run_and_hear()
    except KeyboardInterrupt:  # in the moments before and after, in which nothing is done
        return INTERRUPTED


def _leave(number: int, frame: object) -> None:
    del number, frame
    os._exit(INTERRUPTED)


def _run_and_hear() -> int:
    # A shell that starts a command in the background has it ignore Ctrl-C.
    is_heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def hear(handler: Any) -> None:
        if is_heard:
            signal.signal(signal.SIGINT, handler)

    # Nothing is to be finished before the command begins; an exception would come up inside an import.
    hear(_leave)
    for needed in ("cyclopts", "rich", "sqlalchemy", "aiosqlite"):
        # Looked for and not loaded, since not every command needs all of them.
        if find_spec(needed) is None:
            sys.stderr.write(
                f"{needed} is not installed: the command line needs pip install 'hindsight-async[cli]'\n"
            )
            return MISSING_EXTRA
    from hindsight_async.cli import run  # noqa: PLC0415  needs the extra

    code = run(lambda: hear(signal.default_int_handler))
    # All is done and said: nothing is left to be cut off but the interpreter's own end.
    hear(signal.SIG_IGN)
    return code


if __name__ == "__main__":
    sys.exit(main())
