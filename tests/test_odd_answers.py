"""Answers that no server should give: what became of a create is told as truly as they allow."""

import asyncio
import gzip
import tracemalloc
import zlib
from contextlib import AsyncExitStack
from functools import cache

import aiohttp
import pytest

from hindsight_async import (
    CreateInterview,
    HindsightError,
    HindsightSession,
    OutcomeUnknownError,
    RetryPolicy,
    Timeouts,
    UpdateInterview,
)
from hindsight_async.call.reading import LONGEST_BODY, LONGEST_HEADER, MOST_HEADERS
from raw_server import CREATED, CREATED_BODY, raw_server

REQUEST = CreateInterview(contact_email="jane@acme.example", sequence_id="seq_abc123")
REFUSED_BODY = b'{"error":{"code":"bad_request","message":"sequence_id not found"}}'
CUT = b'{"interview_request_id":7,"contact_id":"c","status":"se'

STAYS, HANGS_UP = "stays", "hangs up"


def head(status, *lines):
    return b"\r\n".join([b"HTTP/1.1 %d X" % status, *lines, b"", b""])


def sized(status, body, *lines):
    return head(status, b"Content-Length: %d" % len(body), *lines) + body


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


CHUNKED = b"Transfer-Encoding: chunked"
LAST_CHUNK = b"0\r\n\r\n"


async def outcome_of(call):
    """Return what the caller hears, as a short tuple."""
    try:
        done = await call
    except OutcomeUnknownError as error:
        return "unknown", error.status, error.received.get("interview_request_id")
    except HindsightError as error:
        return error.delivery.value, getattr(error, "status", None), getattr(error, "code", None)
    return "created", done.interview_request_id


async def outcome_against(packets, end, *, lent, ask=None):
    async def answer(connection):
        if not await connection.request():
            return
        for packet in packets:
            connection.writer.write(packet)
            await connection.writer.drain()
            await asyncio.sleep(0.01)
        if end == STAYS:
            await connection.reader.read()

    options = {
        "retry": RetryPolicy(attempts=1),
        "timeouts": Timeouts(connect=2.0, read=5.0),
        "deadline": None,
    }
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(raw_server(answer))
        http = await stack.enter_async_context(aiohttp.ClientSession()) if lent else None
        session = HindsightSession("k3y", base_url=server.base_url, http=http, **options)
        hindsight = await stack.enter_async_context(session)
        before = asyncio.get_running_loop().time()
        told = await outcome_of(ask(hindsight.interviews) if ask else hindsight.interviews.create(REQUEST))
        assert asyncio.get_running_loop().time() - before < 7.5
        assert 1 == len(server.requests)
        return told


MADE = ("created", 7)
MADE_BUT_UNREADABLE = ("unknown", 201, None)
MADE_WITH_ID = ("unknown", 201, 7)
REFUSED = ("rejected", 400, "bad_request")
REFUSED_WITHOUT_WORDS = ("rejected", 400, None)
NOBODY_KNOWS = ("unknown", None, None)

UNREADABLE = {
    "a long header": ([sized(201, CREATED_BODY, b"X-Long: " + b"x" * 100_000)], MADE),
    "many headers": ([sized(201, CREATED_BODY, *[b"X-%d: x" % n for n in range(900)])], MADE),
    "a refusal with many headers": (
        [sized(400, REFUSED_BODY, *[b"X-%d: x" % n for n in range(900)])],
        REFUSED,
    ),
    "a long reason": ([b"HTTP/1.1 201 " + b"x" * 20_000 + CREATED[20:]], MADE),
    "an encoding that nobody knows": (
        [sized(201, b"\0\1\2", b"Content-Encoding: x-own")],
        MADE_BUT_UNREADABLE,
    ),
    "an encoding that was not asked for": (
        [sized(201, b"\0\1\2", b"Content-Encoding: br")],
        MADE_BUT_UNREADABLE,
    ),
    "another one": ([sized(400, b"\0\1\2", b"Content-Encoding: zstd")], REFUSED_WITHOUT_WORDS),
    "two encodings": ([sized(201, b"\0\1\2", b"Content-Encoding: gzip, br")], MADE_BUT_UNREADABLE),
    "broken gzip": ([sized(201, b"no gzip", b"Content-Encoding: gzip")], MADE_BUT_UNREADABLE),
    "a refusal in broken gzip": ([sized(400, b"no gzip", b"Content-Encoding: gzip")], REFUSED_WITHOUT_WORDS),
    "gzip": ([sized(201, gzip.compress(CREATED_BODY), b"Content-Encoding: gzip")], MADE),
    "a refusal in gzip": ([sized(400, gzip.compress(REFUSED_BODY), b"Content-Encoding: GZip")], REFUSED),
    "deflate": ([sized(201, zlib.compress(CREATED_BODY), b"Content-Encoding: deflate")], MADE),
    "encoded as identity": ([sized(201, CREATED_BODY, b"Content-Encoding: identity")], MADE),
    "cut behind the id": ([head(201, b"Content-Length: 500") + CUT], MADE_WITH_ID),
    "cut behind the id in a later packet": ([head(201, b"Content-Length: 500"), CUT], MADE_WITH_ID),
    "cut in the id": ([head(201, b"Content-Length: 500") + CUT[:25]], MADE_BUT_UNREADABLE),
    "cut behind the whole object": ([head(201, b"Content-Length: 500") + CREATED_BODY], MADE),
    "cut chunks": ([head(201, CHUNKED) + chunk(CUT)], MADE_WITH_ID),
    "cut gzip": (
        [head(201, b"Content-Length: 500", b"Content-Encoding: gzip") + gzip.compress(CUT, 0)[:-8]],
        MADE_WITH_ID,
    ),
    "a cut refusal": ([head(400, b"Content-Length: 500") + REFUSED_BODY[:20]], REFUSED_WITHOUT_WORDS),
    "a refusal cut behind its words": ([head(400, b"Content-Length: 500") + REFUSED_BODY], REFUSED),
}


