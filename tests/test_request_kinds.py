"""What a call may carry and what its answer may be: every kind goes over the wire as it should."""

import asyncio
import email
import gc
import io
import json
import os
import threading

import attrs
import pytest
from yarl import URL

from calling import executor_to
from hindsight_async import (
    BadRequestError,
    DecodeError,
    Delivery,
    NotSentError,
    OutcomeUnknownError,
    RetryPolicy,
    Timeouts,
)
from hindsight_async.call.request import Call, Endpoint, FileUpload, Multipart
from raw_server import OK, raw_server

UPLOAD = Endpoint(method="POST", route="POST /documents", reply_type=bytes, repeatable=False)
LIST = Endpoint(method="GET", route="GET /deals", reply_type=list[int], repeatable=True)
COUNT = Endpoint(method="GET", route="GET /deals", reply_type=int, repeatable=True)

ONCE = RetryPolicy(attempts=1)
PAST_ANY_BUFFER = 30_000_000


def answer(body, status=b"200 OK"):
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


def answering(*answers):
    """Give the answers one after another, and the last of them from then on."""

    async def script(connection):
        while await connection.request():
            connection.writer.write(answers[min(len(connection.server.requests), len(answers)) - 1])

    return script


async def run(executor, call, **options):
    return await executor.run(call, lane="interactive", deadline=None, **options)


@attrs.define
class Part:
    """One part of a form that arrived."""

    name: str
    filename: str | None
    content_type: str
    content: bytes


def parts_of(request):
    """Read a form as a mail reader would."""
    head, body = request.split(b"\r\n\r\n", 1)
    (kind,) = (line for line in head.split(b"\r\n") if line.lower().startswith(b"content-type:"))
    message = email.message_from_bytes(kind + b"\r\n\r\n" + body)
    return [
        Part(
            part.get_param("name", header="content-disposition"),
            part.get_param("filename", header="content-disposition"),
            part.get_content_type(),
            part.get_payload(decode=True),
        )
        for part in message.get_payload()
    ]


async def test_a_query_is_encoded_in_its_order_and_without_what_is_none():
    """Booleans are spelled as in JSON, and nothing in a text can pass for another field."""
    query = {"z": "a&b=c +%2B ü", "page_size": 50, "archived": True, "sort": None, "a": False}
    async with raw_server(answering(answer(b"[1]"))) as server, executor_to(server.base_url) as executor:
        await run(executor, Call(LIST, "/deals", query=query))
        await run(executor, Call(LIST, "/deals", query={"sort": None}))
    first, second = (request.split(b" ")[1].decode() for request in server.requests)
    read = [("z", "a&b=c +%2B ü"), ("page_size", "50"), ("archived", "true"), ("a", "false")]
    assert read == list(URL(first).query.items())
    assert "/api/v1/deals" == second


async def test_no_error_shows_a_query():
    """It may hold an address, so errors name the path alone."""
    query = {"owner": "jane@acme.example"}
    async with (
        raw_server(answering(answer(b"", b"400 Bad"))) as server,
        executor_to(server.base_url) as executor,
    ):
        with pytest.raises(BadRequestError) as raised:
            await run(executor, Call(LIST, "/deals", query=query))
    assert "/deals" == raised.value.path
    assert "jane" not in f"{raised.value!r}{raised.value.__dict__}{Call(LIST, '/deals', query=query)!r}"


async def test_an_answer_is_read_as_its_endpoint_says():
    """A list, a bare number, or bytes that nobody looks into."""
    answers = answering(answer(b"[1,2]"), answer(b"142"), answer(b"\xff\x00,"))
    async with raw_server(answers) as server, executor_to(server.base_url) as executor:
        assert [1, 2] == await run(executor, Call(LIST, "/deals"))
        assert 142 == await run(executor, Call(COUNT, "/deals"))
        assert b"\xff\x00," == await run(executor, Call(UPLOAD, "/documents"))


async def test_an_answer_of_another_kind_is_a_decode_error():
    """A list where a number belongs is named, with its place."""
    async with raw_server(answering(answer(b"[1]"))) as server, executor_to(server.base_url) as executor:
        with pytest.raises(DecodeError, match=r"found a list where .* belongs @ \$"):
            await run(executor, Call(COUNT, "/deals"))


def form_of(content, **fields):
    upload = FileUpload(content=content, name='a "b" ü.pdf', content_type="application/pdf")
    return Multipart(fields=fields, files={"file": upload})


