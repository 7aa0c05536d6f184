"""How well a rate limit is used: whole jobs against simulated servers, alone and beside others, on a virtual clock."""

from collections.abc import Iterable, Mapping, Sequence

from matplotlib.figure import Figure

from benchmarks.rate_jobs import Case, Other, best_possible, work_off
from benchmarks.rate_policies import OURS, POLICIES, WORKERS
from benchmarks.report import OTHERS, Report, Table
from benchmarks.report import OURS as OUR_COLOUR
from simulated_server import BURST, HEAD_START, MINUTE, OF_THE_CLOCK

PLANS = (60, 300, 1000)
WINDOWS = ("weighted", "sliding", "fixed", "aligned", "bucket")
WITH_CACHE = ("weighted", "cached", "sliding", "fixed", "aligned", "bucket")
SPECIAL_PLAN = 300
PLOTTED_PLAN = 60
PLOTTED_WINDOWS = ("weighted", "sliding", "aligned", "bucket")
"""All but the fixed one, which looks like the sliding one: the plot has to stay a small file."""

MINUTES_OF_WORK = 10
SHORT_JOB = 3
PHASE = 20.0
"""The second of the server's minute at which a job begins, unless said otherwise."""

PHASES = (2.0, PHASE, 35.0, 50.0, 59.0)

QUICK_PLANS = (6,)
QUICK_MINUTES_OF_WORK = 1
QUICK_PHASES = (PHASE,)

BESIDE_OTHERS = (OURS, "AsyncLimiter(N, 60), retry", "AsyncLimiter(1, 60/N), retry")
"""The policies that are shown beside another program."""

PLOTTED_STEP = 20.0
MOST_PLOTTED = 1.2
"""Times the best time, about: slower jobs run out of the plot."""

NEIGHBOURS: Mapping[str, Other] = {
    "a third, evenly": Other("even"),
    "a third, all at once each minute": Other("minute"),
    f"a third, in bursts of {BURST}": Other("bursts"),
    "a third, comes when a third is done": Other("even", comes_after=1 / 3),
    "half, goes after 200 s": Other("even", share=1 / 2, stays=200.0),
}

METHOD = f"""\
A job of {MINUTES_OF_WORK} x plan requests, unless said otherwise, sent by {WORKERS} workers with latencies of about 0.1 s and a heavy
tail, against a simulated server. It counts in a weighted window (the clock's minute, and the one before by what is left of this one;
"cached" remembers until the minute's end that it refused), a sliding one, a fixed one (from its first request), an aligned one (the
clock's minute), or a bucket that drips. Jobs begin {PHASE:.0f} s into the clock's minute. The clock is virtual: waiting takes no time,
and every run gives the same numbers. "Best" is an oracle with the same workers and latencies that knows the server's count, sends
whenever there is room, and never more than the limit in any 60 s (who does may be faster). Each cell has the number of 429s, requests
that were refused; then how long the job took beside the best, or, where rows were given up, how many failed.
AsyncLimiter and pause on reset try a row up to 10 times with pauses of 0.5 to 8 s after a 429; back-off only is the policy
of generated clients, 3 attempts; hindsight-async gives no row up because of a 429. The special cases have a plan of
{SPECIAL_PLAN}: "the server allows half" and "double" mean that the client was configured for {SPECIAL_PLAN} and the server's headers
say otherwise. Beside another program, which never backs off and is there {HEAD_START:.0f} s before us, each cell has the part of its
requests that was refused while our job ran; the part of ours; and how long we took beside the fair time, in which we use what it
does not send."""


def special_cases(plan: int, minutes: int) -> dict[str, list[Case]]:
    """Name what may be wrong with the plan, and make a case of it for each window."""
    return {
        name: [Case(plan, window, limit, minutes, PHASE, names_limits=told) for window in WINDOWS]
        for name, limit, told in (
            ("the server allows half", plan // 2, True),
            ("the server allows double", plan * 2, True),
            ("no rate headers", plan, False),
        )
    }


def compare(cases: Sequence[Case], label: str) -> list[list[str]]:
    """Run every policy on each case; write one row of a table for each policy, one cell for each case."""
    best = [best_possible(case) for case in cases]
    return [
        [
            policy,
            label,
            *(work_off(case, policy).beside(seconds) for case, seconds in zip(cases, best, strict=True)),
        ]
        for policy in POLICIES
    ]


def by_phase(plans: Sequence[int], jobs: Sequence[int], phases: Sequence[float]) -> list[list[str]]:
    """Run our policy on each window from each second of the minute; those that know no minute, from one."""
    lines: list[list[str]] = []
    for window in WITH_CACHE:
        for plan in plans:
            for job in jobs:
                cells = ["-"] * len(phases)
                for column, phase in enumerate(phases):
                    if window in OF_THE_CLOCK or phase == PHASE:
                        case = Case(plan, window, plan, job, phase)
                        cells[column] = work_off(case, OURS).beside(best_possible(case))
                lines.append([window, str(plan), str(job), *cells])
    return lines


def beside_others(plan: int, minutes: int) -> list[list[str]]:
    """Run some policies beside each kind of another program."""
    lines: list[list[str]] = []
    for policy in BESIDE_OTHERS:
        for told in (True, False) if policy == OURS else (True,):
            for name, other in NEIGHBOURS.items():
                cases = [Case(plan, window, plan, minutes, PHASE, told, other) for window in WINDOWS]
                fair = other.fair_seconds(cases[0].rows, plan)
                cells = [work_off(case, policy).beside_another(fair) for case in cases]
                lines.append([policy if told else f"{policy}, no rate headers", name, *cells])
    return lines


def run(*, quick: bool) -> Report:
    """Simulate, and tabulate."""
    plans = QUICK_PLANS if quick else PLANS
    minutes = QUICK_MINUTES_OF_WORK if quick else MINUTES_OF_WORK
    phases = QUICK_PHASES if quick else PHASES
    special = plans[0] if quick else SPECIAL_PLAN
    plain = [
        line
        for plan in plans
        for line in compare([Case(plan, window, plan, minutes, PHASE) for window in WINDOWS], str(plan))
    ]
    odd = [line for name, cases in special_cases(special, minutes).items() for line in compare(cases, name)]
    ours = by_phase(plans, (minutes,) if quick else (SHORT_JOB, minutes), phases)
    beside = beside_others(special, minutes)
    return Report(
        title="How well a rate limit is used",
        method=METHOD,
        distributions=("hindsight-async", "aiolimiter"),
        tables=[
            Table("The plan is what the server allows", ["policy", "plan", *WINDOWS], plain),
            Table(
                f"{OURS} by the second of the minute at which the job begins",
                ["window", "plan", "plans' worth", *(f"{phase:.0f} s" for phase in phases)],
                ours,
            ),
            Table("It is not, or nobody says so", ["policy", "case", *WINDOWS], odd),
            Table("Beside another program", ["policy", "the other sends", *WINDOWS], beside),
        ],
        figure=plot(plans[0] if quick else PLOTTED_PLAN, minutes),
    )


def plot(plan: int, minutes: int) -> Figure:
    """Draw how many requests each policy has had accepted and refused so far, for each window."""
    figure = Figure(figsize=(9, 8), layout="constrained")
    panels = figure.subplots(len(POLICIES), len(PLOTTED_WINDOWS), sharex=True, sharey=True)
    for row, policy in zip(panels, POLICIES, strict=True):
        for ax, window in zip(row, PLOTTED_WINDOWS, strict=True):
            case = Case(plan, window, plan, minutes, PHASE)
            done = work_off(case, policy)
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
