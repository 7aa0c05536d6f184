"""The one task that speaks to Redis for a process: whatever is due goes into one round trip, which all callers share."""

import asyncio
from collections.abc import Callable

from hindsight_async.errors import RedisRefusedError
from hindsight_async.rate.limiter import logger
from hindsight_async.rate.redis.connection import RedisAwayError
from hindsight_async.rate.redis.fleet_sync import FleetSync
from hindsight_async.rate.redis.messages import decoded

LAST_WORDS = 3
"""Round trips, at most, to tell Redis what it does not know yet."""


class SyncTask:
    """Makes each round trip when it is due, from when it is built until `stop`, on the event loop that runs.

    Args:
        sync: Knows what to tell Redis and when.
        on_end: Is called when the task has ended by itself, be it stopped or failed.

    """

    def __init__(self, sync: FleetSync, on_end: Callable[[], None]) -> None:
        self._sync = sync
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        # Set when a round trip may be due sooner than thought.
        self._woken = asyncio.Event()
        self._stopping = False
        self._task = self._loop.create_task(self._run(), name="hindsight_async rate budget")
        self._task.add_done_callback(self._ended)

    def wake(self) -> None:
        """Have it look whether a round trip is due."""
        self._woken.set()

    async def stop(self) -> None:
        """Make a last round trip, within `Timing.leave` seconds, and close the connection."""
        self._stopping = True
        self._woken.set()
        _, late = await asyncio.wait([self._task], timeout=self._sync.timing.leave)
        for task in late:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        sync = self._sync
        try:
            while not self._stopping:
                self._woken.clear()
                now = self._loop.time()
                moment = sync.next_sync_at(now)
                if moment > now:
                    await self._sleep_until(moment)
                else:
                    await self._sync_once()
            # Again, because the first may only bring the news that Redis's clock was set, or that it has lost its data.
            for _ in range(LAST_WORDS):
                if await self._sync_once(leaving=True):
                    break
        finally:
            await sync.connection.close()

    async def _sleep_until(self, moment: float) -> None:
        try:
            async with asyncio.timeout_at(moment):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _sync_once(self, *, leaving: bool = False) -> bool:
        """Make one round trip; tell whether Redis took in what it was told.

        One answer may get lost, on a connection that broke: that is no outage before a second one is.
        """
        sync = self._sync
        for tries_left in (1, 0):
            try:
                return await self._call(leaving=leaving)
            except RedisAwayError as error:
                if sync.state.away or not tries_left:
                    sync.lose_redis(str(error), self._loop.time())
                    break
            except RedisRefusedError as error:
                sync.refused_by_redis(error, self._loop.time())
                break
        return False

    async def _call(self, *, leaving: bool) -> bool:
        sync = self._sync
        request = sync.next_request(self._loop.time(), leaving=leaving)
        try:
            reply = decoded(await sync.connection.call(sync.keys, request.encoded(sync.timing)))
        except BaseException:
            sync.lose_reply(request)
            raise
        sync.apply(request, reply, self._loop.time())
        return reply.kind == "ok"

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() and not self._stopping:
            return  # the event loop ends, and everything on it
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.error("the task that speaks to Redis failed", exc_info=error)
            why = RedisRefusedError(f"the task that speaks to Redis failed: {type(error).__name__}")
            self._sync.refused_by_redis(why, self._loop.time())
        self._on_end()
