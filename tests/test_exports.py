"""Exports over real HTTP: started once, waited for with patience, downloaded whole or not at all."""

import asyncio
import gzip
import logging
import stat
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from hindsight_async import (
    APIError,
    BadRequestError,
    DecodeError,
    Delivery,
    Export,
    ExportExpiredError,
    ExportFailedError,
    ExportFilters,
    ExportStatus,
    ForbiddenError,
    HindsightError,
    HindsightSession,
    NotFoundError,
    NotSentError,
    NumberRange,
    OutcomeUnknownError,
    Plan,
    RetryPolicy,
    Timeouts,
    WaitTimeoutError,
)
from hindsight_async.emulator import Emulator
from hindsight_async.resources.deals.export_link import is_expired
from raw_server import client_context, raw_server

TOKEN = "tok_secret123"
DOWNLOAD = "GET /deals/export/{id}/download"


@asynccontextmanager
async def served(**options):
    async with Emulator(plan=Plan.ENTERPRISE) as emulator:
        for number in range(3):
            emulator.deals.add(name=f"Deal {number}", amount=number, status="Won" if number else "Open")
        async with HindsightSession(
            emulator.api_key, base_url=emulator.base_url, plan=Plan.ENTERPRISE, **options
        ) as session:
            yield emulator, session.deals


def link_to(url):
    return Export(export_id="exp_1", status=ExportStatus.COMPLETED, download_url=url)


@asynccontextmanager
async def linked(script, *, tls=False, retry=None):
    """Serve a file by a script, elsewhere than the API, which nobody calls."""
    async with (
        raw_server(script, tls=tls) as server,
        HindsightSession(
            "k3y-of-ours",
            base_url="http://127.0.0.1:1/api/v1",
            ssl=client_context() if tls else None,
            retry=retry or RetryPolicy(attempts=1),
            timeouts=Timeouts(read=5.0),
        ) as session,
    ):
        yield server, session.deals


def answer(body, status=b"200 OK", *headers):
    lines = b"".join(b"%b\r\n" % header for header in headers)
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n%b\r\n%b" % (status, len(body), lines, body)


def answering(*answers):
    async def script(connection):
        while await connection.request():
            connection.writer.write(answers[min(len(connection.server.requests), len(answers)) - 1])

    return script


async def test_all_of_it_is_one_call(tmp_path):
    """Started, waited for and downloaded: the rows that pass the filters, readable for their owner alone."""
    async with served() as (emulator, deals):
        emulator.exports.seconds = 60
        path = await deals.export_to_file(
            tmp_path / "deals.csv", columns=["name", "amount"], filters=ExportFilters(status=["Won"], amount=NumberRange(max=1))
        )  # fmt: skip
    assert tmp_path / "deals.csv" == path
    assert b"name,amount\r\nDeal 1,1\r\n" == path.read_bytes()
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert [path] == list(tmp_path.iterdir())
    start, *_ = emulator.requests
    assert {"columns": ["name", "amount"], "filters": {"status": ["Won"], "amount": {"max": 1}}} == start.body


async def test_a_start_without_filters_sends_none():
    """All deals are meant then."""
    async with served() as (emulator, deals):
        export = await deals.start_export(columns=["name"])
        assert (ExportStatus.PENDING, "exp_000001", True) == (export.status, export.export_id, export.success)
        assert {} == export.extra
    assert {"columns": ["name"]} == emulator.requests[0].body


@pytest.mark.parametrize(
    ("how", "at"), [("disconnect", "after_commit"), (500, "after_commit"), ("empty", "after_commit")]
)
async def test_a_start_is_not_repeated_after_a_doubt(how, at):
    """Each start makes a file and is counted: what became of it is unknown, and it is sent once."""
    async with served() as (emulator, deals):
        emulator.fail("POST /deals/export", how, at)
        with pytest.raises(HindsightError) as raised:
            await deals.start_export(columns=["name"])
    assert (Delivery.UNKNOWN, 1) == (raised.value.delivery, len(emulator.exports))


async def test_a_start_that_was_refused_for_now_is_sent_again():
    """A 429 had no effect."""
    async with served() as (emulator, deals):
        emulator.fail("POST /deals/export", 429, retry_after=2)
        await deals.start_export(columns=["name"])
    assert (1, 2) == (len(emulator.exports), len(emulator.requests))


