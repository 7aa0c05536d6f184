"""How this process stands with its fleet: what it holds, what it has heard, and what it has yet to say."""

from collections import deque
from collections.abc import Callable

from attrs import define, field

from hindsight_async.budget.dispatch import Dispatcher
from hindsight_async.budget.lanes import Grant
from hindsight_async.budget.local_admission import LocalAdmission
from hindsight_async.redis.holdings import Held, Holdings
from hindsight_async.redis.outlook import Outlook
from hindsight_async.redis.sync import Fact
from hindsight_async.redis.timing import Timing

MOST_FACTS = 500
"""Answers whose teachings are kept for a Redis that is away; the oldest go first."""


@define(eq=False)
class Standing:
    """Shared by those who hand out slots and those who speak to Redis.

    `stock` are slots granted and not yet handed out, `tickets` those in use. `alone` counts while Redis is away and
    this process goes on by itself. `refused` is why Redis is of no use; it is not spoken to before `silent_until`.
    """

    dispatcher: Dispatcher
    holdings: Holdings
    outlook: Outlook
    timing: Timing
    max_rate_wait: float
    random: Callable[[], float]
    stock: deque[Held] = field(factory=deque[Held])
    tickets: dict[Grant, Held] = field(factory=dict[Grant, Held])
    facts: list[Fact] = field(factory=list[Fact])
    alone: LocalAdmission | None = None
    away: bool = False
    refused: str | None = None
    silent_until: float = 0.0
    urgent: bool = False
    claimed: tuple[bool, bool] = (False, False)

    @property
    def limit(self) -> int:
        """Requests per minute: the fleet's, or this process's own share of them."""
        return self.outlook.limit if self.alone is None else self.alone.limit

    def note(self, fact: Fact) -> None:
        """Keep what an answer taught for the next word."""
        self.facts = [*self.facts[-MOST_FACTS + 1 :], fact]

    def give_back_stock(self) -> None:
        """Have the slots that nobody took given back."""
        while self.stock:
            self.holdings.drop(self.stock.popleft())

    def has_something_to_say(self) -> bool:
        """Tell whether somebody waits for a slot, or for one to be given back, or for news."""
        waiting = self.dispatcher.lanes.waiting or self.holdings.drops
        return bool(waiting) or self.urgent or any(self.claimed)
