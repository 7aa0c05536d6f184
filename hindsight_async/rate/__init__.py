"""When a request may leave: the rate budget.

budget           what users see: the budget of one process, and a snapshot of any
plan             the tiers and their limits
client           a session's side of the budget, and the permit for one request
scheduler        hands out permits: the limiter, those who wait, and the event loop meet here
wait_queue       who waits, whose turn it is, and what keeps one back alone
wait_reports     what is told of waiting, to `on_wait` and the log
limiter          what the scheduler asks, as a protocol of its two limiters, and the errors of both
local_limiter    the one that counts by itself
limits           the limits that the server names, of the organisation and of routes
policy           how many may leave under one limit: the rules, with the proof of what they never do
belief           what answers tell of how the server counts, and of how much others use
counting         the ways in which servers count
own_requests     our own requests of the last minutes
server_clock     what the server's clock shows
cooldown         closed by a 429, opening behind a probe
token_bucket     how fast requests follow each other
headers          what the server's headers say
redis/           the limiter of a whole fleet, with its count in Redis

What keeps a request from leaving? Read three files: `wait_queue` (`call_next`, which `scheduler` asks whose turn it is),
`local_limiter` (`obstacle` for all, `obstacle_on` one route, `take`) and, which that asks, `policy` (`admits`, `take`).

What happens after a 429? `cooldown` closes for all, and the call that met it stands at the end of its line again.
"""

from hindsight_async.rate.budget import Budget, BudgetSnapshot, RateBudget
from hindsight_async.rate.client import BudgetClient, Lane
from hindsight_async.rate.plan import Plan, plan_of, plan_or_default

__all__ = [
    "Budget",
    "BudgetClient",
    "BudgetSnapshot",
    "Lane",
    "Plan",
    "RateBudget",
    "plan_of",
    "plan_or_default",
]
