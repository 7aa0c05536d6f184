"""What each command is given that speaks to Hindsight: how fast it may be, beside whom, and how much it says."""

import logging
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any

from cyclopts import Group, Parameter

from hindsight_async.call.log_output import log_to_stderr
from hindsight_async.extras import load_on_first_use
from hindsight_async.rate import Budget, Plan, RateBudget, plan_or_default
from hindsight_async.session import HindsightSession

SHARED = Group("Plan, other processes, log", sort_key=10)

_LEVELS = (None, logging.INFO, logging.DEBUG)
"""Of the log, by how often -v is given."""


@dataclass(frozen=True, kw_only=True)
class PlanAndLog:
    """How fast a command may be, and how much it says.

    Parameters
    ----------
    plan
        The organisation's tier; else HINDSIGHT_PLAN.
    verbose
        Log to standard error what went wrong or took long; -vv logs each step of each request.

    """

    plan: Plan | None = None
    verbose: Annotated[
        int, Parameter(name=["--verbose", "-v"], count=True, negative=(), show_default=False)
    ] = 0

    def session(self, **more: Any) -> HindsightSession:
        """Return a session of these options, and begin the log that they ask for.

        Args:
            more: As HindsightSession takes it.

        Raises:
            ValueError: An option has a wrong value; the text names it.
            ImportError: The extra redis is not installed; the text says so.

        """
        if level := _LEVELS[min(self.verbose, len(_LEVELS) - 1)]:
            log_to_stderr(level)
        return HindsightSession(budget=self._budget(), **more)

    def _budget(self) -> Budget:
        return RateBudget.for_plan(plan_or_default(self.plan))


@dataclass(frozen=True, kw_only=True)
class SharedOptions(PlanAndLog):
    """How fast a command may be, beside which other processes, and how much it says.

    Parameters
    ----------
    share
        This process's part of the plan, such as 1/4, where others have the rest.
    budget
        Share the plan with all that name the same Redis, such as redis://HOST:6379/0.
    organisation
        What they call the organisation there, where a Redis serves several.

    """

    share: Annotated[str | None, Parameter(show_default=False)] = None
    budget: Annotated[str | None, Parameter(show_default=False)] = None
    organisation: Annotated[str, Parameter(show_default=False)] = "default"

    @property
    def requests_per_minute(self) -> int:
        """How many requests this process may send in a minute, as far as that is known before the first."""
        return self._budget().limit

    def _budget(self) -> Budget:
        plan = plan_or_default(self.plan)
        if self.budget is None:
            return RateBudget.for_plan(plan, share=parse_share(self.share))
        if self.share is not None:
            raise ValueError(
                "give --share, a fixed part of the plan, or --budget, which parts it anew; not both"
            )
        redis_budget = load_on_first_use("RedisBudget")
        try:
            made: Budget = redis_budget(self.budget, self.organisation, plan=plan)
        except ValueError as error:
            raise ValueError(f"--budget: {error}") from None
        return made


DEFAULT_PLAN_AND_LOG = PlanAndLog()
PlanAndLogOption = Annotated[PlanAndLog, Parameter(name="*", group=SHARED)]

DEFAULT_SHARED = SharedOptions()
SharedOption = Annotated[SharedOptions, Parameter(name="*", group=SHARED)]


def parse_share(text: str | None) -> float:
    """Return the part of the plan that the option --share gives; all of it where it was not given.

    Raises:
        ValueError: It is no part.

    """
    if text is None:
        return 1.0
    try:
        share = Fraction(text)
    except (ValueError, ZeroDivisionError):
        share = Fraction(0)
    if not 0 < share <= 1:
        raise ValueError(f"--share takes a part of the plan, such as 1/4 or 0.25, not {text!r}")
    return float(share)