async def test_a_wait_looks_after_five_seconds_and_then_ever_less_often():
    """Up to thirty seconds apart, and it ends with the completed export."""
    async with served() as (emulator, deals):
        emulator.exports.seconds = 200
        started = await deals.start_export(columns=["name"])
        export = await deals.wait_for_export(started.export_id)
        assert (ExportStatus.COMPLETED, 3) == (export.status, export.rows_exported)
    moments = [request.arrived_at for request in emulator.requests[1:]]
    gaps = [round(later - earlier) for earlier, later in pairwise(moments)]
    assert [5, 8, 11, 17, 25, 30, 30, 30, 30, 30] == gaps


async def test_a_wait_that_runs_out_leaves_the_export_alone_and_says_so(tmp_path):
    """A TimeoutError with the export as it was last read; waiting again gets it."""
    loop = asyncio.get_running_loop()
    async with served() as (emulator, deals):
        emulator.exports.seconds = 100
        started_at = loop.time()
        with pytest.raises(
            WaitTimeoutError, match=r"not completed after 60 s \(pending\); it goes on"
        ) as raised:
            await deals.export_to_file(tmp_path / "x.csv", columns=["name"], timeout=60)
        assert 60 == round(loop.time() - started_at)
        assert isinstance(raised.value, TimeoutError)
        last = raised.value.last
        assert ExportStatus.PENDING is last.status
        done = await deals.wait_for_export(last.export_id, timeout=None)
        await deals.download_export(done, tmp_path / "x.csv")
    assert 1 == len(emulator.exports)


async def test_a_wait_without_any_answer_runs_out_too(tmp_path):
    """It is late by no more than its last look, and has the id of what was started."""
    loop = asyncio.get_running_loop()
    async with served() as (emulator, deals):
        emulator.fail("GET /deals/export/{id}", "slow", times=None, seconds=1000)
        started_at = loop.time()
        with pytest.raises(WaitTimeoutError) as raised:
            await deals.export_to_file(tmp_path / "x.csv", columns=["name"], timeout=20)
        assert 20 <= loop.time() - started_at < 26
    assert "exp_000001" == raised.value.last.export_id


async def test_no_time_at_all_is_one_look():
    """What is completed by then is returned."""
    async with served() as (emulator, deals):
        started = await deals.start_export(columns=["name"])
        assert ExportStatus.COMPLETED is (await deals.wait_for_export(started.export_id, timeout=0)).status
    assert 2 == len(emulator.requests)


async def test_a_failed_export_is_raised_with_its_reason(tmp_path):
    """By the wait and by the download; reading it tells of it."""
    async with served() as (emulator, deals):
        emulator.exports.fail_next("no column x")
        with pytest.raises(ExportFailedError, match="no column x; there is no file") as raised:
            await deals.export_to_file(tmp_path / "x.csv", columns=["name"])
        assert ("exp_000001", "no column x") == (raised.value.export_id, raised.value.reason)
        failed = await deals.get_export("exp_000001")
        assert (ExportStatus.FAILED, "no column x") == (failed.status, failed.error)
        assert failed.failed_at is not None
        with pytest.raises(ExportFailedError):
            await deals.download_export(failed, tmp_path / "x.csv")
    assert [] == list(tmp_path.iterdir())


async def test_an_unknown_status_is_waited_for():
    """A state that the vendor adds later is no reason to give up."""
    body = b'{"export_id":"exp_1","status":"%b"}'
    states = answering(answer(body % b"queued"), answer(body % b"completed"))
    async with raw_server(states) as server, HindsightSession("k3y", base_url=server.base_url) as session:
        assert ExportStatus.COMPLETED is (await session.deals.wait_for_export("exp_1")).status
    assert 2 == len(server.requests)


async def test_a_cancelled_wait_leaves_the_session_usable():
    """And the export as it is."""
    async with served(max_in_flight=1) as (emulator, deals):
        emulator.exports.seconds = 100
        started = await deals.start_export(columns=["name"])
        waiting = asyncio.create_task(deals.wait_for_export(started.export_id))
        await asyncio.sleep(20)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert 3 == await deals.count()


