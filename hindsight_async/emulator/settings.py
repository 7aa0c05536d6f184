"""What of the emulator may be changed while it runs: its plan, how it counts, the month, how long it takes."""

from collections.abc import Callable
from typing import Final, TypedDict

from attrs import field, frozen

from hindsight_async.emulator.limits import RateLimit, Window, rate_limit
from hindsight_async.rate import Plan, plan_of

LIMIT_FIELDS: Final = frozenset({"plan", "requests_per_minute", "window", "refusals_cached"})
"""What the count of a minute is made of: where one of them changes, it starts anew."""


class SettingsChanges(TypedDict, total=False):
    """What may be changed, by the names and in the units of `Emulator`."""

    plan: Plan | str
    requests_per_minute: int | None
    window: Window
    refusals_cached: bool
    monthly_limit: int | None
    latency: float | Callable[[], float]


@frozen
class Settings:
    """All of them at one time, as `Emulator` describes them.

    Raises:
        ValueError: One makes no sense, or not beside another; the text names it.

    """

    plan: Plan = field(converter=plan_of)
    requests_per_minute: int | None
    window: Window
    refusals_cached: bool
    monthly_limit: int | None
    latency: float | Callable[[], float]

    def __attrs_post_init__(self) -> None:
        new_limit(self)
        if self.monthly_limit is not None and self.monthly_limit < 0:
            raise ValueError(f"monthly_limit must be at least 0, or None, not {self.monthly_limit}")
        if not callable(self.latency) and not self.latency >= 0:
            raise ValueError(f"latency must be at least 0 seconds, not {self.latency}")


def new_limit(settings: Settings, wall_offset: float = 0.0) -> RateLimit:
    """Return a fresh count of a minute; `wall_offset` is what the wall clock is ahead by, in seconds."""
    own = settings.requests_per_minute
    return rate_limit(
        settings.window,
        settings.plan.requests_per_minute if own is None else own,
        wall_offset=wall_offset,
        refusals_cached=settings.refusals_cached,
    )
