"""The emulator's side of uploads and questions, against tables of the documentation's fields written down by hand."""

import asyncio
import io
import json
from contextlib import asynccontextmanager
from datetime import datetime

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hindsight_async.emulator import Emulator
from hindsight_async.emulator.answers import WrongRequestError
from hindsight_async.emulator.documents import parse_form

MOMENT = "moment"
DOCUMENT = {
    "id": str,
    "file_name": str,
    "status": {"processing", "ready", "failed"},
    "url": str,
    "created_at": MOMENT,
}
"""What the pages upload-deal-document and upload-library-document promise of both kinds."""

UPLOADED = {"document": dict, "run_id": str}
RESPONSE = {"message": dict, "tool_calls": list}
MESSAGE = {"role": {"assistant"}, "content": str, "citations": list}
CITATION = {
    "document_id": str,
    "document_name": str,
    "deal_id": (str, type(None)),
    "deal_name": (str, type(None)),
    "url": str,
    "excerpt": str,
}
EVENTS = {"content_delta": {"type": str, "content": str}, "citation": {"type": str, "citation": dict}}
SOURCE = dict.fromkeys(CITATION, "x") | {"deal_id": None, "deal_name": None}


def check(table, document):
    """Compare a document with its table: exactly these fields, each of its kind."""
    assert table.keys() == document.keys()
    for name, kind in table.items():
        value = document[name]
        if kind is MOMENT:
            assert value.endswith("Z")
            assert datetime.fromisoformat(value).tzinfo
        elif isinstance(kind, set):
            assert value in kind
        else:
            assert isinstance(value, kind)


@asynccontextmanager
async def served(**options):
    async with Emulator(**options) as emulator:
        key = {"Authorization": f"Bearer {emulator.api_key}"}
        async with aiohttp.ClientSession(f"{emulator.base_url}/", headers=key) as http:
            yield emulator, http


async def asked(http, path, **arguments):
    async with http.post(path, **arguments) as response:
        return response.status, await response.json()


def form(**fields):
    """Build a form as another library does, whose texts have no media type of their own."""
    writer = aiohttp.FormData(default_to_multipart=True)
    for name, value in fields.items():
        if not isinstance(value, str):
            writer.add_field(name, value, filename="x.pdf", content_type="application/pdf")
        else:
            writer.add_field(name, value)
    return writer


FILE = {"file_name": "x.pdf", "content_type": "application/pdf", "file": b"%PDF"}
URL = {"file_name": "x.pdf", "content_type": "application/pdf", "file_url": "https://x.example/x.pdf"}


@pytest.mark.parametrize("given_as", [FILE, URL])
@pytest.mark.parametrize("target", ["deal_id", "salesforce_id", "hubspot_id"])
async def test_an_upload_to_a_deal_answers_the_documented_fields(given_as, target):
    """200, a document with its deal, and a run."""
    async with served() as (emulator, http):
        status, uploaded = await asked(http, "deals/documents", data=form(**given_as, **{target: "1"}))
    assert 200 == status
    check(UPLOADED, uploaded)
    check(DOCUMENT | {"deal_id": str}, uploaded["document"])
    (upload,) = emulator.uploads
    assert (upload.document_id, given_as.get("file")) == (uploaded["document"]["id"], upload.content)
    assert {**given_as, target: "1"} == {**upload.fields, **({"file": b"%PDF"} if "file" in given_as else {})}


async def test_an_upload_to_the_library_answers_the_documented_fields():
    """200, a document with its type, and a run."""
    async with served() as (_, http):
        status, uploaded = await asked(http, "documents/library", data=form(**FILE, type="intel"))
    assert 200 == status
    check(UPLOADED, uploaded)
    check(DOCUMENT | {"type": {"asset", "intel"}}, uploaded["document"])


async def test_an_answer_has_the_documented_fields():
    """Of a whole one."""
    async with served() as (emulator, http):
        emulator.responses.say("Price.", citations=[SOURCE])
        for _ in range(2):
            status, answer = await asked(
                http, "responses", json={"messages": [{"role": "user", "content": "Why?"}]}
            )
            assert 200 == status
            check(RESPONSE, answer)
            check(MESSAGE, answer["message"])
            for citation in answer["message"]["citations"]:
                check(CITATION, citation)


async def test_a_stream_has_the_documented_events():
    """Data lines alone, each a JSON object of a documented type; no end but that of the answer."""
    question = {"messages": [{"role": "user", "content": "Why?"}], "stream": True}
    async with served() as (emulator, http):
        emulator.responses.say("It is price.", citations=[SOURCE])
        async with http.post("responses", json=question) as response:
            assert "text/event-stream" == response.content_type
            text = (await response.read()).decode()
    lines = text.split("\n\n")
    assert "" == lines.pop()
    documents = [json.loads(line.removeprefix("data: ")) for line in lines]
    for document in documents:
        check(EVENTS[document["type"]], document)
    assert "It is price." == "".join(document.get("content", "") for document in documents)
    check(CITATION, documents[-1]["citation"])


