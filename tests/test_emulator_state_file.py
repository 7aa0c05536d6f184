"""What an emulator keeps between two starts, and what a kill, a full disk or a strange file does to it."""

import asyncio
import json
import logging
import stat
from contextlib import suppress
from datetime import UTC, datetime

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from full_disk import full_disk
from hindsight_async.emulator import Emulator
from hindsight_async.emulator.control_views import state_view
from hindsight_async.emulator.kept import FORMAT, Start, WrongStateError, encoded, lines_of, restore
from hindsight_async.emulator.state import Organisation

JANE = {
    "contact_email": "Jane@acme.example",
    "contact_name": "Jané \ud800",
    "contact_context": {"title": "CTO", "notes": ["a\u2028b", None]},
    "objective": "Why not us?",
    "sequence_id": "seq_1",
    "deal_id": "deal_1",
}


def authorized(emulator):
    return aiohttp.ClientSession(
        f"{emulator.base_url}/", headers={"Authorization": f"Bearer {emulator.api_key}"}
    )


async def create(http, **changes):
    async with http.post("interviews", data=json.dumps(JANE | changes)) as response:
        return await response.json()


async def fill(emulator):
    """Have one of everything that is kept, and an interview that is answered halfway."""
    emulator.deals.add(name="Made-up id", metadata={"a": [1, None]}, segment_ids=["seg_1"])
    emulator.deals.add(id="deal_1", amount=5.5)
    async with authorized(emulator) as http:
        created = await create(http)
        await create(http, contact_email="ben@acme.example")
        await create(http, contact_email="link@acme.example", sequence_id="", interview_type_id="type_1")
        emulator.complete(2, "**Paige:** Hello")
        async with http.post(
            created["survey_url"], data={"question": "0", "answer": "A\nlot"}, allow_redirects=False
        ) as response:
            assert 303 == response.status
        async with http.post("deals/export", json={"columns": ["name"], "filters": {}}) as response:
            export = (await response.json())["export_id"]
        async with http.get(f"deals/export/{export}") as response:
            assert 2 == (await response.json())["rows_exported"]
        form = aiohttp.FormData(
            {"file_name": "a.bin", "content_type": "audio/mpeg", "source": "api", "deal_id": "deal_1"}
        )
        form.add_field("file", b"\x00\xff", filename="a.bin")
        async with http.post("deals/documents", data=form) as response:
            assert 200 == response.status


def everything(emulator):
    return [
        emulator.interviews, emulator.contacts, emulator.outbox, dict(emulator.deals), dict(emulator.exports),
        emulator.uploads, emulator.api_key,
    ]  # fmt: skip


async def test_everything_is_there_again(tmp_path):
    """Interviews with what was answered, contacts, emails, deals, exports, documents and the key; links lead to the new port."""
    async with Emulator(state=tmp_path / "state") as first:
        await fill(first)
    # On the port of the first, so that its links are those of the second.
    port = int(first.base_url.split(":")[2].split("/")[0])
    async with Emulator(state=tmp_path / "state", port=port) as second:
        assert everything(first) == everything(second)
        assert [1, 2, 3] == list(second.interviews)
        assert ["A\nlot"] == second.interviews[1].answers
        assert {"created": 1, "sent": 1, "completed": 1} == state_view(second)["interviews"]
    async with Emulator(state=tmp_path / "state", deals=None) as third, authorized(third) as http:
        assert port != int(third.base_url.split(":")[2].split("/")[0])
        link = third.interviews[1].survey_url
        assert link.startswith(third.base_url.removesuffix("api/v1"))
        async with http.get(link) as response:
            assert "A\nlot" in await response.text()
        async with http.get("interviews/2") as response:
            assert "**Paige:** Hello" == (await response.json())["transcript"]["content"]


async def test_new_ids_follow_those_that_are_there(tmp_path):
    """No interview, deal or export takes the place of another."""
    async with Emulator(state=tmp_path / "state") as first:
        await fill(first)
    async with Emulator(state=tmp_path / "state") as second, authorized(second) as http:
        assert 4 == (await create(http))["interview_request_id"]
        assert "contact_000001" == second.interviews[4].contact.contact_id
        assert "deal_000002" == second.deals.add(name="Another")["id"]
        async with http.post("deals/export", json={"columns": ["name"]}) as response:
            assert "exp_000002" == (await response.json())["export_id"]


