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


def plan_of(given: Plan | str) -> Plan:
    """Return the plan that is given, or named as in the environment, in small letters or large.

    Args:
        given: A Plan, or essentials, growth or enterprise.

    Returns:
        The plan.

    Raises:
        TypeError: That is neither a Plan nor text.
        ValueError: No plan has this name; the text says which there are.

    """
    if isinstance(given, Plan):
        return given
    if not isinstance(given, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f'plan must be a Plan or its name, such as Plan.GROWTH or "growth", not {type(given).__name__}'
        )
    return _named(given, "plan")


def plan_or_default(given: Plan | str | None) -> Plan:
    """Take the given plan, else the one that the environment names, else `DEFAULT_PLAN`.

    Args:
        given: The plan; None for that of the variable HINDSIGHT_PLAN (essentials, growth or enterprise).

    Returns:
        The plan to keep to.

    Raises:
        TypeError: As from `plan_of`.
        ValueError: As from `plan_of`; or the variable names none.

    """
    if given is not None:
        return plan_of(given)
    name = os.environ.get(PLAN_VARIABLE)
    return _named(name, f"the variable {PLAN_VARIABLE}") if name else DEFAULT_PLAN


def _named(name: str, where: str) -> Plan:
    try:
        return Plan(name.strip().lower())
    except ValueError:
        names = ", ".join(plan.value for plan in Plan)
        raise ValueError(f"{where} must be one of {names}") from None