@pytest.mark.parametrize(
    ("path", "data", "status", "named"),
    [
        ("deals/documents", form(**FILE), 400, "missing_fields"),
        ("deals/documents", form(**FILE, deal_id="1", hubspot_id="1"), 400, "missing_fields"),
        ("deals/documents", form(**FILE, deal_id="gone"), 404, None),
        ("deals/documents", form(**FILE, deal_id="1", source="salesforce"), 400, "invalid_fields"),
        ("deals/documents", form(**FILE, deal_id="1", competitor_id="1"), 400, "unknown_fields"),
        ("deals/documents", form(**URL, deal_id="1", file=b"x"), 400, "missing_fields"),
        ("deals/documents", form(file_name="x.pdf", deal_id="1", file=b"x"), 400, "missing_fields"),
        ("deals/documents", form(**{**FILE, "file": "no file"}, deal_id="1"), 400, "invalid_fields"),
        ("deals/documents", b'{"file_name":"x.pdf"}', 400, None),
        ("documents/library", form(**FILE), 400, "missing_fields"),
        ("documents/library", form(**FILE, type="note"), 400, "invalid_fields"),
        ("documents/library", form(**FILE, type="asset", source="gong"), 400, "invalid_fields"),
        ("documents/library", form(**FILE, type="intel", competitor_id="1", competitor_name="A"), 400, None),
        ("documents/library", form(**FILE, type="intel", deal_id="1"), 400, "unknown_fields"),
        ("responses", b'{"messages":[]}', 400, "missing_fields"),
        ("responses", b'{"messages":[{"role":"robot","content":"x"}]}', 400, "invalid_fields"),
        ("responses", b'{"messages":[{"role":"user"}]}', 400, "invalid_fields"),
        ("responses", b'{"messages":["Why?"]}', 400, "invalid_fields"),
        ("responses", b'{"messages":[{"role":"user","content":"x"}],"stream":1}', 400, "invalid_fields"),
        ("responses", b'{"messages":[{"role":"user","content":"x"}],"org_id":"1"}', 400, "unknown_fields"),
    ],
)
async def test_what_the_documentation_does_not_know_is_refused(path, data, status, named):
    """So that a misspelt field fails here too; nothing is kept of it."""
    async with served(deals=["1"]) as (emulator, http):
        answered, envelope = await asked(http, path, data=data)
        assert (status, []) == (answered, emulator.uploads)
    assert ({named} if named else set()) == set(envelope["error"].get("details", {}))


@given(st.dictionaries(st.text("ab", min_size=1), st.binary(max_size=50), min_size=1), st.binary(max_size=9))
def test_a_form_is_read_as_it_was_built(parts, preamble):
    """Whatever bytes are in it, line ends and hyphens too; what stands before the first part is nobody's."""
    boundary = b"--=_b'0"
    body = b"\r\n".join(
        b'--%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b' % (boundary, name.encode(), content)
        for name, content in parts.items()
    )
    whole = preamble + b"\r\n" + body + b"\r\n--%b--\r\n" % boundary
    form_type = f'multipart/form-data; boundary="{boundary.decode()}"'
    assert parts == {name: content for name, (_, content) in parse_form(whole, form_type).items()}
    for half in (whole[: -len(boundary) - 6], b""):
        with pytest.raises(WrongRequestError):
            parse_form(half, form_type)
    with pytest.raises(WrongRequestError):
        parse_form(whole, "application/json")


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("how", "options", "outcome"),
    [
        (503, {}, 503),
        (401, {"headers": {"X-By": "proxy"}}, 401),
        ("html", {}, 502),
        ("slow", {"seconds": 7}, 200),
        ("disconnect", {}, aiohttp.ClientConnectionError),
        ("reset", {}, aiohttp.ClientConnectionError),
    ],
)
async def test_a_fault_in_the_middle_of_an_upload_does_nothing_and_reads_no_more(
    how, options, outcome, chunked
):
    """But the slow one, which only takes its time; the next upload passes."""
    loop = asyncio.get_running_loop()

    async def upload(http):
        data = form(**{**FILE, "file": io.BytesIO(bytes(3_000_000))}, deal_id="1")
        try:
            async with http.post("deals/documents", data=data, chunked=chunked or None) as response:
                return response.status
        except aiohttp.ClientConnectionError:
            return aiohttp.ClientConnectionError

    async with served() as (emulator, http):
        emulator.fail("POST /deals/documents", how, at="mid_upload", **options)
        started = loop.time()
        assert outcome == await upload(http)
        is_slow = how == "slow"
        assert (is_slow, int(is_slow)) == (loop.time() - started >= 7, len(emulator.uploads))
        assert 200 == await upload(http)


async def test_a_fault_in_the_middle_of_an_upload_is_used_up_once():
    """The next one scripted is met by the next request."""
    async with served() as (emulator, http):
        emulator.fail("POST /deals/documents", 503, at="mid_upload")
        emulator.fail("POST /deals/documents", 400)
        statuses = [
            (await asked(http, "deals/documents", data=form(**URL, deal_id="1")))[0] for _ in range(3)
        ]
    assert [503, 400, 200] == statuses


async def test_a_fault_in_the_middle_of_a_small_body_does_nothing_though_all_of_it_was_read():
    """A body of an unknown length may be whole by then."""
    create = {"contact_email": "jane@acme.example", "sequence_id": "seq_1"}
    async with served() as (emulator, http):
        emulator.fail("POST /interviews", 503, at="mid_upload")
        assert 503 == (await asked(http, "interviews", json=create, chunked=True))[0]
        assert [] == emulator.outbox


def test_a_fault_that_truncates_has_no_upload_to_be_in_the_middle_of():
    """It is one of an answer."""
    with pytest.raises(ValueError, match="not at='mid_upload'"):
        Emulator().fail("POST /deals/documents", "truncated", at="mid_upload")
