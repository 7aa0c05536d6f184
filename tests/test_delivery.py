"""Each request goes out at most once unless it provably never happened: the wire, byte by byte."""

import asyncio
import gc
import math
import socket
import traceback
import uuid
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import aiohttp
import pytest

from calling import executor_to
from hindsight_async import (
    BadRequestError,
    CreatedInterview,
    CreateInterview,
    DeadlineExceededError,
    Delivery,
    HindsightError,
    HindsightSession,
    NotSentError,
    OutcomeUnknownError,
    Plan,
    RetryPolicy,
    SessionClosedError,
    Timeouts,
    UpdateInterview,
)
from hindsight_async.call.codec import encode
from hindsight_async.call.connections import IDLE_SECONDS
from hindsight_async.call.request import Call, Endpoint
from raw_server import CREATED, OK, raw_server

KEY = uuid.uuid4().hex
REQUEST = CreateInterview(contact_email="jane@acme.example", sequence_id="seq_abc123")


EVERY_KIND_OF_CALL = [
    pytest.param(lambda interviews: interviews.create(REQUEST), id="create"),
    pytest.param(lambda interviews: interviews.update(7, UpdateInterview(objective="x")), id="update"),
    pytest.param(lambda interviews: interviews.get(7), id="get"),
]


def session(base_url, **options):
    return HindsightSession(KEY, base_url=base_url, **options)


def unused_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


async def answer_created(connection):
    while await connection.request():
        connection.writer.write(CREATED)


async def drop_after_reading(connection):
    await connection.request()
    connection.drop()


async def never_answer(connection):
    await connection.request()
    await asyncio.sleep(10_000)


async def half_an_answer(connection):
    await connection.request()
    connection.writer.write(CREATED[:-10])


async def nonsense(connection):
    await connection.request()
    connection.writer.write(b"I am no HTTP\r\n\r\n")


async def test_a_create_is_one_request_with_our_headers():
    """One call is one request, with the key, the user agent and the JSON body."""
    async with raw_server(answer_created) as server, session(server.base_url) as hindsight:
        await hindsight.interviews.create(REQUEST)
    (request,) = server.requests
    head, body = request.split(b"\r\n\r\n")
    assert head.startswith(b"POST /api/v1/interviews HTTP/1.1\r\n")
    assert f"\r\nAuthorization: Bearer {KEY}\r\n".encode() in head
    assert b"\r\nUser-Agent: hindsight-async/0." in head
    assert b"\r\nContent-Type: application/json" in head
    assert b'{"contact_email":"jane@acme.example","sequence_id":"seq_abc123"}' == body


@pytest.mark.parametrize("fault", [drop_after_reading, never_answer, half_an_answer, nonsense])
async def test_a_create_whose_bytes_left_is_never_sent_again(fault):
    """A lost, late, broken or senseless answer leaves one request on the wire and an unknown outcome."""
    async with raw_server(fault) as server, session(server.base_url) as hindsight:
        with pytest.raises(OutcomeUnknownError) as raised:
            await hindsight.interviews.create(REQUEST)
    assert 1 == len(server.requests)
    assert Delivery.UNKNOWN is raised.value.delivery
    assert 1 == raised.value.attempts
    # Where half of an answer came, its status did.
    ending = (
        "it took effect, and only its answer is lost" if raised.value.status else "it may have taken effect"
    )
    assert str(raised.value).endswith(f"{ending} (after 1 attempt)")


# The HTTP library would have large bodies from a file.
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_a_create_that_is_cut_off_while_it_leaves_is_unknown():
    """Nobody knows what a server made of part of a large body: it is sent once."""
    received = []

    async def read_some_and_drop(connection):
        received.append(await connection.reader.readexactly(1_000_000))
        connection.drop()

    large = CreateInterview(
        contact_email="jane@acme.example", sequence_id="seq_abc123", contact_context="x" * 20_000_000
    )
    async with raw_server(read_some_and_drop) as server, session(server.base_url) as hindsight:
        with pytest.raises(OutcomeUnknownError) as raised:
            await hindsight.interviews.create(large)
    assert 1 == len(received) == server.connections
    assert (Delivery.UNKNOWN, 1) == (raised.value.delivery, raised.value.attempts)


