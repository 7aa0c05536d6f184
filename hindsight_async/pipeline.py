"""The only loop: budget, send, judge, then return, raise, or wait and try again."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from hindsight_async.budget import Share
from hindsight_async.call import Call, judge
from hindsight_async.errors import DeadlineExceededError, HindsightError, NotSentError, OutcomeUnknownError
from hindsight_async.retry import RetryPolicy, pause_before_next
from hindsight_async.transport import Transport

T = TypeVar("T")


class Pipeline:
    """Takes calls through the budget and the transport until each has an answer or a final error.

    `deadline` is in seconds from the start of a call, None for none; `random` returns a number in [0, 1).
    """

    def __init__(
        self,
        transport: Transport,
        share: Share,
        *,
        policy: RetryPolicy,
        deadline: float | None,
        random: Callable[[], float],
    ) -> None:
        self._transport = transport
        self._share = share
        self._policy = policy
        self._deadline = deadline
        self._random = random

    async def run(self, call: Call[T]) -> T:
        """Return what the call's answer carries; raise a HindsightError for everything else."""
        clock = asyncio.get_running_loop().time
        deadline = None if self._deadline is None else clock() + self._deadline
        attempt = 0
        error: HindsightError | None = None
        while True:
            self._transport.open(call)
            try:
                async with self._share.slot(route=call.route, deadline=deadline) as slot:
                    attempt += 1
                    reply = await self._transport.send(call, deadline=deadline)
                    slot.answered(reply.status, reply.headers)
                verdict = judge(call, reply)
                if not isinstance(verdict, HindsightError):
                    return verdict
                error = verdict
            except (NotSentError, OutcomeUnknownError) as failure:
                error = failure
            except TimeoutError:
                raise self._too_late(call, "no request could leave in time", attempt, error) from error
            error.attempts = attempt
            pause = pause_before_next(
                self._policy, error, repeatable=call.repeatable, attempt=attempt, random=self._random()
            )
            if pause is None:
                raise error
            if deadline is not None and clock() + pause >= deadline:
                what = f"the next attempt is due in {pause:.1f} s, which is too late ({error.args[0]})"
                raise self._too_late(call, what, attempt, error, retry_after=pause) from error
            await asyncio.sleep(pause)

    def _too_late(
        self,
        call: Call[Any],
        what: str,
        attempts: int,
        last: HindsightError | None,
        retry_after: float | None = None,
    ) -> DeadlineExceededError:
        fields: dict[str, Any] = {} if last is None else {"delivery": last.delivery}
        return DeadlineExceededError(
            f"the deadline of {self._deadline} s cannot be met: {what}",
            retry_after=retry_after,
            method=call.method,
            path=call.path,
            attempts=attempts,
            **fields,
        )
