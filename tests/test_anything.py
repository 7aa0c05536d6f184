"""`hindsight.request`: what is new in the API, over the wire, and what it refuses to send."""

import asyncio
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hindsight_async import (
    DecodeError,
    Delivery,
    HindsightSession,
    NotFoundError,
    OutcomeUnknownError,
    RetryPolicy,
)
from hindsight_async.emulator import Emulator
from hindsight_async.resources.anything import Anything
from raw_server import raw_server


def answering(*answers):
    """Give the answers one after another, and the last of them from then on; None cuts the connection."""

    async def script(connection):
        while await connection.request():
            answer = answers[min(len(connection.server.requests), len(answers)) - 1]
            if answer is None:
                connection.drop()
                return
            status, body = answer
            connection.writer.write(
                b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)
            )

    return script


def to(server):
    return HindsightSession("key", base_url=server.base_url, retry=RetryPolicy(first_pause=0.01))


async def test_what_is_new_is_sent_and_its_json_given_back():
    """Query, body and answer are what they should be, under the key and the base URL."""
    async with raw_server(answering((200, b'[{"id": "type_1"}]'))) as server, to(server) as hindsight:
        found = await hindsight.request(
            "GET", "/interview-types", params={"archived": False, "page": 2, "q": "a b", "none": None}
        )
        assert [{"id": "type_1"}] == found
        await hindsight.request("patch", "/interview-types/a%20b", json={"name": "é", "steps": (1, None)})
        first, second = server.requests
        assert first.startswith(b"GET /api/v1/interview-types?archived=false&page=2&q=a+b HTTP/1.1\r\n")
        assert b"Authorization: Bearer key\r\n" in first
        assert second.startswith(b"PATCH /api/v1/interview-types/a%20b HTTP/1.1\r\n")
        assert second.endswith('{"name":"é","steps":[1,null]}'.encode())


@pytest.mark.parametrize(
    ("body", "found"), [(b"", None), (b"null", None), (b"5", 5), (b'"a"', "a"), (b'{"a": 1}', {"a": 1})]
)
async def test_an_answer_is_whatever_json_it_is(body, found):
    """An empty body is None, as after a delete."""
    async with raw_server(answering((200, body))) as server, to(server) as hindsight:
        assert found == await hindsight.request("DELETE", "/interview-types/1")


async def test_only_a_get_is_sent_again():
    """What else is lost is an unknown outcome, after one attempt."""
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        async with raw_server(answering(None, (200, b"{}"))) as server, to(server) as hindsight:
            if method == "GET":
                assert {} == await hindsight.request(method, "/interview-types")
                assert 2 == len(server.requests)
                continue
            with pytest.raises(OutcomeUnknownError) as raised:
                await hindsight.request(method, "/interview-types", json={"name": "a"})
            assert (method, "/interview-types", 1) == (
                raised.value.method,
                raised.value.path,
                raised.value.attempts,
            )
            assert {"name": "a"} == raised.value.request
            assert 1 == len(server.requests)


async def test_a_page_that_is_no_json_is_told_from_an_answer():
    """A GET could not be read; what else was asked for was done, and cannot be told."""
    async with raw_server(answering((200, b"<html>"))) as server, to(server) as hindsight:
        with pytest.raises(DecodeError):
            await hindsight.request("GET", "/interview-types")
        with pytest.raises(OutcomeUnknownError) as raised:
            await hindsight.request("POST", "/interview-types")
        assert 200 == raised.value.status


async def test_a_refusal_is_the_error_that_it_is_anywhere():
    """What is not there is a NotFoundError, without effect."""
    async with Emulator() as emulator:
        async with HindsightSession(emulator.api_key, base_url=emulator.base_url) as hindsight:
            with pytest.raises(NotFoundError) as raised:
                await hindsight.request("GET", "/interview-types")
            assert Delivery.REJECTED is raised.value.delivery


async def test_it_is_one_of_the_requests_that_the_budget_counts():
    """A plan that is used up makes it wait."""
    async with Emulator(requests_per_minute=1) as emulator:
        async with HindsightSession(emulator.api_key, base_url=emulator.base_url, deadline=200) as hindsight:
            began = asyncio.get_running_loop().time()
            for _ in range(2):
                with pytest.raises(NotFoundError):
                    await hindsight.request("GET", "/interview-types")
            assert 60 <= asyncio.get_running_loop().time() - began


