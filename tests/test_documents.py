"""Uploads: what goes out as which form, what is refused before anything does, and what comes back."""

import asyncio
import io
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hindsight_async import (
    BadRequestError,
    Delivery,
    Document,
    HindsightSession,
    NotFoundError,
    NotSentError,
    OutcomeUnknownError,
    UploadedDocument,
)
from hindsight_async.emulator import Emulator
from raw_server import raw_server

STARTED = datetime(2026, 7, 24, 12, 0, tzinfo=UTC)
CONTENT = bytes(range(256)) * 2000 + b"\r\n--\r\n\r\n"


@asynccontextmanager
async def served(**options):
    async with (
        Emulator(started_at=STARTED, **options) as emulator,
        HindsightSession(emulator.api_key, base_url=emulator.base_url) as hindsight,
    ):
        yield emulator, hindsight.documents


class AsyncFile:
    """What aiofiles, Starlette and the like give: its lines, too, but nobody wants these."""

    name = "/recordings/call.mp3"

    def __init__(self, content):
        self._file = io.BytesIO(content)

    async def read(self, size=-1):
        await asyncio.sleep(0)
        return self._file.read(size)

    def __aiter__(self):
        raise AssertionError


class Pipe(io.BytesIO):
    """What gives its bytes once."""

    name = "call.mp3"

    def seekable(self):
        return False

    def seek(self, *_):
        raise AssertionError


async def in_pieces(content=CONTENT):
    for start in range(0, len(content), 100_000):
        yield content[start : start + 100_000]


def in_a_file(folder):
    path = folder / "call.mp3"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (in_a_file, None),
        (lambda folder: str(in_a_file(folder)), None),
        (lambda folder: in_a_file(folder).open("rb"), None),
        (lambda _: CONTENT, "call.mp3"),
        (lambda _: bytearray(CONTENT), "call.mp3"),
        (lambda _: io.BytesIO(CONTENT), "call.mp3"),
        (lambda _: Pipe(CONTENT), None),
        (lambda _: AsyncFile(CONTENT), None),
        (lambda _: in_pieces(), "call.mp3"),
    ],
    ids=["path", "text", "file", "bytes", "bytearray", "memory", "pipe", "async file", "pieces"],
)
async def test_a_file_arrives_whole_whatever_it_is_given_as(given, named, tmp_path):
    """Under its own name where it has one, with the type of that name."""
    file = given(tmp_path)
    async with served() as (emulator, documents):
        uploaded = await documents.upload_to_deal(file=file, file_name=named, deal_id="deal_1", source="gong")
    (upload,) = emulator.uploads
    assert CONTENT == upload.content
    assert {
        "file_name": "call.mp3",
        "content_type": "audio/mpeg",
        "deal_id": "deal_1",
        "source": "gong",
    } == upload.fields
    assert "processing" == uploaded.document.status
    if hasattr(file, "close"):
        assert not file.closed
        file.close()


async def test_the_answer_is_a_model():
    """Every documented field, and the moment as one."""
    async with served() as (emulator, documents):
        uploaded = await documents.upload_to_deal(file=b"x", file_name="n.md", deal_id="deal_1")
    document = Document(
        id="doc_upload_000001",
        file_name="n.md",
        status="processing",
        deal_id="deal_1",
        url=f"{emulator.base_url.removesuffix('/api/v1')}/deals/deal_1/documents/viewer/doc_upload_000001",
        created_at=STARTED,
    )
    assert UploadedDocument(document=document, run_id="run_upload_000001") == uploaded
    assert "viewer" not in repr(uploaded)


@pytest.mark.parametrize("target", ["deal_id", "salesforce_id", "hubspot_id"])
async def test_a_deal_is_named_by_one_of_three_ids(target):
    """As the form says it."""
    async with served() as (emulator, documents):
        await documents.upload_to_deal(file=b"x", file_name="n.txt", **{target: "006x"})
    assert "006x" == emulator.uploads[0].fields[target]


