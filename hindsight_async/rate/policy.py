"""When may a request leave, so that all of one limit is used and others keep what is theirs.

A server may count by the last 60 s, by the clock's minute, by a level that sinks, and in other ways (`counting`). Each of
them that its answers have not ruled out is believed (`belief`), and the one that allows least decides. Then

- alone, requests leave at once, up to what those ways leave free;
- in company they leave evenly (`pace`), at what the most that others used of late leaves, and some headroom. Until that is
  known, a good part of the limit is left to them.

Never do any 60 s at the server hold more than `limit` of our requests, whatever is believed. A permit is held from just
before its request is sent (t) until 60 s after its answer (r), and the request arrives at some s between t and r. If more
than `limit` arrived within 60 s, look at the one that was sent last: each of the others was sent before it and, having
arrived at s, is held until s + 60 at the earliest, so more than `limit` were held at once, which `admits` does not let
happen. This assumes that a request which is given up (cancelled, or too late) arrives before that, or never.

Pure: the caller hands in the time, in seconds of one clock that never goes back.
"""

from math import floor, inf

from attrs import define

from hindsight_async.rate.belief import Belief
from hindsight_async.rate.counting import KEPT_AFTER_ANSWER, RESIDUE, ROUNDING, WINDOW_SECONDS
from hindsight_async.rate.own_requests import REMEMBERED, Moments, OwnRequests
from hindsight_async.rate.server_clock import ServerClock

LOOKED_AT_AGAIN = 1.0
"""Seconds after which what others used is looked at again, since it is forgotten by and by."""


@define(eq=False, repr=False)
class Entry:
    """One request that leaves: what `take` returns."""

    policy: "RatePolicy"
    sent_at: float
    is_counted: bool = True
    """Whether the server may have counted it: not where it was refused, or never sent."""
    names_window: bool = False
    """Whether its answer told in which window."""


class Held:
    """The permits in use: each from just before its request is sent until 60 s after its answer, whatever that was."""

    __slots__ = ("free_at", "taken")

    def __init__(self) -> None:
        self.taken = 0
        # When each whose request is over comes free.
        self.free_at = Moments()

    def count(self, now: float) -> int:
        """Count them."""
        return self.taken - self.free_at.until(now)

    def falls_to(self, number: int, now: float) -> float:
        """Return the moment from which there are no more than this; inf where that waits for an answer."""
        if self.count(now) <= number:
            return now
        moment = self.free_at.nth(self.taken - number - 1)
        return inf if moment is None else moment

    def end(self, now: float) -> None:
        """Note that a request is over."""
        self.free_at.add(now + KEPT_AFTER_ANSWER)

    def end_all(self, now: float) -> None:
        """Note that nobody waits any more for any of the requests under way."""
        for _ in range(self.taken - len(self.free_at)):
            self.end(now)


