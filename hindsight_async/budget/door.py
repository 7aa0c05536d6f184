"""One session's way through a budget, and the right to send one request."""

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from hindsight_async.budget.dispatch import Dispatcher
from hindsight_async.budget.lanes import Grant, Lane, Member


class Door:
    """One session's way through the budget."""

    __slots__ = ("_dispatcher", "_member")

    def __init__(self, dispatcher: Dispatcher, member: Member) -> None:
        self._dispatcher = dispatcher
        self._member = member

    def slot(self, *, route: str, lane: Lane = "interactive", deadline: float | None = None) -> "Slot":
        """Ask for the right to send one request: `async with door.slot(route="POST /interviews") as slot`.

        `route` names method and path without ids; `deadline` is a moment of the event loop's clock. Entering
        raises DeadlineExceededError at once where no slot can come before it, and QuotaExceededError where the
        server has refused for a month's quota or for longer than the budget's `max_rate_wait`.
        """
        return Slot(self._dispatcher, self._member, route, lane, deadline)

    def close(self) -> None:
        """Turn away with SessionClosedError those of this session who wait, and all who come later."""
        self._dispatcher.turn_away(self._member)

    async def leave(self) -> None:
        """Say that this session's last request is over; what the last session leaves behind is put in order."""
        await self._dispatcher.part_with(self._member)


class Slot:
    """The right to send one request, given back 60 s after leaving the block, whatever happened in it."""

    __slots__ = ("_deadline", "_dispatcher", "_grant", "_lane", "_member", "_route")

    _grant: Grant

    def __init__(
        self, dispatcher: Dispatcher, member: Member, route: str, lane: Lane, deadline: float | None
    ) -> None:
        self._dispatcher = dispatcher
        self._member = member
        self._route = route
        self._lane: Lane = lane
        self._deadline = deadline

    async def __aenter__(self) -> Self:
        dispatcher = self._dispatcher
        now = dispatcher.now()
        grant = dispatcher.grant_at_once(self._member, self._route, self._deadline, now)
        if grant is None:
            grant = await dispatcher.wait_in_line(self._member, self._route, self._lane, self._deadline, now)
        self._grant = grant
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._dispatcher.release(self._grant)

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        """Report the answer's HTTP status and headers (keys without regard to case). Raises nothing."""
        self._dispatcher.answer(self._grant, status, headers)
