"""The command line: what a person types, and a file of people instead of a list of requests.

The commands:

    enroll     enroll: the contacts of a file, with a ledger beside it
    update     update: the changes of a file
    check      check: key, host, plan and ledger, with nobody emailed
    status     status: what became of interviews
    transcripts  transcripts: what was said in them, as files
    get        get
    records    ledger show, ledger resolve and ledger forget
    queue      queue show, queue drain, queue pause and queue resume
    deals      deals list, deals count and deals export
    documents  documents upload: recordings and papers, with progress
    ask        ask: a question, answered as the words come
    demo       demo: the main job on a local emulator
    emulate    emulate: the emulator for programs in any language

`fault_words`, `shells` and `request_log` are parts of `emulate`.

`which_interviews` says which interviews `status` and `transcripts` are about, and `followed` reads and notes them.

What `enroll` and `update` are made of, in the order in which a file passes through:

    file_arguments  what both are given
    contacts/       files of people, to requests
    ledger_beside   where the ledger of a file is
    before_sending  what enroll checks, shows and refuses before it sends
    selection       a first careful step: some rows, or some to oneself
    preflight       what a file amounts to before anything is sent
    preview         what was understood of it: its columns, its first rows
    problems        what is wrong with its rows, grouped
    question        what is about to be sent, and the question before it
    changes         what updates overwrite, and the question before it
    row_keys        the keys of rows on their way into a run
    file_run        the run: signals, verdicts, and the rows that it did not get to
    progress        how far it is
    results_file    what became of each row, beside the row
    summary         what a person reads when it is over
    steps           what is being done, where that takes a while
    signals         what Ctrl-C and its like do meanwhile
    terminal        what is said and asked, and the exit codes
"""

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import TextIO

from cyclopts import App, Argument, CycloptsError, Group, MissingArgumentError, UnusedCliTokensError

from hindsight_async.call.access import installed_version
from hindsight_async.cli.help import OPTIONS, PROGRAM, PlainHelp, examples
from hindsight_async.cli.terminal import ExitCode, NotConfirmedError, open_console, prepare_stdout, refuse
from hindsight_async.errors import HindsightError

START = Group("Start here", sort_key=1)
INTERVIEWS = Group("Interviews", sort_key=2)
DATA = Group("Deals, documents, questions", sort_key=3)
RECORDS = Group("Records and tools", sort_key=4)

app = App(
    name=PROGRAM,
    help="Enroll contacts in Hindsight win-loss interviews, each once.",
    help_epilogue=examples(
        "check", "enroll contacts.csv --sequence seq_abc123 --dry-run", "status contacts.csv --watch"
    ),
    help_format="plaintext",
    help_formatter=PlainHelp(),
    usage=f"Usage: {PROGRAM} COMMAND [OPTIONS]",
    version=installed_version(),
    group_parameters=OPTIONS,
    result_action="return_value",
    exit_on_error=False,
    print_error=False,
    suppress_keyboard_interrupt=False,
)

# Where each command is, named and not imported: each loads what it needs when it is used. Of a command in several
# parts the examples are beside its parts.
COMMANDS: dict[str, tuple[str, Group, tuple[str, ...]]] = {
    "demo": ("demo:demo", START, ("demo", "demo --csv contacts.csv")),
    "check": ("check:check", START, ("check", "check contacts.hindsight.db", "check --json")),
    "enroll": (
        "enroll:enroll",
        INTERVIEWS,
        (
            "enroll contacts.csv --sequence SEQUENCE --dry-run",
            "enroll contacts.xlsx --sequence SEQUENCE --output results.csv",
            'enroll export.csv --map contact_email="Work Email" --dry-run',
        ),
    ),
    "status": (
        "status:status",
        INTERVIEWS,
        ("status contacts.csv", "status contacts.hindsight.db --watch", "status 4821 4822 --json"),
    ),
    "transcripts": (
        "transcripts:transcripts",
        INTERVIEWS,
        (
            "transcripts contacts.csv --to interviews/",
            "transcripts contacts.hindsight.db --csv interviews.csv",
        ),
    ),
    "update": (
        "update:update",
        INTERVIEWS,
        ("update changes.csv --dry-run", "update contacts.results.csv --context 'Deal Stage,Owner'"),
    ),
    "get": ("get:get", INTERVIEWS, ("get 4821", "get 4821 4822 4823 --json")),
    "deals": ("deals:deals_app", DATA, ()),
    "documents": ("documents:documents_app", DATA, ()),
    "ask": (
        "ask:ask",
        DATA,
        ('ask "Why did we lose to Competitor X this quarter?"', "ask - --json < question.txt"),
    ),
    "ledger": ("records:ledger_app", RECORDS, ()),
    "queue": ("queue:queue_app", RECORDS, ()),
    "emulate": ("emulate:emulate", RECORDS, ("emulate", "emulate --plan growth --port 8123")),
}


def _register() -> None:
    for place, (name, (function, group, shown)) in enumerate(COMMANDS.items()):
        more = {"help_epilogue": examples(*shown)} if shown else {}
        app.command(f"hindsight_async.cli.{function}", name=name, group=group, sort_key=place, **more)
    app.register_install_completion_command(  # pyright: ignore[reportUnknownMemberType]
        help="Have the shell complete commands and options", group=OPTIONS, show=True
    )
    for flag in (*app.help_flags, *app.version_flags):
        app[flag].group = OPTIONS


_register()


def run(begin: Callable[[], object] = lambda: None) -> int:
    """Run the command of `sys.argv`.

    Args:
        begin: Called once all that the command needs is loaded, right before it begins.

    Returns:
        The exit code.

    """
    prepare_stdout()
    code = _run_command(begin)
    # Whoever read the output may have left: the interpreter must not try to flush the rest of it.
    if not _flush(sys.stdout):
        code = code or ExitCode.SOME_FAILED
    _flush(sys.stderr)
    return code


def _run_command(begin: Callable[[], object]) -> int:
    words = sys.argv[1:]
    try:
        _load(words)
        begin()
        code: int | None = app(words, console=open_console())
    except CycloptsError as error:
        return refuse(_in_our_words(error))
    except NotConfirmedError as error:
        return error.code
    except (HindsightError, ValueError, ModuleNotFoundError) as error:
        return refuse(str(error))
    except BrokenPipeError:
        return ExitCode.SOME_FAILED
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return code or ExitCode.DONE


def _in_our_words(error: CycloptsError) -> str:
    """Return what is wrong with the words of a command, in the form of all other errors, and where they are explained."""
    words = [PROGRAM, *(error.command_chain or ())]
    match error:
        case MissingArgumentError(argument=Argument(name=name)):
            what = f"{name} needs a value" if name.startswith("-") else f"{' '.join(words[1:])} needs {name}"
        case UnusedCliTokensError(unused_tokens=[*unused]):
            what = f"nothing is meant by {shlex.join(unused)}"
        case _:
            what = str(error).partition(" Available commands")[0].rstrip(".")
            what = what[:1].lower() + what[1:]
    return f"{what}\n  {' '.join(words)} --help shows what there is"


def _load(words: Sequence[str]) -> None:
    """Load the command; or every one, where a list says by their docstrings what each is for."""
    for name in COMMANDS:
        if not words or words[0] in {name, *app.help_flags}:
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
