"""Scripted faults over a real socket: what the server did, and what the caller sees."""

import asyncio
import json
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest

from hindsight_async.emulator import Emulator
from hindsight_async.emulator.faults import HTML_PAGE, FaultScript

CREATE = "POST /interviews"
READ = "GET /interviews/{id}"
UPDATE = "PATCH /interviews/{id}"
BODY = {"contact_email": "jane@acme.example", "sequence_id": "seq_abc123"}


@asynccontextmanager
async def served(**options):
    async with Emulator(**options) as emulator:
        key = {"Authorization": f"Bearer {emulator.api_key}"}
        async with aiohttp.ClientSession(f"{emulator.base_url}/", headers=key) as http:
            yield emulator, http


async def create(http, **arguments):
    async with http.post("interviews", json=BODY, **arguments) as response:
        return response.status, await response.read()


async def raw_answer(emulator):
    """Send a create by hand and return every byte that comes back; None for a TCP reset."""
    port = int(emulator.base_url.removesuffix("/api/v1").rsplit(":", 1)[1])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps(BODY).encode()
    head = (
        f"POST /api/v1/interviews HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {emulator.api_key}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    try:
        return await reader.read()
    except ConnectionResetError:
        return None
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


def split(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    return lines[0], headers, body


def acted(emulator):
    assert len(emulator.interviews) == len(emulator.outbox)
    return len(emulator.interviews)


@pytest.mark.parametrize(("at", "interviews"), [("before_commit", 0), ("after_commit", 1)])
@pytest.mark.parametrize(("how", "error"), [("disconnect", b""), ("reset", None)])
async def test_a_dropped_connection_shows_no_byte_whether_or_not_the_server_acted(how, error, at, interviews):
    """A plain end or a TCP reset; the email is in the outbox exactly if it happened after the commit."""
    async with served() as (emulator, _):
        emulator.fail(CREATE, how=how, at=at)
        assert error == await raw_answer(emulator)
        assert interviews == acted(emulator)
        assert emulator.requests[0].status is None


async def test_to_an_http_client_a_dropped_connection_is_a_disconnect():
    """The same fault as an aiohttp user meets it."""
    async with served() as (emulator, http):
        emulator.fail(CREATE, how="disconnect", at="after_commit")
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await create(http)
        assert (201, 2) == ((await create(http))[0], acted(emulator))


@pytest.mark.parametrize("how", ["disconnect", "truncated"])
async def test_an_answer_cut_in_its_body_promises_more_than_comes(how):
    """Status and headers are out, then half of the body, then at once the end; the server has acted."""
    async with served() as (emulator, http):
        emulator.fail(CREATE, how=how, at="mid_body", times=2)
        loop = asyncio.get_running_loop()
        before = loop.time()
        status_line, headers, body = split(await raw_answer(emulator))
        assert loop.time() - before < 0.5
        assert "HTTP/1.1 201 Created" == status_line
        assert 0 < len(body) == int(headers["content-length"]) // 2
        assert body.startswith(b'{"interview_request_id": 1')
        assert (None if how == "disconnect" else 201) == emulator.requests[0].status
        with pytest.raises(aiohttp.ClientPayloadError):
            await create(http)
        assert 2 == acted(emulator)


async def test_a_reset_in_the_body_may_take_what_was_sent_along():
    """The server has acted, and the caller cannot read a whole answer."""
    async with served() as (emulator, http):
        emulator.fail(CREATE, how="reset", at="mid_body")
        with pytest.raises(aiohttp.ClientError):
            await create(http)
        assert 1 == acted(emulator)


async def test_a_truncated_answer_is_by_default_that_of_a_server_that_acted():
    """No `at` is needed, and after_commit says the same."""
    async with served() as (emulator, http):
        for at in (None, "after_commit"):
            emulator.fail(CREATE, how="truncated", at=at)
            with pytest.raises(aiohttp.ClientPayloadError):
                await create(http)
        assert 2 == acted(emulator)


@pytest.mark.parametrize(("at", "interviews"), [("before_commit", 0), ("after_commit", 1)])
async def test_a_status_is_answered_with_the_standard_envelope(at, interviews):
    """Whatever the server did."""
    async with served() as (emulator, http):
        emulator.fail(CREATE, how=500, at=at)
        status, body = await create(http)
        assert 500 == status == emulator.requests[0].status
        assert {"error": {"code": "internal_error", "message": "An unexpected error occurred"}} == json.loads(
            body
        )
        assert interviews == acted(emulator)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "bad_request"),
        (401, "unauthorized"),
        (403, "forbidden"),
        (404, "not_found"),
        (502, "internal_error"),
    ],
)
async def test_each_status_carries_its_code(status, code):
    """As the table of errors says."""
    async with served() as (emulator, http):
        emulator.fail("*", how=status)
        answered, body = await create(http)
        assert (status, code) == (answered, json.loads(body)["error"]["code"])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"message": "no"}, b'{"message": "no"}'),
        ({"error": "no", "status": 400}, b'{"error": "no", "status": 400}'),
        ("no", b'"no"'),
        (b"no json", b"no json"),
        (b"", b""),
    ],
)
async def test_a_status_may_carry_any_other_body(body, expected):
    """JSON for a value, the bytes themselves for bytes."""
    async with served() as (emulator, http):
        emulator.fail(CREATE, how=400, body=body)
        assert (400, expected) == await create(http)