@pytest.mark.parametrize("lent", [False, True], ids=["own", "lent"])
@pytest.mark.parametrize("answer", UNREADABLE)
async def test_the_status_decides_where_the_rest_cannot_be_read(answer, lent):
    """Whatever befalls headers and body, a refusal had no effect, and a 201 was done."""
    packets, told = UNREADABLE[answer]
    assert told == await outcome_against(packets, HANGS_UP, lent=lent)


# A lent session shows nothing of a head that aiohttp refuses; on connections of our own it is seen before that.
ODDITIES = {
    "a name of a header with a space": (
        [sized(400, REFUSED_BODY, b"X Odd: 1")],
        HANGS_UP,
        REFUSED,
        NOBODY_KNOWS,
    ),
    "a created one with that": ([sized(201, CREATED_BODY, b"X Odd: 1")], HANGS_UP, MADE, NOBODY_KNOWS),
    "a NUL in a header": ([sized(201, CREATED_BODY, b"X-Odd: a\0b")], HANGS_UP, MADE, NOBODY_KNOWS),
    "two lengths": ([sized(201, CREATED_BODY, b"Content-Length: 5")], HANGS_UP, MADE, NOBODY_KNOWS),
    "a length and chunks": (
        [head(201, b"Content-Length: 5", CHUNKED) + chunk(CREATED_BODY) + LAST_CHUNK],
        STAYS,
        MADE_BUT_UNREADABLE,
        NOBODY_KNOWS,
    ),
    "a length that is no number": (
        [head(400, b"Content-Length: ten") + REFUSED_BODY],
        HANGS_UP,
        REFUSED,
        NOBODY_KNOWS,
    ),
    "no length and no end": ([head(201) + CREATED_BODY], STAYS, MADE, MADE),
    "a chunk size that is none": (
        [head(201, CHUNKED) + chunk(CUT) + b"zz\r\n"],
        HANGS_UP,
        MADE_WITH_ID,
        NOBODY_KNOWS,
    ),
    "that in a later packet": (
        [head(201, CHUNKED) + chunk(CUT), b"zz\r\n"],
        STAYS,
        MADE_WITH_ID,
        MADE_WITH_ID,
    ),
    "that in a refusal": ([head(400, CHUNKED) + chunk(REFUSED_BODY), b"zz\r\n"], STAYS, REFUSED, REFUSED),
    "early hints before it": ([head(103, b"Link: </a>; rel=preload") + CREATED], STAYS, MADE, MADE),
    "a thousand hundreds before it": ([head(100) * 1000, CREATED], STAYS, MADE, MADE),
    "another protocol": (
        [head(101, b"Upgrade: websocket", b"Connection: upgrade")],
        STAYS,
        ("unknown", 101, None),
        ("unknown", 101, None),
    ),
    "no reason, bare line feeds": (
        [b"HTTP/1.1 201\nContent-Length: %d\n\n" % len(CREATED_BODY) + CREATED_BODY],
        STAYS,
        MADE,
        MADE,
    ),
    "HTTP/1.0 without a length": ([b"HTTP/1.0 201 Created\r\n\r\n" + CREATED_BODY], HANGS_UP, MADE, MADE),
    "HTTP/2 settings": ([b"\0\0\6\4\0\0\0\0\0\0\5\0\0\x40\0"], HANGS_UP, NOBODY_KNOWS, NOBODY_KNOWS),
    "a status of 999": ([sized(999, b"")], STAYS, ("unknown", 999, None), ("unknown", 999, None)),
    "a status of 99": ([sized(99, b"")], STAYS, NOBODY_KNOWS, NOBODY_KNOWS),
    "an answer of one byte a packet": ([CREATED[n : n + 1] for n in range(len(CREATED))], STAYS, MADE, MADE),
    "a body that drips for ever": (
        [head(201, b"Content-Length: 9999"), *[b" "] * 1000],
        STAYS,
        MADE_BUT_UNREADABLE,
        MADE_BUT_UNREADABLE,
    ),
    "no content": ([head(204)], STAYS, ("unknown", 204, None), ("unknown", 204, None)),
    "a second answer in the same packet": ([CREATED + sized(429, b"")], STAYS, MADE, MADE),
    "not modified": (
        [head(304, b"Content-Length: 500")],
        STAYS,
        ("unknown", 304, None),
        ("unknown", 304, None),
    ),
    "a cookie that is none": (
        [sized(201, CREATED_BODY, b"Set-Cookie: \xff\xfe=;;;=,;Expires=Never")],
        STAYS,
        MADE,
        MADE,
    ),
    "a byte order mark": ([sized(201, b"\xef\xbb\xbf" + CREATED_BODY)], STAYS, MADE, MADE),
    "gzip within gzip": (
        [sized(201, gzip.compress(gzip.compress(CREATED_BODY)), b"Content-Encoding: gzip")],
        STAYS,
        MADE_BUT_UNREADABLE,
        MADE_BUT_UNREADABLE,
    ),
    "an id of 5,000 digits": (
        [sized(201, b'{"interview_request_id":' + b"7" * 5000 + b"}")],
        STAYS,
        MADE_BUT_UNREADABLE,
        MADE_BUT_UNREADABLE,
    ),
    "more headers than are read": (
        [sized(400, REFUSED_BODY, *[b"X-%d: x" % n for n in range(1100)])],
        STAYS,
        REFUSED,
        NOBODY_KNOWS,
    ),
    "a header longer than is read": (
        [sized(201, CREATED_BODY, b"X: " + b"x" * 140_000)],
        STAYS,
        MADE,
        NOBODY_KNOWS,
    ),
    "a page for people": (
        [sized(201, b"<html>Sign in</html>", b"Content-Type: text/html")],
        STAYS,
        MADE_BUT_UNREADABLE,
        MADE_BUT_UNREADABLE,
    ),
    "a stray line before it": ([b"\r\n\r\n" + CREATED], STAYS, MADE, MADE),
    "two encodings in two lines": (
        [sized(201, CREATED_BODY, b"Content-Encoding: identity", b"Content-Encoding: br")],
        STAYS,
        MADE,
        MADE,
    ),
    "a compressed transfer": (
        [head(201, b"Transfer-Encoding: gzip, chunked") + chunk(CREATED_BODY) + LAST_CHUNK],
        STAYS,
        MADE,
        MADE,
    ),
}


