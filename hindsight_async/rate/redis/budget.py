"""The rate budget of a whole fleet: many processes on many hosts, one count in Redis."""

import random
import secrets
from datetime import UTC, datetime

from redis.asyncio import Redis, RedisCluster

from hindsight_async.rate.budget import DEFAULT_MAX_RATE_WAIT, Budget
from hindsight_async.rate.client import BudgetClient
from hindsight_async.rate.plan import Plan, plan_or_default
from hindsight_async.rate.redis.connection import connector, keys_of
from hindsight_async.rate.redis.fleet_permits import FleetPermits
from hindsight_async.rate.redis.fleet_state import FleetState
from hindsight_async.rate.redis.fleet_sync import FleetSync, OnOutage
from hindsight_async.rate.redis.fleet_view import FleetView
from hindsight_async.rate.redis.limiter import FleetLimiter
from hindsight_async.rate.redis.timing import Timing
from hindsight_async.rate.scheduler import Scheduler
from hindsight_async.rate.wait_reports import OnWait


class RedisBudget(Budget):
    """At most the plan's requests in any 60 seconds, for all processes that name the same Redis and organisation.

    Pass it as `HindsightSession(budget=...)`; several sessions of a process may share it. Belongs to no event loop
    until first used, and moves on when that one is gone. Where Redis lets nobody in, every call raises
    RedisRefusedError.

    Args:
        redis: Its URL, such as `redis://:password@host:6379/0`, `rediss://...` or `unix:///run/redis.sock`; or a client
            of yours, such as `redis.asyncio.RedisCluster(...)` or `redis.asyncio.Sentinel(...).master_for(...)`. A
            client stays yours: nothing here closes it, so close it after the sessions; it serves the one event loop
            and process in which it is first used; and its own retries do no harm, since a call that comes twice
            takes effect once. However long its own timeouts, it counts as away after some seconds without an answer.
        organisation: Any name for the organisation at Hindsight; only a hash of it is stored, and never an API key.
        plan: Its tier, or the name of that; else HINDSIGHT_PLAN, else Essentials. A limit that the server names instead is for all
            processes.
        expected_processes: How many processes there are; else as many as were seen in the last minute. Where it is
            given, each process also keeps to its part for the first minute of a Redis that began with nothing, since
            that may have lost what dead processes had sent.
        on_outage: What happens while Redis is away (out of reach, or unable to serve for now: loading, out of memory,
            a replica that waits for its master): "share" goes on with the plan divided by the number of processes, or
            with a tenth of it where that is not known because Redis was never reached; "wait" lets calls wait within
            their deadlines.
        max_rate_wait: Seconds; a wait that the server names beyond it raises QuotaExceededError instead.
        on_wait: Called with the seconds to wait, the reason and the number queued whenever a caller has to wait; what
            it raises is logged, and changes nothing.
        timing: How long things last, in seconds; for tests.

    Raises:
        TypeError: An argument is of the wrong kind; its name is in the text.
        ValueError: An argument is out of bounds; the same. Or no plan has this name, or that in HINDSIGHT_PLAN.

    """

    def __init__(
        self,
        redis: str | Redis | RedisCluster,
        organisation: str,
        *,
        plan: Plan | str | None = None,
        expected_processes: int | None = None,
        on_outage: OnOutage = "share",
        max_rate_wait: float = DEFAULT_MAX_RATE_WAIT,
        on_wait: OnWait | None = None,
        timing: Timing = Timing(),  # noqa: B008  frozen
    ) -> None:
        requests_per_minute = plan_or_default(plan).requests_per_minute
        if not isinstance(redis, (str, Redis, RedisCluster)):  # pyright: ignore[reportUnnecessaryIsInstance]
            kind = f"{type(redis).__module__}.{type(redis).__qualname__}"
            raise TypeError(f"redis must be a URL (str) or a client of redis.asyncio, not {kind}")
        if not isinstance(organisation, str) or not organisation:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError("organisation must be a name, the same in all processes of the fleet")
        if on_outage not in ("share", "wait"):
            raise ValueError(f"on_outage must be share or wait, not {on_outage!r}")
        if expected_processes is not None and expected_processes < 1:
            raise ValueError(f"expected_processes must be at least 1, not {expected_processes}")
        connect = connector(redis, timing)

        def begin(scheduler: Scheduler) -> FleetLimiter:
            process = secrets.token_hex(8)
            state = FleetState(
                scheduler,
                FleetPermits(timing),
                FleetView(BudgetClient(scheduler, 1), requests_per_minute, timing, max_rate_wait),
                timing,
                max_rate_wait=max_rate_wait,
                random=random.random,
            )
            sync = FleetSync(
                state,
                process=process,
                connection=connect(),
                keys=keys_of(organisation, process),
                timing=timing,
                expected_processes=expected_processes,
                on_outage=on_outage,
            )
            return FleetLimiter(state, sync)

        super().__init__(Scheduler(begin, on_wait=on_wait, wall_clock=_wall_clock), _wall_clock)

    @property
    def redis_is_away(self) -> bool:
        """Whether Redis was out of reach when this process last spoke to it."""
        limiter = self._scheduler.limiter
        return isinstance(limiter, FleetLimiter) and limiter.state.away

    def __repr__(self) -> str:
        return f"<RedisBudget {self.limit} requests per minute>"


def _wall_clock() -> datetime:
    return datetime.now(UTC)
