"""The clients that are measured, each in a process of its own: `python -m benchmarks.contenders NAME PORT`.

It reads commands, one a line: how many calls, and how many of them in flight; and answers each with a line of JSON:
the seconds of CPU and of the clock that they took, and the latency of each in seconds.
"""

# ruff: noqa: PLC0415  each client is imported only by the process that measures it
import asyncio
import importlib
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

MOST_IN_FLIGHT = 100
WARM_UP = 200
"""Calls before each measurement, as many at a time as in it: connections that were dropped as idle come back."""

REQUEST = {
    "contact_email": "jane@acme.example",
    "sequence_id": "seq_abc123",
    "contact_name": "Jane Doe",
    "contact_context": "VP of Sales; evaluated us against two others.",
    "deal_id": "deal_xyz789",
}


Create: TypeAlias = Callable[[], Awaitable[object]]
"""Makes one call and reads its answer."""

Contender: TypeAlias = Callable[[int], AbstractAsyncContextManager[Create]]
"""Opens a client, used as its documentation says, to the server at a port of this machine."""


@asynccontextmanager
async def raw_aiohttp(port: int) -> AsyncIterator[Create]:
    """`session.post(json=...)` and `json.loads`: no models, no budget, no retries."""
    import aiohttp

    url = f"http://127.0.0.1:{port}/api/v1/interviews"
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer key"}) as session:

        async def create() -> object:
            async with session.post(url, json=REQUEST) as response:
                return json.loads(await response.read())

        yield create


@asynccontextmanager
async def hindsight(port: int, **options: Any) -> AsyncIterator[Create]:
    """Make a request and send it; the budget is so large that it never waits."""
    from benchmarks.answering_machine import LIMIT
    from hindsight_async import CreateInterview, HindsightSession, RateBudget

    async with HindsightSession(
        "key",
        base_url=f"http://127.0.0.1:{port}/api/v1",
        budget=RateBudget(LIMIT),
        max_in_flight=MOST_IN_FLIGHT,
        **options,
    ) as session:
        yield lambda: session.interviews.create(CreateInterview(**REQUEST))


def hindsight_with_a_hook(port: int) -> AbstractAsyncContextManager[Create]:
    """Tell a function that does nothing of each event."""
    return hindsight(port, on_event=lambda _: None)


@asynccontextmanager
async def raw_httpx(port: int) -> AsyncIterator[Create]:
    """`client.post(json=...).json()`; as many connections kept as there are calls in flight (20 by default)."""
    import httpx

    url = f"http://127.0.0.1:{port}/api/v1/interviews"
    limits = httpx.Limits(max_connections=MOST_IN_FLIGHT, max_keepalive_connections=MOST_IN_FLIGHT)
    async with httpx.AsyncClient(headers={"Authorization": "Bearer key"}, limits=limits) as client:

        async def create() -> object:
            return (await client.post(url, json=REQUEST)).json()

        yield create


@asynccontextmanager
async def openai(port: int, http_client: str | None = None) -> AsyncIterator[Create]:
    """openai-python's generic `client.post`, with a model of the answer."""
    import openai

    class Created(openai.BaseModel):
        interview_request_id: int
        contact_id: str
        status: str
        deal_id: str | None = None
        survey_url: str | None = None
        survey_token: str | None = None

    async with openai.AsyncOpenAI(
        api_key="key",
        base_url=f"http://127.0.0.1:{port}/api/v1",
        http_client=getattr(openai, http_client)() if http_client else None,
    ) as client:
        yield lambda: client.post("/interviews", cast_to=Created, body=REQUEST)


def openai_on_aiohttp(port: int) -> AbstractAsyncContextManager[Create]:
    """openai-python over its aiohttp backend."""
    return openai(port, "DefaultAioHttpClient")


@asynccontextmanager
async def slack(port: int) -> AsyncIterator[Create]:
    """slack_sdk's `AsyncWebClient.api_call`, with a session to share (it opens one per call by default)."""
    import aiohttp
    from slack_sdk.web.async_client import AsyncWebClient

    async with aiohttp.ClientSession() as session:
        client = AsyncWebClient("key", base_url=f"http://127.0.0.1:{port}/slack/", session=session)

        async def create() -> object:
            return (await client.api_call("interviews.create", json=REQUEST)).data

        yield create


@asynccontextmanager
async def stripe_on_aiohttp(port: int) -> AsyncIterator[Create]:
    """stripe-python's `customers.create_async` on aiohttp: a form, not JSON."""
    import stripe

    http_client = stripe.AIOHTTPClient()
    client = stripe.StripeClient(
        "sk_test_key", base_addresses={"api": f"http://127.0.0.1:{port}"}, http_client=http_client
    )
    params: Any = {"email": REQUEST["contact_email"], "metadata": REQUEST}
    yield lambda: client.v1.customers.create_async(params)
    await http_client.close_async()


RAW = "aiohttp + json"
OURS = "hindsight-async"
OURS_STANDARD_JSON = "hindsight-async without orjson"
OURS_WITH_A_HOOK = "hindsight-async with on_event"
ON_UVLOOP = " on uvloop"

CONTENDERS: dict[str, Contender] = {
    RAW: raw_aiohttp,
    OURS: hindsight,
    OURS_STANDARD_JSON: hindsight,
    OURS_WITH_A_HOOK: hindsight_with_a_hook,
    "slack_sdk": slack,
    "stripe on aiohttp": stripe_on_aiohttp,
    "httpx": raw_httpx,
    "openai on aiohttp": openai_on_aiohttp,
    "openai": openai,
    RAW + ON_UVLOOP: raw_aiohttp,
    OURS + ON_UVLOOP: hindsight,
}


async def latencies_of(create: Create, calls: int, in_flight: int) -> list[float]:
    """Make so many calls, so many at a time, and tell how long each took."""
    latencies: list[float] = []
    turns = iter(range(calls))

    async def work() -> None:
        for _ in turns:
            began = time.perf_counter()
            await create()
            latencies.append(time.perf_counter() - began)

    await asyncio.gather(*(work() for _ in range(in_flight)))
    return latencies


async def measure(create: Create, calls: int, in_flight: int) -> dict[str, Any]:
    """Make so many calls, so many at a time, and tell what they took."""
    await latencies_of(create, min(WARM_UP, calls), in_flight)
    cpu, clock = time.process_time(), time.perf_counter()
    latencies = await latencies_of(create, calls, in_flight)
    return {
        "cpu": time.process_time() - cpu,
        "clock": time.perf_counter() - clock,
        "latencies": latencies,
    }


def main(name: str, port: int) -> None:
    """Obey commands until there are no more."""
    if name == OURS_STANDARD_JSON:
        sys.modules["orjson"] = None  # type: ignore[assignment]
    loop_factory = importlib.import_module("uvloop").new_event_loop if name.endswith(ON_UVLOOP) else None
    client = CONTENDERS[name](port)
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        create = runner.run(client.__aenter__())
        print("ready", flush=True)
        for command in sys.stdin:
            calls, in_flight = map(int, command.split())
            print(json.dumps(runner.run(measure(create, calls, in_flight))), flush=True)
        runner.run(client.__aexit__(None, None, None))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
