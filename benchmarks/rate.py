"""How well a rate limit is used: jobs of ten minutes' worth of requests against simulated servers, on a virtual clock."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence

from attrs import field, frozen
from matplotlib.figure import Figure

from benchmarks.rate_policies import OURS, POLICIES, SEED, WORKERS, Line
from benchmarks.report import OTHERS, Report, Table
from benchmarks.report import OURS as OUR_COLOUR
from simulated_server import MINUTE, SimulatedServer, heavy_tail, simulate

PLANS = (60, 300, 1000)
WINDOWS = ("fixed", "aligned", "sliding", "bucket")
SPECIAL_PLAN = 300
PLOTTED_PLAN = 60
MINUTES_OF_WORK = 10
QUICK_PLANS = (6,)
QUICK_MINUTES_OF_WORK = 1
OFFSET = 20.0
"""Seconds into the server's aligned minute at which a job begins."""

ORACLE_STEP = 0.05
"""Seconds after which the client that knows the server's count looks again."""

PLOTTED_STEP = 20.0
MOST_PLOTTED = 1.2
"""Times the best time, about: slower jobs run out of the plot."""


METHOD = f"""\
A job of {MINUTES_OF_WORK} x plan requests, sent by {WORKERS} workers with latencies of about 0.1 s and a heavy tail, against a
simulated server that counts in a fixed window (from its first request), an aligned one (the clock's minute; jobs begin
{OFFSET:.0f} s into it), a sliding one, or a bucket that drips. The clock is virtual: waiting takes no time, and every run
gives the same numbers. "Best" is a client with no latency that knows the server's count and sends whenever there is
room. Each cell has the number of 429s, requests that were refused; then how long the job took beside the best, or, where
rows were given up, how many failed.
AsyncLimiter and pause on reset try a row up to 10 times with pauses of 0.5 to 8 s after a 429; back-off only is the policy
of generated clients, 3 attempts; hindsight-async gives no row up because of a 429. The special cases have a plan of
{SPECIAL_PLAN}: "a third used elsewhere" is another program's even traffic, which the server always lets through; "the server
allows half" and "double" mean that the client was configured for {SPECIAL_PLAN} and the server's headers say otherwise."""


@frozen
class Case:
    """One server, and what the client believes of it."""

    plan: int
    window: str
    server_limit: int
    names_limits: bool = True
    elsewhere_per_minute: int = 0
    minutes_of_work: int = MINUTES_OF_WORK

    @property
    def rows(self) -> int:
        """Count the rows of the job."""
        return self.plan * self.minutes_of_work

    def server(self) -> SimulatedServer:
        """Make the server."""
        return SimulatedServer(
            self.server_limit, self.window, names_limits=self.names_limits, minute_offset=OFFSET
        )


@frozen
class Run:
    """What became of a job: seconds, refusals, rows given up, and when requests arrived and were refused."""

    seconds: float
    failures: int
    arrivals: Sequence[float] = field(repr=False)
    refused: Sequence[float] = field(repr=False)

    def beside(self, best: float) -> str:
        """Write how many requests were refused, and how long it took beside the best, or how many rows failed."""
        result = f"{self.failures} failed" if self.failures else f"{self.seconds / best:.2f} x"
        return f"{len(self.refused)}, {result}"


async def other_program(server: SimulatedServer, per_minute: int) -> None:
    """Spend so much of the limit, evenly."""
    while True:
        server.arrive(elsewhere=True)
        await asyncio.sleep(MINUTE / per_minute)


async def work_off(case: Case, policy_name: str) -> Run:
    """Do the job with one policy."""
    server = case.server()
    policy, line = POLICIES[policy_name](case.plan), Line(server, heavy_tail(SEED))
    loop = asyncio.get_running_loop()
    began, rows, failures = loop.time(), iter(range(case.rows)), 0

    async def work() -> None:
        nonlocal failures
        for _ in rows:
            let_through = await policy.send(line)
            failures += not let_through

    others = elsewhere(case, server)
    await asyncio.gather(*(work() for _ in range(WORKERS)))
    for other in others:
        other.cancel()
    return Run(loop.time() - began, failures, server.arrivals, server.refused)


async def best_possible(case: Case) -> float:
    """Do the job with knowledge that no client has; tell the seconds."""
    server = case.server()
    loop = asyncio.get_running_loop()
    began, left = loop.time(), case.rows
    others = elsewhere(case, server)
    while left:
        room = min(left, server.remaining(loop.time()))
        for _ in range(room):
            server.arrive()
        left -= room
        if left:
            await asyncio.sleep(ORACLE_STEP)
    for other in others:
        other.cancel()
    return max(loop.time() - began, ORACLE_STEP)


