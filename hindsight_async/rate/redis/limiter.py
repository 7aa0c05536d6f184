"""The limiter of a fleet: it hands out what Redis has issued, and hands over to a `LocalLimiter` while Redis is away."""

from datetime import datetime
from http import HTTPStatus
from math import inf

from attrs import define

from hindsight_async.errors import HindsightError, RedisRefusedError
from hindsight_async.rate.client import BudgetClient, Lane, Permit
from hindsight_async.rate.headers import LIMIT, count_in
from hindsight_async.rate.limiter import AnswerHead, too_late
from hindsight_async.rate.redis.fleet_state import FleetState
from hindsight_async.rate.redis.fleet_sync import FleetSync
from hindsight_async.rate.redis.log_entries import ToldAnswer
from hindsight_async.rate.redis.sync_task import SyncTask

# An enum's member is looked up anew on each use.
_TOO_MANY_REQUESTS = int(HTTPStatus.TOO_MANY_REQUESTS)


@define(eq=False)
class FleetLimiter:
    """Decides whether a request may leave, by the fleet's count in Redis: a `Limiter`."""

    state: FleetState
    sync: FleetSync
    _sync_task: SyncTask | None = None
    """Runs while there are sessions; None before the first request, and once it has ended."""

    @property
    def limit(self) -> int:
        """Requests per minute: the fleet's, and this process's share of them while Redis is away."""
        alone = self.state.alone
        return self.state.view.limit if alone is None else alone.limit

    @property
    def route_limits(self) -> dict[str, int]:
        """Requests per minute of the routes with a smaller limit of their own, for the whole fleet."""
        view, alone = self.state.view, self.state.alone
        return view.route_limits if alone is None else alone.route_limits

    @property
    def left_to_others(self) -> int:
        """Requests per minute that the fleet, or this process while Redis is away, leaves to other programs."""
        view, alone = self.state.view, self.state.alone
        return view.left_to_others if alone is None else alone.left_to_others

    @property
    def opens_at(self) -> float:
        """The moment until which the server refuses everybody."""
        alone = self.state.alone
        return self.state.view.opens_at if alone is None else alone.opens_at

    def room(self, now: float) -> int:
        """Count the permits that may be taken now, as far as is known."""
        view, alone = self.state.view, self.state.alone
        if alone is not None:
            return alone.room(now)
        return view.free(now) if view.room(now) and now >= view.full_until else 0

    def obstacle(self, now: float) -> str | None:
        """Say what is in everybody's way."""
        state = self.state
        if state.alone is not None:
            return state.alone.obstacle(now)
        state.put_back_lapsed(now)
        if any(state.unused.values()):
            return None
        return "Redis is away" if state.away else state.view.obstacle(now)

    def obstacle_on(self, route: str, now: float) -> str | None:
        """Say what is in the way of requests on this route."""
        state = self.state
        if state.alone is not None:
            return state.alone.obstacle_on(route, now)
        group = state.view.group_of(route)
        if state.unused[group]:
            return None
        return "window of the route full" if group and state.view.room_on(route, now) < 1 else "asking Redis"

    def take_at_once(self, client: BudgetClient, route: str, lane: Lane, now: float) -> Permit | None:
        """Take a permit unless there is an obstacle."""
        del lane
        blocked = self.obstacle(now) or self.obstacle_on(route, now)
        return None if blocked else self.take(client, route, now)

    def take(self, client: BudgetClient, route: str, now: float) -> Permit:
        """Take a permit; make sure first that there is no obstacle."""
        state = self.state
        if state.alone is not None:
            permit, fleet_permit = state.alone.take(client, route, now), state.permits.take_alone(now)
        else:
            permit, fleet_permit = (
                Permit(client, route, (), 0, client.era),
                state.unused[state.view.group_of(route)].popleft(),
            )
        fleet_permit.route = route
        state.in_use[permit] = fleet_permit
        return permit

    def lapsed(self, permit: Permit, now: float) -> bool:
        """Tell whether Redis may have given this permit to somebody else."""
        fleet_permit = self.state.in_use.get(permit)
        return fleet_permit is not None and fleet_permit.covered_until < now

    def put_back(self, permit: Permit) -> None:
        """Put a permit back with which nothing was sent: it is for the next who waits."""
        state = self.state
        fleet_permit = state.in_use.pop(permit, None)
        if fleet_permit is None:
            return
        if state.alone is not None:
            state.alone.put_back(permit)
        if state.alone is not None or fleet_permit.covered_until == inf:
            # Taken while Redis was away, so that nobody but this process knows of it.
            state.permits.put_back(fleet_permit)
        else:
            state.unused[fleet_permit.group].append(fleet_permit)

    def end(self, permit: Permit, now: float) -> None:
        """Note that a request is over, answered or not."""
        state = self.state
        fleet_permit = state.in_use.pop(permit, None)
        if fleet_permit is None:
            return
        state.permits.end(fleet_permit, now)
        if state.alone is not None:
            state.alone.end(permit, now)
        elif state.view.opening:
            state.urgent = True

    def confirm_as_usual(self, permit: Permit, answer: AnswerHead, now: float) -> bool:  # noqa: ARG002
        """Say that there is more to `learn`: always, since the other processes are to be told of each answer."""
        return False

    def learn(self, permit: Permit, answer: AnswerHead, *, now: float, received_at: datetime) -> None:
        """Take in what an answer says, and keep it for Redis; what concerns all at once is told at once."""
        state = self.state
        fleet_permit = state.in_use.get(permit)
        if fleet_permit is None:
            return
        view, limit = state.view, count_in(answer.headers.get(LIMIT, ""))
        refused = answer.status == _TOO_MANY_REQUESTS
        fleet_permit.answer = ToldAnswer.of(answer.status, answer.headers, state.random())
        fleet_permit.alarms = refused or limit not in (None, view.limit_on(permit.route))
        if state.alone is not None:
            state.alone.learn(permit, answer, now=now, received_at=received_at)
        elif fleet_permit.alarms or view.opening:
            state.urgent = True

    def rebalance(self) -> None:
        """Give back the permits that nobody here wants, and ask for those that somebody does."""
        self.state.put_back_unused()
        if self.state.needs_sync():
            self._wake()

    def next_change(self, now: float) -> float:
        """Name the next moment at which an obstacle may go away by itself; inf if there is none."""
        state = self.state
        if state.alone is not None:
            return state.alone.next_change(now)
        # While one try to reach a Redis that is away is under way, the next is a pause later.
        return now + state.timing.retry if state.away else inf

    def earliest(self, ahead: int, now: float) -> float:
        """Name the earliest moment at which a newcomer with so many ahead can leave."""
        state = self.state
        if state.alone is not None:
            return state.alone.earliest(ahead, now)
        return max(now, state.reconnect_at) if state.away else state.view.earliest(ahead, now)

    def why_in_vain(self, deadline: float | None, earliest: float, now: float) -> HindsightError | None:
        """Make the error for a caller that would wait in vain; None for one that may wait."""
        state, view = self.state, self.state.view
        if state.alone is not None:
            return state.alone.why_in_vain(deadline, earliest, now)
        if state.refused is not None and now < state.reconnect_at:
            return RedisRefusedError(state.refused)
        in_vain = view.refuses_for_long(now)
        if in_vain is not None:
            return in_vain
        return None if deadline is None or earliest <= deadline else too_late(earliest - now)

    def change_loop(self, now: float) -> None:
        """Go on with what is known on another event loop; what was under way there is over."""
        state = self.state
        state.permits.end_all(now)
        state.put_back_unused()
        state.in_use.clear()
        state.claimed = (False, False)
        if state.alone is not None:
            state.alone.change_loop(now)
        self._sync_task = None
        self.sync.connection.start_afresh()

    async def finish(self) -> None:
        """Tell Redis what it does not know yet, and close the connection."""
        if self._sync_task is not None:
            await self._sync_task.stop()

    def _wake(self) -> None:
        if self._sync_task is None:
            self._sync_task = SyncTask(self.sync, self._on_end)
        self._sync_task.wake()

    def _on_end(self) -> None:
        self._sync_task = None
        if self.state.scheduler.queue.waiting:
            self._wake()
