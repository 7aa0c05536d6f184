"""Plot a real run of six minutes: `python docs/budget_plot.py`, which takes as long and writes `images/budget.svg`.

One program sends creates to an emulator as fast as its budget lets it. After a while another one reads once a second,
which the first learns from the server's headers alone.
"""

import asyncio
import sys
from collections import Counter
from pathlib import Path

import aiohttp
import matplotlib as mpl
import matplotlib.pyplot as plt

from hindsight_async import HindsightSession, Plan
from hindsight_async.emulator import Emulator

PLAN = Plan.GROWTH
SECONDS = 360
OTHER_COMES_AFTER = 150.0
OTHERS_PAUSE = 1.0
PICTURE = Path(__file__).parent / "images" / "budget.svg"
REFUSED = 429
MINUTE = 60
OURS, OTHERS = "#2a6fb0", "#e0a23b"


async def another_program(emulator: Emulator) -> None:
    """Read once a second, and look at no header."""
    await asyncio.sleep(OTHER_COMES_AFTER)
    headers = {"Authorization": f"Bearer {emulator.api_key}"}
    async with aiohttp.ClientSession(headers=headers) as http:
        while True:
            async with http.get(f"{emulator.base_url}/interviews/1"):
                await asyncio.sleep(OTHERS_PAUSE)


async def our_program(hindsight: HindsightSession) -> None:
    """Create interviews, many at a time, until it is stopped."""

    async def create_some(worker: int) -> None:
        for number in range(SECONDS * 1000):
            await hindsight.interviews.create(
                contact_email=f"contact{worker}-{number}@acme.example", sequence_id="seq_abc123"
            )

    await asyncio.gather(*(create_some(worker) for worker in range(16)))


async def measured() -> tuple[list[int], list[int], int]:
    """Return the requests of ours and of others in each second, and how many of ours were refused."""
    async with (
        Emulator(plan=PLAN) as emulator,
        HindsightSession(
            emulator.api_key,
            base_url=emulator.base_url,
            plan=PLAN,
            deadline=None,
            on_outcome_unknown=lambda _: None,
        ) as hindsight,
    ):
        started = asyncio.get_running_loop().time()
        everybody = [
            asyncio.create_task(each) for each in (our_program(hindsight), another_program(emulator))
        ]
        counts: list[Counter[str]] = []
        for second in range(1, SECONDS + 1):
            await asyncio.sleep(started + second - asyncio.get_running_loop().time())
            let_in = (request.method for request in emulator.requests if request.status != REFUSED)
            counts.append(Counter(let_in))
        for task in everybody:
            task.cancel()
        await asyncio.wait(everybody)
        refused = sum(request.status == REFUSED and request.method == "POST" for request in emulator.requests)
    return [each["POST"] for each in counts], [each["GET"] for each in counts], refused


def in_the_last_minute(totals: list[int]) -> list[int]:
    """Return how many of those that came until each second came within its last 60."""
    return [total - (totals[at - MINUTE] if at >= MINUTE else 0) for at, total in enumerate(totals)]


def draw(ours: list[int], others: list[int]) -> None:
    """Draw what is in use of the plan."""
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "budget", "font.size": 10})
    figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
    seconds = range(1, len(ours) + 1)
    axes.stackplot(
        seconds,
        in_the_last_minute(ours),
        in_the_last_minute(others),
        labels=["this program", "another program, once a second"],
        colors=[OURS, OTHERS],
    )
    limit = PLAN.requests_per_minute
    axes.axhline(limit, color="black", linewidth=1, linestyle="--")
    axes.text(2, limit + 4, f"the plan: {limit} in 60 seconds")
    axes.set(
        xlabel="seconds", ylabel="requests in the last 60 seconds", xlim=(0, SECONDS), ylim=(0, limit * 1.2)
    )
    axes.set_xticks(range(0, SECONDS + 1, 60))
    axes.legend(loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(PICTURE, metadata={"Date": None})


def main() -> None:
    """Measure, draw, and say what came of it."""
    ours, others, refused = asyncio.run(measured())
    draw(ours, others)
    minutes = [after - before for before, after in zip([0, *ours[59::60]], ours[59::60], strict=False)]
    sys.stdout.write(
        f"{PICTURE}: {PICTURE.stat().st_size:,} bytes; of ours {minutes} in each minute, {refused} refused\n"
    )


if __name__ == "__main__":
    main()
