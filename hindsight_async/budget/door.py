"""One session's way through a budget."""

import asyncio

from hindsight_async.budget.admission import Answer
from hindsight_async.budget.dispatch import Dispatcher
from hindsight_async.budget.lanes import Grant, Lane, Member


class Door:
    """One session's way through the budget."""

    __slots__ = ("_dispatcher", "_member")

    def __init__(self, dispatcher: Dispatcher, member: Member) -> None:
        self._dispatcher = dispatcher
        self._member = member

    async def acquire(
        self,
        *,
        route: str,
        lane: Lane = "interactive",
        deadline: float | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> Grant:
        """Wait for the right to send one request, to be handed to `release` whatever becomes of it.

        `route` names method and path without ids; `deadline` is a moment of the event loop's clock, `loop` that loop,
        where it is at hand. Raises DeadlineExceededError at once where no slot can come before the deadline, and
        QuotaExceededError where the server has refused for a month's quota or for longer than the budget's
        `max_rate_wait`.
        """
        dispatcher = self._dispatcher
        now = dispatcher.now(loop)
        grant = dispatcher.grant_at_once(self._member, route, deadline, now)
        if grant is None:
            grant = await dispatcher.wait_in_line(self._member, route, lane, deadline, now)
        return grant

    def release(self, grant: Grant, answer: Answer | None = None) -> None:
        """Say that the request is over, and what was answered if anything was: its slot comes back 60 s later."""
        self._dispatcher.release(grant, answer)

    def close(self) -> None:
        """Turn away with SessionClosedError those of this session who wait, and all who come later."""
        self._dispatcher.turn_away(self._member)

    async def leave(self) -> None:
        """Say that this session's last request is over; what the last session leaves behind is put in order."""
        await self._dispatcher.part_with(self._member)