async def test_a_url_is_sent_in_the_place_of_a_file():
    """The name is the last of its path; nothing is read here."""
    async with served() as (emulator, documents):
        await documents.upload_to_deal(
            file_url="https://files.example/a%20b/Q3%20call.M4A?token=s3cret#t", hubspot_id="1"
        )
    (upload,) = emulator.uploads
    assert upload.content is None
    assert ("Q3 call.M4A", "audio/mp4") == (upload.fields["file_name"], upload.fields["content_type"])
    assert "https://files.example/a%20b/Q3%20call.M4A?token=s3cret#t" == upload.fields["file_url"]


async def test_the_library_takes_a_type_and_perhaps_a_competitor():
    """A form, as every upload."""
    async with served() as (emulator, documents):
        asset = await documents.upload_to_library(file=b"x", file_name="Wie wir.docx", type="asset")
        await documents.upload_to_library(
            file=b"x", file_name="n.md", type="intel", competitor_name="Acme & Söhne", source="notion"
        )
        await documents.upload_to_library(file=b"x", file_name="n.md", type="intel", competitor_id="c_1")
    first, second, third = (upload.fields for upload in emulator.uploads)
    docx = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    assert {"file_name": "Wie wir.docx", "content_type": docx, "type": "asset"} == first
    assert ("Acme & Söhne", "notion", "c_1") == (
        second["competitor_name"],
        second["source"],
        third["competitor_id"],
    )
    assert ("asset", None) == (asset.document.type, asset.document.deal_id)
    assert all(
        request.headers["Content-Type"].startswith("multipart/form-data;") for request in emulator.requests
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.pdf", "application/pdf"),
        ("a.DOCX", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("a.pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
        ("a.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        ("a.md", "text/markdown"),
        ("a.txt", "text/plain"),
        ("a.mp3", "audio/mpeg"),
        ("a.wav", "audio/wav"),
        ("a.m4a", "audio/mp4"),
        ("a.mp4", "video/mp4"),
        ("a.eml", "message/rfc822"),
    ],
)
async def test_the_type_is_guessed_from_the_name(name, kind):
    """Of every file that the API takes, and on every machine alike."""
    async with served() as (emulator, documents):
        await documents.upload_to_deal(file=b"x", file_name=name, deal_id="d")
        await documents.upload_to_deal(file=b"x", file_name=name, deal_id="d", content_type="text/x-own")
    assert [kind, "text/x-own"] == [upload.fields["content_type"] for upload in emulator.uploads]


FILE = {"file": b"x", "file_name": "x.pdf"}
DEAL = {"deal_id": "deal_1"}


@pytest.mark.parametrize(
    ("wrong", "error", "named"),
    [
        ({**DEAL}, ValueError, "exactly one of file and file_url must be given"),
        ({**FILE, "file_url": "https://x.example/x.pdf", **DEAL}, ValueError, "exactly one of file and file_url"),
        ({**FILE}, ValueError, "exactly one of deal_id, salesforce_id and hubspot_id must be given"),
        ({**FILE, **DEAL, "hubspot_id": "1"}, ValueError, "exactly one of deal_id"),
        ({**FILE, "deal_id": ""}, ValueError, "deal_id must be printable text"),
        ({**FILE, "deal_id": 7}, TypeError, r"deal_id must be text \(str\), not int"),
        ({**FILE, **DEAL, "source": "Gong"}, ValueError, "source must be one of gong, .*, not 'Gong'"),
        ({**DEAL, "file": b"x"}, ValueError, "file_name must be given"),
        ({**DEAL, "file": b"x", "file_name": "a\r\nb.pdf"}, ValueError, "file_name must be printable text"),
        ({**DEAL, "file": b"x", "file_name": "half \ud800.pdf"}, ValueError, "file_name must be printable text"),
        ({**DEAL, "file": b"x", "file_name": "call"}, ValueError, "content_type must be given"),
        ({**DEAL, "file": b"x", "file_name": "call.unheard"}, ValueError, r"content_type .*\*\.unheard"),
        ({**DEAL, "file": b"x", "file_name": "call.gz"}, ValueError, "content_type must be given"),
        ({**DEAL, **FILE, "content_type": ""}, ValueError, "content_type must be printable"),
        ({**DEAL, "file": 7, "file_name": "x.pdf"}, TypeError, "file must be a path, bytes, .* not int"),
        ({**DEAL, "file": io.StringIO("x"), "file_name": "x.txt"}, TypeError, "file must be .* not StringIO"),
        ({**DEAL, "file": [b"x"], "file_name": "x.txt"}, TypeError, "file must be .* not list"),
        ({**DEAL, "file_url": "files/x.pdf"}, ValueError, "file_url must be a whole http or https URL"),
        ({**DEAL, "file_url": "ftp://x.example/x.pdf"}, ValueError, "file_url must be a whole http"),
        ({**DEAL, "file_url": "https://[x/x.pdf"}, ValueError, "file_url must be a whole http"),
        ({**DEAL, "file_url": b"https://x.example/x.pdf"}, TypeError, "file_url .* not bytes"),
        ({**DEAL, "file_url": "https://x.example/x.pdf", "max_bytes": 9}, ValueError, "max_bytes and on_progress"),
        ({**DEAL, **FILE, "max_bytes": 0}, ValueError, "max_bytes must be a whole number of at least 1"),
        ({**DEAL, **FILE, "on_progress": 1}, TypeError, "on_progress must be callable, not int"),
        ({**DEAL, "file": b"12345", "file_name": "x.pdf", "max_bytes": 4}, ValueError, "at most 4 bytes .* not 5"),
    ],
)  # fmt: skip
async def test_what_is_wrong_with_an_upload_is_named_and_nothing_is_sent(wrong, error, named):
    """Before a connection is opened."""
    async with served() as (emulator, documents):
        with pytest.raises(error, match=named):
            await documents.upload_to_deal(**wrong)
    assert [] == emulator.requests


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"type": "note"}, "type must be one of asset, intel, not 'note'"),
        ({"type": None}, "type must be one of asset, intel, not None"),
        ({"type": "asset", "source": "gong"}, "source must be one of drive, .*, not 'gong'"),
        ({"type": "intel", "competitor_id": "c", "competitor_name": "Acme"}, "only one of competitor_id"),
        ({"type": "intel", "competitor_name": " "}, "competitor_name must be printable"),
    ],
)
async def test_what_is_wrong_with_an_upload_to_the_library_is_named(wrong, named):
    """As for a deal."""
    async with served() as (emulator, documents):
        with pytest.raises(ValueError, match=named):
            await documents.upload_to_library(**FILE, **wrong)
    assert [] == emulator.requests


