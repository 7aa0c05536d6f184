"""The rate budget: one room that decides when a request may leave.

rate_budget   what sessions see of it
dispatch      hands out slots to those who wait
admission     what stands in a request's way, and what its answer teaches
rate_limits   the limits that the server names
window        N slots, each held until 60 s after its answer; with the proof
gate          closed by a 429, opening behind a probe
pacer         the token bucket
lanes         who waits, and whose turn it is
plan          the tiers
"""

from hindsight_async.budget.lanes import Lane
from hindsight_async.budget.plan import Plan
from hindsight_async.budget.rate_budget import BudgetSnapshot, Door, RateBudget

__all__ = ["BudgetSnapshot", "Door", "Lane", "Plan", "RateBudget"]
