"""Request bodies that note the moment at which they begin to leave.

aiohttp holds the header bytes back until the first byte of the body, so before that moment nothing has left.
"""

import asyncio
import io
import logging
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import BinaryIO

import aiohttp
from aiohttp.abc import AbstractStreamWriter

from hindsight_async.call.connector import refuse_unasked_bytes
from hindsight_async.call.request import JSON, FileUpload, Multipart

logger = logging.getLogger("hindsight_async.call")

PIECE_BYTES = 256 * 1024
"""How much of a file is read, and sent, at a time."""


class _Body(aiohttp.Payload):
    """A body, or a part of one, that answers by overriding whatever aiohttp asks of it.

    It is not aiohttp's own class for bytes, which warns of bodies of 1 MiB; where warnings are errors none could be sent.

    Args:
        content_type: Its media type.
        size: How many bytes it has; None where only their end tells, so that it goes in chunks (RFC 9112, 7.1).

    """

    def __init__(self, content_type: str, size: int | None) -> None:
        super().__init__(None, content_type=content_type)
        self._bytes_in_all = size

    @property
    def size(self) -> int | None:
        return self._bytes_in_all

    @property
    def autoclose(self) -> bool:
        """Nothing in it is aiohttp's to close."""
        return True

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        del encoding, errors
        raise TypeError("it is sent as it is")


class WatchedBytes(_Body):
    """A JSON body, which leaves whole."""

    def __init__(self, content: bytes) -> None:
        super().__init__(JSON, len(content))
        self._content = content
        self.left = False
        self.on_connected: Callable[[], None] | None = None
        """Called once there is a connection for it; what it raises leaves that to others."""
        self.on_leaving: Callable[[], None] | None = None
        """Called just before; what it raises keeps the body, and so the whole request, from leaving."""

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Leave."""
        refuse_unasked_bytes(getattr(writer, "transport", None))
        if self.on_leaving is not None:
            self.on_leaving()
        self.left = True
        del content_length  # that of `_content`: a body of bytes leaves whole
        await writer.write(self._content)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Leave."""
        await self.write_with_length(writer, None)


class WatchedForm(aiohttp.MultipartWriter):
    """A multipart body, which leaves in pieces."""

    def __init__(self) -> None:
        super().__init__("form-data")
        self.left = False
        self.on_connected: Callable[[], None] | None = None
        self.on_leaving: Callable[[], None] | None = None
        """Called just before, as that of WatchedBytes, and again after each piece of a file."""

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Leave."""
        del content_length
        refuse_unasked_bytes(getattr(writer, "transport", None))
        self.goes_on()
        self.left = True
        await self.write(writer)

    def goes_on(self) -> None:
        """Note that it is leaving still."""
        if self.on_leaving is not None:
            self.on_leaving()


WatchedBody = WatchedBytes | WatchedForm


class _FilePart(_Body):
    """An open file, read by a thread; closing it is left to whoever opened it."""

    def __init__(
        self, file: BinaryIO, start: int, size: int, content_type: str, goes_on: Callable[[int], None]
    ) -> None:
        super().__init__(content_type, size)
        self._file = file
        self._start, self._end = start, start + size
        self._goes_on = goes_on

    async def write(self, writer: AbstractStreamWriter) -> None:
        position = self._start
        while position < self._end:
            size = min(PIECE_BYTES, self._end - position)
            piece = await asyncio.to_thread(_read_at, self._file, position, size)
            if not piece:
                # The server was told a length, and would wait for the rest.
                raise EOFError("the file became shorter while it was sent")
            await writer.write(piece)
            position += len(piece)
            self._goes_on(position - self._start)

    async def close(self) -> None:
        """Leave it open: what is refused is read again."""


class _PiecesPart(_Body):
    """Pieces of a length that only their end will tell."""

    def __init__(
        self, pieces: AsyncIterable[bytes], content_type: str, goes_on: Callable[[int], None]
    ) -> None:
        super().__init__(content_type, None)
        self._pieces = pieces
        self._goes_on = goes_on

    async def write(self, writer: AbstractStreamWriter) -> None:
        sent = 0
        async for piece in self._pieces:
            whole = memoryview(piece)
            # Each piece has `Timeouts.read` to leave, which one of any size might not do in time.
            for start in range(0, len(whole), PIECE_BYTES):
                part = bytes(whole[start : start + PIECE_BYTES])
                await writer.write(part)
                sent += len(part)
                self._goes_on(sent)


@asynccontextmanager
async def opened(form: Multipart) -> AsyncGenerator[WatchedForm]:
    """Open the files of a form for one attempt.

    Raises OSError, and nothing was sent, for a file that cannot be opened.
    """
    body = WatchedForm()
    ours: list[BinaryIO] = []
    try:
        for name, text in form.fields.items():
            body.append(text).set_content_disposition("form-data", quote_fields=False, name=name)
        for name, upload in form.files.items():
            part = await _part_of(upload, body, ours)
            # Names beyond ASCII go as they are (RFC 7578, 5.1): percent signs would become part of them.
            part.set_content_disposition("form-data", quote_fields=False, name=name, filename=upload.name)
            body.append_payload(part)
        yield body
    finally:
        # Nobody reads from them any more but, after a failure, a thread at its last piece, which is waited for.
        for file in ours:
            file.close()


async def _part_of(upload: FileUpload, body: WatchedForm, ours: list[BinaryIO]) -> aiohttp.Payload:
    """Make the part of one file, and add what had to be opened for it to `ours`."""
    content = upload.content
    if isinstance(content, AsyncIterable):
        return _PiecesPart(content, upload.content_type, partial(_goes_on, body, upload, None))
    file = await _open(content)
    if file is not content:
        ours.append(file)
    size = await asyncio.to_thread(_size_behind, file, upload.start)
    return _FilePart(file, upload.start, size, upload.content_type, partial(_goes_on, body, upload, size))


def _goes_on(body: WatchedForm, upload: FileUpload, size: int | None, sent: int) -> None:
    body.goes_on()
    if upload.on_progress is None:
        return
    try:
        upload.on_progress(sent, size)
    except Exception:
        # Raised here, it would cut off an upload that goes well.
        logger.exception("on_progress failed")


async def _open(content: bytes | os.PathLike[str] | BinaryIO) -> BinaryIO:
    if isinstance(content, bytes):
        return io.BytesIO(content)
    if not isinstance(content, os.PathLike):
        return content
    opening = _Opening(content)
    try:
        return await asyncio.to_thread(opening.open)
    except asyncio.CancelledError:
        opening.give_up()
        raise


class _Opening:
    """A file that a thread opens, which cannot be stopped: it closes what nobody waits for any more.

    Whoever was cancelled could not: by the time the file is open, its event loop may be gone.
    """

    def __init__(self, path: "os.PathLike[str]") -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._is_given_up = False
        self._lock = threading.Lock()

    def open(self) -> BinaryIO:
        file = open(self._path, "rb")  # noqa: PTH123, SIM115  closed by whoever asked for it
        with self._lock:
            self._file = file
            if self._is_given_up:
                file.close()
        return file

    def give_up(self) -> None:
        with self._lock:
            self._is_given_up = True
            if self._file is not None:
                self._file.close()


def _size_behind(file: BinaryIO, start: int) -> int:
    return file.seek(0, os.SEEK_END) - start


def _read_at(file: BinaryIO, position: int, size: int) -> bytes:
    file.seek(position)
    return file.read(size)