@pytest.mark.parametrize("fault", [drop_after_reading, never_answer, nonsense])
async def test_updates_and_reads_are_sent_again_until_attempts_run_out(fault):
    """What may be repeated is repeated, each attempt exactly one request."""
    async with raw_server(fault) as server, session(server.base_url, deadline=None) as hindsight:
        for call in (
            hindsight.interviews.update(7, UpdateInterview(objective="x")),
            hindsight.interviews.get(7),
        ):
            server.requests.clear()
            with pytest.raises(OutcomeUnknownError) as raised:
                await call
            assert RetryPolicy().attempts == len(server.requests) == raised.value.attempts


async def test_half_an_answer_says_that_an_update_was_done_and_has_a_read_sent_again():
    """A 2xx answers an update, whose id is known; of a read it is the content that is missing."""
    async with raw_server(half_an_answer) as server, session(server.base_url, deadline=None) as hindsight:
        assert (
            7 == (await hindsight.interviews.update(7, UpdateInterview(objective="x"))).interview_request_id
        )
        assert 1 == len(server.requests)
        with pytest.raises(OutcomeUnknownError) as raised:
            await hindsight.interviews.get(7)
        assert RetryPolicy().attempts == len(server.requests) - 1 == raised.value.attempts


async def test_an_update_succeeds_on_a_later_attempt():
    """One lost answer costs a pause, not the call."""

    async def lose_the_first(connection):
        await connection.request()
        if connection.number == 1:
            connection.drop()
        else:
            connection.writer.write(OK)

    async with raw_server(lose_the_first) as server, session(server.base_url) as hindsight:
        assert (
            7 == (await hindsight.interviews.update(7, UpdateInterview(objective="x"))).interview_request_id
        )
    assert 2 == len(server.requests)


@pytest.mark.parametrize("ask", EVERY_KIND_OF_CALL)
async def test_a_refused_connection_is_tried_again_and_then_not_sent(ask):
    """Where nothing listens nothing is sent, be it a create, a change or a read, which is safe to repeat."""
    async with session(f"http://127.0.0.1:{unused_port()}") as hindsight:
        with pytest.raises(NotSentError) as raised:
            await ask(hindsight.interviews)
    assert Delivery.NOT_SENT is raised.value.delivery
    assert RetryPolicy().attempts == raised.value.attempts
    assert "no connection to http://127.0.0.1:" in str(raised.value)


async def test_a_create_goes_out_once_the_server_is_back():
    """A refused create is sent as soon as somebody listens, and once."""
    port = unused_port()
    async with session(f"http://127.0.0.1:{port}/api/v1") as hindsight:
        call = asyncio.create_task(hindsight.interviews.create(REQUEST))
        await asyncio.sleep(0.6)
        requests = []

        async def serve(reader, writer):
            head = await reader.readuntil(b"\r\n\r\n")
            requests.append(head)
            writer.write(CREATED)
            await reader.read()
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", port):
            assert 7 == (await call).interview_request_id
            await hindsight.close()
            await asyncio.sleep(1)
    assert 1 == len(requests)


async def test_a_tls_failure_is_not_sent():
    """A server that speaks no TLS receives no request."""

    async def plain_text(connection):
        await connection.reader.read(1)
        connection.writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        connection.drop()

    async with raw_server(plain_text) as server:
        secure = server.base_url.replace("http://", "https://")
        async with session(secure, retry=RetryPolicy(attempts=2)) as hindsight:
            with pytest.raises(NotSentError):
                await hindsight.interviews.create(REQUEST)
    assert 2 == server.connections
    assert [] == server.requests


async def test_an_unknown_host_is_not_sent():
    """A name that does not resolve is a NotSentError that names it."""
    # Names are looked up by a thread, for which this clock does not wait where there is another end.
    patient = {"timeouts": Timeouts(read=math.inf), "deadline": None, "retry": RetryPolicy(attempts=1)}
    async with session("https://no-such-host.invalid/api/v1", **patient) as hindsight:
        with pytest.raises(NotSentError, match=r"no-such-host\.invalid"):
            await hindsight.interviews.create(REQUEST)


