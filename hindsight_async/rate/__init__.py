"""The rate budget: one room that decides when a request may leave.

budget           what sessions see of it
rate_budget      the budget of one process
client             a session's way through it
dispatch         hands out permits to those who wait
limiter        what stands in a request's way
local_admission  the same by this process's own count
rate_limits      the limits that the server names
window           N permits, each held until 60 s after its answer; with the proof
others_use       how much of it other programs use
cooldown             closed by a 429, opening behind a probe
token_bucket            the token bucket
lanes            who waits, and whose turn it is
plan             the tiers
"""

from hindsight_async.rate.budget import Budget, BudgetSnapshot, RateBudget
from hindsight_async.rate.client import BudgetClient, Lane
from hindsight_async.rate.plan import Plan, plan_or_default

__all__ = ["Budget", "BudgetClient", "BudgetSnapshot", "Lane", "Plan", "RateBudget", "plan_or_default"]
