"""The plan tiers of a Hindsight organisation."""

import os
from enum import Enum

PLAN_VARIABLE = "HINDSIGHT_PLAN"


class Plan(Enum):
    """A plan tier of a Hindsight organisation, with its limit in requests per minute.

    A budget starts with it; what the server's headers name instead takes its place.
    """

    ESSENTIALS = "essentials"
    GROWTH = "growth"
    ENTERPRISE = "enterprise"

    @property
    def requests_per_minute(self) -> int:
        """How many requests all programs of the organisation together may send in any 60 seconds."""
        return _REQUESTS_PER_MINUTE[self]


_REQUESTS_PER_MINUTE = {Plan.ESSENTIALS: 60, Plan.GROWTH: 300, Plan.ENTERPRISE: 1000}

DEFAULT_PLAN = Plan.ESSENTIALS


def plan_or_default(given: Plan | None) -> Plan:
    """Take the given plan, else the one that the environment names, else `DEFAULT_PLAN`.

    Args:
        given: The plan; None for that of the variable HINDSIGHT_PLAN (essentials, growth or enterprise).

    Returns:
        The plan to keep to.

    Raises:
        TypeError: `given` is anything but a Plan.
        ValueError: The variable names none.

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