@pytest.mark.parametrize("ask", EVERY_KIND_OF_CALL)
async def test_a_connect_timeout_is_not_sent(ask):
    """A host that does not take the connection in time received nothing."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        fillers = []
        try:
            for _ in range(3):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
                fillers.append(filler)
            quick = {"timeouts": Timeouts(connect=1.0), "retry": RetryPolicy(attempts=1)}
            async with session(f"http://127.0.0.1:{port}", **quick) as hindsight:
                with pytest.raises(NotSentError, match="took too long"):
                    await ask(hindsight.interviews)
        finally:
            for filler in fillers:
                filler.close()


async def test_a_read_on_a_dead_pooled_connection_is_repeated_by_us_alone():
    """The HTTP library's own silent repeat is off: every request is an attempt that we count."""

    async def answer_once_then_die(connection):
        await connection.request()
        connection.writer.write(OK)
        await connection.request()
        connection.drop()

    async with raw_server(answer_once_then_die) as server:
        async with session(server.base_url, retry=RetryPolicy(attempts=1)) as hindsight:
            await hindsight.interviews.update(7, UpdateInterview(objective="x"))
            with pytest.raises(OutcomeUnknownError):
                await hindsight.interviews.get(7)
    assert 2 == len(server.requests)


async def test_connections_are_reused_and_kept_idle_for_less_than_a_node_server_keeps_them():
    """A pooled connection serves the next call; aiohttp, which reads the wall's clock, is told when to drop it."""
    async with raw_server(answer_created) as server, session(server.base_url) as hindsight:
        await hindsight.interviews.create(REQUEST)
        await hindsight.interviews.create(REQUEST)
        assert 1 == server.connections
        (connector,) = (
            found
            for found in gc.get_objects()
            if isinstance(found, aiohttp.TCPConnector) and not found.closed
        )
        assert 4.0 == IDLE_SECONDS == connector._keepalive_timeout


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(status):
    """A redirected create would turn into a read that looks created; here it is an error."""

    async def redirect(connection):
        while await connection.request():
            connection.writer.write(
                b"HTTP/1.1 %d Elsewhere\r\nLocation: /other?token=x\r\nContent-Length: 0\r\n\r\n" % status
            )

    async with raw_server(redirect) as server, session(server.base_url) as hindsight:
        with pytest.raises(HindsightError, match="redirected to /other, which is not followed"):
            await hindsight.interviews.create(REQUEST)
    assert 1 == len(server.requests)


@asynccontextmanager
async def opened_over(to, server, *, lent, **options):
    """Open what goes to a server, over connections of its own, or over a lent pool that has one."""
    async with AsyncExitStack() as opened:
        if lent:
            pool = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1))
            options["http"] = await opened.enter_async_context(pool)
        yield await opened.enter_async_context(to(server.base_url, **options))


session_over = partial(opened_over, session)
executor_over = partial(opened_over, executor_to)


def create(executor, deadline=None, hooks=None):
    """Have it make a create, which may be told just before its request leaves."""
    endpoint = Endpoint(
        method="POST", route="POST /interviews", reply_type=CreatedInterview, repeatable=False
    )
    call = Call(endpoint, "/interviews", encode(REQUEST), REQUEST)
    return executor.run(call, lane="interactive", deadline=deadline, hooks=hooks)


@pytest.mark.parametrize("lent", [False, True])
async def test_a_create_that_left_is_waited_for_beyond_its_deadline(lent):
    """The deadline takes nothing back that has left: its answer may come later, and is returned."""

    async def answer_late(connection):
        while await connection.request():
            await asyncio.sleep(10)
            connection.writer.write(CREATED)

    started = asyncio.get_running_loop().time()
    async with raw_server(answer_late) as server, session_over(server, lent=lent, deadline=3.0) as hindsight:
        assert 7 == (await hindsight.interviews.create(REQUEST)).interview_request_id
    assert 10 == pytest.approx(asyncio.get_running_loop().time() - started, abs=0.5)
    assert 1 == len(server.requests)


@pytest.mark.parametrize("lent", [False, True])
@pytest.mark.parametrize("deadline", [3.0, None])
async def test_the_wait_for_a_created_interview_begins_when_its_request_leaves(lent, deadline):
    """With no answer `timeouts.read` ends the wait, however long the request stood in line before."""

    async def stand_in_line():
        await asyncio.sleep(2)

    async def dribble(connection):
        await connection.request()
        connection.writer.write(b"HTTP/1.1 201 Created\r\nX: ")
        while True:
            await asyncio.sleep(1)
            connection.writer.write(b"x")

    clock = asyncio.get_running_loop().time
    timeouts = Timeouts(read=7.0)
    async with raw_server(dribble) as server, executor_over(server, lent=lent, timeouts=timeouts) as executor:
        started = clock()
        with pytest.raises(OutcomeUnknownError, match="the answer took too long"):
            await create(executor, deadline, Told(stand_in_line))
    assert 2 + 7 == pytest.approx(clock() - started, abs=0.5)
    assert 1 == len(server.requests)