async def test_what_was_still_to_happen_happens_after_the_next_start(tmp_path):
    """Emails that were due later, and interviews that are completed by themselves."""
    at_noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    late = {"email_delay": 60.0, "completes_after": 120.0, "state": tmp_path / "state"}
    async with Emulator(started_at=at_noon, **late) as first, authorized(first) as http:
        await create(http)
        assert "created" == first.interviews[1].status
    async with Emulator(started_at=at_noon.replace(minute=1, second=5), **late) as second:
        assert ("sent", 1) == (second.interviews[1].status, len(second.outbox))
        await asyncio.sleep(60)
        assert "completed" == second.interviews[1].status


async def test_a_key_that_is_given_holds_and_is_kept(tmp_path):
    """The kept one is for those who give none."""
    async with Emulator(state=tmp_path / "state", api_key="first"):
        pass
    async with Emulator(state=tmp_path / "state", api_key="second"):
        pass
    async with Emulator(state=tmp_path / "state") as third, authorized(third) as http:
        assert "second" == third.api_key
        assert 1 == (await create(http))["interview_request_id"]


async def test_a_reset_empties_the_file_too(tmp_path):
    """And what was closed and started again goes on with what it had."""
    emulator = Emulator(state=tmp_path / "state", remote_control=True)
    async with emulator:
        await fill(emulator)
    async with emulator, aiohttp.ClientSession() as http:
        assert 3 == len(emulator.interviews)
        async with http.post(f"{emulator.control_url}/reset", json={}) as response:
            assert 200 == response.status
    async with Emulator(state=tmp_path / "state") as after:
        assert [{}, {}, [], {}, {}, []] == everything(after)[:-1]


async def test_it_is_the_owners_alone_and_a_link_to_it_stays_one(tmp_path):
    """Keys and survey links are in it. Nothing but it and its lock lies beside."""
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there" / "state")
    async with Emulator(state=tmp_path / "link") as emulator:
        await fill(emulator)
    assert (tmp_path / "link").is_symlink()
    assert 0o600 == stat.S_IMODE((tmp_path / "there" / "state").stat().st_mode)
    assert {"state", ".state.lock"} == {path.name for path in (tmp_path / "there").iterdir()}


async def test_it_is_written_soon_after_a_request_also_where_the_answer_waits(tmp_path):
    """What was committed is on disk within a second, on the loop's clock."""
    async with Emulator(state=tmp_path / "state") as emulator, authorized(emulator) as http:
        emulator.fail("POST /interviews", how="slow", seconds=60, at="after_commit")
        waiting = asyncio.create_task(create(http))
        while not emulator.outbox:
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)
        kept = Organisation(email_delay=0)
        restore((tmp_path / "state").read_bytes().splitlines(), kept)
        assert [1] == list(kept.interviews)
        assert not waiting.done()
        waiting.cancel()


HEAD = json.dumps({"hindsight_emulator_state": {"format": FORMAT, "api_key": "key", "origin": "http://h"}})
WRONG = {
    "": "its end is missing",
    "\n": "line 1 is not what",
    "SQLite format 3\x00": "line 1 is not what",
    "[]": "line 1 is not what",
    '{"contact": {}}\n{"lines": 1}': "it is no state of an emulator",
    HEAD: "its end is missing",
    f'{HEAD}\n{{"lines": 2}}': "its end is missing",
    f'{HEAD}\n{{"contact": {{"email": "a@b"}}}}\n{{"lines": 2}}': "line 2 is not what",
    f'{HEAD}\n{{"email": {{}}}}\n{{"lines": 2}}': "line 2 is not what",
    f'{HEAD}\n{{"robot": {{}}}}\n{{"lines": 2}}': "line 2 is not what",
    HEAD.replace(
        f'"format": {FORMAT}', f'"format": {FORMAT + 1}'
    ): "a newer hindsight-async wrote it (format 2, and this one",
}


@pytest.mark.parametrize("text", WRONG)
async def test_a_file_that_cannot_be_read_is_refused_and_left_as_it_is(tmp_path, text):
    """It is named, with what is wrong and what to do; the next start may use it once it is mended."""
    file = tmp_path / "state"
    file.write_text(text)
    emulator = Emulator(state=file)
    with pytest.raises(ValueError, match="cannot be used") as raised:
        await emulator.start()
    assert str(file) in str(raised.value)
    assert WRONG[text] in str(raised.value)
    assert str(raised.value).endswith("Name another, or move it away to begin anew")
    assert text == file.read_text()
    file.unlink()
    async with Emulator(state=file):
        pass


