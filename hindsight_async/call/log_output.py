"""How a script turns the log on, and where it goes."""

import logging
import os
import sys

LOG_VARIABLE = "HINDSIGHT_LOG"
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO}
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def turn_on_logging() -> None:
    """Log to standard error what HINDSIGHT_LOG asks for; where nobody else logs, with a handler of our own.

    Raises:
        ValueError: The variable has another value.

    """
    wanted = os.environ.get(LOG_VARIABLE, "").strip()
    if not wanted:
        return
    if wanted.lower() not in _LEVELS:
        raise ValueError(f"{LOG_VARIABLE} must be debug or info, not {wanted!r}")
    log_to_stderr(_LEVELS[wanted.lower()])


def log_to_stderr(level: int) -> None:
    """Log what is of a level or above it; where nobody else logs, to standard error.

    Args:
        level: One of those of `logging`.

    """
    package = logging.getLogger("hindsight_async")
    # Whoever asks for more, a program or the variable, gets it.
    package.setLevel(min(level, package.level or level))
    if not package.hasHandlers():
        handler = _ToStderr()
        handler.setFormatter(logging.Formatter(_FORMAT))
        package.addHandler(handler)


class _ToStderr(logging.Handler):
    """Writes to what stands for standard error at the time, since a live line may have taken its place."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        try:
            sys.stderr.write(f"{self.format(record)}\n")
            sys.stderr.flush()
        except Exception:  # noqa: BLE001  as each handler does: no log ends the work that it tells of
            self.handleError(record)
