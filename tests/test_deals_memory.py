"""Walks and downloads of any length in memory that does not grow with them; in processes of their own, which are measured."""

import json

import pytest

from fresh_process import run_python

MEGABYTE = 1024 * 1024

SERVED = """
import asyncio, json, resource, sys, tempfile, threading
from pathlib import Path
from hindsight_async import Export, ExportStatus, HindsightSession, RateBudget

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

PAGE = 100

TEMPLATE = json.dumps({"id": "deal_NUMBER", "name": "Deal NUMBER", "amount": 1.5, "summary": "x" * 500,
                       "competitors": [{"competitor_id": "c", "name": "Rival"}], "metadata": {"a": "b" * 100}})

async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            target = head.split(b" ")[1].decode()
            if "/deals?" in target:
                index = int(target.split("page_index=")[1].split("&")[0])
                numbers = range(index * PAGE, min((index + 1) * PAGE, DEALS))
                texts = [TEMPLATE.replace("NUMBER", f"{number:06}") for number in numbers]
                body = f"[{','.join(texts)}]".encode()
                writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%b" % (len(body), body))
                continue
            writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % SIZE)
            piece = b"name,amount\\r\\n" * 5000
            for _ in range(SIZE // len(piece)):
                writer.write(piece)
                await writer.drain()
            writer.write(piece[:SIZE % len(piece)])
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()

def server_in_another_process():
    # Its memory is not ours to measure.
    import os
    listening = __import__("socket").create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    pid = os.fork()
    if pid == 0:
        async def main():
            server = await asyncio.start_server(serve, sock=listening)
            await server.serve_forever()
        try:
            asyncio.run(main())
        finally:
            os._exit(0)
    listening.close()
    return port, pid
"""

WALK = """
async def main():
    import os, signal
    port, pid = server_in_another_process()
    try:
        async with HindsightSession("k3y", base_url=f"http://127.0.0.1:{port}", budget=RateBudget(10_000_000)) as session:
            seen, at = 0, {}
            async for _ in session.deals.list():
                seen += 1
                if seen in (1000, DEALS):
                    at[seen] = peak()
        print(json.dumps([seen, at[DEALS] - at[1000]]))
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
asyncio.run(main())
"""

DOWNLOAD = """
async def main():
    import os, signal
    port, pid = server_in_another_process()
    try:
        with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
            async with HindsightSession("k3y", base_url=f"http://127.0.0.1:{port}") as session:
                link = f"http://127.0.0.1:{port}/file?token=secret"
                export = Export(export_id="exp_1", status=ExportStatus.COMPLETED, download_url=link)
                before = peak()
                path = await session.deals.download_export(export, Path(folder) / "deals.csv")
                print(json.dumps([path.stat().st_size, peak() - before]))
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
asyncio.run(main())
"""


def measured(code, folder, *, deals=0, size=0):
    constants = f"DEALS, SIZE, FOLDER = {deals}, {size}, {str(folder)!r}\n"
    return json.loads(run_python(constants + SERVED + code, seconds=600))


@pytest.mark.slow
def test_a_walk_over_a_hundred_thousand_deals_needs_the_memory_of_a_thousand(tmp_path):
    """It holds one page, and the ids of the last two."""
    seen, grown = measured(WALK, tmp_path, deals=100_000)
    assert 100_000 == seen
    assert grown < 2 * MEGABYTE


@pytest.mark.slow
def test_a_download_of_a_gigabyte_needs_the_memory_of_some_pieces(tmp_path):
    """What comes is written as it comes."""
    size, grown = measured(DOWNLOAD, tmp_path, size=1024 * MEGABYTE)
    assert 1024 * MEGABYTE == size
    assert grown < 40 * MEGABYTE
