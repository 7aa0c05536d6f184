"""Programs in a Python that has the package loaded: each is forked, which takes a tenth of the time of starting it.

Signals, pipes, terminals and exit codes are those of a process of its own. What an interpreter does until it has
imported everything is not there to be seen, nor are its options: who looks at that starts one.
"""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from subprocess import DEVNULL, PIPE, CompletedProcess, TimeoutExpired

from fresh_process import without_coverage

COMMAND = ["-m", "hindsight_async"]
"""What stands behind `python` for the command line."""

CLOSED = object()
"""In place of a file: the program is started without this end."""

PATIENCE = 60.0
"""Real seconds that a program which should end by itself is given."""

PROCESS = Path(__file__).with_name("loaded_python_process.py")


@cache
def _loaded():
    """Start the process that programs are forked from; it ends with this one, whose socket it reads."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-W", "error", PROCESS, str(theirs.fileno())]
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=without_coverage(os.environ))
    theirs.close()

    @atexit.register
    def end():
        ours.close()
        process.wait()

    return ours


class Program:
    """One that runs; it takes, and can do, what tests need of `subprocess.Popen`."""

    def __init__(
        self, words, *, cwd=None, env=None, stdin=None, stdout=None, stderr=None, text=False,
        has_terminal=False,
    ):  # fmt: skip
        self.words, self.returncode, self._said = list(map(str, words)), None, b""
        given = [(0, stdin), (1, stdout), (2, stderr)]
        ends = {number: _end(number, end, text=text) for number, end in given if end is not CLOSED}
        self.stdin, self.stdout, self.stderr = (ends.get(number, (None, None))[1] for number in range(3))
        self._status, status = socket.socketpair()
        socket.send_fds(_loaded(), [b"."], [status.fileno(), *(theirs for theirs, _ in ends.values())])
        status.close()
        for theirs, _ in ends.values():
            os.close(theirs)
        program = {
            "words": self.words,
            "folder": str(cwd or Path.cwd()),
            "variables": dict(os.environ if env is None else env),
            "ends": list(ends),
            "has_terminal": has_terminal,
        }
        self._status.sendall(json.dumps(program).encode())
        self._status.shutdown(socket.SHUT_WR)
        self.pid = self._number()

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        for end in (self.stdin, self.stdout, self.stderr):
            if end is not None:
                end.close()
        self.wait()

    def _number(self):
        """Read one of the two lines that are said of a program: its process id, and how it ended."""
        while b"\n" not in self._said:
            self._said += self._status.recv(100) or b"nobody waits for it any more\n"
        number, _, self._said = self._said.partition(b"\n")
        return int(number)

    def wait(self, timeout=None):
        """Return its exit code once it has ended."""
        if self.returncode is None:
            self._status.settimeout(timeout)
            try:
                self.returncode = self._number()
            except (TimeoutError, BlockingIOError):
                raise TimeoutExpired(self.words, timeout) from None
            self._status.close()
        return self.returncode

    def poll(self):
        """Return its exit code, None while it runs."""
        with suppress(TimeoutExpired):
            self.wait(0)
        return self.returncode

    def send_signal(self, number):
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has, and that is not yet said
                os.kill(self.pid, number)

    def terminate(self):
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self):
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout=PATIENCE):
        """Return all that it writes until it ends."""
        until = time.monotonic() + timeout
        read = {}
        ends = [end for end in (self.stdout, self.stderr) if end is not None]
        readers = [threading.Thread(target=_read_all, args=(end, read), daemon=True) for end in ends]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(max(0.0, until - time.monotonic()))
        self.wait(max(0.0, until - time.monotonic()))
        return read.get(self.stdout), read.get(self.stderr)


def _read_all(end, read):
    with end:
        read[end] = end.read()


def _end(number, given, *, text):
    """Return the descriptor that a program gets as this end, and what the test has of it."""
    if given is PIPE:
        reads, writes = os.pipe()
        theirs, ours, mode = (reads, writes, "w") if number == 0 else (writes, reads, "r")
        return theirs, open(ours, mode, encoding="utf-8") if text else open(ours, f"{mode}b")
    if given is DEVNULL:
        return os.open(os.devnull, os.O_RDWR), None
    if given is None:
        given = number
    return os.dup(given if isinstance(given, int) else given.fileno()), None


def run(words, *, capture_output=False, timeout=PATIENCE, check=False, **options):
    """Run a program to its end, in the words of `subprocess.run`."""
    if capture_output:
        options |= {"stdout": PIPE, "stderr": PIPE}
    with Program(words, **options) as program:
        try:
            said = program.communicate(timeout)
        except BaseException:
            program.kill()
            raise
    done = CompletedProcess(program.words, program.returncode, *said)
    if check:
        done.check_returncode()
    return done
