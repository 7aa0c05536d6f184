"""One session as the rate budget knows it: its way to a permit, and its share of what is under way."""

import asyncio
from typing import TYPE_CHECKING, Literal

from attrs import define, field

if TYPE_CHECKING:
    from hindsight_async.rate.limiter import Answer
    from hindsight_async.rate.scheduler import Scheduler
    from hindsight_async.rate.window import WindowEntry

Lane = Literal["interactive", "bulk"]

LANES: tuple[Lane, Lane] = ("interactive", "bulk")


def no_one_queued() -> dict[Lane, int]:
    """Return a count of waiting callers for each lane, all zero."""
    return dict.fromkeys(LANES, 0)


@define(eq=False)
class Permit:
    """The right to send one request, held until that request is over.

    `entries` are its places in the organisation's window and, last, in the window of its route where that has one.
    `closing` and `era` tell a late release that the server has refused everybody since, or that the event loop on
    which it was granted is gone: what it would give back is then not there any more.
    """

    client: "BudgetClient"
    route: str
    entries: "tuple[WindowEntry, ...]"
    closing: int
    era: int


@define(eq=False)
class BudgetClient:
    """One session's way through the budget, and how many of its requests are under way and in line.

    `max_in_flight` is the session's own bound, which holds beside the plan's. `era` numbers the event loops that
    the scheduler has served: counts from an earlier one mean nothing.
    """

    _scheduler: "Scheduler"
    max_in_flight: int
    in_flight: int = field(default=0, init=False)
    queued: dict[Lane, int] = field(factory=no_one_queued, init=False)
    era: int = field(default=0, init=False)
    closed: bool = field(default=False, init=False)

    async def acquire(
        self,
        route: str,
        lane: Lane = "interactive",
        deadline: float | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> Permit:
        """Wait for the right to send one request, to be handed to `release` whatever becomes of it.

        Args:
            route: Method and path without ids, such as `POST /interviews`.
            lane: Whether somebody waits for this very request ("interactive"), or it is one of many ("bulk").
            deadline: A moment of the event loop's clock, in seconds; None for none.
            loop: The event loop that runs, where it is at hand: looking it up costs a call.

        Returns:
            The permit.

        Raises:
            DeadlineExceededError: At once where no permit can come before the deadline.
            QuotaExceededError: The server refuses for a month's quota, or for longer than the budget's
                `max_rate_wait` seconds.
            SessionClosedError: The session was closed.

        """
        scheduler = self._scheduler
        now = scheduler.now(loop)
        permit = scheduler.grant_at_once(self, route, deadline, now)
        if permit is None:
            permit = await scheduler.wait_in_line(self, route, lane, deadline, now)
        return permit

    def release(self, permit: Permit, answer: "Answer | None" = None) -> None:
        """Say that the request is over, and what was answered if anything was.

        It stays in the window for another 60 seconds, since the server may have counted it as late as it answered.
        """
        self._scheduler.release(permit, answer)

    def close(self) -> None:
        """Turn away with SessionClosedError those of this session who wait, and all who come later."""
        self._scheduler.turn_away(self)

    async def leave(self) -> None:
        """Say that this session's last request is over; what the last session leaves behind is put in order."""
        await self._scheduler.part_with(self)

    def start_afresh(self, era: int) -> None:
        """Forget what an event loop that is gone has left behind."""
        self.era, self.closed, self.in_flight, self.queued = era, False, 0, no_one_queued()

    def ahead_of(self, lane: Lane) -> int:
        """Count those of this session who go before a newcomer in this lane."""
        return self.queued["interactive"] + (self.queued["bulk"] if lane == "bulk" else 0)
