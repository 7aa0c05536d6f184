"""The plan tiers of a Hindsight organisation."""

from enum import Enum


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
