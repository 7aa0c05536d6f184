"""An answer's body: read up to a limit, unpacked, and as far as it came."""

import zlib
from collections.abc import Iterator

import aiohttp

from hindsight_async.call.request import Reply
from hindsight_async.errors import DecodeError, OutcomeUnknownError

LONGEST_BODY = 32 * 1024 * 1024
"""How many bytes of an answer are read, and how many it may have unpacked: 0.4 MB of gzip can hold 400."""

MOST_HEADERS = 1000
LONGEST_HEADER = 128 * 1024
"""Bytes of one line of the head. Left alone, aiohttp refuses an answer of more than 128 lines or of one over 8 KiB whole,
its status too; these keep the head below 125 MiB."""

ACCEPTED_PACKING = "gzip"
"""What the server may pack its answers as. aiohttp would ask for what it can unpack, and lose the status of an answer
that is packed as something else; so it unpacks nothing here but streams."""

_AS_IT_IS = frozenset({"", "identity"})
_UNPACKED_BY_ZLIB = frozenset({"gzip", "x-gzip", "deflate"})
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
_STEP = 64 * 1024
"""How much is unpacked at a time, so that what stands before broken bytes is kept."""


async def read_pieces(response: aiohttp.ClientResponse, pieces: list[bytes]) -> None:
    """Read the body, and let go of the connection.

    Args:
        response: Its head has been read.
        pieces: Gets what comes, also where this is cut off; beyond LONGEST_BODY no more is read.

    """
    room = LONGEST_BODY
    try:
        while room >= 0 and (piece := await response.content.readany()):
            pieces.append(piece)
            room -= len(piece)
    finally:
        if not response.closed:
            # There may be more to come, or the connection speaks another protocol now, which nobody asked for.
            response.close()


def reply_of(
    response: aiohttp.ClientResponse, pieces: list[bytes], flaw: OutcomeUnknownError | None = None
) -> Reply:
    """Return an answer as far as it can be read.

    Args:
        response: Its status and headers.
        pieces: Its body, as it came.
        flaw: Why there is no more of it, None where it ended.

    """
    packing = response.headers.get("Content-Encoding")
    if packing is None and flaw is None and len(pieces) == 1 and len(pieces[0]) <= LONGEST_BODY:
        return Reply(response.status, response.headers, pieces[0])
    body, problem = unpacked(b"".join(pieces), (packing or "").strip().lower())
    return Reply(response.status, response.headers, body, flaw=flaw or problem)


def unpacked(packed: bytes, packing: str) -> tuple[bytes, DecodeError | None]:
    """Return what a body holds as far as that can be read, at most LONGEST_BODY bytes, and why that is not all.

    Args:
        packed: As it came.
        packing: The Content-Encoding in lower case; "" for none.

    """
    if packing in _AS_IT_IS or not packed:
        return _up_to_the_limit(packed)
    if len(packed) > LONGEST_BODY:
        return b"", _too_long()
    if packing not in _UNPACKED_BY_ZLIB:
        return b"", _unreadable(f"it is packed as {packing[:40]!r}, which was not asked for")
    pieces: list[bytes] = []
    problem = None
    try:
        pieces.extend(_unzipped(packed))
    except EOFError:
        problem = _unreadable(f"the {packing} ends too early")
    except zlib.error:
        problem = _unreadable(f"it is broken {packing}")
    plain, is_too_long = _up_to_the_limit(b"".join(pieces))
    return plain, is_too_long or problem


def _unzipped(body: bytes) -> Iterator[bytes]:
    """Yield what can be unpacked, one byte more than LONGEST_BODY at most."""
    unpacking, room = zlib.decompressobj(_GZIP_OR_ZLIB), LONGEST_BODY + 1
    for start in range(0, len(body), _STEP):
        piece = unpacking.decompress(body[start : start + _STEP], room)
        yield piece
        room -= len(piece)
        if unpacking.eof or not room:
            return
    raise EOFError


def _up_to_the_limit(body: bytes) -> tuple[bytes, DecodeError | None]:
    return (body, None) if len(body) <= LONGEST_BODY else (body[:LONGEST_BODY], _too_long())


def _too_long() -> DecodeError:
    return _unreadable(f"it is longer than {LONGEST_BODY} bytes")


def _unreadable(problem: str) -> DecodeError:
    return DecodeError(f"the answer cannot be read: {problem}", problems=(problem,))