async def test_a_429_may_name_its_wait_and_its_headers_agree():
    """Nothing is left until then, it is not counted, and without a wait the true reset stands."""
    async with served(window="sliding") as (emulator, http):
        emulator.fail(CREATE, how=429, retry_after=7)
        emulator.fail(CREATE, how=429, retry_after="Fri, 24 Jul 2026 12:00:00 GMT")
        emulator.fail(CREATE, how=429)
        async with http.post("interviews", json=BODY) as named:
            assert (429, "7", "0") == (
                named.status,
                named.headers["Retry-After"],
                named.headers["X-RateLimit-Remaining"],
            )
            reset = int(named.headers["X-RateLimit-Reset"]) / 1000
        async with http.post("interviews", json=BODY) as dated:
            assert "Fri, 24 Jul 2026 12:00:00 GMT" == dated.headers["Retry-After"]
            assert reset - 7 == pytest.approx(int(dated.headers["X-RateLimit-Reset"]) / 1000, abs=0.1)
        async with http.post("interviews", json=BODY) as silent:
            assert "Retry-After" not in silent.headers
            assert "0" == silent.headers["X-RateLimit-Remaining"]
        async with http.post("interviews", json=BODY) as passed:
            assert (201, "59") == (passed.status, passed.headers["X-RateLimit-Remaining"])


async def test_given_headers_win_over_the_true_ones_in_whatever_case():
    """A server may lie about its limit."""
    async with served() as (emulator, http):
        emulator.fail(CREATE, how=503, headers={"x-ratelimit-remaining": "-1", "X-Usage-Remaining": "0"})
        async with http.post("interviews", json=BODY) as response:
            assert ["-1"] == response.headers.getall("X-RateLimit-Remaining")
            assert ("0", "60") == (
                response.headers["X-Usage-Remaining"],
                response.headers["X-RateLimit-Limit"],
            )


async def test_an_html_page_replaces_the_answer():
    """What a proxy shows: 502 unless another status is asked for, 200 included."""
    async with served() as (emulator, http):
        emulator.fail(CREATE, how="html")
        emulator.fail(CREATE, how="html", status=200, at="after_commit")
        async with http.post("interviews", json=BODY) as response:
            assert (502, "text/html") == (response.status, response.content_type)
            assert HTML_PAGE == await response.read()
        assert 0 == acted(emulator)
        assert (200, HTML_PAGE) == await create(http)
        assert 1 == acted(emulator)


async def test_a_redirect_names_its_target():
    """307 to another path of this server unless told otherwise."""
    async with served() as (emulator, http):
        emulator.fail(CREATE, how="redirect")
        emulator.fail(CREATE, how="redirect", status=302, to="http://127.0.0.1:9/else", at="after_commit")
        seen = []
        for _ in range(2):
            async with http.post("interviews", json=BODY, allow_redirects=False) as response:
                seen.append((response.status, response.headers["Location"], acted(emulator)))
        assert [(307, "/api/v1/moved", 0), (302, "http://127.0.0.1:9/else", 1)] == seen


async def test_an_empty_answer_has_the_status_of_the_true_one():
    """201 where the server acted, 500 where it did not, or the one that is asked for."""
    async with served() as (emulator, http):
        emulator.fail(CREATE, how="empty")
        emulator.fail(CREATE, how="empty", at="after_commit")
        emulator.fail(CREATE, how="empty", status=204, at="after_commit")
        emulator.fail(CREATE, how="empty", status=429, retry_after=3)
        assert [(500, b""), (201, b""), (204, b""), (429, b"")] == [await create(http) for _ in range(4)]
        assert 2 == acted(emulator)


@pytest.mark.parametrize(
    ("at", "during"), [(None, 0), ("before_commit", 0), ("after_commit", 1), ("mid_body", 1)]
)
async def test_a_slow_answer_comes_in_full_after_its_seconds(at, during):
    """The server acts at the end of the wait or before it."""
    loop = asyncio.get_running_loop()
    async with served() as (emulator, http):
        emulator.fail(CREATE, how="slow", seconds=40.0, at=at)
        before = loop.time()
        call = asyncio.create_task(create(http))
        await asyncio.sleep(20)
        assert during == acted(emulator)
        status, body = await call
        assert (201, 1) == (status, json.loads(body)["interview_request_id"])
        assert loop.time() - before == pytest.approx(40, abs=0.1)
        assert (1, 201) == (acted(emulator), emulator.requests[0].status)


