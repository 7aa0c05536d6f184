"""`hindsight-async queue`: a person sees what is left, sends it, holds it back and lets it go on."""

import asyncio

import pytest

from hindsight_async import CreateInterview, HindsightSession


@pytest.fixture
def queued(tmp_path):
    """Queue three requests in a file; return its path."""

    async def put():
        hindsight = HindsightSession("unused")
        async with hindsight.interviews.queue(tmp_path / "deals.db", send=False) as queue:
            requests = [
                CreateInterview(contact_email=f"jane{n}@acme.example", sequence_id="seq_1") for n in range(3)
            ]
            await queue.put_many(requests)
        await hindsight.close()

    asyncio.run(put())
    return str(tmp_path / "deals.db")


def told(emulator):
    return {"HINDSIGHT_API_KEY": emulator.api_key, "HINDSIGHT_BASE_URL": emulator.base_url}


def test_show_says_what_is_left(command_line, queued):
    """How many, since when, and nothing of whom."""
    shown = command_line("queue", "show", queued)
    assert 0 == shown.returncode
    assert "3 rows queued, 0 on their way\nthe oldest has waited for 0:00:0" in shown.stdout
    assert "acme" not in shown.stdout + shown.stderr


def test_drain_sends_what_is_queued(command_line, queued, emulator):
    """Each once, by somebody without a program of their own; a second time there is nothing to do."""
    drained = command_line("queue", "drain", queued, "--plan", "enterprise", **told(emulator))
    assert (0, "") == (drained.returncode, drained.stdout)
    assert "nothing is queued any more" in drained.stderr
    assert 0 == command_line("queue", "drain", queued, "--plan", "enterprise", **told(emulator)).returncode
    assert 3 == len(emulator.outbox)
    assert "0 rows queued, 0 on their way\n" == command_line("queue", "show", queued).stdout


def test_pause_holds_back_until_resume(command_line, queued, emulator):
    """The reason is shown; `drain` says so and sends nothing; resumed, all goes out."""
    assert 0 == command_line("queue", "pause", queued, "wrong template").returncode
    shown = command_line("queue", "show", queued).stdout
    assert ": wrong template\nonce that is mended: hindsight-async queue resume" in shown
    drained = command_line("queue", "drain", queued, "--plan", "enterprise", **told(emulator))
    assert 1 == drained.returncode
    assert "the queue is paused: wrong template" in drained.stderr
    assert [] == emulator.requests
    assert "resumed" in command_line("queue", "resume", queued).stderr
    assert "it was not paused" in command_line("queue", "resume", queued).stderr
    assert 0 == command_line("queue", "drain", queued, "--plan", "enterprise", **told(emulator)).returncode
    assert 3 == len(emulator.outbox)


def test_what_failed_is_counted(command_line, queued, emulator):
    """The exit code says that a person has something to look at."""
    emulator.fail("POST /interviews", 400)
    drained = command_line("queue", "drain", queued, "--plan", "enterprise", **told(emulator))
    assert 1 == drained.returncode
    assert "1 row failed, see ledger show" in drained.stderr


def test_a_queue_that_is_not_there_is_named(command_line, tmp_path, emulator):
    """No command makes an empty file by a slip of the keyboard."""
    missing = str(tmp_path / "other.db")
    for words in (["show"], ["pause"], ["resume"], ["drain"]):
        refused = command_line("queue", *words, missing, **told(emulator))
        assert 2 == refused.returncode
        assert "other.db" in refused.stderr
    assert [] == list(tmp_path.iterdir())


def test_a_timeout_keeps_the_rest(command_line, queued, emulator):
    """What was not sent by then is queued still, and the text says how many."""
    command_line("queue", "pause", queued)
    emulator.fail("POST /interviews", 429, times=None)
    command_line("queue", "resume", queued)
    drained = command_line(
        "queue", "drain", queued, "--timeout", "0.5", "--plan", "enterprise", **told(emulator)
    )
    assert 1 == drained.returncode
    assert "3 rows are still queued after 0.5 s" in drained.stderr
    assert "3 rows queued" in command_line("queue", "show", queued).stdout
