"""Through a proxy: what it sees, what it refuses, and that its password stays where it is."""

import asyncio
import base64
import logging
import ssl
import traceback
import uuid
from contextlib import AsyncExitStack

import aiohttp
import pytest

from hindsight_async import CreateInterview, Delivery, HindsightSession, NotSentError, RetryPolicy, Timeouts
from raw_server import CREATED, client_context, raw_server

KEY = uuid.uuid4().hex
PASSWORD = "3a889c1556464a269db4f25efe919f70"
LOGIN = f"us%20er:{PASSWORD}"
AUTHORIZATION = b"Proxy-Authorization: Basic " + base64.b64encode(f"us er:{PASSWORD}".encode())
REQUEST = CreateInterview(contact_email="jane@acme.example", sequence_id="seq_abc123")
API = "https://api.example/api/v1"


def proxy_url(server, login=LOGIN):
    return f"http://{login}@127.0.0.1:{server.port}"


def session(proxy, **options):
    options = {"base_url": API, "retry": RetryPolicy(attempts=1), **options}
    return HindsightSession(KEY, proxy=proxy, **options)


async def answer_created(connection):
    while await connection.request():
        connection.writer.write(CREATED)


def calls(hindsight):
    return hindsight.interviews.create(REQUEST), hindsight.interviews.get(7)