async def test_faults_happen_in_order_on_their_own_route_as_often_as_scripted():
    """Other routes pass by; when all are used up the route works."""
    async with served() as (emulator, http):
        assert 201 == (await create(http))[0]
        emulator.fail(CREATE, how=500, times=2)
        emulator.fail(READ, how=503)
        emulator.fail(UPDATE, how=504)
        emulator.fail(CREATE, how=502)
        assert [500, 500, 502, 201] == [(await create(http))[0] for _ in range(4)]
        for method, expected in (("GET", [503, 200]), ("PATCH", [504, 200])):
            statuses = []
            for _ in range(2):
                async with http.request(method, "interviews/1", json={"objective": "x"}) as response:
                    statuses.append(response.status)
            assert expected == statuses


async def test_a_fault_for_ever_lasts_until_it_is_healed():
    """On every route, one that is not there included."""
    async with served() as (emulator, http):
        emulator.fail("*", how=503, times=None)
        for path in ("interviews/1", "nowhere", "interviews/1"):
            async with http.get(path) as response:
                assert 503 == response.status
        emulator.heal()
        assert 201 == (await create(http))[0]


async def test_what_the_server_refuses_by_itself_uses_up_no_fault():
    """A 401 and a true 429 come first."""
    async with served(requests_per_minute=1, window="sliding") as (emulator, http):
        emulator.fail(CREATE, how=500)
        assert 401 == (await create(http, headers={"Authorization": "Bearer wrong"}))[0]
        emulator.spend(1)
        assert 429 == (await create(http))[0]
        await asyncio.sleep(60)
        assert 500 == (await create(http))[0]


async def test_a_faulted_request_counts_unless_it_was_dropped_before_the_commit_or_refused():
    """What others can still send after each: all 60 after the first two kinds, 59 after the rest."""
    async with served(window="sliding") as (emulator, http):
        left = []
        for how, options in (
            ("disconnect", {}),
            (429, {}),
            (500, {}),
            ("disconnect", {"at": "after_commit"}),
            ("slow", {"seconds": 1.0}),
        ):
            emulator.fail(CREATE, how=how, **options)
            with suppress(aiohttp.ClientError):
                await create(http)
            left.append(emulator.spend(100))
            await asyncio.sleep(61)
        assert [60, 60, 59, 59, 59] == left


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"route": "DELETE /interviews", "how": 500}, "route must be one of"),
        ({"how": "explode"}, "not 'explode'"),
        ({"how": "status"}, "not 'status'"),
        ({"how": 500, "at": "sometime"}, "not 'sometime'"),
        ({"how": 500, "times": 0}, "not 0"),
        ({"how": 99}, "not 99"),
        ({"how": 600}, "not 600"),
        ({"how": 500, "at": "mid_body"}, "replaces the whole answer"),
        ({"how": "redirect", "at": "mid_body"}, "replaces the whole answer"),
        ({"how": "html", "at": "mid_body"}, "replaces the whole answer"),
        ({"how": "empty", "at": "mid_body"}, "replaces the whole answer"),
        ({"how": "truncated", "at": "before_commit"}, "not at='before_commit'"),
        ({"how": 429, "at": "after_commit"}, "429 says that the server refused"),
        ({"how": "html", "status": 404, "at": "after_commit"}, "404 says that the server refused"),
        ({"how": "redirect", "status": 200}, "from 300 to 399"),
        ({"how": "slow"}, "needs seconds="),
        ({"how": "slow", "seconds": 0.0}, "needs seconds="),
        ({"how": "disconnect", "seconds": 1.0}, "seconds means nothing with how='disconnect'"),
        ({"how": "slow", "seconds": 1.0, "body": {}}, "body means nothing"),
        ({"how": 500, "status": 502}, "status means nothing with how=500"),
        ({"how": "html", "to": "/x", "body": b""}, "body, to means nothing"),
    ],
)
async def test_a_fault_that_makes_no_sense_is_refused_and_not_scripted(arguments, words):
    """The error names what is wrong, and the next request works."""
    async with served() as (emulator, http):
        with pytest.raises(ValueError, match=words):
            emulator.fail(**{"route": CREATE} | arguments)
        assert 201 == (await create(http))[0]


def test_using_up_a_fault_where_there_is_none_is_fine():
    """An empty script has no next fault."""
    script = FaultScript()
    script.use_up(CREATE)
    assert script.next_for(CREATE) is None