class Told:
    """Does something just before a request leaves."""

    def __init__(self, about_to_send):
        self.about_to_send = about_to_send

    async def not_processed(self):
        """Nothing came of it."""


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("lent", [False, True])
async def test_a_create_does_not_leave_after_its_deadline(lent, warm):
    """Where the time is up when all is ready, also over a connection that waits for it, nothing leaves any more."""

    async def take_too_long():
        await asyncio.sleep(3)

    async with raw_server(answer_created) as server, executor_over(server, lent=lent) as executor:
        if warm:
            await create(executor)
        with pytest.raises(DeadlineExceededError) as raised:
            await create(executor, 2.0, Told(take_too_long))
        assert Delivery.NOT_SENT is raised.value.delivery
        await asyncio.sleep(1)
        assert warm == len(server.requests)
        assert 7 == (await create(executor)).interview_request_id


async def test_a_create_that_waits_for_tls_at_its_deadline_is_not_sent():
    """Before a request has left the deadline still ends it, and nothing was sent."""

    async def say_nothing(connection):
        await connection.reader.read()

    async with raw_server(say_nothing) as server:
        async with session(server.base_url.replace("http://", "https://"), deadline=2.0) as hindsight:
            started = asyncio.get_running_loop().time()
            with pytest.raises(DeadlineExceededError) as raised:
                await hindsight.interviews.create(REQUEST)
            assert 2 == pytest.approx(asyncio.get_running_loop().time() - started, abs=0.5)
    assert Delivery.NOT_SENT is raised.value.delivery


async def test_a_create_that_waits_for_a_lent_connection_at_its_deadline_is_not_sent():
    """Standing in line for a lent pool is no leaving: the deadline ends it, and nothing was sent."""

    async def answer_late(connection):
        while await connection.request():
            await asyncio.sleep(5)
            connection.writer.write(CREATED)

    async with raw_server(answer_late) as server, session_over(server, lent=True, deadline=2.0) as hindsight:
        first = asyncio.create_task(hindsight.interviews.create(REQUEST))
        while not server.requests:
            await asyncio.sleep(0)
        with pytest.raises(DeadlineExceededError) as raised:
            await hindsight.interviews.create(REQUEST)
        assert Delivery.NOT_SENT is raised.value.delivery
        assert 7 == (await first).interview_request_id
    assert 1 == len(server.requests)


async def test_of_more_creates_than_fit_before_the_deadline_none_is_in_doubt():
    """Each one at once is created or was not sent, though the deadline falls into the answers of the last."""

    async def answer_slowly(connection):
        while await connection.request():
            await asyncio.sleep(0.4)
            connection.writer.write(CREATED)

    options = {"deadline": 2.0, "plan": Plan.ENTERPRISE}
    async with raw_server(answer_slowly) as server, session(server.base_url, **options) as hindsight:
        creates = [hindsight.interviews.create(REQUEST) for _ in range(120)]
        outcomes = await asyncio.gather(*creates, return_exceptions=True)
    failed = [outcome for outcome in outcomes if isinstance(outcome, HindsightError)]
    assert {Delivery.NOT_SENT} == {error.delivery for error in failed}
    assert len(server.requests) == len(outcomes) - len(failed)


@pytest.mark.parametrize("borrowed", [False, True], ids=["own pool", "borrowed pool"])
@pytest.mark.parametrize("begins", [b"", CREATED[:-10]], ids=["nothing", "half an answer"])
@pytest.mark.parametrize("deadline", [None, 60.0])
async def test_an_answer_that_does_not_come_is_given_up_long_before_any_deadline(borrowed, begins, deadline):
    """No call hangs on a server that says nothing (more), whosever connections it uses."""

    async def say_no_more(connection):
        await connection.request()
        connection.writer.write(begins)
        await connection.reader.read()

    clock = asyncio.get_running_loop().time
    quick = {"deadline": deadline, "timeouts": Timeouts(connect=1.0, read=3.0)}
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(raw_server(say_no_more))
        http = await stack.enter_async_context(aiohttp.ClientSession()) if borrowed else None
        hindsight = await stack.enter_async_context(session(server.base_url, http=http, **quick))
        before = clock()
        with pytest.raises(OutcomeUnknownError, match="took too long"):
            await hindsight.interviews.create(REQUEST)
        assert 3 <= clock() - before < 4.1
    assert 1 == len(server.requests)