async def test_a_file_is_one_emulators_at_a_time(tmp_path):
    """The second would write over what the first keeps."""
    async with Emulator(state=tmp_path / "state") as first:
        with pytest.raises(ValueError, match="in use by another emulator"):
            await Emulator(state=tmp_path / "state").start()
        await fill(first)
    async with Emulator(state=tmp_path / "state") as second:
        assert 3 == len(second.interviews)


async def test_a_place_where_no_file_can_be_is_an_error_at_the_start(tmp_path):
    """With no port left open."""
    with pytest.raises(ValueError, match="there is no folder"):
        await Emulator(state=tmp_path / "nowhere" / "state").start()
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match="cannot be read: Is a directory"):
        await Emulator(state=tmp_path / "folder").start()
    with full_disk(), pytest.raises(ValueError, match="cannot be written: File too large"):
        await Emulator(state=tmp_path / "state").start()
    assert not (tmp_path / "state").exists()
    async with Emulator() as taken:
        port = int(taken.base_url.split(":")[2].split("/")[0])
        with pytest.raises(OSError, match="in use"):
            await Emulator(state=tmp_path / "state", port=port).start()
    async with Emulator(state=tmp_path / "state", port=port):
        pass


async def test_a_full_disk_stops_nobody_and_is_said_once(tmp_path, caplog):
    """The file stays as it was, requests are answered, and it is written as soon as there is room."""
    caplog.set_level(logging.INFO, "hindsight_async.emulator")
    async with Emulator(state=tmp_path / "state") as emulator, authorized(emulator) as http:
        before = (tmp_path / "state").read_bytes()
        with full_disk(10):
            await create(http)
            await asyncio.sleep(3)
            assert 2 == (await create(http))["interview_request_id"]
            await asyncio.sleep(3)
        assert before == (tmp_path / "state").read_bytes()
        assert [".state.lock", "state"] == sorted(path.name for path in tmp_path.iterdir())
        await asyncio.sleep(1)
        assert before != (tmp_path / "state").read_bytes()
    said = [record.getMessage().partition(str(tmp_path))[2] for record in caplog.records]
    assert 2 == len(said)
    assert said[0].startswith("/state cannot be written, and is tried again: ")
    assert "/state is written again" == said[1]


async def test_what_cannot_be_written_at_the_end_is_an_error(tmp_path):
    """The port is closed all the same, and the file free for another."""
    emulator = Emulator(state=tmp_path / "state")
    await emulator.start()
    with full_disk(10), pytest.raises(OSError, match="too large"):
        await emulator.close()
    async with Emulator(state=tmp_path / "state"):
        pass


@pytest.mark.parametrize("steps", range(0, 30, 3))
async def test_a_start_that_is_cancelled_leaves_the_file_free(tmp_path, steps):
    """After any number of steps of the loop."""
    emulator = Emulator(state=tmp_path / "state")
    starting = asyncio.create_task(emulator.start())
    for _ in range(steps):
        await asyncio.sleep(0)
    starting.cancel()
    with suppress(asyncio.CancelledError):
        await starting
    await emulator.close()
    async with Emulator(state=tmp_path / "state"):
        pass


@given(st.text(), st.recursive(st.none() | st.text(), lambda inner: st.dictionaries(st.text(), inner)))
def test_any_text_comes_back_as_it_was(name, context):
    """Also what no encoding has bytes for."""
    organisation, again = Organisation(email_delay=0), Organisation(email_delay=0)
    body = {"contact_email": "a@b", "contact_name": name, "contact_context": context, "sequence_id": "s"}
    organisation.create(body, datetime.now(UTC), "http://h/survey")
    start = Start("key", "http://h")
    assert start == restore(encoded(lines_of(start, organisation)), again)
    assert (organisation.interviews, organisation.outbox) == (again.interviews, again.outbox)


@given(st.lists(st.binary() | st.from_regex(rb'\A\{"[a-z]+": (\{\}|\[\]|1|null|\{"id": 1\})\}\Z')))
def test_what_is_no_state_is_never_another_error(lines):
    """Whatever the bytes are."""
    with pytest.raises(WrongStateError):
        restore([HEAD.encode(), *lines, b"{}"], Organisation(email_delay=0))