CREATES = [
    "/interviews",
    "//interviews",
    "///interviews",
    "/interviews/",
    "/interviews//",
    "/INTERVIEWS",
    "/Interviews",
    "/%69nterviews",
    "/%49NTERVIEWS",
    "/interview%73",
    "/%2569nterviews",
    "/interviews%2F",
    "/interviews%2f",
    "/interviews%20",
    "/interviews%00",
    "/interviews%3B",
    "/interviews;v=1",
    "/interviews?",
    "/interviews?a=1",
    "/interviews#a",
    "/interviews%3Fa=1",
    "/interviews%23",
    "/./interviews",
    "/../interviews",
    "/../v1/interviews",
    "/deals/../interviews",
    "/deals/%2e%2e/interviews",
    "/%2e/interviews",
    "/interviews/.",
    "/interviews/%2e",
    "/interviews/4821/..",
    "/interviews\\",
    "\\interviews",
    "/deals\\..\\interviews",
    "/deals%5c..%5cinterviews",
    "/interviews\t",
    " /interviews",
    "/inter\nviews",
    "/interviews\r\n",
    "interviews",
    "/v1/interviews",
    "/api/v1/interviews",
    "/\uff49nterviews",
    "/%EF%BD%89nterviews",
    "/\u0131nterviews",
    "",
]


@pytest.mark.parametrize("method", ["POST", "post", "PoSt", "PUT"])
@pytest.mark.parametrize("path", CREATES, ids=ascii)
async def test_no_spelling_creates_an_interview(method, path):
    """Who may be emailed, and how often, is guarded in one place."""
    async with (
        raw_server(answering((201, b'{"interview_request_id": 1}'))) as server,
        to(server) as hindsight,
    ):
        with pytest.raises(ValueError, match="path must"):
            await hindsight.request(method, path, json={"contact_email": "jane@acme.example"})
        assert [] == server.requests


ELSEWHERE = [
    "https://app.usehindsight.com/api/v1/deals",
    "HTTP://evil.example/",
    "//evil.example/deals",
    "evil.example/deals",
    "/\\evil.example/deals",
    "@evil.example/deals",
    ":80/deals",
    ".evil.example/deals",
    "?a=b",
    "#a",
]


@pytest.mark.parametrize("path", ELSEWHERE)
async def test_no_path_leads_elsewhere(path):
    """An address of a server is refused, since the key would go there."""
    async with raw_server(answering((200, b"{}"))) as server, to(server) as hindsight:
        with pytest.raises(ValueError, match="path must"):
            await hindsight.request("GET", path)
        assert [] == server.requests


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("HEAD", "/deals"), ValueError, "method must be one of GET, POST"),
        (("GET /a", "/deals"), ValueError, "method must be one of"),
        ((5, "/deals"), TypeError, "method must be text"),
        (("GET", 5), TypeError, "path must be text"),
    ],
)
async def test_a_wrong_argument_is_named(arguments, error, text):
    """Before anything is sent."""
    async with HindsightSession("key", base_url="https://hindsight.invalid") as hindsight:
        with pytest.raises(error, match=text):
            await hindsight.request(*arguments)


@pytest.mark.parametrize(
    ("keywords", "error", "text"),
    [
        ({"params": "a=1"}, TypeError, "params must be a mapping"),
        (
            {"params": {"a": 1.5}},
            TypeError,
            r"params\['a'\] must be text, a whole number or a bool, not float",
        ),
        ({"params": {1: "a"}}, TypeError, "params must have text names"),
        ({"json": {"a": {1}}}, TypeError, "json.a must be something JSON can carry"),
        ({"json": [float("nan")]}, ValueError, r"json\[0\] must be a finite number"),
    ],
)
async def test_a_wrong_query_or_body_is_named(keywords, error, text):
    """Before anything is sent."""
    async with HindsightSession("key", base_url="https://hindsight.invalid") as hindsight:
        with pytest.raises(error, match=text):
            await hindsight.request("POST", "/interview-types", **keywords)


class SentError(Exception):
    """Raised in place of sending."""


class NeverSends:
    deadline = None

    async def run(self, call, **options):
        raise SentError(call.path)


@given(st.text(st.sampled_from("/\\.%;?# \tINTERVIEWSinterviews2eEfF0569\uff49\u017f-")))
def test_no_path_at_all_creates_an_interview(path):
    """Whatever is sent has, however it is decoded, another last segment."""
    sending = Anything(NeverSends()).request("POST", f"/{path}")
    with pytest.raises((ValueError, SentError)) as raised:
        sending.send(None)
    if raised.type is SentError:
        last = path.rpartition("/")[2]
        assert last
        assert "interviews" not in {last.casefold(), last.strip(". ").casefold()}
        assert (
            "%" not in path or "interviews" not in decoded(path).rstrip("/. ").casefold().rpartition("/")[2:]
        )


def decoded(path):
    for _ in range(5):
        path = unquote(path)
    return path
