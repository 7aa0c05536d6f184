"""What the emulator's page is made of: its files, the stream that keeps it up to date, and the lists it asks for."""

import asyncio
import json
import re
import socket
from contextlib import asynccontextmanager
from typing import get_args

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from hindsight_async import HindsightSession, Plan
from hindsight_async.emulator import Emulator
from hindsight_async.emulator.activity import SECONDS, Activity
from hindsight_async.emulator.control_events import LONGEST_SILENCE, PAUSE_SECONDS, stream_events
from hindsight_async.emulator.front_page import PAGE_FILES
from hindsight_async.emulator.gateway import LARGEST_KEPT
from hindsight_async.emulator.limits import Window
from hindsight_async.emulator.listener import SHUTDOWN_SECONDS
from test_emulator_control import FROM_OTHER_SITES, controlled, create


@asynccontextmanager
async def watched(emulator):
    """Open the stream, and yield `following()`, which returns the next state that it tells."""
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{emulator.control_url}/events") as response,
    ):
        assert "text/event-stream" == response.content_type

        async def following():
            async for line in response.content:
                if line.startswith(b"data: "):
                    return json.loads(line.removeprefix(b"data: "))
            return None

        yield following


async def test_the_stream_tells_the_state_at_once_and_after_each_change():
    """What came in between two looks is told together."""
    async with controlled() as (emulator, ask), watched(emulator) as following:
        before = await following()
        assert (0, [0] * SECONDS) == (before["emails"], before["last_minute"]["taken"])
        await create(emulator)
        after = await following()
        assert (1, 1, 1) == (after["emails"], after["requests"], sum(after["last_minute"]["taken"]))
        assert after["changes"] > before["changes"]
        _, state = await ask("GET", "/state")
        assert state.keys() == after.keys() - {"last_minute", "changes"}


async def test_a_request_has_nobody_to_tell_that_it_came():
    """However many come between two looks, there is one event, and the next one only after a pause."""
    loop = asyncio.get_running_loop()
    async with controlled(plan="enterprise") as (emulator, _), watched(emulator) as following:
        await following()
        began = loop.time()
        for _ in range(50):
            await create(emulator)
        told = [await following()]
        while told[-1]["requests"] < 50:
            told.append(await following())
        assert len(told) <= 1 + (loop.time() - began) / PAUSE_SECONDS


async def test_the_stream_tells_what_a_program_changes_by_itself():
    """Without a request: an interview that is completed, and a fault."""
    async with controlled() as (emulator, _), watched(emulator) as following:
        await create(emulator)
        while (await following())["emails"] == 0:
            pass
        emulator.complete(1)
        while (told := await following())["interviews"]["completed"] == 0:
            pass
        emulator.fail("*", 500)
        while (told := await following())["faults"] == 0:
            pass
        assert 1 == told["interviews"]["completed"]


async def test_a_deal_that_takes_the_place_of_another_is_a_change():
    """Although there are as many as before."""
    async with controlled() as (emulator, ask), watched(emulator) as following:
        await ask("POST", "/deals", json={"deals": [{"id": "deal_1"}]})
        while (first := await following())["deals"] == 0:
            pass
        await ask("POST", "/deals", json={"deals": [{"id": "deal_1", "name": "Acme"}]})
        assert (await following())["changes"] > first["changes"]


async def test_where_nothing_happens_the_stream_only_says_that_it_is_there():
    """A line now and then, which finds out that a reader is gone; looking on is no change."""
    loop = asyncio.get_running_loop()
    async with controlled(window="sliding") as (emulator, ask), aiohttp.ClientSession() as http:
        async with http.get(f"{emulator.control_url}/events") as response:
            began, got = loop.time(), b""
            while b"\n:\n" not in got:
                got += await response.content.readany()
                await ask("GET", "/requests")
    assert 1 == got.count(b"event: state")
    assert LONGEST_SILENCE <= loop.time() - began


