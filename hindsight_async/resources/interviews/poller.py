"""Reads interviews now and then until each is completed: the API has no webhooks."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from math import inf, isfinite
from typing import Self

from hindsight_async.call.execute import Executor
from hindsight_async.call.request import Reply
from hindsight_async.call.values import LARGEST_ID
from hindsight_async.errors import (
    DeadlineExceededError,
    DecodeError,
    HindsightError,
    InternalServerError,
    NotFoundError,
    NotSentError,
    OutcomeUnknownError,
    QuotaExceededError,
    WaitTimeoutError,
)
from hindsight_async.rate.headers import parse_rate_headers
from hindsight_async.resources.interviews.arguments import checked_id
from hindsight_async.resources.interviews.models import Interview, InterviewStatus
from hindsight_async.resources.interviews.poll_schedule import (
    DAY,
    MONTH,
    Calendar,
    Pace,
    age_class,
    monthly_usage,
    most_requests,
)

logger = logging.getLogger("hindsight_async.waiting")

READ_SECONDS = 3600.0
"""The deadline of one read: it is there to wait for its turn behind all else."""

_PERHAPS_LATER = (
    DeadlineExceededError,
    DecodeError,
    InternalServerError,
    NotSentError,
    OutcomeUnknownError,
    QuotaExceededError,
)
"""What a read may end with that says nothing of the interview, so that the next one may do better."""

Read = Callable[[int, float, Callable[[Reply], object]], Awaitable[Interview]]
"""Reads an interview, within so many seconds, and tells of each answer."""


class InterviewPoller:
    """Gives interviews as they are completed; `async for` over it.

    It reads only while its next interview is awaited, and leaves nothing running in between or behind: after an error or
    a cancellation it can be iterated on. An interview that is gone (404) does not keep the others from being given; it is
    raised as NotFoundError once they all are.

    Attributes:
        most_requests: How many requests it takes at most, if none is completed: by `timeout`, else in 30 days.
        requests: How many were answered so far.
        failed: The error of each interview that is gone, by its id.

    """

    def __init__(
        self,
        ids: Iterable[int],
        *,
        read: Read,
        executor: Executor,
        pace: Pace,
        at_a_time: int,
        every: float,
        timeout: float | None,
        keep_quota: float,
        on_read: Callable[[Interview], object] | None = None,
    ) -> None:
        self._calendar = Calendar(dict.fromkeys(map(_checked_id, ids)), every)
        self._read, self._executor, self._pace = read, executor, pace
        self._at_a_time, self._on_read = at_a_time, on_read
        self._every, self._timeout, self._keep_quota = every, timeout, keep_quota
        self._all = len(self._calendar)
        self.most_requests = most_requests(
            self._all, seconds=MONTH if timeout is None else timeout, every=every,
            requests_per_minute=executor.requests_per_minute,
        )  # fmt: skip
        self.requests = 0
        self.failed: dict[int, HindsightError] = {}
        self._began: float | None = None
        """When it was first iterated, on the loop's clock."""
        self._server_clock: tuple[float, datetime] | None = None
        """The moment of the last answer, on the loop's clock and on the server's."""
        self._reads: dict[asyncio.Task[None], int] = {}
        """Those under way, with their ids."""
        self._completed: deque[Interview] = deque()
        """Read while others were waited for, at most as many as are read at a time."""
        self._last: Interview | None = None
        self._last_begun = -inf
        self._paused_until = -inf
        self._trouble: HindsightError | None = None
        """What the last read ended with, where that was not an answer."""

    @property
    def open(self) -> tuple[int, ...]:
        """The ids of the interviews that are not completed yet, nor gone."""
        return (*self._reads.values(), *self._calendar)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Interview:
        """Return the next that is completed.

        Raises:
            WaitTimeoutError: `timeout` seconds are over.
            NotFoundError: All that are there were given, and this one is gone; `failed` has all such.
            HindsightError: No more can be read, as with a wrong key.

        """
        loop = asyncio.get_running_loop()
        self._pace.move_to(loop)
        if self._began is None:
            self._began = loop.time()
            self._tell_cost()
        try:
            while self._reads or not self._completed:
                if not self._reads and not len(self._calendar):
                    self._end()
                await self._go_on(loop)
        finally:
            await self._stop_reads()
        return self._completed.popleft()

    def _end(self) -> None:
        if not self.failed:
            raise StopAsyncIteration
        first, *others = self.failed.items()
        if others:
            first[1].add_note(f"{len(others)} more interviews are gone: {[number for number, _ in others]}")
        raise first[1]

    def _tell_cost(self) -> None:
        days = MONTH / DAY if self._timeout is None else self._timeout / DAY
        text = "waiting for %d interviews takes at most %d requests in %.1f days"
        logger.info(text, len(self._calendar), self.most_requests, days)

    async def _go_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin a read if one is due, else wait until one is, or has ended."""
        now, ends_at = loop.time(), self._ends_at
        next_at = inf
        # The first alone, since its answer says whether there is anything to spend.
        at_a_time = self._at_a_time if self.requests else 1
        if not self._completed and len(self._reads) < at_a_time and len(self._calendar):
            next_at = max(self._calendar.next_due, self._last_begun + self._gap(now), self._paused_until)
        if now >= ends_at and not self._reads:
            raise self._ran_out() from self._trouble
        if next_at <= now < ends_at:
            self._begin(loop)
            return
        seconds = max(0.0, min(next_at, ends_at if ends_at > now else inf) - now)
        if not self._reads:
            await asyncio.sleep(seconds)
            return
        done, _ = await asyncio.wait(
            self._reads, timeout=seconds if isfinite(seconds) else None, return_when="FIRST_COMPLETED"
        )
        for task in done:
            del self._reads[task]
            if not task.cancelled():
                task.result()

    @property
    def _ends_at(self) -> float:
        return inf if self._timeout is None or self._began is None else self._began + self._timeout

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        number, of_age = self._calendar.take()
        begins_at = self._pace.reserve(loop.time(), self._executor.requests_per_minute)
        self._last_begun = begins_at
        task = loop.create_task(self._read_one(loop, number, of_age, begins_at))
        self._reads[task] = number

    async def _read_one(
        self, loop: asyncio.AbstractEventLoop, number: int, of_age: int, begins_at: float
    ) -> None:
        read_at = begins_at
        try:
            await asyncio.sleep(begins_at - loop.time())
            left = self._ends_at - loop.time()
            if left <= 0 or loop.time() < self._paused_until:
                return
            interview = await self._read(number, min(left, READ_SECONDS), partial(self._learn, loop))
            self._trouble = None
            if self._on_read is not None:
                self._on_read(interview)
            if interview.status is InterviewStatus.COMPLETED:
                read_at = inf
                self._completed.append(interview)
            else:
                self._last, of_age = interview, age_class(self._age(interview, loop.time()))
        except NotFoundError as error:
            read_at = inf
            self.failed[number] = error
            logger.warning("interview %d is gone and not waited for any more: %s", number, error)
        except _PERHAPS_LATER as error:
            self._note(error, loop)
        finally:
            if read_at < inf:
                self._calendar.put_back(number, of_age, read_at)

    async def _stop_reads(self) -> None:
        """End what is under way; each puts its interview back."""
        for task in self._reads:
            task.cancel()
        if self._reads:
            await asyncio.gather(*self._reads, return_exceptions=True)
        self._reads.clear()

    def _server_time(self, now: float) -> datetime:
        if self._server_clock is None:
            return datetime.now(UTC)
        answered, date = self._server_clock
        return date + timedelta(seconds=now - answered)

    def _age(self, interview: Interview, now: float) -> float:
        if interview.created_at is None:
            return now - (self._began or now)
        # Both are the server's moments, so a wrong clock here makes nobody older.
        return max(0.0, (self._server_time(now) - interview.created_at).total_seconds())

    def _learn(self, loop: asyncio.AbstractEventLoop, reply: Reply) -> None:
        now = loop.time()
        named = parse_rate_headers(reply.headers, received_at=self._server_time(now))
        self.requests += 1
        self._server_clock = (now, named.date) if named.date else None
        # A proxy's answer says nothing of the month, and unsays nothing.
        self._pace.usage = monthly_usage(reply.headers, named, now) or self._pace.usage
        if reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            # It is sent again by itself, and that counts as well.
            self._pace.reserve(now, self._executor.requests_per_minute)

    def _gap(self, now: float) -> float:
        """Return the seconds from one read to the next, and pause where the month's share is used up."""
        gap, usage = self._calendar.even_gap, self._pace.usage
        if usage is None:
            return gap
        if now >= usage.ends_at:
            self._pace.usage = None
            return gap
        to_spend = usage.to_spend(self._keep_quota)
        if to_spend > 0:
            # Evenly over what is left of the month, so that none of it is without a read.
            return max(gap, (min(usage.ends_at, self._ends_at) - now) / to_spend)
        if self._paused_until < usage.ends_at:
            self._paused_until = usage.ends_at
            text = "%d of %d requests of the month are left: waiting for %d interviews pauses for %.0f s"
            logger.warning(text, usage.remaining, usage.limit, len(self._calendar), usage.ends_at - now)
        return gap

    def _note(self, error: HindsightError, loop: asyncio.AbstractEventLoop) -> None:
        if self._trouble is None:
            logger.warning("an interview that is waited for could not be read, and will be again: %s", error)
        self._trouble = error
        if isinstance(error, QuotaExceededError):
            pause = self._every
            if error.reset_at is not None:
                pause = max(0.0, (error.reset_at - self._server_time(loop.time())).total_seconds())
            self._paused_until = max(self._paused_until, loop.time() + pause)

    def _ran_out(self) -> WaitTimeoutError:
        why = " (paused: the month's requests are to be kept)" if self._paused_until >= self._ends_at else ""
        text = (
            f"{len(self._calendar)} of {self._all} interviews are still open after {self._timeout:g} s{why}"
        )
        return WaitTimeoutError(text, last=self._last)


def _checked_id(interview_request_id: int) -> int:
    if checked_id(interview_request_id) > LARGEST_ID:
        raise ValueError("interview_request_id must be a 64-bit integer")
    return interview_request_id
