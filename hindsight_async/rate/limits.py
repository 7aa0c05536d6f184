"""The limits that the server names, and a policy for each.

The organisation's limit is the largest that any route names (the plan's until one does); a route that names a
smaller one has a policy of its own beside the organisation's. A limit lower than the one in use is believed at
once, a higher one after two answers that agree, the second to a request sent after the first arrived.
"""

from math import inf

from attrs import define

from hindsight_async.rate.policy import RatePolicy
from hindsight_async.rate.server_clock import ServerClock


@define(eq=False, repr=False)
class NamedLimit:
    """What one route's answers say the limit is.

    A higher one needs two answers because of those that overtake each other: of a limit that was lowered, answers to
    older requests may still tell the old one.
    """

    limit: int
    """Requests per minute, as believed."""
    _higher: int | None = None
    """A higher limit that one answer named."""
    _higher_since: float = 0.0
    """When that answer came."""
    _adopted_at: float = -inf
    """When a higher limit was last believed."""

    def learn(self, limit: int, *, sent_at: float, now: float) -> None:
        """Take in the limit that one answer names."""
        if sent_at < self._adopted_at:
            # Sent before what is in use was learned, so it tells of an older time.
            return
        if limit <= self.limit:
            self.limit, self._higher = limit, None
        elif limit != self._higher:
            self._higher, self._higher_since = limit, now
        elif sent_at >= self._higher_since:
            self.limit, self._higher, self._adopted_at = limit, None, now


class RateLimits:
    """The policy for the organisation's limit, and those for the routes with a smaller limit of their own."""

    __slots__ = ("_named", "clock", "of_routes", "whole")

    def __init__(self, requests_per_minute: int) -> None:
        self.clock = ServerClock()
        self.whole = RatePolicy(requests_per_minute, self.clock)
        # Only of routes whose limit is smaller than the organisation's.
        self.of_routes: dict[str, RatePolicy] = {}
        # Of every route that was answered with a limit.
        self._named: dict[str, NamedLimit] = {}

    def policies(self) -> list[RatePolicy]:
        """List all, the organisation's first."""
        return [self.whole, *self.of_routes.values()]

    def named(self) -> dict[str, int]:
        """Return what each route that was answered with a limit says it is, in requests per minute."""
        return {route: each.limit for route, each in self._named.items()}

    def learn(self, route: str, limit: int, *, sent_at: float, now: float) -> None:
        """Adopt the limit that an answer on this route names."""
        named = self._named.get(route)
        known = named is not None
        if named is None:
            named = self._named[route] = NamedLimit(self.whole.limit)
        before = named.limit
        named.learn(limit, sent_at=sent_at, now=now)
        if known and named.limit == before:
            return
        self.whole.limit = max(each.limit for each in self._named.values())
        for name, each in self._named.items():
            self._limit_route(name, each.limit, now)

    def _limit_route(self, route: str, limit: int, now: float) -> None:
        if limit >= self.whole.limit:
            self.of_routes.pop(route, None)
        elif route in self.of_routes:
            self.of_routes[route].limit = limit
        else:
            self.of_routes[route] = self.whole.split(limit, now)
