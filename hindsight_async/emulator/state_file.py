"""The file in which an emulator's state is kept between two starts: there whole, and of one emulator at a time."""

import asyncio
import logging
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from hindsight_async.emulator.kept import Line, Start, WrongStateError, encoded, restore
from hindsight_async.emulator.state import Organisation
from hindsight_async.shielding import to_the_end

logger = logging.getLogger("hindsight_async.emulator")

PAUSE_SECONDS = 0.5
"""From one look at whether something has changed to the next: with the writing, less than a second may be lost."""


class StateFile:
    """A file, for one emulator; each method blocks.

    Args:
        path: Where it is; none need be there yet.

    """

    def __init__(self, path: str | Path) -> None:
        # A link keeps leading to the file.
        self.path = Path(path).resolve()
        self._lock: sqlite3.Connection | None = None

    def open(self, organisation: Organisation | None) -> Start | None:
        """Take the file, and fill an organisation with what is in it; None only takes it.

        Returns:
            What is kept beside the organisation; None where there is no file yet.

        Raises:
            ValueError: It cannot be used; the text says why, and what to do.

        """
        if not self.path.parent.is_dir():
            raise ValueError(f"there is no folder {self.path.parent} for a state file")
        self._take()
        if organisation is None:
            return None
        try:
            with self.path.open("rb") as file:
                return restore(file, organisation)
        except FileNotFoundError:
            return None
        except OSError as error:
            self.close()
            raise ValueError(f"the state file {self.path} cannot be read: {error.strerror}") from error
        except WrongStateError as error:
            self.close()
            raise ValueError(
                f"the state file {self.path} cannot be used: {error}. Name another, or move it away to begin anew"
            ) from None

    def write(self, lines: Iterable[Line]) -> None:
        """Replace it, so that it is there whole at any moment; readable by its owner alone, since links and key are in it.

        Raises:
            OSError: It cannot be written; what was there stays.

        """
        number, name = tempfile.mkstemp(prefix=f".{self.path.name}.", suffix=".part", dir=self.path.parent)
        try:
            with os.fdopen(number, "wb") as file:
                file.writelines(encoded(lines))
                file.flush()
                # Else a power cut could leave the name with nothing behind it.
                os.fsync(file.fileno())
            Path(name).replace(self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def close(self) -> None:
        """Leave it to another emulator."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _take(self) -> None:
        # SQLite's own lock, on an empty file beside: the kernel lets go of it when the process dies, on every platform.
        lock_file = self.path.with_name(f".{self.path.name}.lock")
        try:
            self._lock = sqlite3.connect(lock_file, timeout=0, isolation_level=None, check_same_thread=False)
            self._lock.execute("PRAGMA journal_mode=OFF")
            self._lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            self.close()
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                raise ValueError(f"the state file {self.path} is in use by another emulator") from None
            raise ValueError(f"no state file can be made in {self.path.parent}: {error}") from None


class StateKeeper:
    """Writes the state soon after it has changed, from a task of its own.

    Args:
        file: Where to.
        changes: Returns a number that another one follows when something has changed.
        lines: Returns what there is now.

    """

    def __init__(self, file: StateFile, changes: Callable[[], int], lines: Callable[[], list[Line]]) -> None:
        self._file = file
        self._changes = changes
        self._lines = lines
        self._written: int | None = None  # the number of changes that are in the file
        self._is_failing = False
        self._task: asyncio.Task[None] | None = None  # between `begin` and `end`

    async def open(self, organisation: Organisation | None) -> Start | None:
        """Take the file, and read it, as `StateFile.open` does."""
        return await to_the_end(asyncio.to_thread(self._file.open, organisation))

    async def begin(self) -> None:
        """Write it once, and whenever it has changed from then on.

        Raises:
            ValueError: It cannot be written.

        """
        try:
            await self._write()
        except OSError as error:
            raise ValueError(
                f"the state file {self._file.path} cannot be written: {error.strerror}"
            ) from error
        self._task = asyncio.create_task(self._keep())

    async def end(self) -> None:
        """Write what has changed since, and leave the file. May be called again, and without a `begin`.

        Raises:
            OSError: It cannot be written.

        """
        task, self._task = self._task, None
        try:
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
                self._written = None  # a Python program may have changed something without a request
                await self._write()
        finally:
            self._file.close()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            try:
                await self._write()
            except OSError as error:
                if not self._is_failing:
                    logger.warning("%s cannot be written, and is tried again: %s", self._file.path, error)
                self._is_failing = True
            else:
                if self._is_failing:
                    logger.warning("%s is written again", self._file.path)
                self._is_failing = False

    async def _write(self) -> None:
        if (changes := self._changes()) == self._written:
            return
        # Cancelled or not, the thread is waited for: two must not write at a time.
        await to_the_end(asyncio.to_thread(self._file.write, self._lines()))
        self._written = changes
