"""When a queue tries a row again, and what pauses all of it: plain functions of an outcome."""

import asyncio
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hindsight_async import (
    BadRequestError,
    CreatedInterview,
    CreateInterview,
    DeadlineExceededError,
    Ledger,
    LedgerError,
    LedgerStatus,
    NotSentError,
    Outcome,
    OutcomeStatus,
    OutcomeUnknownError,
    QuotaExceededError,
    RecipientNotAllowedError,
    SessionClosedError,
    UnauthorizedError,
)
from hindsight_async.delivery.outcomes import counts_against_the_run, status_of
from hindsight_async.delivery.queue.pauses import (
    FIRST_PAUSE,
    JITTER_SHARE,
    LONGEST_PAUSE,
    is_passing,
    pause_before_next_try,
    pauses_the_queue,
)
from hindsight_async.delivery.queue.queue import DurableQueue
from hindsight_async.resources.interviews.rows import CREATES
from virtual_time import VirtualTimeLoop

pytestmark = pytest.mark.usefixtures("in_memory")


def outcome_of(error):
    status = OutcomeStatus.CREATED if error is None else status_of(error, creating=True)
    return Outcome(index=0, key="k", request=None, status=status, error=error)


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_pauses_grow_and_stay_bounded(pauses, random):
    """From seconds to a quarter of an hour, less a part that is random, however long it goes on."""
    outcome = outcome_of(NotSentError("no network"))
    pause = pause_before_next_try(outcome, pauses, random)
    assert FIRST_PAUSE * (1 - JITTER_SHARE) <= pause <= LONGEST_PAUSE
    assert pause_before_next_try(outcome, pauses, 0.0) <= pause_before_next_try(outcome, pauses + 1, 0.0)


def test_what_a_server_asked_for_is_waited_for():
    """A longer wait than our own counts, up to the longest; a list that somebody has to change is asked seldom."""
    asked = DeadlineExceededError("later", retry_after=60.0)
    assert 60.0 == pause_before_next_try(outcome_of(asked), 0, 0.5)
    months = DeadlineExceededError("later", retry_after=1e9)
    assert LONGEST_PAUSE == pause_before_next_try(outcome_of(months), 0, 0.5)
    assert LONGEST_PAUSE == pause_before_next_try(outcome_of(RecipientNotAllowedError("no")), 0, 0.0)


@pytest.mark.parametrize(
    ("error", "pauses", "fails"),
    [
        (None, False, False),
        (UnauthorizedError("no", status=401), True, True),
        (QuotaExceededError("no"), True, True),
        (LedgerError("the disk is full"), False, True),
        (SessionClosedError("over"), False, True),
        (NotSentError("no network"), False, False),
        (RecipientNotAllowedError("no"), False, False),
        (BadRequestError("no", status=400), False, True),
        (OutcomeUnknownError("?"), False, True),
    ],
)
def test_what_pauses_the_queue(error, pauses, fails):
    """Only what no other row escapes and a person has to mend; what passes by itself or is one row's fault does not."""
    assert (pauses, fails) == (
        pauses_the_queue(outcome_of(error), creating=True),
        not is_passing(outcome_of(error)) and counts_against_the_run(outcome_of(error)),
    )


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 5)),
        st.tuples(
            st.just("next"), st.sampled_from(["created", "not_sent", "rejected", "unknown", "cancelled"])
        ),
        st.tuples(st.just("wait"), st.floats(0.1, 40)),
        st.tuples(st.just("reopen"), st.none()),
    ),
    max_size=12,
)
FAILURES = {
    "not_sent": NotSentError("no network"),
    "rejected": BadRequestError("no", status=400),
    "unknown": OutcomeUnknownError("?"),
}


class Server:
    """Answers as it is told to, and refuses to be asked for what has an end."""

    def __init__(self):
        self.ends, self.coming = {}, []

    async def send(self, request, hooks):
        key, how = request.contact_email, self.coming.pop(0) if self.coming else "created"
        assert key not in self.ends
        await hooks.about_to_send()
        if how != "not_sent":
            self.ends[key] = "unknown" if how == "cancelled" else how
        await asyncio.sleep(1)
        if how == "cancelled":
            raise asyncio.CancelledError
        if how == "not_sent":
            await hooks.not_processed()
        if how in FAILURES:
            raise FAILURES[how]
        return CreatedInterview(interview_request_id=1, contact_id="c", status="sent")

    def queue_at(self, path):
        return DurableQueue(
            CREATES, self.send, check=lambda _: None, open_session=lambda: None, ledger=Ledger(path),
            limit=lambda: 60, max_in_flight=3, abort_after_failures=1000, max_age=timedelta(days=7), on_outcome=None,
        )  # fmt: skip


async def carry_out(steps, server, path):
    """Do one step after the other; return what the ledger says of each contact then."""
    queue = await server.queue_at(path).__aenter__()
    for what, value in steps:
        if what == "put":
            await queue.put(CreateInterview(contact_email=f"jane{value}@acme.example", sequence_id="s"))
        elif what == "next":
            server.coming.append(value)
        elif what == "wait":
            await asyncio.sleep(value)
        else:
            await queue.__aexit__(None, None, None)
            queue = await server.queue_at(path).__aenter__()
    await queue.__aexit__(None, None, None)
    return {entry.contact_email: entry.status.value async for entry in Ledger(path).entries()}


@settings(max_examples=15)
@given(STEPS)
def test_whatever_happens_a_key_leaves_again_only_where_nothing_came_of_it(steps):
    """Over puts, failures, cancellations and restarts: once created, rejected or unknown, a key is never sent again."""
    server = Server()
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        left = runner.run(carry_out(steps, server, Path(folder) / "deals.db"))
    assert {key: status for key, status in left.items() if key in server.ends} == server.ends
    assert {LedgerStatus.QUEUED, LedgerStatus.NOT_SENT} >= {
        left[key] for key in left.keys() - server.ends.keys()
    }
    assert {f"jane{value}@acme.example" for what, value in steps if what == "put"} == left.keys()
