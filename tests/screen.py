"""A terminal that a person would look at: a process on it, and what stands there in the end."""

import os
import pty
import re
import select
import signal
import sys
import termios
from pathlib import Path

import pyte

LINES = 120
"""Of the terminal, so that nothing scrolls away."""

VOLATILE = [
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:PORT"),
    (re.compile(r"\btok_[0-9a-f]+"), "tok_TOKEN"),
    (re.compile(r"(?<=/survey/…)[0-9a-f]{4}\b"), "0123"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:\+00:00|Z)"), "2026-01-02T03:04:05+00:00"),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d\b"), "2026-01-02 03:04"),
    (re.compile(r"\b(today|yesterday) \d\d:\d\d\b"), "today 03:04"),
    (re.compile(r"(?:-:--:--|\b\d:\d\d:\d\d)\b"), "0:00:00"),
    (re.compile(r" · (?:\d+ min )?\d+ s$", re.MULTILINE), ""),  # a run so quick that it does not say it
    (re.compile(r"\b\d+(?:\.\d+)? s\b"), "N s"),
    (re.compile(r"\b\d+/min\b"), "N/min"),
    (re.compile(r"\b\d+ of (?=\d+ in the last minute)"), "N of "),
]
"""What is another in each run, and what stands for it."""


class Terminal:
    """A pseudo-terminal of some width, on which commands run one after another.

    Args:
        columns: Its width.
        folder: Where commands start.
        variables: Their environment.

    """

    def __init__(self, columns: int, folder: Path, variables: dict[str, str]) -> None:
        self.columns = columns
        self.folder, self.variables = folder, variables
        self._screen = pyte.Screen(columns, LINES)
        self._stream = pyte.ByteStream(self._screen)

    def run(self, *words, answer=None, interrupt=None):
        """Run `hindsight-async` with these words; return its exit code.

        Args:
            words: What is typed behind the program's name.
            answer: What is typed once it asks whether to go on.
            interrupt: Called again and again, until it says that it is time for Ctrl-C.

        """
        self._type(f"$ hindsight-async {' '.join(words)}\r\n")
        command = [sys.executable, "-W", "error", "-m", "hindsight_async", *words]
        pid, terminal = pty.fork()
        if pid == 0:  # pragma: no cover  the child becomes the command
            termios.tcsetwinsize(0, (LINES, self.columns))
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.chdir(self.folder)
            os.execve(command[0], command, self.variables)
        os.set_blocking(terminal, False)
        while self._take_in(terminal):
            if answer is not None and re.search(r"go on.{0,12}$", self.text, re.IGNORECASE):
                os.write(terminal, f"{answer}\r".encode())
                answer = None
            if interrupt is not None and interrupt():
                os.kill(pid, signal.SIGINT)
                interrupt = None
        os.close(terminal)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if self._screen.cursor.x:
            self._type("\r\n")
        self._type(f"[exit code {code}]\r\n\r\n" if code else "\r\n")
        return code

    @property
    def text(self) -> str:
        """What stands on it, without what is another in each run."""
        text = "\n".join(line.rstrip() for line in self._screen.display).strip()
        for volatile, stable in VOLATILE:
            text = volatile.sub(stable, text)
        return text

    def _type(self, text):
        self._stream.feed(text.encode())

    def _take_in(self, terminal):
        """Take in what has come; return whether more may come."""
        ready, _, _ = select.select([terminal], [], [], 0.02)
        if not ready:
            return True
        try:
            seen = os.read(terminal, 65536)
        except OSError:  # the last one who had it open has closed it
            return False
        self._stream.feed(seen)
        return bool(seen)
