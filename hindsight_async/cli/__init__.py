"""The command line: what a person types, and a file of people instead of a list of requests.

The commands:

    enroll     enroll: the contacts of a file, with a ledger beside it
    update     update: the changes of a file
    check      check: key, host, plan and ledger, with nobody emailed
    status     status: what became of interviews
    transcripts  transcripts: what was said in them, as files
    records    get, ledger show and ledger resolve
    queue      queue show, queue drain, queue pause and queue resume
    deals      deals list, deals count and deals export
    documents  documents upload: recordings and papers, with progress
    ask        ask: a question, answered as the words come
    demo       demo: the main job on a local emulator
    emulate    emulate: the emulator for programs in any language

`which_interviews` says which interviews `status` and `transcripts` are about, and `followed` reads and notes them.

What `enroll` and `update` are made of, in the order in which a file passes through:

    file_arguments  what both are given
    contacts/       files of people, to requests
    ledger_beside   where the ledger of a file is
    problems        what is wrong with its rows, grouped
    preflight       what a file amounts to before anything is sent
    file_run        the run: signals, verdicts, and the rows that it did not get to
    progress        how far it is
    results_file    what became of each row, beside the row
    summary         what a person reads when it is over
    steps           what is being done, where that takes a while
    signals         what Ctrl-C and its like do meanwhile
    terminal        what is said and asked, and the exit codes
"""

import os
import sys
from typing import TextIO

from cyclopts import App, CycloptsError

from hindsight_async.call.access import installed_version
from hindsight_async.cli.terminal import ExitCode, prepare_stdout, refuse
from hindsight_async.errors import HindsightError

app = App(
    name="hindsight-async",
    help="Enroll contacts in Hindsight win-loss interviews.",
    version=installed_version(),
    result_action="return_value",
    exit_on_error=False,
    print_error=True,
    suppress_keyboard_interrupt=False,
)
# Named and not imported: each command loads what it needs when it is used.
COMMANDS = {
    "check": "check:check",
    "enroll": "enroll:enroll",
    "update": "update:update",
    "status": "status:status",
    "transcripts": "transcripts:transcripts",
    "get": "records:get",
    "ledger": "records:ledger_app",
    "queue": "queue:queue_app",
    "deals": "deals:deals_app",
    "documents": "documents:documents_app",
    "ask": "ask:ask",
    "demo": "demo:demo",
    "emulate": "emulate:emulate",
}
for name, function in COMMANDS.items():
    app.command(f"hindsight_async.cli.{function}", name=name)


def run() -> int:
    """Run the command of `sys.argv`; return the exit code."""
    prepare_stdout()
    code = _run_command()
    # Whoever read the output may have left: the interpreter must not try to flush the rest of it.
    if not _flush(sys.stdout):
        code = code or ExitCode.SOME_FAILED
    _flush(sys.stderr)
    return code


def _run_command() -> int:
    words = sys.argv[1:]
    try:
        if not words or words[0] in app.help_flags:
            _load_all()
        code: int | None = app(words)
    except CycloptsError:  # which it has printed itself
        return ExitCode.USAGE
    except (HindsightError, ValueError, ModuleNotFoundError) as error:
        return refuse(str(error))
    except BrokenPipeError:
        return ExitCode.SOME_FAILED
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return code or ExitCode.DONE


def _load_all() -> None:
    """Load every command: the list of them says by their docstrings what each is for."""
    for name in COMMANDS:
        _ = app[name]


def _flush(stream: TextIO | None) -> bool:
    """Write out what is buffered, or drop it where nobody takes it; return whether it was taken."""
    if stream is None:  # closed before we came
        return True
    try:
        stream.flush()
    except OSError:
        # What is buffered stays buffered, and the interpreter flushes it once more at its end: into nothing, then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return False
    return True
