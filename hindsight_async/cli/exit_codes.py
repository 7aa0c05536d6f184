"""How a command ends: its exit code, and what it says on the way out."""

import sys
from contextlib import suppress

DONE = 0
SOME_FAILED = 1
USAGE = 2
UNKNOWN_OUTCOMES = 3
INTERRUPTED = 130


def say(text: str) -> None:
    """Write a line for the person at the terminal."""
    with suppress(OSError, AttributeError):  # nobody may be listening any more
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def refuse(text: str) -> int:
    """Say why nothing was done; return the exit code for that."""
    say(f"hindsight-async: {text}")
    return USAGE