@pytest.mark.parametrize("break_off", ["truncated", "disconnect", "reset"])
async def test_a_download_that_breaks_off_leaves_what_was_there(break_off, tmp_path):
    """No half file has the name, and none lies beside it."""
    path = tmp_path / "deals.csv"
    path.write_text("of last week")
    async with served() as (emulator, deals):
        emulator.fail(DOWNLOAD, break_off, "mid_body")
        with pytest.raises(OutcomeUnknownError):
            await deals.export_to_file(path, columns=["name"])
        assert "of last week" == path.read_text()
        assert [path] == list(tmp_path.iterdir())
        await deals.download_export(await deals.get_export("exp_000001"), path)
        assert path.read_text().startswith("name\n")


async def test_a_download_that_stands_still_is_given_up(tmp_path):
    """The time counts from one piece to the next."""

    async def stop(connection):
        await connection.request()
        connection.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        await asyncio.sleep(10_000)

    async with linked(stop) as (server, deals):
        with pytest.raises(OutcomeUnknownError, match="took too long"):
            await deals.download_export(link_to(f"{server.base_url}/x?token={TOKEN}"), tmp_path / "x.csv")
    assert [] == list(tmp_path.iterdir())


async def test_a_long_download_outlasts_the_deadline(tmp_path):
    """That ends where the answer begins: what comes, comes."""

    async def slowly(connection):
        await connection.request()
        connection.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        for _ in range(100):
            await asyncio.sleep(4)
            connection.writer.write(b"x")
        await connection.reader.read()

    told = []
    async with linked(slowly) as (server, deals):
        await deals.download_export(
            link_to(f"{server.base_url}/x"), tmp_path / "x.csv", on_progress=lambda *seen: told.append(seen)
        )
    assert b"x" * 100 == (tmp_path / "x.csv").read_bytes()
    assert ((1, 100), (100, 100)) == (told[0], told[-1])


@pytest.mark.parametrize("moment", [0.0, 0.5, 1.5, 2.5])
async def test_a_cancelled_download_leaves_nothing_behind(moment, tmp_path):
    """Neither a file nor a permit, before the answer and in the middle of it."""

    async def slowly(connection):
        await connection.request()
        await asyncio.sleep(1)
        connection.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na")
        await asyncio.sleep(1)
        connection.writer.write(b"b")
        await asyncio.sleep(10_000)

    async with linked(slowly) as (server, deals):
        task = asyncio.create_task(deals.download_export(link_to(f"{server.base_url}/x"), tmp_path / "x.csv"))
        await asyncio.sleep(moment)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [] == list(tmp_path.iterdir())


async def test_the_key_goes_to_the_apis_own_origin_alone(tmp_path):
    """A link that leads elsewhere opens without it, also behind a redirect; the bytes of a signature are kept."""
    csv = b"name\r\nDeal\r\n"
    async with linked(answering(answer(csv)), tls=True) as (elsewhere, deals):
        there = f"https://127.0.0.1:{elsewhere.port}/f%2Fx?X-Sig=a%2Bb%20c&s=%7E&token={TOKEN}"
        await deals.download_export(link_to(there), tmp_path / "x.csv")
        redirect = answering(answer(b"", b"302 Found", b"Location: " + there.encode()))
        async with (
            raw_server(redirect) as api,
            HindsightSession("k3y-of-ours", base_url=api.base_url, ssl=client_context()) as session,
        ):
            here = f"{api.base_url}/deals/export/exp_1/download?token={TOKEN}"
            await session.deals.download_export(link_to(here), tmp_path / "y.csv")
            await session.deals.download_export(link_to("/api/v1/relative"), tmp_path / "z.csv")
    assert [csv] * 3 == [(tmp_path / name).read_bytes() for name in ("x.csv", "y.csv", "z.csv")]
    assert all(b"Authorization: Bearer k3y-of-ours\r\n" in request for request in api.requests)
    assert 2 == len(api.requests)
    assert 3 == len(elsewhere.requests)
    for request in elsewhere.requests:
        assert b"authorization" not in request.lower()
        assert b"k3y" not in request
    assert elsewhere.requests[0].startswith(
        b"GET /f%2Fx?X-Sig=a%2Bb%20c&s=%7E&token=tok_secret123 HTTP/1.1\r\n"
    )


