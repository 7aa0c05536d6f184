"""What the emulator takes where much has arrived."""

import json
import sys

import pytest

from fresh_process import run_python

INTERVIEWS = 10_000

LARGEST = 100_000_000
"""Bytes of the emulator's process."""

SERVER = f"""
import asyncio, json, sys
from hindsight_async.emulator import Emulator

CLIENT = '''
import asyncio, sys, aiohttp
async def main(base_url, most):
    numbers = iter(range(int(most)))
    async def worker():
        for number in numbers:
            body = dict(
                contact_email=f"person{{number}}@acme.example", contact_name="Jane Roe", sequence_id="seq_1",
                contact_context=dict(title="VP of Engineering", champion=True), objective="Why did pricing block us?",
            )
            async with http.post(f"{{base_url}}/interviews", json=body) as response:
                assert response.status == 201
    async with aiohttp.ClientSession(headers=dict(Authorization="Bearer key")) as http:
        await asyncio.gather(*(worker() for _ in range(16)))
asyncio.run(main(*sys.argv[1:]))
'''

async def main():
    async with Emulator(requests_per_minute=10**6, window="fixed", api_key="key") as emulator:
        arguments = (emulator.base_url, "{INTERVIEWS}")
        client = await asyncio.create_subprocess_exec(sys.executable, "-c", CLIENT, *arguments)
        assert await client.wait() == 0
        # Not getrusage, which on Linux begins with what the process that started this one has.
        [most] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
        print(json.dumps([len(emulator.outbox), int(most) * 1024]))

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_ten_thousand_interviews_fit_in_a_hundred_megabytes():
    """With the process itself, each request, and what was answered to it."""
    emails, memory = json.loads(run_python(SERVER, seconds=300))
    assert INTERVIEWS == emails
    assert LARGEST > memory
