"""A file that is there whole or not at all: written beside its name, and renamed at the end."""

import asyncio
import os
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from hindsight_async.call.streaming import ReplyStream
from hindsight_async.shielding import to_the_end

WRITE_BYTES = 1024 * 1024
"""How much is gathered before it is written: each write costs a trip to a thread."""

OnProgress = Callable[[int, int | None], object]
"""Told how many bytes are here, and how many there will be; None where the server does not say."""


class _PartialFile:
    """A temporary file beside the one that it is to become; each method blocks."""

    def __init__(self, path: "str | os.PathLike[str]") -> None:
        # A link keeps leading to the file.
        self._target = Path(path).resolve()
        self._temporary: Path | None = None
        self._file: BinaryIO | None = None

    def open(self) -> None:
        if self._target.is_dir():
            raise IsADirectoryError(f"{self._target} is a folder: give the name of a file")
        if not self._target.parent.is_dir():
            raise FileNotFoundError(f"there is no folder {self._target.parent}")
        # Readable for its owner alone, as mkstemp makes it.
        number, name = tempfile.mkstemp(
            prefix=f".{self._target.name}.", suffix=".part", dir=self._target.parent
        )
        self._temporary, self._file = Path(name), os.fdopen(number, "wb")

    def write(self, data: bytes) -> None:
        assert self._file is not None  # noqa: S101
        self._file.write(data)

    def keep(self) -> None:
        assert self._file is not None  # noqa: S101
        assert self._temporary is not None  # noqa: S101
        self._file.flush()
        # Else a power cut could leave the name with nothing behind it.
        os.fsync(self._file.fileno())
        self._file.close()
        self._temporary.replace(self._target)
        self._temporary = None

    def discard(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # of what could not be written, which was said already
                self._file.close()
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)


@asynccontextmanager
async def written_whole(
    path: "str | os.PathLike[str]",
) -> AsyncGenerator[Callable[[bytes], Awaitable[None]]]:
    """Have a file under its name once the block ends well, and what was there before where it does not.

    Args:
        path: The file; one that is there is replaced.

    Yields:
        What writes to it.

    Raises:
        OSError: It cannot be made there, or written; before the block is entered where that can be known.

    """
    file = _PartialFile(path)
    try:
        # Cancelled or not, a thread is waited for: nobody may write to, or open, what is discarded already.
        await to_the_end(asyncio.to_thread(file.open))
        yield lambda data: to_the_end(asyncio.to_thread(file.write, data))
        await to_the_end(asyncio.to_thread(file.keep))
    finally:
        await to_the_end(asyncio.to_thread(file.discard))


async def check_writable(path: "str | os.PathLike[str]") -> None:
    """Raise OSError where no file can be made there."""
    file = _PartialFile(path)
    try:
        await to_the_end(asyncio.to_thread(file.open))
    finally:
        await to_the_end(asyncio.to_thread(file.discard))


async def copy(
    stream: ReplyStream, write: Callable[[bytes], Awaitable[None]], on_progress: OnProgress | None
) -> None:
    """Write what comes as it comes, with no more than `WRITE_BYTES` and one piece in memory."""
    pieces: list[bytes] = []
    gathered = received = 0
    async for piece in stream:
        pieces.append(piece)
        gathered += len(piece)
        received += len(piece)
        if gathered >= WRITE_BYTES:
            await write(b"".join(pieces))
            pieces, gathered = [], 0
        if on_progress is not None:
            on_progress(received, stream.size)
    await write(b"".join(pieces))