CONTENT = bytes(range(256)) * 4000


def as_bytes(_path, content=CONTENT):
    return content


def as_path(path, content=CONTENT):
    path.write_bytes(content)
    return path


def as_open_file(path):
    path.write_bytes(b"not this" + CONTENT)
    file = path.open("rb")
    file.read(8)
    return file


def as_memory(_path):
    return io.BytesIO(CONTENT)


@pytest.mark.parametrize("given", [as_bytes, as_path, as_open_file, as_memory])
async def test_a_form_arrives_whole_also_when_it_is_sent_again(given, tmp_path):
    """Texts and files with their names and types; after a refusal the file is read from where it stood, and stays open."""
    content = given(tmp_path / "x.pdf")
    refused = b"HTTP/1.1 429 Slow\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
    async with (
        raw_server(answering(refused, answer(b"done"))) as server,
        executor_to(server.base_url) as executor,
    ):
        form = form_of(content, file_name="ü & more", source="api")
        assert b"done" == await run(executor, Call(UPLOAD, "/documents", form))
    assert 2 == len(server.requests)
    texts = [
        Part("file_name", None, "text/plain", "ü & more".encode()),
        Part("source", None, "text/plain", b"api"),
    ]
    for request in server.requests:
        *fields, file = parts_of(request)
        assert texts == fields
        assert ("file", "application/pdf", CONTENT) == (file.name, file.content_type, file.content)
        assert 'filename="a \\"b\\" ü.pdf"'.encode() in request
    if hasattr(content, "close"):
        assert not content.closed
        content.close()


async def read_some_and_drop(connection):
    await connection.reader.readexactly(1_000_000)
    connection.drop()


@pytest.mark.parametrize("given", [as_bytes, as_path])
async def test_a_form_that_is_cut_off_while_it_leaves_is_unknown(given, tmp_path):
    """Nobody knows what a server made of part of a file: it is sent once."""
    form = form_of(given(tmp_path / "x.mp4", bytes(PAST_ANY_BUFFER)))
    async with raw_server(read_some_and_drop) as server, executor_to(server.base_url) as executor:
        with pytest.raises(OutcomeUnknownError) as raised:
            await run(executor, Call(UPLOAD, "/documents", form, "what was asked"))
    assert 1 == server.connections
    assert (Delivery.UNKNOWN, 1) == (raised.value.delivery, raised.value.attempts)
    assert "what was asked" == raised.value.request


async def test_a_form_that_cannot_connect_was_not_sent():
    """Where no byte left it is tried again, and then said so."""
    async with raw_server(read_some_and_drop) as server:
        base_url = server.base_url
    async with executor_to(base_url, retry=RetryPolicy(attempts=2)) as executor:
        with pytest.raises(NotSentError) as raised:
            await run(executor, Call(UPLOAD, "/documents", form_of(b"x")))
    assert (Delivery.NOT_SENT, 2) == (raised.value.delivery, raised.value.attempts)


async def test_a_file_that_is_not_there_is_named_and_nothing_is_sent(tmp_path):
    """It is looked for before anything leaves, and not again."""
    async with raw_server(answering(OK)) as server, executor_to(server.base_url) as executor:
        with pytest.raises(NotSentError, match=r"nowhere\.pdf") as raised:
            await run(executor, Call(UPLOAD, "/documents", form_of(tmp_path / "nowhere.pdf")))
    assert isinstance(raised.value.__cause__, FileNotFoundError)
    assert 0 == server.connections


async def test_a_file_that_becomes_shorter_while_it_leaves_is_unknown():
    """The server was told a length that never comes: the connection is cut, and nobody waits for an answer."""

    class Shrinking(io.BytesIO):
        def read(self, size=-1):
            return super().read(size) if self.tell() == 0 else b""

    form = form_of(Shrinking(bytes(1_000_000)))
    async with raw_server(answering(OK)) as server, executor_to(server.base_url) as executor:
        with pytest.raises(OutcomeUnknownError):
            await run(executor, Call(UPLOAD, "/documents", form))
    assert [] == server.requests


