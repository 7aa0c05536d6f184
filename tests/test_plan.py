"""The name of a plan, wherever a plan goes."""

import pytest

from hindsight_async import HindsightSession, Plan, RateBudget, RedisBudget
from hindsight_async.emulator import Emulator

MADE_FOR = {
    "session": lambda plan: HindsightSession("key", plan=plan).budget.limit,
    "budget": lambda plan: RateBudget.for_plan(plan).limit,
    "redis": lambda plan: RedisBudget("redis://127.0.0.1:1/0", organisation="acme", plan=plan).limit,
    "emulator": lambda plan: Emulator(plan=plan).plan.requests_per_minute,
}


@pytest.mark.parametrize("made_for", MADE_FOR.values(), ids=MADE_FOR)
def test_a_name_stands_for_its_plan(made_for):
    """Each plan by itself and by its name; another name or thing is refused, with what there is."""
    for plan in Plan:
        assert made_for(plan) == made_for(plan.value) == made_for(f" {plan.value.title()}")
    with pytest.raises(ValueError, match="plan must be one of essentials, growth, enterprise"):
        made_for("gold")
    with pytest.raises(TypeError, match=r"plan must be a Plan or its name, .* not int"):
        made_for(300)