def elsewhere(case: Case, server: SimulatedServer) -> list["asyncio.Task[None]"]:
    """Start the other program, if there is one."""
    if not case.elsewhere_per_minute:
        return []
    return [asyncio.ensure_future(other_program(server, case.elsewhere_per_minute))]


def special_cases(plan: int, minutes: int) -> Iterator[tuple[str, list[Case]]]:
    """Name what may be wrong with the plan, and make a case of it for each window."""
    third = max(1, plan // 3)
    for name, limit, told, used in (
        ("a third used elsewhere", plan, True, third),
        ("the server allows half", plan // 2, True, 0),
        ("the server allows double", plan * 2, True, 0),
        ("no rate headers", plan, False, 0),
        ("no rate headers, a third used elsewhere", plan, False, third),
    ):
        yield name, [Case(plan, window, limit, told, used, minutes) for window in WINDOWS]


def compare(cases: Sequence[Case], label: str) -> list[list[str]]:
    """Run every policy on each case; write one row of a table for each policy, one cell for each case."""
    best = [simulate(lambda case=case: best_possible(case)) for case in cases]
    lines: list[list[str]] = []
    for policy in POLICIES:
        runs = [simulate(lambda case=case, policy=policy: work_off(case, policy)) for case in cases]
        cells = [done.beside(seconds) for done, seconds in zip(runs, best, strict=True)]
        lines.append([policy, label, *cells])
    return lines


def run(*, quick: bool) -> Report:
    """Simulate, and tabulate."""
    plans = QUICK_PLANS if quick else PLANS
    minutes = QUICK_MINUTES_OF_WORK if quick else MINUTES_OF_WORK
    special = plans[0] if quick else SPECIAL_PLAN
    plain = [
        line
        for plan in plans
        for line in compare(
            [Case(plan, window, plan, minutes_of_work=minutes) for window in WINDOWS], str(plan)
        )
    ]
    odd = [line for name, cases in special_cases(special, minutes) for line in compare(cases, name)]
    return Report(
        title="How well a rate limit is used",
        method=METHOD,
        distributions=("hindsight-async", "aiolimiter"),
        tables=[
            Table("The plan is what the server allows", ["policy", "plan", *WINDOWS], plain),
            Table("It is not, or nobody says so", ["policy", "case", *WINDOWS], odd),
        ],
        figure=plot(plans[0] if quick else PLOTTED_PLAN, minutes),
    )


def plot(plan: int, minutes: int) -> Figure:
    """Draw how many requests each policy has had accepted and refused so far, for each window."""
    figure = Figure(figsize=(9, 8), layout="constrained")
    panels = figure.subplots(len(POLICIES), len(WINDOWS), sharex=True, sharey=True)
    for row, policy in zip(panels, POLICIES, strict=True):
        for ax, window in zip(row, WINDOWS, strict=True):
            case = Case(plan, window, plan, minutes_of_work=minutes)
            done = simulate(lambda case=case, policy=policy: work_off(case, policy))
            moments = [
                step * PLOTTED_STEP for step in range(int(MOST_PLOTTED * minutes * MINUTE / PLOTTED_STEP))
            ]
            moments = [moment for moment in moments if moment <= done.seconds + PLOTTED_STEP]
            refused = counted(done.refused, moments)
            accepted = [
                all_of_them - no
                for all_of_them, no in zip(counted(done.arrivals, moments), refused, strict=True)
            ]
            colour = OUR_COLOUR if policy == OURS else OTHERS
            ax.plot([moment / MINUTE for moment in moments], accepted, color=colour, label="accepted")
            ax.plot(
                [moment / MINUTE for moment in moments], refused, color="black", linewidth=0.8, linestyle=":"
            )
            ax.set_title(f"{policy}\n{window}", fontsize=7)
            ax.spines[["top", "right"]].set_visible(False)
            ax.set(xticks=[0, minutes / 2, minutes], yticks=[0, case.rows // 2, case.rows])
    panels[0][0].set(xlim=(0, MOST_PLOTTED * minutes), ylim=(0, 1.2 * plan * minutes))
    figure.supxlabel("minutes")
    figure.supylabel(
        f"requests so far: accepted (line), refused (dotted); plan {plan}, {plan * minutes} rows"
    )
    return figure


def counted(moments: Sequence[float], until: Iterable[float]) -> list[int]:
    """Count the moments before each of some later ones."""
    return [sum(moment <= end for moment in moments) for end in until]