@pytest.mark.parametrize("given", [in_a_file, lambda folder: in_a_file(folder).open("rb")])
async def test_a_file_of_a_known_size_is_measured_before_it_leaves(given, tmp_path):
    """`max_bytes` is what may be sent: of an open file that which lies behind its position."""
    file = given(tmp_path)
    options = {"deal_id": "d", "file": file}
    async with served() as (emulator, documents):
        with pytest.raises(ValueError, match=f"at most {len(CONTENT) - 1} bytes"):
            await documents.upload_to_deal(**options, max_bytes=len(CONTENT) - 1)
        assert [] == emulator.requests
        await documents.upload_to_deal(**options, max_bytes=len(CONTENT))
        if hasattr(file, "seek"):
            file.seek(10)
            await documents.upload_to_deal(**options, max_bytes=len(CONTENT) - 10)
            file.close()
    assert CONTENT == emulator.uploads[0].content


@pytest.mark.parametrize("given", [in_pieces, lambda: AsyncFile(CONTENT), lambda: Pipe(CONTENT)])
async def test_a_file_of_an_unknown_size_is_cut_off_at_its_most(given):
    """Never more than that leaves, and the server never has a whole document."""
    async with served() as (emulator, documents):
        with pytest.raises(OutcomeUnknownError) as raised:
            await documents.upload_to_deal(
                file=given(), file_name="call.mp3", deal_id="d", max_bytes=len(CONTENT) - 1
            )
        assert [] == emulator.uploads
        assert "file has more than" in str(raised.value.__cause__)
        await documents.upload_to_deal(
            file=given(), file_name="call.mp3", deal_id="d", max_bytes=len(CONTENT)
        )
    assert CONTENT == emulator.uploads[0].content


