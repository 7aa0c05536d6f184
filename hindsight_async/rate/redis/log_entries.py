"""The fleet's log in plain values: what one call of a process told, and was issued.

A process tells moments as spans before its call, which the entry's place in the log puts on Redis's clock.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, frozen

from hindsight_async.rate.headers import LIMIT, REMAINING, RESET

SPAN_DIGITS = 4
"""Decimal places of a second."""

TOLD_HEADERS = (
    "Date",
    LIMIT,
    REMAINING,
    RESET,
    "Retry-After",
    "X-Usage-Remaining",
    "X-Usage-Period-End",
)
"""Those of an answer that the others need to judge it."""

LONGEST_TOLD = 64
"""Characters; a header longer than this makes no sense as any of them."""


@define
class ToldAnswer:
    """What the server answered, as far as it concerns the budget: an `AnswerHead`."""

    status: int
    headers: Mapping[str, str]
    jitter: float
    """A random number in [0, 1), the same for all who read it: by it they open again after a 429."""

    @classmethod
    def of(cls, status: int, headers: Mapping[str, str], jitter: float) -> "ToldAnswer":
        """Keep what is to be told of an answer."""
        told = {name: headers.get(name) for name in TOLD_HEADERS}
        return cls(
            status, {name: text[:LONGEST_TOLD] for name, text in told.items() if text is not None}, jitter
        )

    def without_remaining(self) -> "ToldAnswer":
        """Leave out what others may have used."""
        headers = {name: text for name, text in self.headers.items() if name != REMAINING}
        return ToldAnswer(self.status, headers, self.jitter)


@frozen
class ToldRequest:
    """What became of one request; the spans are in seconds, back from when it is told."""

    number: int
    """Of its permit."""
    sent_ago: float
    over_ago: float | None
    """None while it is under way."""
    route: str
    answer: ToldAnswer | None
    """None where nothing came."""

    def encoded(self) -> list[Any]:
        """Put it as it stands in the log."""
        over_ago = None if self.over_ago is None else round(self.over_ago, SPAN_DIGITS)
        fields = [self.number, round(self.sent_ago, SPAN_DIGITS), over_ago, self.route]
        answer = self.answer
        return fields if answer is None else [*fields, answer.status, dict(answer.headers), answer.jitter]

    @classmethod
    def decoded(cls, fields: Sequence[Any]) -> "ToldRequest":
        """Read it."""
        number, sent_ago, over_ago, route, *answer = fields
        return cls(number, sent_ago, over_ago, route, ToldAnswer(*answer) if answer else None)


@frozen
class Entry:
    """One of the log: what one call of a process told, and was issued."""

    at: float
    """On Redis's clock, in seconds."""
    process: str
    given: list[tuple[str, int, int]]
    """The permits: their route ("" for any without a limit of its own), the first one's number, and how many."""
    requests: list[ToldRequest]
    unsent: list[int]
    """Permits with which nothing was sent."""
    recovering: bool = False
    """Whether some of what the fleet has sent may be missing here, and is told soon."""


def written(requests: Sequence[ToldRequest], unsent: Sequence[int]) -> str:
    """Write what a call tells the other processes; nothing where there is nothing to tell."""
    if not requests and not unsent:
        return ""
    return json.dumps([[request.encoded() for request in requests], list(unsent)], separators=(",", ":"))


def read(at: float, fields: Sequence[str]) -> Entry:
    """Read one as it stands in the log, from that moment of Redis's clock."""
    named = dict(zip(fields[::2], fields[1::2], strict=True))
    told: tuple[list[list[Any]], list[int]] = json.loads(named["told"] or "[[], []]")
    given: list[list[Any]] = json.loads(named["given"])
    return Entry(
        at,
        named["process"],
        [(route, int(first), int(count)) for route, first, count in given],
        [ToldRequest.decoded(request) for request in told[0]],
        told[1],
        recovering=named["recovering"] == "1",
    )
