"""How a file's bytes leave: read as they go, told of on the way, and never twice where they can be read but once."""

import asyncio
import io
import logging

import pytest

from calling import executor_to
from hindsight_async import (
    NotSentError,
    OutcomeUnknownError,
    RateLimitExceededError,
    RetryPolicy,
    Timeouts,
    UnauthorizedError,
)
from hindsight_async.call.request import Call, Endpoint, FileUpload, Multipart
from raw_server import raw_server

UPLOAD = Endpoint(method="POST", route="POST /documents", reply_type=bytes, repeatable=False)
DONE = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone"
NOT_NOW = b"HTTP/1.1 429 Slow\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
PIECES = [b"ab", bytes(700_000), b"yz"]
PAST_ANY_BUFFER = 30_000_000


async def pieces():
    for piece in PIECES:
        await asyncio.sleep(1)
        yield piece


async def upload(executor, content, **more):
    file = FileUpload(content=content, name="call.mp3", content_type="audio/mpeg", **more)
    call = Call(UPLOAD, "/documents", Multipart(files={"file": file}))
    return await executor.run(call, lane="interactive", deadline=None)


async def chunks_of(connection):
    """Read a chunked request; return its head, and its body put together."""
    head = await connection.reader.readuntil(b"\r\n\r\n")
    body = b""
    while size := int(await connection.reader.readuntil(b"\r\n"), 16):
        body += await connection.reader.readexactly(size)
        await connection.reader.readexactly(2)
    await connection.reader.readexactly(2)
    connection.server.requests.append(head + body)


def answering_chunks(*answers):
    async def script(connection):
        for answer in answers:
            await chunks_of(connection)
            connection.writer.write(answer)
        await connection.reader.read()

    return script


async def test_pieces_leave_as_they_come():
    """Of a length that nobody knows yet: in chunks, each while the next is still to come."""
    told = []
    loop = asyncio.get_running_loop()
    async with raw_server(answering_chunks(DONE)) as server, executor_to(server.base_url) as executor:
        started = loop.time()

        def tell(*progress):
            told.append((int(loop.time() - started), *progress))

        assert b"done" == await upload(executor, pieces(), on_progress=tell)
    (request,) = server.requests
    assert b"\r\nTransfer-Encoding: chunked\r\n" in request
    assert b"\r\n\r\n" + b"".join(PIECES) + b"\r\n--" in request
    assert [
        (1, 2, None),
        (2, 262_146, None),
        (2, 524_290, None),
        (2, 700_002, None),
        (3, 700_004, None),
    ] == told


async def test_what_can_be_read_once_is_sent_once_whatever_the_server_says():
    """A 429 is raised as it is: what was read is gone, and half a recording would be a wrong document."""
    async with (
        raw_server(answering_chunks(NOT_NOW, DONE)) as server,
        executor_to(server.base_url) as executor,
    ):
        with pytest.raises(RateLimitExceededError) as raised:
            await upload(executor, pieces())
    assert (1, 1) == (raised.value.attempts, len(server.requests))


async def test_what_can_be_read_once_is_tried_again_where_nothing_was_read():
    """Without a connection no piece was asked for."""
    asked = []

    async def noted():
        asked.append(1)
        yield b"x"

    async with raw_server(answering_chunks(DONE)) as server:
        base_url = server.base_url
    async with executor_to(base_url, retry=RetryPolicy(attempts=3)) as executor:
        with pytest.raises(NotSentError) as raised:
            await upload(executor, noted())
    assert (3, []) == (raised.value.attempts, asked)


@pytest.mark.parametrize("failure", [KeyError("gone"), OSError("the disk is gone")])
async def test_a_source_that_fails_on_the_way_leaves_it_unknown(failure):
    """Some bytes left, and the server was never told the end: the connection is cut, and the cause is the source's own error."""

    async def failing():
        yield b"some"
        raise failure

    async with raw_server(answering_chunks(DONE)) as server, executor_to(server.base_url) as executor:
        with pytest.raises(OutcomeUnknownError) as raised:
            await upload(executor, failing())
    assert failure is raised.value.__cause__
    assert [] == server.requests


async def test_a_source_that_brings_nothing_any_more_is_given_up():
    """`timeouts.read` counts from the last piece."""

    async def stuck():
        yield b"some"
        await asyncio.sleep(10_000)

    quick = Timeouts(connect=1.0, read=5.0)
    async with (
        raw_server(answering_chunks(DONE)) as server,
        executor_to(server.base_url, timeouts=quick) as executor,
    ):
        with pytest.raises(OutcomeUnknownError, match="took too long"):
            await upload(executor, stuck())


def behind_its_position(content):
    file = io.BytesIO(b"not this" + content)
    file.read(8)
    return file


@pytest.mark.parametrize("given", [bytes, behind_its_position])
async def test_progress_is_told_after_each_piece_and_begins_again_with_each_attempt(given):
    """The bytes of the file alone, up to all of them."""
    told = []

    async def refuse_once(connection):
        while await connection.request():
            connection.writer.write(NOT_NOW if len(connection.server.requests) == 1 else DONE)

    async with raw_server(refuse_once) as server, executor_to(server.base_url) as executor:
        await upload(executor, given(bytes(600_000)), on_progress=lambda *progress: told.append(progress))
    once = [(262_144, 600_000), (524_288, 600_000), (600_000, 600_000)]
    assert once * 2 == told


async def test_what_a_progress_hook_raises_is_logged_and_changes_nothing(caplog):
    """An upload that goes well is not cut off for it."""

    def fail(sent, total):
        raise KeyError(sent)

    async with raw_server(answering_chunks(DONE)) as server, executor_to(server.base_url) as executor:
        assert b"done" == await upload(executor, pieces(), on_progress=fail)
    assert ["on_progress failed"] * 5 == [record.message for record in caplog.records]
    assert {logging.ERROR} == {record.levelno for record in caplog.records}


async def test_an_answer_that_comes_before_the_end_of_the_file_ends_the_sending():
    """A refused key is told at once, and not when all of a recording has been sent in vain."""
    refused = b'{"error":{"code":"unauthorized","message":"Invalid API key"}}'
    answer = b"HTTP/1.1 401 No\r\nContent-Length: %d\r\n\r\n%b" % (len(refused), refused)
    told = []

    async def refuse_early(connection):
        await connection.reader.readexactly(100_000)
        connection.writer.write(answer)
        await asyncio.sleep(10)  # takes no more of it, and does not hang up

    async with raw_server(refuse_early) as server, executor_to(server.base_url) as executor:
        with pytest.raises(UnauthorizedError, match="Invalid API key"):
            await upload(executor, bytes(PAST_ANY_BUFFER), on_progress=lambda sent, total: told.append(sent))
    assert PAST_ANY_BUFFER > max(told)