@pytest.mark.parametrize("max_bytes", [None, 10])
async def test_a_file_that_is_not_there_was_not_sent(max_bytes, tmp_path):
    """It is named, as the system names it."""
    async with served() as (emulator, documents):
        with pytest.raises(NotSentError, match=r"gone\.pdf"):
            await documents.upload_to_deal(file=tmp_path / "gone.pdf", deal_id="d", max_bytes=max_bytes)
    assert [] == emulator.requests


async def test_what_the_api_refuses_is_the_error_that_it_always_is():
    """An unknown deal, and a form that it does not like."""
    async with served(deals=["deal_1"]) as (emulator, documents):
        with pytest.raises(NotFoundError, match="Deal with the specified ID was not found"):
            await documents.upload_to_deal(**FILE, deal_id="deal_2")
        emulator.fail("POST /documents/library", 400)
        with pytest.raises(BadRequestError):
            await documents.upload_to_library(**FILE, type="asset")
    assert [] == emulator.uploads


@pytest.mark.parametrize("how", ["disconnect", "reset"])
async def test_an_upload_that_breaks_off_halfway_is_unknown_and_sent_once(how, tmp_path):
    """Nobody knows what the server makes of half a recording."""
    path = tmp_path / "call.mp3"
    path.write_bytes(bytes(5_000_000))
    async with served() as (emulator, documents):
        emulator.fail("POST /deals/documents", how, at="mid_upload")
        with pytest.raises(OutcomeUnknownError) as raised:
            await documents.upload_to_deal(file=path, **DEAL)
        assert (Delivery.UNKNOWN, 1) == (raised.value.delivery, len(emulator.requests))
        assert [] == emulator.uploads
        await documents.upload_to_deal(file=path, **DEAL)
    assert 5_000_000 == len(emulator.uploads[0].content)


async def test_an_upload_is_sent_again_after_a_429_in_its_middle(tmp_path):
    """It had no effect, and a file can be read again."""
    path = tmp_path / "call.mp3"
    path.write_bytes(bytes(5_000_000))
    told = []
    async with served() as (emulator, documents):
        emulator.fail("POST /deals/documents", 429, at="mid_upload", retry_after=2)
        await documents.upload_to_deal(file=path, **DEAL, on_progress=lambda *one: told.append(one))
    assert [429, 200] == [request.status for request in emulator.requests]
    assert (5_000_000, 5_000_000) == told[-1]
    assert 1 == [sent for sent, _ in told].count(5_000_000)


async def test_what_was_done_and_not_understood_is_unknown_with_what_came():
    """A 200 without the document's id: it is there, and is not sent again."""

    async def answer(connection):
        while await connection.request():
            body = b'{"document":{"file_name":"x.pdf"},"run_id":"run_1"}'
            connection.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async with raw_server(answer) as server, HindsightSession("k", base_url=server.base_url) as hindsight:
        with pytest.raises(OutcomeUnknownError, match="so it was done") as raised:
            await hindsight.documents.upload_to_deal(**FILE, **DEAL)
    assert (200, "run_1", 1) == (raised.value.status, raised.value.received["run_id"], len(server.requests))


async def test_odd_fields_are_kept_as_they_came():
    """Old names, new names and wrong kinds lose neither the id nor themselves."""
    body = b'{"document":{"id":"doc_1","status":"queued","created_at":7,"pages":3},"workflow_id":"w","run_id":null}'

    async def answer(connection):
        while await connection.request():
            connection.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async with raw_server(answer) as server, HindsightSession("k", base_url=server.base_url) as hindsight:
        uploaded = await hindsight.documents.upload_to_deal(**FILE, **DEAL)
    document = uploaded.document
    assert ("doc_1", "queued", None) == (document.id, document.status, document.created_at)
    assert ({"created_at": 7, "pages": 3}, {"workflow_id": "w"}) == (document.extra, uploaded.extra)


def test_a_path_of_any_kind_is_a_path():
    """Also one of a class that only promises to name one."""
    from hindsight_async.resources.documents.source import read_source

    class Named:
        def __fspath__(self):
            return "/recordings/call.wav"

    source = read_source(Named(), None, file_name=None, content_type=None, on_progress=None, max_bytes=None)
    assert ("call.wav", "audio/wav") == (source.file_name, source.content_type)
    assert Path("/recordings/call.wav") == source.upload.content
