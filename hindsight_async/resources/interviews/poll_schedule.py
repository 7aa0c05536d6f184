"""When which interview is read again: pure, with the time handed in, in seconds of the event loop's clock."""

import asyncio
from array import array
from collections.abc import Iterable, Iterator, Mapping
from math import ceil, floor, inf

from attrs import frozen

from hindsight_async.rate.headers import RateHeaders, count_in

DAY = 86400.0

SLOWER_WITH_AGE = ((DAY, 1), (7 * DAY, 4), (28 * DAY, 12), (inf, 48))
"""Up to which age, in seconds, an interview is read once in how many times `every`.

Most people answer within hours of the email or not at all.
"""

PART_OF_PLAN = 0.5
"""How much of the requests per minute all waiting of a session takes at most; the rest is left to others."""

MONTH = 30 * DAY
"""What a wait without an end is reckoned for, and a month whose end the server does not name."""


def age_class(age: float) -> int:
    """Return the place in SLOWER_WITH_AGE of an interview that is so many seconds old."""
    return next(number for number, (until, _) in enumerate(SLOWER_WITH_AGE) if age < until)


def reads_within(seconds: float, every: float) -> int:
    """Count how often an interview that was created now is read in so many seconds, where it is not completed."""
    reads, moment = 1, 0.0
    for until, times in SLOWER_WITH_AGE:
        interval = every * times
        more = floor((seconds - moment) / interval)
        if until < inf:
            more = min(more, ceil((until - moment) / interval))
        reads, moment = reads + max(0, more), moment + max(0, more) * interval
    return reads


def most_requests(interviews: int, *, seconds: float, every: float, requests_per_minute: int) -> int:
    """Count how many requests a wait takes at most: where all are new and none is completed.

    Args:
        interviews: How many are waited for.
        seconds: For how long.
        every: Seconds between two reads of a new one.
        requests_per_minute: The plan's.

    """
    by_pace = floor(seconds / shortest_gap(requests_per_minute)) + 1
    return min(interviews * reads_within(seconds, every), by_pace)


def shortest_gap(requests_per_minute: int) -> float:
    """Return the fewest seconds from one read to the next."""
    return 60.0 / (requests_per_minute * PART_OF_PLAN)


@frozen(eq=False)
class MonthlyUsage:
    """What the headers of one answer say of the month."""

    limit: int
    remaining: int
    ends_at: float
    """When the month is over."""

    def to_spend(self, keep: float) -> int:
        """Return how many requests are left above the part of the limit that is to be kept; less than 0 where none are."""
        return self.remaining - ceil(self.limit * keep)


def monthly_usage(headers: Mapping[str, str], named: RateHeaders, now: float) -> MonthlyUsage | None:
    """Return what X-Usage-* say; None where they do not say both the limit and what is left.

    Args:
        headers: Those of one answer.
        named: What else is known of them.
        now: The moment.

    """
    limit = count_in(headers.get("X-Usage-Limit", ""))
    if limit is None or named.usage_remaining is None:
        return None
    ends_in = MONTH if named.usage_reset_in is None else named.usage_reset_in
    return MonthlyUsage(limit, named.usage_remaining, now + ends_in)


class Pace:
    """What all who wait in one session share: their reads, one after the other, and what is known of the month."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._next_at = -inf
        self.usage: MonthlyUsage | None = None

    def move_to(self, loop: asyncio.AbstractEventLoop) -> None:
        """Forget the moments of another loop's clock, which mean nothing on this one."""
        if loop is not self._loop:
            self._loop, self._next_at, self.usage = loop, -inf, None

    def reserve(self, now: float, requests_per_minute: int) -> float:
        """Return the moment at which one more read may begin, and keep the time after it free."""
        begins_at = max(now, self._next_at)
        self._next_at = begins_at + shortest_gap(requests_per_minute)
        return begins_at


class _Line:
    """Ids, first in first out, each with the moment at which it was read last: two machine words."""

    def __init__(self, interval: float) -> None:
        self.interval = interval
        """Seconds between two reads of one of them."""
        self.ids = array("q")
        self._read_at = array("d")

    @property
    def next_due(self) -> float:
        """When the first is due; inf where there is none."""
        return self._read_at[0] + self.interval if self.ids else inf

    def join(self, interview_request_id: int, read_at: float) -> None:
        self.ids.append(interview_request_id)
        self._read_at.append(read_at)

    def pop(self) -> int:
        self._read_at.pop(0)
        return self.ids.pop(0)


class Calendar:
    """The ids of those who are waited for, by when they are to be read next: a line for each age class."""

    def __init__(self, ids: Iterable[int], every: float) -> None:
        self._unread = array("q", ids)
        self._unread.reverse()
        self._lines = [_Line(every * times) for _, times in SLOWER_WITH_AGE]

    def __len__(self) -> int:
        return len(self._unread) + sum(len(line.ids) for line in self._lines)

    def __iter__(self) -> Iterator[int]:
        yield from reversed(self._unread)
        for line in self._lines:
            yield from line.ids

    @property
    def next_due(self) -> float:
        """When the next is due; -inf for one that was never read, inf where there is none."""
        return -inf if self._unread else min(line.next_due for line in self._lines)

    @property
    def even_gap(self) -> float:
        """Seconds from one read to the next that spread the reads evenly; 0 while there are some that were never read."""
        if self._unread:
            return 0.0
        per_second = sum(len(line.ids) / line.interval for line in self._lines)
        return 1 / per_second if per_second else 0.0

    def take(self) -> tuple[int, int]:
        """Take out the one that is due next; return its id and age class."""
        if self._unread:
            return self._unread.pop(), 0
        of_age = min(range(len(self._lines)), key=lambda number: self._lines[number].next_due)
        return self._lines[of_age].pop(), of_age

    def put_back(self, interview_request_id: int, of_age: int, read_at: float) -> None:
        """Have one that is still open be read again, as its age has it."""
        self._lines[of_age].join(interview_request_id, read_at)
