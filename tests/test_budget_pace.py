"""The even pace on a clock that does not stand still while code runs."""

import asyncio

from hindsight_async.rate import RateBudget
from hindsight_async.rate.local_limiter import LocalLimiter
from virtual_time import VirtualTimeLoop

ROUTE = "POST /interviews"


def test_a_token_that_comes_while_its_wait_is_worked_out_is_not_waited_for_in_vain() -> None:
    """Between the look whether there is a token and the look when there will be, there may be one."""

    async def main(loop: VirtualTimeLoop) -> None:
        limiter = LocalLimiter.begin(60, burst=1, max_rate_wait=90.0, random=lambda: 0.5)
        now = loop.time()
        limiter.end(limiter.take(RateBudget(60).join(1), ROUTE, now), now)
        assert "pacing" == limiter.obstacle(now)
        loop.stand_still(1.0)
        assert loop.time() >= limiter.next_change(now)
        assert limiter.obstacle(loop.time()) is None

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualTimeLoop)
        runner.run(main(loop))


def test_what_left_without_a_token_brings_none_back() -> None:
    """An interactive call that need not keep the pace, and is not sent after all, makes nobody else quicker."""

    async def main(now: float) -> None:
        limiter, client = (
            LocalLimiter.begin(60, burst=1, max_rate_wait=90.0, random=lambda: 0.5),
            RateBudget(60).join(1),
        )
        limiter.end(limiter.take(client, ROUTE, now), now)
        in_a_hurry = limiter.take(client, ROUTE, now)
        assert "pacing" == limiter.obstacle(now)
        limiter.put_back(in_a_hurry)
        assert "pacing" == limiter.obstacle(now)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main(runner.get_loop().time()))