async def test_a_slow_reader_gets_the_newest_state_instead_of_all():
    """Its stream waits, keeping nothing for it, and says at last what has become of all that it has missed."""
    loop, changes = asyncio.get_running_loop(), 400
    async with Emulator(remote_control=True) as emulator:
        server = web.ServerRunner(web.Server(lambda request: stream_events(request, emulator)))
        await server.setup()
        with socket.create_server(("127.0.0.1", 0)) as port, socket.socket() as reader:
            port.setsockopt(
                socket.SOL_SOCKET, socket.SO_SNDBUF, 4096
            )  # so that the kernel takes little for it
            await web.SockSite(server, port).start()
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.setblocking(False)
            await loop.sock_connect(reader, port.getsockname())
            await loop.sock_sendall(reader, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            for _ in range(changes):
                emulator.fail("*", 500)
                await asyncio.sleep(2 * PAUSE_SECONDS)
            got = b""
            while f'"faults": {changes}'.encode() not in got:
                got += await loop.sock_recv(reader, 65_536)
            assert changes / 2 > got.count(b"event: state")
            await server.cleanup()


async def test_a_reader_that_takes_nothing_does_not_hold_up_the_end():
    """Requests go on beside it, and the emulator closes at once."""
    loop = asyncio.get_running_loop()
    async with Emulator(remote_control=True, window="sliding") as emulator:
        with socket.socket() as reader:
            reader.setblocking(False)
            await loop.sock_connect(reader, ("127.0.0.1", int(emulator.page_url.split(":")[2].strip("/"))))
            await loop.sock_sendall(reader, b"GET /_emulator/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            for _ in range(50):
                await create(emulator)
            began = loop.time()
            await emulator.close()
            assert SHUTDOWN_SECONDS > loop.time() - began
            assert 50 == len(emulator.outbox)


async def test_a_close_ends_the_streams_at_once_and_leaves_no_task():
    """Also those that are being read."""
    others = asyncio.all_tasks()
    async with Emulator(remote_control=True) as emulator, watched(emulator) as following:
        await following()
        loop = asyncio.get_running_loop()
        began = loop.time()
        await emulator.close()
        assert SHUTDOWN_SECONDS > loop.time() - began
        with pytest.raises(aiohttp.ClientError):
            await following()
    await asyncio.sleep(0)
    assert others == asyncio.all_tasks()


async def test_a_reader_that_hangs_up_leaves_no_task():
    """Its stream ends with its connection."""
    async with Emulator(remote_control=True) as emulator:
        async with watched(emulator) as following:
            await following()
            during = len(asyncio.all_tasks())
        while len(asyncio.all_tasks()) >= during:
            await asyncio.sleep(PAUSE_SECONDS)


@pytest.mark.parametrize("headers", [*FROM_OTHER_SITES, {"Host": "evil.example"}])
async def test_the_stream_is_not_for_pages_of_other_sites(headers):
    """They could not read it, and are told so."""
    async with controlled() as (_, ask):
        assert 403 == (await ask("GET", "/events", headers=headers))[0]


@given(st.lists(st.tuples(st.floats(0, 200), st.booleans())), st.floats(0, 100))
def test_the_last_minute_is_counted_second_by_second(requests, later):
    """Whatever came within sixty seconds, counted by the whole second, is there once, and nothing else."""
    activity, now = Activity(), 0.0
    for moment, refused in sorted(requests):
        activity.note(moment, refused=refused)
        now = moment
    now += later
    shown = activity.last_minute(now)
    for name, wanted in (("taken", False), ("refused", True)):
        seconds = [int(now) - int(moment) for moment, refused in requests if refused is wanted]
        assert [seconds.count(ago) for ago in reversed(range(SECONDS))] == shown[name]


async def test_refused_requests_are_told_apart():
    """By the plan's own refusals and by those that were scripted."""
    async with (
        controlled(requests_per_minute=1, window="sliding") as (emulator, _),
        watched(emulator) as following,
    ):
        emulator.fail("POST /interviews", 429)
        for _ in range(3):
            await create(emulator)
        while sum((told := await following())["last_minute"]["refused"]) < 2:
            pass
        assert 1 == sum(told["last_minute"]["taken"])


async def test_a_request_shows_what_was_answered():
    """Its headers in the list, its body with the one request."""
    async with controlled(latency=0.5, window="sliding") as (emulator, ask):
        await create(emulator)
        _, listed = await ask("GET", "/requests")
        assert "59" == listed["requests"][0]["answer_headers"]["X-RateLimit-Remaining"]
        assert "answer_body" not in listed["requests"][0]
        status, shown = await ask("GET", "/requests/1")
        assert (200, 1, None) == (status, shown["answer_body"]["interview_request_id"], shown["answer_text"])
        assert 0.5 <= shown["seconds"] < 1
        for wrong in ("2", "0", "x", "9" * 13):
            status, said = await ask("GET", f"/requests/{wrong}")
            assert (404, "id") == (status, said["error"]["details"]["field"])


async def test_of_a_long_answer_the_beginning_is_kept():
    """And how long it was; what is no JSON is a text, and a dropped connection has neither."""
    async with controlled(latency=0.5) as (emulator, ask):
        emulator.fail("POST /interviews", 500, body=b"\xff" * LARGEST_KEPT * 2)
        emulator.fail("POST /interviews", "disconnect")
        with pytest.raises(aiohttp.ContentTypeError):
            await create(emulator)
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await create(emulator)
        _, long = await ask("GET", "/requests/1")
        assert (2 * LARGEST_KEPT, None) == (long["answer_bytes"], long["answer_body"])
        assert "\ufffd" * LARGEST_KEPT == long["answer_text"]
        _, dropped = await ask("GET", "/requests/2")
        assert (None, None, None, 0, {}) == tuple(
            dropped[name]
            for name in ("status", "answer_body", "answer_text", "answer_bytes", "answer_headers")
        )
        assert 0.5 <= dropped["seconds"] < 1


async def test_lists_can_be_searched_and_interviews_picked_by_status():
    """What is found keeps its number, and is counted and paged by itself."""
    async with controlled(plan="enterprise") as (emulator, ask):
        for number in range(6):
            await create(emulator, contact_email=f"{'ann' if number % 2 else 'bob'}{number}@x.example")
        emulator.complete(2)
        _, found = await ask("GET", "/outbox?search=ANN&limit=2")
        assert ([2, 4], 2, 3) == ([one["number"] for one in found["emails"]], found["next"], found["total"])
        _, rest = await ask("GET", "/outbox?search=ANN&after=2")
        assert [6] == [one["number"] for one in rest["emails"]]
        _, sent = await ask("GET", "/interviews?status=sent&search=ann")
        assert [4, 6] == [one["interview_request_id"] for one in sent["interviews"]]
        status, said = await ask("GET", "/interviews?status=gone")
        assert (400, "status") == (status, said["error"]["details"]["field"])
        assert 6 == (await ask("GET", "/requests?search=201"))[1]["total"]
        assert 0 == (await ask("GET", "/requests?search=nothing"))[1]["total"]


async def test_documents_are_listed_with_their_size():
    """And not with their content, which can be large."""
    async with controlled() as (emulator, ask), aiohttp.ClientSession() as http:
        form = aiohttp.FormData({"type": "asset", "content_type": "text/plain", "file_name": "a.txt"})
        form.add_field("file", b"12345", filename="a.txt", content_type="text/plain")
        key = {"Authorization": f"Bearer {emulator.api_key}"}
        async with http.post(f"{emulator.base_url}/documents/library", data=form, headers=key) as response:
            assert 200 == response.status
        _, shown = await ask("GET", "/documents?search=a.txt")
        assert (1, 1, 5) == (shown["total"], shown["documents"][0]["number"], shown["documents"][0]["bytes"])


async def test_the_page_loads_its_own_files_and_nothing_else():
    """Under a strict policy: no script or style in it, and no other page around it."""
    async with controlled() as (emulator, _), aiohttp.ClientSession() as http:
        for path, (name, media_type) in PAGE_FILES.items():
            async with http.get(emulator.page_url + path.removeprefix("/")) as response:
                text = await response.text()
                assert (200, media_type) == (response.status, response.content_type)
                assert "nosniff" == response.headers["X-Content-Type-Options"]
                policy = response.headers["Content-Security-Policy"].split("; ")
            assert {
                "default-src 'none'",
                "script-src 'self'",
                "style-src 'self'",
                "frame-ancestors 'none'",
            } < set(policy)
            assert "unsafe" not in str(policy)
            assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)| style=| on\w+=", text), name
            assert not re.search(
                r"\.(?:inner|outer)HTML|insertAdjacentHTML|document\.write|\beval\(", text
            ), name
            for wanted in re.findall(r'(?:from|src=|href=)\s*"([^"#]+)"', text):
                assert wanted.replace("./", "/_emulator/") in {*PAGE_FILES, "/_emulator/v1/state"}, name


async def test_the_page_is_for_this_machine_and_to_be_read():
    """A link from elsewhere opens it; another name of the machine does not, and nothing can be sent to it."""
    async with controlled() as (emulator, _), aiohttp.ClientSession() as http:
        for method, headers, expected in (
            ("GET", {"Sec-Fetch-Site": "cross-site"}, 200),
            ("HEAD", {}, 200),
            ("GET", {"Host": "evil.example"}, 403),
            ("POST", {}, 405),
        ):
            async with http.request(method, emulator.page_url, headers=headers) as response:
                assert expected == response.status
        assert [] == emulator.requests


async def test_without_the_remote_control_there_is_no_page():
    """The root is then what it is at Hindsight: no part of the API."""
    async with Emulator() as emulator, aiohttp.ClientSession() as http:
        async with http.get(emulator.base_url.removesuffix("api/v1")) as response:
            assert 401 == response.status
        with pytest.raises(RuntimeError, match="remote control is off"):
            _ = emulator.page_url


async def test_the_page_offers_each_plan_and_each_window():
    """In the order of their names in Python."""
    async with (
        Emulator(remote_control=True) as emulator,
        aiohttp.ClientSession() as http,
        http.get(emulator.page_url) as response,
    ):
        page = await response.text()
    for name, values in (("plan", [plan.value for plan in Plan]), ("window", get_args(Window))):
        [select] = re.findall(rf'<select name="{name}">(.*?)</select>', page, re.DOTALL)
        assert list(values) == re.findall(r"<option>(\w+)</option>", select)


async def test_the_counts_by_status_are_those_of_the_interviews():
    """However they come to be: emailed at once or later, a link only, completed by hand, twice, in time, and forgotten."""
    async with controlled(email_delay=1, completes_after=4, plan="enterprise") as (emulator, ask):

        async def counts():
            _, state = await ask("GET", "/state")
            found = [interview.status for interview in emulator.interviews.values()]
            assert {status: found.count(status) for status in ("created", "sent", "completed")} == state[
                "interviews"
            ]
            return tuple(state["interviews"].values())

        for _ in range(3):
            await create(emulator)
        async with HindsightSession(emulator.api_key, base_url=emulator.base_url) as hindsight:
            await hindsight.interviews.create(contact_email="a@x.example", interview_type_id="type_1")
        assert (4, 0, 0) == await counts()
        emulator.complete(1)
        emulator.complete(1)
        emulator.complete(4)
        assert (2, 0, 2) == await counts()
        await asyncio.sleep(2)
        assert (0, 2, 2) == await counts()
        await asyncio.sleep(3)
        assert (0, 0, 4) == await counts()
        await ask("POST", "/reset", json={})
        assert (0, 0, 0) == await counts()
