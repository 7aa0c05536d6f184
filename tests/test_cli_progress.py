"""What the progress line says."""

from datetime import UTC, datetime

from hindsight_async.cli.progress import RunProgress
from hindsight_async.delivery.outcomes import OutcomeStatus
from hindsight_async.rate import BudgetSnapshot


def snapshot(**fields):
    open_now = {
        "limit": 300,
        "free_now": 1,
        "in_flight": 0,
        "queued": {"interactive": 0, "bulk": 0},
        "seconds_until_next_permit": 0.0,
        "closed_until": None,
    }
    return BudgetSnapshot(**{**open_now, **fields})


def test_the_rate_is_that_of_the_last_minute():
    """Requests count for the sixty seconds in which the plan counts them; rows without one do not."""
    now = 0.0
    progress = RunProgress(10, clock=lambda: now)
    progress.advance(OutcomeStatus.CREATED, attempts=1)
    progress.advance(OutcomeStatus.ALREADY_DONE, attempts=0)
    now = 30.0
    progress.advance(OutcomeStatus.CREATED, attempts=2)
    assert "3 of 300 in the last minute" == progress.describe(snapshot())
    now = 60.0
    assert "2 of 300 in the last minute" == progress.describe(snapshot())
    assert (3, 10) == (progress.done, progress.total)


def test_the_reason_to_wait_and_the_failures_are_named():
    """A full window with its seconds, a closed budget with its time, and how many rows failed."""
    progress = RunProgress(10, clock=lambda: 0.0)
    assert "0 of 300 in the last minute, window full, 37 s" == progress.describe(
        snapshot(seconds_until_next_permit=37.0)
    )
    for status in (
        OutcomeStatus.REJECTED,
        OutcomeStatus.UNKNOWN,
        OutcomeStatus.NOT_SENT,
        OutcomeStatus.DUPLICATE,
    ):
        progress.advance(status, attempts=0)
    closed = progress.describe(snapshot(closed_until=datetime(2026, 7, 24, 10, 30, 5, tzinfo=UTC)))
    assert "closed by the server until " in closed
    assert closed.endswith(":05, 3 failed")
