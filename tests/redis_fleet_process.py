"""The processes of a fleet: `python redis_fleet_process.py emulator|worker JSON`; each ends when its stdin does."""

import asyncio
import json
import sys
from collections import Counter

from hindsight_async import CreateInterview, HindsightError, HindsightSession, Plan, RedisBudget
from hindsight_async.emulator import Emulator


async def until_stdin_ends():
    """Wait for whoever started this process."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


def say(what):
    """Write one line of JSON."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def emulator(options):
    """Serve; say where, and in the end when each request arrived and how it was answered."""
    async with Emulator(**options) as server:
        say({"base_url": server.base_url, "api_key": server.api_key})
        await until_stdin_ends()
        say([[request.arrived_at, request.status] for request in server.requests])


async def worker(options):
    """Create interviews as fast as the budget lets it; say in the end how many of which outcome."""
    budget = RedisBudget(options["redis"], organisation="acme", plan=Plan.GROWTH)
    outcomes = Counter()
    async with HindsightSession(options["api_key"], base_url=options["base_url"], budget=budget) as hindsight:

        async def create():
            while True:
                request = CreateInterview(contact_email="a@example.com", interview_type_id="type_1")
                try:
                    await hindsight.interviews.create(request)
                    outcomes["created"] += 1
                except HindsightError as error:
                    outcomes[type(error).__name__] += 1

        creators = [asyncio.ensure_future(create()) for _ in range(options["at_once"])]
        say("ready")
        await until_stdin_ends()
        for creator in creators:
            creator.cancel()
        await asyncio.gather(*creators, return_exceptions=True)
    say(outcomes)


if __name__ == "__main__":
    asyncio.run({"emulator": emulator, "worker": worker}[sys.argv[1]](json.loads(sys.argv[2])))
