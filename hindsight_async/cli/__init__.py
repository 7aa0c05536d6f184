"""The command line.

local      demo and emulate: without an account
enroll     enroll: many rows of a file
update     update: the same for changes
file_arguments  what both are given, and the question before they begin
records    get, ledger show and ledger resolve
preflight      what a file amounts to before anything is sent
rows       the run itself: signals, results, summary
progress   how far it is
exits      exit codes
"""

import os
import sys
from importlib.metadata import version
from typing import TextIO

from cyclopts import App, CycloptsError

from hindsight_async.cli import exit_codes
from hindsight_async.errors import HindsightError

app = App(
    name="hindsight-async",
    help="Enroll contacts in Hindsight win-loss interviews.",
    version=version("hindsight-async"),
    result_action="return_value",
    exit_on_error=False,
    print_error=True,
    suppress_keyboard_interrupt=False,
)
# Named and not imported: each command loads what it needs when it is used.
for name, place in {
    "enroll": "enroll:enroll",
    "update": "update:update",
    "get": "records:get",
    "ledger": "records:ledger_app",
    "demo": "local:demo",
    "emulate": "local:emulate",
}.items():
    app.command(f"hindsight_async.cli.{place}", name=name)


def run() -> int:
    """Run the command of `sys.argv`; return the exit code."""
    code = _run_command()
    # Whoever read the output may have left: the interpreter must not try to flush the rest of it.
    if not _flush(sys.stdout):
        code = code or exit_codes.SOME_FAILED
    _flush(sys.stderr)
    return code


def _run_command() -> int:
    try:
        code: int | None = app(sys.argv[1:])
    except CycloptsError:
        return exit_codes.USAGE
    except (HindsightError, ValueError, ModuleNotFoundError) as error:
        return exit_codes.refuse(str(error))
    except BrokenPipeError:
        return exit_codes.SOME_FAILED
    except KeyboardInterrupt:
        return exit_codes.INTERRUPTED
    return code or exit_codes.DONE


def _flush(stream: TextIO | None) -> bool:
    """Write out what is buffered, or drop it where nobody takes it; return whether it was taken."""
    if stream is None:  # closed before we came
        return True
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return False
    return True
