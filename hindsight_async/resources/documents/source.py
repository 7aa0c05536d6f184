"""What is uploaded: a path, bytes, something to read from, or a URL; checked, named, and of a known kind."""

import asyncio
import io
import mimetypes
import os
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import suppress
from inspect import iscoroutinefunction
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast
from urllib.parse import unquote, urlsplit

from attrs import frozen

from hindsight_async.call.body import PIECE_BYTES
from hindsight_async.call.request import FileUpload

File = str | os.PathLike[str] | bytes | BinaryIO | AsyncIterable[bytes]
"""Where it lies, its bytes, a file opened in binary mode, or its pieces."""

OnProgress = Callable[[int, int | None], object]
"""Told how many of a file's bytes have left, and how many there are, None where only the end will tell."""

CONTENT_TYPES = {
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".m4a": "audio/mp4",
    ".md": "text/markdown",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".wav": "audio/wav",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
"""What the API takes and Python's own table lacks in some version, or spells in an old way."""

# Not the system's table, which differs from machine to machine.
_KNOWN = mimetypes.MimeTypes()


@frozen(kw_only=True)
class Source:
    """One file to upload: what to send of it, or where the API finds it."""

    file_name: str
    content_type: str
    upload: FileUpload | None
    """None where the API fetches it from a URL."""

    def fields(self) -> dict[str, str]:
        """Return what the form says of it."""
        return {"file_name": self.file_name, "content_type": self.content_type}


def read_source(
    file: File | None,
    file_url: str | None,
    *,
    file_name: str | None,
    content_type: str | None,
    on_progress: OnProgress | None,
    max_bytes: int | None,
) -> Source:
    """Check what is to be uploaded; nothing of it is opened or read yet.

    Raises:
        TypeError: It is of a kind that cannot be sent; the text names the argument.
        ValueError: Not exactly one of `file` and `file_url` is given, it has no name or no known type, or `max_bytes` is
            below 1.

    """
    if (file is None) == (file_url is None):
        raise ValueError("exactly one of file and file_url must be given")
    if max_bytes is not None and (type(max_bytes) is not int or max_bytes < 1):
        raise ValueError("max_bytes must be a whole number of at least 1, or None for no end")
    if on_progress is not None and not callable(on_progress):
        raise TypeError(f"on_progress must be callable, not {type(on_progress).__name__}")
    if file is None:
        if max_bytes is not None or on_progress is not None:
            raise ValueError(
                "max_bytes and on_progress are for file: what file_url names is fetched by the API"
            )
        name = _checked(file_name or _name_in(_checked_url(file_url)), "file_name")
        return Source(file_name=name, content_type=_content_type(content_type, name), upload=None)
    if isinstance(file, str):
        file = Path(file)
    name = _checked(file_name or _name_of(file), "file_name")
    kind = _content_type(content_type, name)
    content = _content_of(file, max_bytes)
    upload = FileUpload(content=content, name=name, content_type=kind, on_progress=on_progress)
    return Source(file_name=name, content_type=kind, upload=upload)


async def check_size(upload: FileUpload, max_bytes: int) -> None:
    """Raise ValueError for more than `max_bytes`; pieces, whose number nobody knows yet, are counted as they leave."""
    size: int | None = None
    # What cannot be read is told by the call itself, as something of which nothing was sent.
    with suppress(OSError):
        size = await asyncio.to_thread(_size_of, upload)
    if size is not None and size > max_bytes:
        raise ValueError(f"file must have at most {max_bytes} bytes (max_bytes), not {size}")


def _size_of(upload: FileUpload) -> int | None:
    match upload.content:
        case bytes() as content:
            return len(content)
        case os.PathLike() as path:
            return Path(path).stat().st_size
        case AsyncIterable():
            return None
        case file:
            size = file.seek(0, os.SEEK_END) - upload.start
            file.seek(upload.start)  # where whoever tries again begins
            return size


def _content_of(file: object, max_bytes: int | None) -> Any:
    """Return what a form takes: what can be read only once as pieces."""
    if isinstance(file, bytes):
        return file
    if isinstance(file, os.PathLike):
        return Path(cast("os.PathLike[str]", file))
    if isinstance(file, bytearray):
        return bytes(file)
    read = getattr(file, "read", None)
    pieces: AsyncIterable[bytes]
    # Before its iterator, since that of a file gives lines, be they of one byte or of a gigabyte.
    if iscoroutinefunction(read):
        pieces = _read_until_empty(read)
    elif isinstance(file, AsyncIterable):
        pieces = cast("AsyncIterable[bytes]", file)
    elif read is None or isinstance(file, io.TextIOBase):
        raise TypeError(
            "file must be a path, bytes, a file opened in binary mode or an async iterable of bytes, "
            f"not {type(file).__name__}"
        )
    elif _can_seek(file):
        return file
    else:
        pieces = _read_in_threads(read)
    return pieces if max_bytes is None else _at_most(max_bytes, pieces)


def _can_seek(file: object) -> bool:
    seekable = getattr(file, "seekable", None)
    return callable(seekable) and bool(seekable())


async def _read_until_empty(read: Callable[[int], Any]) -> AsyncGenerator[bytes]:
    while piece := await read(PIECE_BYTES):
        yield piece


async def _read_in_threads(read: Callable[[int], bytes]) -> AsyncGenerator[bytes]:
    while piece := await asyncio.to_thread(read, PIECE_BYTES):
        yield piece


async def _at_most(max_bytes: int, pieces: AsyncIterable[bytes]) -> AsyncGenerator[bytes]:
    size = 0
    async for piece in pieces:
        size += len(piece)
        if size > max_bytes:
            raise ValueError(f"file has more than {max_bytes} bytes (max_bytes)")
        yield piece


def _name_of(file: object) -> str | None:
    if isinstance(file, os.PathLike):
        return Path(cast("os.PathLike[str]", file)).name
    # That of an open file is its path, or the number of its descriptor.
    name = getattr(file, "filename", None) or getattr(file, "name", None)
    return Path(name).name if isinstance(name, str) else None


def _name_in(url: str) -> str | None:
    return unquote(PurePosixPath(urlsplit(url).path).name) or None


def _checked_url(url: object) -> str:
    wrong = "file_url must be a whole http or https URL, such as https://files.example/call.mp3"
    if not isinstance(url, str):
        raise TypeError(f"{wrong}, not {type(url).__name__}")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError(wrong) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or not url.isprintable() or " " in url:
        raise ValueError(wrong)
    return url


def _checked(value: object, argument: str) -> str:
    if value is None:
        raise ValueError(f"{argument} must be given, since what is uploaded has no name of its own")
    return checked_text(value, argument)


def checked_text(value: object, argument: str) -> str:
    """Return a text that can stand in a form's head or as a field of it; raise for any other, naming the argument."""
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be text (str), not {type(value).__name__}")
    # What is no whole character cannot be sent, and is not printable either.
    if not value.strip() or not value.isprintable():
        raise ValueError(f"{argument} must be printable text in one line, and not empty")
    return value


def _content_type(given: str | None, file_name: str) -> str:
    if given is not None:
        return checked_text(given, "content_type")
    ending = PurePosixPath(file_name).suffix.lower()
    guess, encoding = _KNOWN.guess_type(f"x{ending}")
    kind = CONTENT_TYPES.get(ending) or (None if encoding else guess)
    if kind is None:
        raise ValueError(
            f"content_type must be given: that of a file named *{ending or 'without an ending'} is not known"
        )
    return kind