class RatePolicy:
    """At most `limit` requests in any 60 s, and no more than the server and others leave.

    Args:
        limit: Requests in any 60 s.
        clock: The server's; shared by all limits of one server.
        own: Requests that it may have counted before.

    """

    __slots__ = (
        "_belief",
        "_changed",
        "_clock",
        "_full_until",
        "_held",
        "_own",
        "_room",
        "_room_until",
        "pace",
    )

    def __init__(self, limit: int, clock: ServerClock, own: OwnRequests | None = None) -> None:
        self._clock = clock
        self._own = own or OwnRequests()
        self._belief = Belief(limit, self._own, clock)
        self._held = Held()
        # Requests per minute at which they are to leave evenly; None where they leave at once.
        self.pace: int | None = None
        # What was found at the last look: how many may leave, as long as nothing changes, and until when; else until
        # when none may.
        self._room, self._room_until, self._full_until = 0, -inf, -inf
        self._changed = True

    @property
    def limit(self) -> int:
        """Requests in any 60 s."""
        return self._belief.limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._belief.change_limit(limit)
        self._room, self._changed = 0, True

    # A request leaves, and ends

    def admits(self, now: float) -> bool:
        """Tell whether one more may leave."""
        if self._room > 0 and now < self._room_until:
            return True
        if not self._changed and self._room < 1 and now < self._full_until:
            return False
        self._look(now)
        return self._room > 0

    def take(self, now: float) -> Entry:
        """Enter a request that leaves; ask `admits` first."""
        self._room -= 1
        self._held.taken += 1
        self._own.send(now)
        return Entry(self, now)

    def put_back(self, entry: Entry) -> None:
        """Take out an entry whose request was not sent."""
        self._held.taken -= 1
        self._take_out(entry)
        self._room, self._changed = 0, True

    def refuse(self, entry: Entry) -> None:
        """Note that the server refused a request, and so did not count it; `end` it all the same."""
        self._take_out(entry)

    def _take_out(self, entry: Entry) -> None:
        if entry.is_counted:
            entry.is_counted = False
            self._own.take_back(entry.sent_at)

    def end(self, entry: Entry, now: float) -> None:
        """Note that a request is over: the server may count it for a window more."""
        self._held.end(now)
        if entry.is_counted:
            self._own.end(now, determined=entry.names_window)
        if self._full_until == inf:
            self._changed = True

    def end_all(self, now: float) -> None:
        """Note that nobody waits any more for any of the requests under way."""
        self._held.end_all(now)
        self._own.end_all(now)
        self._changed = True

    def occupy(self, moments: list[float]) -> None:
        """Enter permits that another count has let out, and that come free at these moments."""
        self._held.taken += len(moments)
        for moment in moments:
            self._held.free_at.add(moment)
        self._changed = True

    def split(self, limit: int, now: float) -> "RatePolicy":
        """Make the policy of a smaller limit beside this one, as if all that left here had left there."""
        part = RatePolicy(limit, self._clock, self._own.in_doubt(now))
        part._held.taken, part._held.free_at = self._held.taken, self._held.free_at.copy()
        part.end_all(now)
        return part

    # When more may leave

    def room(self, now: float) -> int:
        """Count the requests that may leave now, at once or evenly."""
        self._look(now)
        return max(0, self._room)

    def next_change(self, now: float) -> float:
        """Name the next moment at which `admits` may turn true by itself; inf if there is none."""
        return inf if self.admits(now) else self._full_until

    def opens_for(self, ahead: int, now: float) -> float:
        """Name a moment before which our own requests allow no newcomer with so many ahead."""
        held = self._held
        cycles, ahead = divmod(ahead, self.limit)
        turn = held.taken - self.limit + ahead
        moment = now
        if turn >= held.free_at.until(now):
            # Of a request under way nobody knows when it ends: as if it ended now.
            moment = held.free_at.nth(turn) or now + KEPT_AFTER_ANSWER
        if not self.admits(now) and self._full_until < inf:
            moment = max(moment, self._full_until)
        return moment + cycles * KEPT_AFTER_ANSWER

    def _look(self, now: float) -> None:
        self._own.forget(now)
        self._held.free_at.forget(now - REMEMBERED)
        belief, limit = self._belief, self._belief.ceiling(now)
        ways, left = belief.believed(now)
        uses = [way.most(now) for way in ways]
        self._room = min(limit - self._held.count(now), floor(limit - left - max(uses) + RESIDUE))
        # What is under way at the minute's turn may be counted on either side of it.
        self._room_until, self._full_until = self._clock.next_turn(now), now
        if self._room < 1:
            falls = [way.falls_to(limit - left - 1, now) for way in ways]
            self._full_until = max(now + RESIDUE, self._held.falls_to(limit - 1, now), *falls)
        if left or limit < belief.limit:
            self._room_until = min(self._room_until, now + LOOKED_AT_AGAIN)
            self._full_until = min(self._full_until, now + LOOKED_AT_AGAIN)
        self.pace = limit - left if left or now < belief.evenly_until else None
        self._changed = False

    # What answers tell

    def window_named(self, reset: float) -> float:
        """Return which window an answer means that names this end, on the server's clock.

        Whole seconds may stand for a time up to `ROUNDING` away, which then differs from one answer to the next.
        """
        if reset % 1 == 0:
            minute = round(reset / WINDOW_SECONDS) * WINDOW_SECONDS
            for known in (minute, *self._own.windows):
                if abs(known - reset) <= ROUNDING:
                    return known
        return reset

    def confirm(self, entry: Entry, reset: float | None, now: float) -> None:
        """Note that the server has let this request through, and so counted it, and in which window."""
        if entry.is_counted:
            self.confirm_as_usual(entry, reset, now)
            self._belief.count(entry.sent_at, now)

    def confirm_as_usual(self, entry: Entry, reset: float | None, now: float) -> None:
        """Note the same of one of many in a burst, from which nothing more is to be learned."""
        entry.names_window = reset is not None
        self._own.count(entry.sent_at, now, reset)

    def learn(
        self,
        entry: Entry,
        *,
        limit: int,
        remaining: int,
        reset: float | None,
        refused: bool,
        now: float,
    ) -> None:
        """Take in what an answer says about the use of the limit; then `confirm` it, or `refuse` what was refused.

        Args:
            entry: Of the request.
            limit: What the server says it is, for all.
            remaining: What the server says is left of it.
            reset: The end of the window that it names, on the server's clock; None for none.
            refused: Whether it was a 429.
            now: When the answer came.

        """
        changes = self._belief.learn(
            entry.sent_at, limit=limit, remaining=remaining, reset=reset, refused=refused, now=now
        )
        if changes:
            self._room, self._changed = 0, True

    def learn_bare_refusal(self, entry: Entry, now: float) -> None:
        """Take in a 429 that names no numbers; then `refuse` its request."""
        self._belief.learn_bare_refusal(entry.sent_at, now)
        self._room, self._changed = 0, True
