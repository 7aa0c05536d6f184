"""The rate budget: one room that decides when a request may leave.

budget           what sessions see of it
rate_budget      the budget of one process
door             a session's way through it
dispatch         hands out slots to those who wait
admission        what stands in a request's way
local_admission  the same by this process's own count
rate_limits      the limits that the server names
window           N slots, each held until 60 s after its answer; with the proof
others_use       how much of it other programs use
gate             closed by a 429, opening behind a probe
pacer            the token bucket
lanes            who waits, and whose turn it is
plan             the tiers
"""

from hindsight_async.budget.budget import Budget, BudgetSnapshot
from hindsight_async.budget.door import Door
from hindsight_async.budget.lanes import Lane
from hindsight_async.budget.plan import Plan, plan_or_default
from hindsight_async.budget.rate_budget import RateBudget

__all__ = ["Budget", "BudgetSnapshot", "Door", "Lane", "Plan", "RateBudget", "plan_or_default"]
