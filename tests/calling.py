"""An executor over real connections, for calls of any kind and resource."""

from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial

from hindsight_async import Plan, RateBudget, RetryPolicy, Timeouts
from hindsight_async.call.access import read_access
from hindsight_async.call.execute import Executor
from hindsight_async.call.transport import Transport
from hindsight_async.redaction import Secret


@asynccontextmanager
async def executor_to(base_url, *, max_in_flight=4, timeouts=None, retry=None, told=None, drain=0, http=None):
    """Open one, and close it."""
    transport = Transport(
        read_access=partial(read_access, Secret("k3y"), base_url),
        timeouts=timeouts or Timeouts(),
        max_in_flight=max_in_flight,
        http=http,
        proxy=None,
        ssl=None,
        on_outcome_unknown=told,
    )
    client = RateBudget.for_plan(Plan.ENTERPRISE).join(max_in_flight)
    options = {"deadline": None, "random": lambda: 0.5, "wall_clock": lambda: datetime.now(UTC)}
    try:
        yield Executor(transport, client, policy=retry or RetryPolicy(), **options)
    finally:
        client.close()
        await transport.close(drain=drain)
        await client.leave()
