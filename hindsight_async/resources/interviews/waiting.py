"""Waiting until interviews are completed, as seldom as the API asks for: the arguments, checked."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from math import isfinite
from typing import TYPE_CHECKING

from hindsight_async.call.access import is_on_this_machine
from hindsight_async.call.execute import Executor
from hindsight_async.call.request import Reply
from hindsight_async.resources.interviews.models import Interview
from hindsight_async.resources.interviews.poll_schedule import DAY, Pace

if TYPE_CHECKING:
    from hindsight_async.resources.interviews.poller import InterviewPoller

SHORTEST_EVERY = 60.0
"""Seconds; the API asks never to read an interview more often than that (page get-interview)."""

DEFAULT_EVERY = 300.0
DEFAULT_EVERY_OF_MANY = 900.0
"""Seconds between two reads of an interview: the API suggests 5 to 15 minutes."""

DEFAULT_TIMEOUT = DAY
"""Seconds."""

DEFAULT_KEEP_QUOTA = 0.2
"""How much of the month's requests is left to others."""


class InterviewWaits(ABC):
    """The part of `Interviews` that waits.

    Args:
        executor: Takes calls to their answers.
        max_in_flight: How many requests of the session may be under way; waiting takes half of them.
        pace: Of all waiting of the session.

    """

    def __init__(self, executor: Executor, *, max_in_flight: int, pace: Pace) -> None:
        self._executor = executor
        self._max_in_flight = max_in_flight
        self._pace = pace

    @abstractmethod
    def _poll(
        self, interview_request_id: int, deadline: float, on_reply: Callable[[Reply], object]
    ) -> Awaitable[Interview]: ...

    async def wait(
        self,
        interview_request_id: int,
        *,
        every: float = DEFAULT_EVERY,
        timeout: float | None = DEFAULT_TIMEOUT,  # noqa: ASYNC109  of the wait, not of a call
        keep_quota: float = DEFAULT_KEEP_QUOTA,
    ) -> Interview:
        """Wait until an interview is completed, and return it with its transcript (page get-interview).

        For more than a few use `wait_many`, which is one wait. What a read ends with for the moment only, such as a lost
        connection or a 5xx, is waited out.

        Args:
            interview_request_id: From 0.
            every: Seconds between two reads, at least `SHORTEST_EVERY`; more once it is a day old.
            timeout: Seconds to wait; None for no end.
            keep_quota: As for `wait_many`.

        Returns:
            The completed interview.

        Raises:
            TypeError: An argument is of another type; the text names it.
            ValueError: One is out of bounds.
            WaitTimeoutError: It was not completed in time; `last` is what was read last.
            NotFoundError: There is no such interview in this organisation, or no longer.
            HindsightError: It cannot be read, as with a wrong key.

        """
        poller = self.wait_many([interview_request_id], every=every, timeout=timeout, keep_quota=keep_quota)
        return await anext(poller)

    def wait_many(
        self,
        ids: Iterable[int],
        *,
        every: float = DEFAULT_EVERY_OF_MANY,
        timeout: float | None = None,
        keep_quota: float = DEFAULT_KEEP_QUOTA,
        on_read: Callable[[Interview], object] | None = None,
    ) -> "InterviewPoller":
        """Wait for many interviews, and give each once it is completed (page get-interview).

        Each is read at once, then again every `every` seconds, evenly spread, and more seldom as it grows older
        (`SLOWER_WITH_AGE`); a completed one is not read again. Reads go behind all else (lane "bulk"), and all waiting of
        a session takes at most `PART_OF_PLAN` of the plan. In memory lie the
        ids, each with the moment of its last read: 16 bytes.

        Args:
            ids: Interview request ids; one that stands there twice is given once.
            every: Seconds between two reads of one, at least `SHORTEST_EVERY` unless the API is on this machine.
            timeout: Seconds to wait for all of them; None for no end.
            keep_quota: Which part of the month's requests to leave to others, from 0 to 1: reads are spread over the rest
                of the month so as not to touch it, and pause until the month ends where it is reached.
            on_read: Called with each interview that is read, completed or not; what it raises ends the wait.

        Returns:
            The interviews, to be iterated with `async for`; its `most_requests` says what they cost at most.

        Raises:
            TypeError: An argument is of another type; the text names it.
            ValueError: One is out of bounds.
            HindsightError: The session is closed.

        """
        from hindsight_async.resources.interviews.poller import InterviewPoller  # noqa: PLC0415  later

        self._executor.open()
        _check_number("every", every)
        if every < SHORTEST_EVERY and not is_on_this_machine(self._executor.base_url or ""):
            raise ValueError(
                f"every must be at least {SHORTEST_EVERY:g} seconds, not {every:g}: the API asks for that"
            )
        if timeout is not None:
            _check_number("timeout", timeout)
        if type(keep_quota) not in {int, float} or not 0 <= keep_quota <= 1:
            raise ValueError("keep_quota must be a number from 0 to 1")
        return InterviewPoller(
            ids, read=self._poll, executor=self._executor, pace=self._pace,
            at_a_time=max(1, self._max_in_flight // 2), every=every, timeout=timeout, keep_quota=keep_quota,
            on_read=on_read,
        )  # fmt: skip


def _check_number(name: str, value: object) -> None:
    if type(value) is not int and type(value) is not float:
        raise TypeError(f"{name} must be a number of seconds, not {type(value).__name__}")
    if not (value > 0 and isfinite(value)):
        raise ValueError(f"{name} must be more than 0 seconds, and finite")