@pytest.mark.parametrize(
    "link",
    [f"ftp://files.example/x?token={TOKEN}", f"http://files.example/x?token={TOKEN}", f"//:0/?token={TOKEN}"],
)
async def test_a_link_is_followed_over_https_alone(link, tmp_path):
    """Deals do not cross the network in the open; plain http is for this machine."""
    async with linked(answering(answer(b"x"))) as (_, deals):
        with pytest.raises(NotSentError) as raised:
            await deals.download_export(link_to(link), tmp_path / "x.csv")
        behind = answering(answer(b"", b"302 Found", b"Location: " + link.encode()))
        async with raw_server(behind) as redirecting:
            with pytest.raises(HindsightError) as too:
                await deals.download_export(link_to(redirecting.base_url), tmp_path / "x.csv")
    for error in (raised.value, too.value):
        assert TOKEN not in f"{error!r}{error.__dict__}{error.__cause__!r}{error.__context__!r}"
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "link",
    [
        "https://[files.example/x",
        "https://files.example:port/",
        "/x\r\nX-Evil: 1",
        "/a b",
        "https://a:b@files.example/",
    ],
)
async def test_a_link_that_is_no_address_is_said_so(link, tmp_path):
    """Nothing is sent, and the link is not shown."""
    async with linked(answering(answer(b"x"))) as (server, deals):
        with pytest.raises(DecodeError, match="download_url of the export is no address"):
            await deals.download_export(link_to(link), tmp_path / "x.csv")
    assert [] == server.requests


@pytest.mark.parametrize("status", [b"400 Bad", b"403 No", b"404 No", b"410 Gone", b"500 Oh"])
async def test_the_token_of_a_link_is_shown_nowhere(status, tmp_path, caplog):
    """Not in an error whose server repeats it, nor in a repr or a log."""
    caplog.set_level(logging.DEBUG)
    body = b'{"error":{"code":"x","message":"no %b in token=%b","details":{"t":["%b"]}}}' % (
        (TOKEN.encode(),) * 3
    )
    async with linked(answering(answer(body, status))) as (server, deals):
        export = link_to(f"{server.base_url}/files?token={TOKEN}&x=1")
        with pytest.raises(APIError) as raised:
            await deals.download_export(export, tmp_path / "x.csv")
    error = raised.value
    shown = [
        f"{each!r}{each.__dict__}" for each in (error, error.__cause__, error.__context__) if each is not None
    ]
    assert TOKEN not in f"{shown}{export!r}{caplog.text}"
    assert "no <link> in token=<link>" in str(error)


async def test_a_link_whose_path_is_the_secret_is_shown_nowhere_either(tmp_path):
    """Some have no query at all."""

    async def repeat_the_link(connection):
        body = b'{"message":"no %b/%b"}' % (connection.server.base_url.encode(), TOKEN.encode())
        await connection.request()
        connection.writer.write(answer(body, b"403 No"))
        await connection.reader.read()

    async with linked(repeat_the_link) as (server, deals):
        with pytest.raises(ForbiddenError, match="no <link>") as raised:
            await deals.download_export(link_to(f"{server.base_url}/{TOKEN}"), tmp_path / "x.csv")
    assert TOKEN not in f"{raised.value!r}{raised.value.__dict__}"


async def test_what_another_server_says_of_its_limits_is_not_about_the_plan(tmp_path):
    """Its 429 stops nobody and is not repeated at once; its headers do not change the budget."""
    headers = (
        b"X-RateLimit-Limit: 5",
        b"X-RateLimit-Remaining: 0",
        b"X-RateLimit-Reset: 99999999999",
        b"Retry-After: 60",
    )
    answers = answering(answer(b"", b"429 Slow", *headers), answer(b"name", b"200 OK", *headers))
    async with raw_server(answers) as elsewhere, Emulator(plan=Plan.ENTERPRISE) as emulator:
        async with HindsightSession(
            emulator.api_key, base_url=emulator.base_url, plan=Plan.ENTERPRISE, deadline=5
        ) as session:
            link = link_to(f"{elsewhere.base_url}/x?token={TOKEN}")
            with pytest.raises(APIError) as raised:
                await session.deals.download_export(link, tmp_path / "x.csv")
            await session.deals.download_export(link, tmp_path / "x.csv")
            assert 0 == await session.deals.count()
            assert 1000 == session.budget.limit
    assert (429, Delivery.REJECTED, 2) == (
        raised.value.status,
        raised.value.delivery,
        len(elsewhere.requests),
    )


