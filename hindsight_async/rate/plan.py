"""The plan tiers of a Hindsight organisation."""

import os
from enum import Enum

PLAN_VARIABLE = "HINDSIGHT_PLAN"


class Plan(Enum):
    """A plan tier, and the requests per minute that it allows."""

    ESSENTIALS = "essentials"
    GROWTH = "growth"
    ENTERPRISE = "enterprise"

    @property
    def requests_per_minute(self) -> int:
        """How many requests the whole organisation may send in a minute."""
        return _REQUESTS_PER_MINUTE[self]


_REQUESTS_PER_MINUTE = {Plan.ESSENTIALS: 60, Plan.GROWTH: 300, Plan.ENTERPRISE: 1000}

DEFAULT_PLAN = Plan.ESSENTIALS


def plan_or_default(given: Plan | None) -> Plan:
    """Take the given plan, else the one that HINDSIGHT_PLAN names, else `DEFAULT_PLAN`.

    Raises TypeError for anything but a Plan, and ValueError where the variable names none.
    """
    if given is None:
        name = os.environ.get(PLAN_VARIABLE)
        if not name:
            return DEFAULT_PLAN
        try:
            return Plan(name.strip().lower())
        except ValueError:
            names = ", ".join(plan.value for plan in Plan)
            raise ValueError(f"the variable {PLAN_VARIABLE} must be one of {names}") from None
    if not isinstance(given, Plan):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"plan must be a Plan such as Plan.GROWTH, not {type(given).__name__}")
    return given