@pytest.mark.parametrize("lent", [False, True], ids=["own", "lent"])
@pytest.mark.parametrize("answer", ODDITIES)
async def test_what_became_of_a_create_is_told_whatever_the_server_says(answer, lent):
    """Each strange answer comes to one honest verdict, in time, after one request."""
    packets, end, told_by_own, told_by_lent = ODDITIES[answer]
    assert (told_by_lent if lent else told_by_own) == await outcome_against(packets, end, lent=lent)


@pytest.mark.parametrize("lent", [False, True], ids=["own", "lent"])
@pytest.mark.parametrize(
    "ask", [lambda it: it.get(7), lambda it: it.update(7, UpdateInterview(objective="x"))]
)
async def test_a_drip_ends_at_the_timeouts_for_what_may_be_repeated_too(ask, lent):
    """Bytes that come one by one for ever hold up no call, though it has no deadline."""
    drip = [b"HTTP/1.1 200 OK\r\nX-Drip: ", *[b"x"] * 2000]
    assert NOBODY_KNOWS == await outcome_against(drip, HANGS_UP, lent=lent, ask=ask)


@pytest.mark.parametrize("status", [200, 404])
async def test_the_status_decides_for_updates_and_reads_too(status):
    """A 2xx with any body is an update that was done; a broken 404 is final."""
    packets = [sized(status, b"\0", b"Content-Encoding: br", b"X Odd: 1")]
    update = await outcome_against(
        packets, HANGS_UP, lent=False, ask=lambda it: it.update(7, UpdateInterview(objective="x"))
    )
    read = await outcome_against(packets, HANGS_UP, lent=False, ask=lambda it: it.get(7))
    if status == 200:
        assert (MADE, ("unknown", 200, None)) == (update, read)
    else:
        assert ("rejected", 404, None) == update == read


BOMBS = {
    "gzip": (cache(lambda: gzip.compress(bytes(10 * LONGEST_BODY), 1)), b"Content-Encoding: gzip"),
    "plain": (lambda: b" " * (2 * LONGEST_BODY), b"X-Plain: 1"),
}


@pytest.mark.parametrize("kind", BOMBS)
@pytest.mark.parametrize(("status", "told"), [(201, MADE_BUT_UNREADABLE), (400, REFUSED_WITHOUT_WORDS)])
async def test_what_is_read_is_capped_unpacked_too(status, told, kind):
    """A small answer that unpacks to a huge one fills no memory, and its status decides."""
    pack, line = BOMBS[kind]
    answer = sized(status, pack(), line)
    tracemalloc.start()
    try:
        assert told == await outcome_against([answer], HANGS_UP, lent=False)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 5 * LONGEST_BODY > peak


def test_the_limits_of_what_is_read_are_known():
    """They are far above what the API sends, and what they allow fits into memory."""
    assert 2**25 == LONGEST_BODY
    assert 2**27 > LONGEST_HEADER * MOST_HEADERS