async def test_a_proxy_sees_neither_key_nor_request_and_the_api_not_its_password():
    """Behind the tunnel stands TLS, with the certificates of the context that was passed."""

    async def tunnel(connection):
        await connection.request()
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        connection.writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

        async def pump(source, target):
            while data := await source.read(65536):
                target.write(data)

        try:
            await asyncio.gather(pump(connection.reader, writer), pump(reader, connection.writer))
        finally:
            writer.close()

    async with raw_server(answer_created, tls=True) as api, raw_server(tunnel) as proxy:
        async with session(proxy_url(proxy), base_url=api.base_url, ssl=client_context()) as hindsight:
            for _ in range(2):
                assert 7 == (await hindsight.interviews.create(REQUEST)).interview_request_id
    (connect,) = proxy.requests
    assert connect.startswith(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n" % api.port)
    assert AUTHORIZATION in connect
    assert KEY.encode() not in connect
    assert b"Bearer" not in connect
    assert 2 == len(api.requests)
    assert all(b"Bearer " + KEY.encode() in request for request in api.requests)
    assert not any(b"proxy-auth" in request.lower() for request in api.requests)


async def test_a_base_url_of_plain_http_goes_through_a_proxy_too():
    """The proxy gets the whole address, its password and the request."""
    async with raw_server(answer_created) as proxy:
        async with session(proxy_url(proxy), base_url="http://127.0.0.1:9/api/v1") as hindsight:
            assert 7 == (await hindsight.interviews.create(REQUEST)).interview_request_id
    (request,) = proxy.requests
    assert request.startswith(b"POST http://127.0.0.1:9/api/v1/interviews HTTP/1.1\r\n")
    assert AUTHORIZATION in request
    assert b"Bearer " + KEY.encode() in request


REFUSALS = {
    b"407 Proxy Authentication Required": "answered 407 Proxy Authentication Required; check the user",
    b"403 Forbidden": "answered 403 Forbidden; have whoever runs it allow",
    b"502 Bad Gateway": "answered 502 Bad Gateway; ask whoever runs it",
    b"200 OK but no TLS": "no connection to",
    b"hello": "the proxy hung up or spoke no HTTP",
    b"": "the proxy hung up or spoke no HTTP",
}


@pytest.mark.parametrize("said", REFUSALS)
async def test_a_proxy_that_lets_nothing_through_leaves_creates_and_reads_not_sent(said, caplog):
    """The text names the proxy, its answer and what to do, and the password stands nowhere."""

    async def refuse(connection):
        await connection.request()
        connection.writer.write(b"HTTP/1.1 " + said + b"\r\nContent-Length: 0\r\n\r\n" if said else b"")

    caplog.set_level(logging.DEBUG)
    texts = []
    async with raw_server(refuse) as proxy, session(proxy_url(proxy)) as hindsight:
        for call in calls(hindsight):
            with pytest.raises(NotSentError, match=REFUSALS[said]) as raised:
                await call
            assert Delivery.NOT_SENT is raised.value.delivery
            assert f"through the proxy http://127.0.0.1:{proxy.port}" in str(raised.value)
            texts += [repr(raised.value.__dict__), *traceback.format_exception(raised.value)]
        texts += [repr(hindsight), caplog.text]
    assert 2 == len(proxy.requests)
    for secret in (PASSWORD, AUTHORIZATION.split()[-1].decode(), KEY):
        assert secret not in "".join(texts)


@pytest.mark.parametrize("lent", [False, True], ids=["own", "lent"])
async def test_a_proxy_that_never_answers_is_waited_for_as_long_as_a_connection(lent):
    """`Timeouts.connect` counts until the way to the API is open, whosever connections they are, and nothing was sent."""

    async def never_answer(connection):
        await connection.request()
        connection.writer.write(b"HTTP/1.1 200 Connection est")
        await asyncio.sleep(10_000)

    clock = asyncio.get_running_loop().time
    async with raw_server(never_answer) as proxy, AsyncExitStack() as stack:
        through = {"proxy": proxy_url(proxy)}
        if lent:
            pool = aiohttp.ClientSession(proxy=f"http://127.0.0.1:{proxy.port}")
            through = {"proxy": None, "http": await stack.enter_async_context(pool)}
        options = {"timeouts": Timeouts(connect=3), "deadline": None, **through}
        hindsight = await stack.enter_async_context(session(**options))
        for call in calls(hindsight):
            started = clock()
            with pytest.raises(NotSentError, match="took too long") as raised:
                await call
            assert Delivery.NOT_SENT is raised.value.delivery
            assert 3 == pytest.approx(clock() - started, abs=0.1)


async def test_a_proxy_that_is_not_there_is_named():
    """It is the proxy that cannot be reached, and the text says so."""
    async with raw_server(answer_created) as gone:
        pass
    async with session(proxy_url(gone)) as hindsight:
        for call in calls(hindsight):
            with pytest.raises(NotSentError, match=f"through the proxy http://127.0.0.1:{gone.port}: ."):
                await call


@pytest.mark.parametrize("status", [407, 403, 502, 204])
async def test_the_refusal_of_a_lent_sessions_proxy_is_not_sent_either(status):
    """A proxy of the caller's own is told from the API as well, and its status is named."""

    async def refuse(connection):
        await connection.request()
        connection.writer.write(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)

    async with raw_server(refuse) as proxy:
        async with aiohttp.ClientSession(proxy=f"http://127.0.0.1:{proxy.port}") as http:
            async with session(None, http=http) as hindsight:
                for call in calls(hindsight):
                    with pytest.raises(NotSentError, match=f"the proxy answered {status}") as raised:
                        await call
                    assert Delivery.NOT_SENT is raised.value.delivery


async def test_a_certificate_that_the_context_does_not_know_is_refused():
    """Without the context the server of these tests is a stranger."""
    async with raw_server(answer_created, tls=True) as server:
        async with session(None, base_url=server.base_url) as hindsight:
            with pytest.raises(NotSentError, match="certificate"):
                await hindsight.interviews.create(REQUEST)
    assert [] == server.requests


@pytest.mark.parametrize(
    ("proxy", "text"),
    [
        (f"socks5://{LOGIN}@proxy.example:1080", "proxy must begin with http"),
        (f"{LOGIN}@proxy.example:3128", "proxy must begin with http"),
        (f"http://{LOGIN}@:3128", "proxy must look like"),
        (f"http://{LOGIN}@proxy.example:99999", "proxy has an unreadable host or port"),
        (f"http://{LOGIN}@[::1", "proxy has an unreadable host or port"),
        (f"http://{LOGIN}@proxy.example/path", "proxy must look like"),
        (f"http://{LOGIN}@proxy.example?q=1", "proxy must look like"),
        (f"http://a%3Ab:{PASSWORD}@proxy.example", "proxy: a user's name"),
        ("", "proxy must begin with http"),
    ],
)
def test_a_proxy_that_is_none_is_refused_without_its_password(proxy, text):
    """The error names the argument and what would be right."""
    with pytest.raises(ValueError, match=text) as raised:
        session(proxy)
    assert PASSWORD not in "".join(traceback.format_exception(raised.value))


def test_a_proxy_elsewhere_is_refused_for_plain_http():
    """It would read the API key."""
    with pytest.raises(ValueError, match="proxy must be on this machine"):
        session("http://proxy.example:3128", base_url="http://localhost:8080")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"proxy": 5}, "proxy must be str or None, not int"),
        ({"ssl": True}, "ssl must be SSLContext or None, not bool"),
        ({"ssl": "cert.pem"}, "ssl must be SSLContext or None, not str"),
    ],
)
def test_proxy_and_ssl_of_a_wrong_kind_are_refused(options, text):
    """The error names the argument, its kind and the right one."""
    with pytest.raises(TypeError, match=text):
        HindsightSession(KEY, base_url=API, **options)


@pytest.mark.parametrize("option", ["proxy", "ssl"])
async def test_a_lent_session_brings_its_own_proxy_and_certificates(option):
    """Either one beside http= would be ignored, so it is an error."""
    value = {"proxy": "http://proxy.example", "ssl": ssl.create_default_context()}[option]
    async with aiohttp.ClientSession() as http:
        with pytest.raises(ValueError, match="give http, or proxy and ssl"):
            HindsightSession(KEY, base_url=API, http=http, **{option: value})