@pytest.mark.parametrize("lent", [False, True])
@pytest.mark.parametrize("pieces", [1, 2, 3])
async def test_an_answer_that_came_while_the_process_stood_still_counts(lent, pieces):
    """A stopped laptop or a blocking call makes no unknown of what lies in the socket, in however many packets."""
    loop = asyncio.get_running_loop()

    async def answer_and_stand_still(connection):
        while await connection.request():
            size = -(-len(CREATED) // pieces)
            for start in range(0, len(CREATED), size):
                connection.writer.write(CREATED[start : start + size])
            loop.stand_still(1000)

    async with raw_server(answer_and_stand_still) as server:
        async with session_over(server, lent=lent, deadline=None) as hindsight:
            assert 7 == (await hindsight.interviews.create(REQUEST)).interview_request_id
    assert 1 == len(server.requests)


async def test_a_read_in_flight_at_the_deadline_exceeds_it():
    """For a call that does no harm the deadline is what there is to say."""
    async with raw_server(never_answer) as server, session(server.base_url, deadline=3.0) as hindsight:
        with pytest.raises(DeadlineExceededError) as raised:
            await hindsight.interviews.get(7)
    assert Delivery.UNKNOWN is raised.value.delivery


async def test_a_pause_that_does_not_fit_the_deadline_raises_at_once():
    """Nobody waits for an attempt that would come too late."""

    async def unavailable(connection):
        while await connection.request():
            connection.writer.write(b"HTTP/1.1 503 Busy\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n")

    async with raw_server(unavailable) as server, session(server.base_url, deadline=10.0) as hindsight:
        started = asyncio.get_running_loop().time()
        with pytest.raises(DeadlineExceededError) as raised:
            await hindsight.interviews.get(7)
        assert asyncio.get_running_loop().time() - started < 1
    assert 30 <= raised.value.retry_after <= 31
    assert Delivery.UNKNOWN is raised.value.delivery
    assert 1 == raised.value.attempts


async def test_a_wait_that_the_server_named_is_kept():
    """The next attempt comes no earlier than the server asked for."""
    arrivals = []

    async def unavailable_at_first(connection):
        while await connection.request():
            arrivals.append(asyncio.get_running_loop().time())
            connection.writer.write(
                OK
                if len(arrivals) > 1
                else b"HTTP/1.1 503 Busy\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n"
            )

    async with raw_server(unavailable_at_first) as server, session(server.base_url) as hindsight:
        await hindsight.interviews.update(7, UpdateInterview(objective="x"))
    assert 3 <= arrivals[1] - arrivals[0] < 4


async def test_a_closed_session_says_so():
    """After close a call gets our own error, and closing again is fine."""
    async with raw_server(answer_created) as server:
        hindsight = session(server.base_url)
        await hindsight.interviews.create(REQUEST)
        await hindsight.close()
        await hindsight.close()
        with pytest.raises(SessionClosedError, match="the session is closed") as raised:
            await hindsight.interviews.create(REQUEST)
        with pytest.raises(SessionClosedError):
            async with hindsight:
                pass
    assert Delivery.NOT_SENT is raised.value.delivery
    assert ("POST", "/interviews") == (raised.value.method, raised.value.path)


async def test_closing_with_a_create_in_flight_leaves_an_unknown_outcome():
    """A caller whose session is closed under it still hears what became of its request."""
    async with raw_server(never_answer) as server:
        hindsight = session(server.base_url)
        call = asyncio.create_task(hindsight.interviews.create(REQUEST))
        while not server.requests:
            await asyncio.sleep(0.01)
        await hindsight.close()
        with pytest.raises(OutcomeUnknownError):
            await call


async def test_a_borrowed_pool_is_used_and_never_closed():
    """The caller's aiohttp session stays the caller's, whatever options it has."""

    async def forbidden_middleware(request, handler):
        raise AssertionError("a caller's middleware could send a request twice")

    async with raw_server(answer_created) as server:
        async with aiohttp.ClientSession(raise_for_status=True, middlewares=(forbidden_middleware,)) as http:
            async with session(server.base_url, http=http) as hindsight:
                await hindsight.interviews.create(REQUEST)
            assert not http.closed
            with pytest.raises(SessionClosedError, match="the session is closed"):
                await hindsight.interviews.create(REQUEST)
        late = session(server.base_url, http=http)
        with pytest.raises(SessionClosedError, match="passed as http= is closed"):
            await late.interviews.create(REQUEST)


async def test_a_borrowed_pool_that_raises_for_statuses_does_not_for_ours():
    """What the API says to a create stays what it says: a refusal with its code, and no doubt."""

    async def refuse(connection):
        await connection.request()
        body = b'{"error": {"code": "invalid_request", "message": "no such sequence"}}'
        connection.writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async with raw_server(refuse) as server, aiohttp.ClientSession(raise_for_status=True) as http:
        async with session(server.base_url, http=http) as hindsight:
            with pytest.raises(BadRequestError, match="no such sequence") as raised:
                await hindsight.interviews.create(REQUEST)
    assert (Delivery.REJECTED, "invalid_request") == (raised.value.delivery, raised.value.code)


async def test_the_key_is_in_no_error():
    """Not even a server that repeats it, or a broken answer, puts the key into an error."""

    async def repeat_the_key(connection):
        await connection.request()
        body = b'{"error": {"code": "unauthorized", "message": "Invalid API key %b"}}' % KEY.encode()
        connection.writer.write(b"HTTP/1.1 401 No\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    for script in (repeat_the_key, nonsense, drop_after_reading):
        async with raw_server(script) as server, session(server.base_url) as hindsight:
            with pytest.raises(HindsightError) as raised:
                await hindsight.interviews.create(REQUEST)
        chain, error = [], raised.value
        while error is not None:
            chain += [repr(error), repr(error.__dict__), *traceback.format_exception(error)]
            error = error.__cause__ or error.__context__
        assert KEY not in "".join(chain)
        assert KEY not in repr(hindsight)


@pytest.mark.parametrize("moment", [0.0, 0.01, 0.5, 1.0])
async def test_a_cancelled_call_gets_out_at_once_and_leaves_the_session_usable(moment):
    """Cancelled while queued, pausing or in flight: the next caller passes."""

    async def slow_first(connection):
        while await connection.request():
            if len(connection.server.requests) == 1:
                await asyncio.sleep(100)
            connection.writer.write(CREATED)

    clock = asyncio.get_running_loop().time
    async with raw_server(slow_first) as server, session(server.base_url, max_in_flight=1) as hindsight:
        call = asyncio.create_task(hindsight.interviews.create(REQUEST))
        await asyncio.sleep(moment)
        cancelled_at = clock()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert clock() - cancelled_at < 0.1
        server.requests.append(b"the slow one is over")
        assert 7 == (await hindsight.interviews.create(REQUEST)).interview_request_id


@pytest.mark.parametrize(
    ("head", "error", "delivery"),
    [
        (b"HTTP/1.1 201 Created", OutcomeUnknownError, Delivery.UNKNOWN),
        (b"HTTP/1.1 400 Bad Request", BadRequestError, Delivery.REJECTED),
    ],
)
async def test_an_answer_that_breaks_off_still_says_its_status(head, error, delivery):
    """What the status says is kept, though the words after it are lost."""

    async def break_off(connection):
        await connection.request()
        connection.writer.write(head + b"\r\nContent-Length: 500\r\n\r\n{")

    async with raw_server(break_off) as server, session(server.base_url) as hindsight:
        with pytest.raises(error) as raised:
            await hindsight.interviews.create(REQUEST)
    assert delivery is raised.value.delivery
    assert int(head.split()[1]) == raised.value.status


async def test_an_option_of_a_borrowed_pool_that_does_not_fit_is_our_own_error(tmp_path, monkeypatch):
    """A login from a netrc file beside our key is refused by the HTTP library before anything is sent."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password pw\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with raw_server(answer_created) as server:
        async with aiohttp.ClientSession(trust_env=True) as http:
            async with session(server.base_url, http=http, retry=RetryPolicy(attempts=1)) as hindsight:
                with pytest.raises(NotSentError):
                    await hindsight.interviews.create(REQUEST)
    assert [] == server.requests


async def test_an_answer_keeps_what_looks_like_the_key():
    """Only errors are searched for the key: ids and links of a good answer stay whole."""
    async with raw_server(answer_created) as server:
        async with HindsightSession("c", base_url=server.base_url) as hindsight:
            assert "c" == (await hindsight.interviews.create(REQUEST)).contact_id
