"""The one task that speaks to Redis for a process: whatever is due goes into one round trip, and so share all callers."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from hindsight_async.budget.admission import logger
from hindsight_async.redis.link import RedisAwayError, RedisRefusedError
from hindsight_async.redis.sync import Ask, Reply, decoded

if TYPE_CHECKING:
    from hindsight_async.redis.link import Link
    from hindsight_async.redis.timing import Timing


class Speaker(Protocol):
    """Knows what to say to Redis, and when."""

    link: "Link"
    keys: list[str]
    timing: "Timing"

    def next_word(self, now: float) -> float:
        """Name the moment at which Redis is to be spoken to."""
        ...

    def compose(self, now: float, *, bye: bool = False) -> Ask:
        """Say what is wanted and what there is to tell."""
        ...

    def doubt(self, ask: Ask) -> None:
        """Note that it is not known what came of a call."""
        ...

    def hear(self, ask: Ask, reply: Reply, now: float) -> None:
        """Take in what Redis says."""
        ...

    def lose(self, why: str, now: float) -> None:
        """Note that Redis is away."""
        ...

    def refuse(self, error: RedisRefusedError, now: float) -> None:
        """Note that Redis is there but of no use."""
        ...


class Keeper:
    """Speaks to Redis when there is something to say, from its first `wake` until `stop`, on one event loop."""

    def __init__(self, speaker: Speaker, on_end: Callable[[], None]) -> None:
        self._speaker = speaker
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._stopping = False
        self._task = self._loop.create_task(self._run(), name="hindsight_async rate budget")
        self._task.add_done_callback(self._ended)

    def wake(self) -> None:
        """Have it look whether there is something to say."""
        self._woken.set()

    async def stop(self) -> None:
        """Say a last word, within `Timing.leave` seconds, and close the connection."""
        self._stopping = True
        self._woken.set()
        _, late = await asyncio.wait([self._task], timeout=self._speaker.timing.leave)
        for task in late:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        speaker = self._speaker
        try:
            while not self._stopping:
                self._woken.clear()
                now = self._loop.time()
                moment = speaker.next_word(now)
                if moment > now:
                    await self._sleep_until(moment)
                else:
                    await self._speak(speaker.compose(now))
            # Twice, because the first may only bring the news that Redis has lost its data.
            for _ in range(2):
                if await self._speak(speaker.compose(self._loop.time(), bye=True)):
                    break
        finally:
            await speaker.link.close()

    async def _sleep_until(self, moment: float) -> None:
        try:
            async with asyncio.timeout_at(moment):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _speak(self, ask: Ask) -> bool:
        """Make one round trip; tell whether Redis took in what was said."""
        speaker, reply = self._speaker, None
        try:
            answer = await speaker.link.call(speaker.keys, ask.encoded(speaker.timing))
            if self._task.cancelling():
                # Python 3.11's wait_for, which the Redis client sends with, may lose a cancellation.
                raise asyncio.CancelledError
            reply = decoded(answer)
        except RedisAwayError as error:
            speaker.lose(str(error), self._loop.time())
        except RedisRefusedError as error:
            speaker.refuse(error, self._loop.time())
        finally:
            if reply is None:
                speaker.doubt(ask)
        if reply is None:
            return False
        speaker.hear(ask, reply, self._loop.time())
        return not reply.moved

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            logger.error("the task that speaks to Redis failed", exc_info=error)
            why = RedisRefusedError(f"the task that speaks to Redis failed: {type(error).__name__}")
            self._speaker.refuse(why, self._loop.time())
        self._on_end()