async def test_a_form_that_leaves_slowly_has_time_as_long_as_it_goes_on():
    """`timeouts.read` counts from the last piece, so that no upload is too large for it."""
    loop = asyncio.get_running_loop()

    async def read_slowly(connection):
        for _ in range(10):
            await connection.reader.readexactly(PAST_ANY_BUFFER // 10)
            await asyncio.sleep(2)
        connection.writer.write(answer(b"done"))
        await connection.reader.read()

    form = form_of(bytes(PAST_ANY_BUFFER))
    # The server reads 20 s; what the system's buffers hold when the last piece leaves takes it less than half of that.
    quick = Timeouts(connect=1.0, read=11.0)
    async with raw_server(read_slowly) as server, executor_to(server.base_url, timeouts=quick) as executor:
        started = loop.time()
        assert b"done" == await run(executor, Call(UPLOAD, "/documents", form))
        assert 15 < loop.time() - started


async def test_a_server_that_takes_no_more_of_a_form_is_given_up():
    """An upload that stands still ends as an answer that does not come."""

    async def take_no_more(connection):
        await connection.reader.readexactly(1_000_000)
        await asyncio.sleep(10_000)

    told = []
    form = form_of(bytes(PAST_ANY_BUFFER))
    quick = Timeouts(connect=1.0, read=5.0)
    async with raw_server(take_no_more) as server:
        async with executor_to(server.base_url, timeouts=quick, told=told.append) as executor:
            with pytest.raises(OutcomeUnknownError, match="took too long"):
                await run(executor, Call(UPLOAD, "/documents", form))
            call = asyncio.create_task(run(executor, Call(UPLOAD, "/documents", form)))
            await asyncio.sleep(3)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
    (left,) = told
    assert Delivery.UNKNOWN is left.delivery


@pytest.mark.parametrize("turns", range(0, 30, 3))
async def test_a_form_cancelled_at_any_moment_leaves_no_file_open(turns, tmp_path):
    """What was opened for it is closed; a file that nobody closed would be a warning, which is an error here."""
    path = as_path(tmp_path / "x.pdf")
    async with raw_server(answering(answer(b"done"))) as server, executor_to(server.base_url) as executor:
        call = asyncio.create_task(run(executor, Call(UPLOAD, "/documents", form_of(path))))
        for _ in range(turns):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert b"done" == await run(executor, Call(UPLOAD, "/documents", form_of(path)))


def test_a_file_that_opens_when_its_loop_is_gone_is_closed_all_the_same(tmp_path):
    """The thread that opens it cannot be stopped, and nobody is left to be given it."""
    path = tmp_path / "x.pdf"
    os.mkfifo(path)  # which opens for reading once it is open for writing

    def open_for_writing():
        os.close(os.open(path, os.O_RDWR))

    async def main():
        async with executor_to("http://127.0.0.1:1/api/v1") as executor:
            call = asyncio.create_task(run(executor, Call(UPLOAD, "/documents", form_of(path))))
            while not call.done():
                await asyncio.sleep(0.01)
                call.cancel()
            threading.Timer(0.05, open_for_writing).start()

    asyncio.run(main())
    gc.collect()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"content": "text"}, "content must be bytes, a Path, or a file opened in binary mode, not str"),
        ({"content": io.StringIO("x")}, "content must be bytes"),
        ({"name": "a\r\nX-Evil: 1"}, "name must be printable"),
        ({"name": ""}, "name must be printable"),
        ({"content_type": "a\nb"}, "content_type must be printable"),
    ],
)
def test_a_file_that_cannot_be_sent_is_refused_and_named(wrong, named):
    """Before anything leaves, and so that no name can add a header."""
    with pytest.raises((TypeError, ValueError), match=named):
        FileUpload(**{"content": b"x", "name": "x.pdf", "content_type": "application/pdf", **wrong})


def test_a_pipe_is_refused():
    """What cannot be read twice cannot be sent again where the server refused it for now."""

    class Pipe(io.BytesIO):
        def seekable(self):
            return False

    with pytest.raises(ValueError, match="content must be a file that can be read again"):
        FileUpload(content=Pipe(), name="x.pdf", content_type="application/pdf")


async def test_json_stays_json():
    """A body of bytes leaves whole, under its own type and length."""
    async with raw_server(answering(answer(b"[1]"))) as server, executor_to(server.base_url) as executor:
        await run(executor, Call(LIST, "/deals", json.dumps({"a": 1}).encode()))
    (request,) = server.requests
    assert b"Content-Type: application/json\r\n" in request
    assert request.endswith(b'\r\n\r\n{"a": 1}')
