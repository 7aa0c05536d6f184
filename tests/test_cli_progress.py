"""What the progress lines say, and that they fit 80 columns."""

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from hindsight_async.cli.progress import (
    ProgressLines,
    RunProgress,
    seconds_left,
    spoken,
    spoken_exactly,
    spoken_out,
)
from hindsight_async.delivery.network import NetworkWait
from hindsight_async.delivery.outcomes import OutcomeStatus
from hindsight_async.errors import NotSentError
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


def screen(progress, budget, width=80):
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=True, color_system=None, legacy_windows=False).print(
        ProgressLines(progress, budget), end=""
    )
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_the_rate_is_that_of_the_last_minute():
    """Rows count for the sixty seconds in which the plan counts them, once each; those that were not tried do not."""
    now = 0.0
    progress = RunProgress(10, clock=lambda: now)
    progress.advance(OutcomeStatus.CREATED, attempts=1)
    progress.advance(OutcomeStatus.ALREADY_DONE, attempts=0)
    now = 30.0
    progress.advance(OutcomeStatus.CREATED, attempts=2)
    assert "2/min" == progress.parts(snapshot())[0]
    now = 60.0
    assert "1/min" == progress.parts(snapshot())[0]
    assert (3, 10, 60.0) == (progress.done, progress.total, progress.seconds)


def test_both_lines_fit_eighty_columns():
    """A bar, how many, the rate, the time left and the failures; below, what is waited for and what others have."""
    progress = RunProgress(4861, clock=lambda: 0.0)
    for status, count in ((OutcomeStatus.CREATED, 2609), (OutcomeStatus.REJECTED, 2)):
        for _ in range(count):
            progress.advance(status, attempts=0)
    budget = snapshot(free_now=0, seconds_until_next_permit=23.0, left_to_others=41)
    bar, wait = screen(progress, budget)
    assert bar.startswith("━━━━━━━━━")
    assert bar.endswith("  2,611/4,861  9 min left  2 failed")
    assert 80 == len(bar)
    assert "waiting for the plan's next minute, 23 s · 41 a minute left to other programs" == wait
    assert 80 == len(screen(progress, budget, width=120)[0])
    assert 60 >= max(map(len, screen(progress, budget, width=60)))


def test_a_pipe_gets_all_of_it_in_one_line():
    """The same words, and no control character."""
    progress = RunProgress(4861, clock=lambda: 0.0)
    progress.advance(OutcomeStatus.UNKNOWN, attempts=1)
    assert (
        "1 of 4,861 done · 1/min · 17 min left · 1 failed · waiting for the plan's next minute, 37 s"
        == progress.plain(snapshot(free_now=0, seconds_until_next_permit=37.0))
    )


def test_the_reason_to_wait_and_the_failures_are_named():
    """A closed budget with its time, and how many rows failed: what was kept back and never tried has not."""
    progress = RunProgress(10, clock=lambda: 0.0)
    for status, attempts in (
        (OutcomeStatus.REJECTED, 1),
        (OutcomeStatus.UNKNOWN, 0),
        (OutcomeStatus.NOT_SENT, 2),
        (OutcomeStatus.NOT_SENT, 0),
        (OutcomeStatus.DUPLICATE, 0),
    ):
        progress.advance(status, attempts)
    budget = snapshot(closed_until=datetime(2026, 7, 24, 10, 30, 5, tzinfo=UTC))
    assert progress.wait(budget).startswith("closed by the server until ")
    assert progress.wait(budget).endswith(":05")
    assert "3 failed" == progress.parts(budget)[-1]


@pytest.mark.parametrize(
    ("rows", "free_now", "wait", "minutes"),
    [
        (300, 300, 0.0, 0),
        (301, 300, 0.0, 1),
        (4861, 300, 0.0, 16),
        (4561, 0, 55.0, 16),
        (4561, 0, 0.5, 16),
        (1, 0, 40.0, 1),
        (600, 1, 0.0, 2),
    ],
)
def test_the_time_left_is_that_of_the_plan(rows, free_now, wait, minutes):
    """Windows of a minute, or an even pace: whichever takes longer, whatever the first burst looked like."""
    left = seconds_left(rows, limit=300, free_now=free_now, wait=wait)
    assert minutes == -(-left // 60)


def test_rows_that_are_not_sent_take_no_time():
    """What the ledger has, and what is left out, is gone through at once."""
    progress = RunProgress(5000, to_send=10, clock=lambda: 0.0)
    assert "under 1 min left" == progress.parts(snapshot(free_now=300))[0]
    for _ in range(5000):
        progress.advance(OutcomeStatus.ALREADY_DONE, attempts=0)
    assert [] == progress.parts(snapshot())


def test_what_is_left_to_others_is_not_counted_on():
    """Beside another program with half of the plan the rest takes twice as long."""
    progress = RunProgress(3000, clock=lambda: 0.0)
    assert "10 min left" == progress.parts(snapshot(free_now=0))[0]
    assert "20 min left" == progress.parts(snapshot(free_now=0, left_to_others=150))[0]
    assert "50 min left" == progress.parts(snapshot(free_now=0, route_limits={"POST /interviews": 60}))[0]


async def test_a_network_that_is_gone_is_said_with_how_long_it_is_waited_for(capsys):
    """At once by a sentence, then by the second line, and once more when it is back."""
    progress, network = RunProgress(4861), NetworkWait(600.0)
    progress.follow(network)
    for _ in range(1204):
        progress.advance(OutcomeStatus.CREATED, attempts=0)
    await network.passable()
    assert network.failed(
        NotSentError(
            "no connection to https://h.test/api/v1: [Errno -2] Name or service not known", no_connection=True
        )
    )
    assert (
        "No connection to h.test (name not found). Trying again until 10 minutes have\n"
        "passed; 1,204 of 4,861 done, nothing is lost.\n"
    ) == capsys.readouterr().err
    assert "no connection to h.test for 0 s (name not found)" == progress.wait(snapshot())
    await network.passable()
    network.worked()
    assert "The connection is back after 1 s.\n" == capsys.readouterr().err
    assert "" == progress.wait(snapshot())


@pytest.mark.parametrize(
    ("seconds", "said", "exactly", "out"),
    [
        (0, "0 s", "0 s", "0 seconds"),
        (1, "1 s", "1 s", "1 second"),
        (90, "90 s", "1 min 30 s", "90 seconds"),
        (600, "10 min", "10 min", "10 minutes"),
        (964, "16 min", "16 min 4 s", "964 seconds"),
        (7200, "120 min", "2 h", "2 hours"),
        (3905, "65 min", "1 h 5 min", "3,905 seconds"),
    ],
)
def test_times_are_said_as_people_say_them(seconds, said, exactly, out):
    """At a glance, for the record, and in a sentence."""
    assert (said, exactly, out) == (spoken(seconds), spoken_exactly(seconds), spoken_out(seconds))
