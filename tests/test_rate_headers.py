"""What a response's headers say, and that nothing in them can do harm."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from hindsight_async.rate.headers import RateHeaders, parse_rate_headers

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EPOCH = int(NOON.timestamp())
DATE = "Sun, 01 Mar 2026 12:00:00 GMT"


def parse(*, received_at: datetime = NOON, **named: str) -> RateHeaders:
    """Parse headers named with underscores, which carry a Date at noon unless told otherwise."""
    found = {"Date": DATE, **{name.replace("_", "-"): value for name, value in named.items()}}
    return parse_rate_headers(
        {name: value for name, value in found.items() if value != "absent"}, received_at=received_at
    )


def test_no_headers_say_nothing():
    """A response without any of the headers has no limits and no problems."""
    assert RateHeaders() == parse_rate_headers({}, received_at=NOON)


def test_counts_are_read():
    """Limit, remaining and what is left of the month are whole numbers."""
    said = parse(X_RateLimit_Limit="300", X_RateLimit_Remaining=" 299 ", X_Usage_Remaining="0")
    assert (300, 299, 0, ()) == (said.limit, said.remaining, said.usage_remaining, said.problems)


@pytest.mark.parametrize(
    "reset",
    [
        "20",
        "20.0",
        str(EPOCH + 20),
        f"{EPOCH + 20}.000",
        str((EPOCH + 20) * 1000),
        "Sun, 01 Mar 2026 12:00:20 GMT",
        "2026-03-01T12:00:20Z",
        "2026-03-01T13:00:20+01:00",
        "2026-03-01T12:00:20",
    ],
)
def test_a_reset_is_understood_in_any_unit(reset: str):
    """Deltas, seconds, milliseconds and dates all mean the same 20 s, counted from the response's own date."""
    said = parse(X_RateLimit_Reset=reset, Retry_After=reset, X_Usage_Period_End=reset)
    there = NOON + timedelta(seconds=20)
    assert (20.0, there, 20.0) == (said.reset_in, said.reset_at, said.retry_after)
    assert (20.0, there, ()) == (said.usage_reset_in, said.usage_period_end, said.problems)


@pytest.mark.parametrize("minutes", [-10, 10])
def test_a_wrong_local_clock_changes_nothing(minutes: int):
    """The wait is counted on the server's clock, whatever the local one says."""
    said = parse(X_RateLimit_Reset=str(EPOCH + 20), received_at=NOON + timedelta(minutes=minutes))
    assert (20.0, NOON + timedelta(seconds=20)) == (said.reset_in, said.reset_at)


def test_without_a_date_the_local_clock_stands_in():
    """A reset of the minute is read against the local clock, and waits that it makes too long are not believed."""
    assert 20.0 == parse(Date="absent", X_RateLimit_Reset=str(EPOCH + 20)).reset_in
    far = parse(Date="absent", X_RateLimit_Reset=str(EPOCH + 600))
    assert (None, ("X-RateLimit-Reset",)) == (far.reset_in, far.problems)
    assert 600.0 == parse(Date="absent", Retry_After="600").retry_after


def test_a_reset_in_the_past_is_now():
    """A moment that has passed is no seconds away."""
    assert 0.0 == parse(X_RateLimit_Reset=str(EPOCH - 30)).reset_in


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "NaN",
        "inf",
        "-1",
        "+5",
        "1e3",
        "60, 60",
        "60;w=60",
        "\u0663",
        "\uff11\uff12",
        "1_000",
        "0x10",
        "9" * 5000,
        "12.5",
    ],
)
def test_counts_without_sense_are_left_out(value: str):
    """What is no whole number is named as a problem and otherwise ignored."""
    said = parse(X_RateLimit_Limit=value, X_RateLimit_Remaining=value, X_Usage_Remaining=value)
    assert (None, None, None) == (said.limit, said.remaining, said.usage_remaining)
    assert ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-Usage-Remaining") == said.problems


@pytest.mark.parametrize(
    "value",
    [
        "",
        "soon",
        "NaN",
        "-5",
        "1e3",
        "60, 60",
        "\u0663\u0660",
        "99999999",
        str(EPOCH + 400 * 86400),
        str(EPOCH * 10**6),
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00+23:59",
        "Sun, 99 Mar 2026 12:00:00 GMT",
    ],
)
def test_moments_without_sense_are_left_out(value: str):
    """What is no moment within a year is named as a problem and otherwise ignored."""
    said = parse(X_RateLimit_Reset=value, Retry_After=value, X_Usage_Period_End=value)
    assert (None, None, None, None) == (said.reset_in, said.reset_at, said.retry_after, said.usage_reset_in)
    assert {"X-RateLimit-Reset", "Retry-After", "X-Usage-Period-End"} == set(said.problems)


@pytest.mark.parametrize(
    ("limit", "problem"), [("0", True), ("1", False), ("1000000", False), ("1000001", True)]
)
def test_a_limit_is_at_least_one_and_not_absurd(limit: str, *, problem: bool):
    """A limit of nothing or of millions is a mistake."""
    assert problem == (parse(X_RateLimit_Limit=limit).limit is None)


def test_more_remaining_than_the_limit_is_a_problem():
    """A Remaining above the Limit is left out; the Limit stands."""
    said = parse(X_RateLimit_Limit="60", X_RateLimit_Remaining="61")
    assert (60, None, ("X-RateLimit-Remaining",)) == (said.limit, said.remaining, said.problems)


def test_a_date_without_sense_is_replaced_by_the_local_clock():
    """A broken Date is named and not used."""
    said = parse(Date="yesterday", X_RateLimit_Reset=str(EPOCH + 20))
    assert (20.0, ("Date",)) == (said.reset_in, said.problems)


def test_names_are_looked_up_as_the_mapping_does():
    """With aiohttp's mapping the case of a name does not matter."""
    headers = CIMultiDictProxy(CIMultiDict({"x-ratelimit-limit": "60"}))
    assert 60 == parse_rate_headers(headers, received_at=NOON).limit


NAMES = [
    "Date",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "X-Usage-Remaining",
    "X-Usage-Period-End",
    "Retry-After",
]
VALUES = st.one_of(
    st.text(),
    st.integers().map(str),
    st.floats().map(str),
    st.integers(0, 10**14).map(str),
    st.datetimes().map(datetime.isoformat),
    st.datetimes(timezones=st.just(UTC)).map(lambda date: date.strftime("%a, %d %b %Y %H:%M:%S GMT")),
    st.from_regex(
        r"(Mon|Sun), [0-9]{1,2} [A-Z][a-z]{2} [0-9]{1,5} [0-9:]{1,9}( [-+A-Z0-9]{1,5})?", fullmatch=True
    ),
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), VALUES), st.integers(-600, 600))
def test_no_text_whatever_breaks_the_parser(headers: dict[str, str], skew: int):
    """Any text is read without raising, and every wait that comes out is finite and not negative."""
    said = parse_rate_headers(headers, received_at=NOON + timedelta(seconds=skew))
    for wait in (said.reset_in, said.retry_after, said.usage_reset_in):
        assert wait is None or (math.isfinite(wait) and wait >= 0)
    assert said.limit is None or said.limit >= 1
    assert said.remaining is None or 0 <= said.remaining
    assert (said.reset_in is None) == (said.reset_at is None)