async def test_an_expired_link_is_an_error_of_its_own(tmp_path):
    """With the server's answer in it; a new export is what helps."""
    async with served() as (emulator, deals):
        started = await deals.start_export(columns=["name"])
        export = await deals.wait_for_export(started.export_id)
        emulator.exports[started.export_id].expires_at = export.created_at
        with pytest.raises(ExportExpiredError, match="the server answered 403") as raised:
            await deals.download_export(export, tmp_path / "x.csv")
    assert (403, Delivery.REJECTED) == (raised.value.status, raised.value.delivery)
    assert isinstance(raised.value.__cause__, ForbiddenError)
    assert [] == list(tmp_path.iterdir())


NOW = datetime(2026, 7, 24, tzinfo=UTC)


@pytest.mark.parametrize(
    ("error", "expires_at", "expected"),
    [
        (APIError("gone", status=410), None, True),
        (BadRequestError("exp claim: the token EXPIRED", status=400), None, True),
        (ForbiddenError("no", status=403, code="link_expired"), None, True),
        (ForbiddenError("no", status=403), NOW - timedelta(seconds=1), True),
        (ForbiddenError("no", status=403), NOW + timedelta(seconds=1), False),
        (NotFoundError("no", status=404), None, False),
        (APIError("expired", status=500, delivery=Delivery.UNKNOWN), NOW - timedelta(days=1), False),
    ],
)
def test_which_refusals_mean_that_a_link_is_too_old(error, expires_at, expected):
    """The API does not say how it refuses one: by its status, its words, or the time that the export named."""
    assert expected is is_expired(error, expires_at, NOW)


async def test_a_compressed_answer_is_a_plain_file(tmp_path):
    """And how long it will be is not known then."""
    told = []
    packed = gzip.compress(b"name\r\n" * 100_000)
    async with linked(answering(answer(packed, b"200 OK", b"Content-Encoding: gzip"))) as (server, deals):
        await deals.download_export(
            link_to(server.base_url), tmp_path / "x.csv", on_progress=lambda *seen: told.append(seen)
        )
    assert b"name\r\n" * 100_000 == (tmp_path / "x.csv").read_bytes()
    assert (600_000, None) == told[-1]


async def test_a_file_that_cannot_be_made_is_said_before_anything_is_sent(tmp_path):
    """Neither a start, which would not be repeated, nor a download."""
    async with served() as (emulator, deals):
        for path, error in ((tmp_path, IsADirectoryError), (tmp_path / "no" / "x.csv", FileNotFoundError)):
            with pytest.raises(error):
                await deals.export_to_file(path, columns=["name"])
            with pytest.raises(error):
                await deals.download_export(link_to(emulator.base_url), path)
        assert [] == emulator.requests


async def test_a_link_in_the_file_system_leads_to_the_new_file(tmp_path):
    """What it points at is replaced, and not the link."""
    (tmp_path / "data").mkdir()
    (tmp_path / "deals.csv").symlink_to(tmp_path / "data" / "deals.csv")
    async with served() as (_, deals):
        assert tmp_path / "deals.csv" == await deals.export_to_file(
            str(tmp_path / "deals.csv"), columns=["name"]
        )
    assert (tmp_path / "deals.csv").is_symlink()
    assert ["deals.csv"] == [file.name for file in (tmp_path / "data").iterdir()]


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda deals: deals.start_export(columns=[]), "columns must not be empty"),
        (lambda deals: deals.start_export(columns="name"), "columns must be a list of texts, not str"),
        (lambda deals: deals.start_export(columns=["x"], filters={}), "filters must be ExportFilters, not dict"),
        (lambda deals: deals.get_export(""), "export_id must be the id"),
        (lambda deals: deals.get_export(".."), "export_id must be the id"),
        (lambda deals: deals.get_export(5), "export_id must be text"),
        (lambda deals: deals.wait_for_export("x", timeout=-1), "timeout must be at least 0"),
        (lambda deals: deals.wait_for_export("x", timeout=float("nan")), "timeout must be at least 0"),
        (lambda deals: deals.wait_for_export("x", timeout="5"), "timeout must be seconds"),
        (lambda deals: deals.download_export("exp_1", "x.csv"), "export must be an Export, not str"),
        (lambda deals: deals.download_export(Export(export_id="exp_1"), "x.csv"), "exp_1 has no link yet"),
    ],
)  # fmt: skip
async def test_a_wrong_argument_of_an_export_is_named(call, named):
    """Before anything is sent."""
    async with served() as (emulator, deals):
        with pytest.raises((TypeError, ValueError), match=named):
            await call(deals)
    assert [] == emulator.requests
