"""One round trip in plain values: what a process asks and tells, and what it hears.

All of it is about spans of time, never moments: no clock but Redis's own is ever compared with another's.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from importlib.resources import files
from math import ceil
from typing import Any

from attrs import field, frozen

from hindsight_async.rate.cooldown import (
    AT_ONCE_WHEN_OPEN,
    FIRST_PAUSE,
    JITTER_SHARE,
    LARGEST_JITTER,
    LONGEST_PAUSE,
)
from hindsight_async.rate.redis.timing import Timing
from hindsight_async.rate.wait_queue import INTERACTIVE_IN_A_ROW

SCRIPT = files("hindsight_async.rate.redis").joinpath("sync.lua").read_text(encoding="utf-8")

ROUTE_REMEMBERED = 600.0
"""Seconds after which the limit that a route named no longer counts."""

STATE_REMEMBERED = 86400.0
"""Seconds after the last call, and after the server opens again, until Redis may forget the organisation."""

POLL_SECONDS = 0.02
"""Between two questions of a process that has to wait for what another one does."""

RECHECK_SECONDS = 1.0
"""Between two looks at whether programs outside the fleet still use the plan."""

MILLISECONDS = 1000


@frozen
class Observation:
    """What one answer taught; the moments are on the event loop's clock.

    `closing` and `freed` are what the script said when it granted the permit, None where it did not. `wait` is in
    seconds, None where the server named none; `status` is None where only the limits are of interest.
    """

    route: str
    sent_at: float
    got_at: float
    status: int
    refused: bool
    limit: int | None = None
    remaining: int | None = None
    closing: int | None = None
    freed: int | None = None
    wait: float | None = None
    quota: bool = False
    reset_at: datetime | None = None
    jitter: float = 0.0

    def told_at(self, now: float) -> dict[str, Any]:
        """Put it as the script wants it, told at this moment."""
        said = {
            "route": self.route,
            "sent": (now - self.sent_at) * MILLISECONDS,
            "got": (now - self.got_at) * MILLISECONDS,
            "status": self.status,
            "refused": self.refused,
            "limit": self.limit,
            "remaining": self.remaining,
            "closing": self.closing,
            "freed": self.freed,
            "wait": None if self.wait is None else self.wait * MILLISECONDS,
            "quota": self.quota,
            "reset_at": None if self.reset_at is None else self.reset_at.isoformat(),
            "jitter": self.jitter,
        }
        return {name: value for name, value in said.items() if value is not None}


@frozen
class Renewal:
    """How long a permit stays held from now on: in seconds, and whether its request is over."""

    number: int
    seconds: float
    over: bool


@frozen
class SyncRequest:
    """What a process asks and tells in one call."""

    process: str
    call: int
    epoch: str
    plan: int
    at: float
    first: int
    interactive: int = 0
    bulk: int = 0
    spare: int = 0
    hold: Sequence[Renewal] = ()
    drop: Sequence[int] = ()
    observations: Sequence[Observation] = ()
    heard: int = 0
    back: bool = False
    bye: bool = False

    @property
    def wanted(self) -> int:
        """How many permits are asked for."""
        return self.interactive + self.bulk

    def encoded(self, timing: Timing) -> str:
        """Write it for the script."""
        spans = {
            "window": timing.window,
            "lease": timing.lease,
            "recovery": timing.recovery,
            "claim": timing.claim,
            "poll": POLL_SECONDS,
            "recheck": RECHECK_SECONDS,
            "remember": STATE_REMEMBERED,
            "remember_route": ROUTE_REMEMBERED,
            "first_pause": FIRST_PAUSE,
            "longest_pause": LONGEST_PAUSE,
            "largest_jitter": LARGEST_JITTER,
        }
        return json.dumps(
            {
                **{name: seconds * MILLISECONDS for name, seconds in spans.items()},
                "jitter_share": JITTER_SHARE,
                "at_once_when_open": AT_ONCE_WHEN_OPEN,
                "interactive_in_a_row": INTERACTIVE_IN_A_ROW,
                "process": self.process,
                "call": self.call,
                "heard": self.heard,
                "epoch": self.epoch,
                "plan": self.plan,
                "first": self.first,
                "interactive": self.interactive,
                "bulk": self.bulk,
                "spare": self.spare,
                "hold": [
                    [renewal.number, ceil(renewal.seconds * MILLISECONDS), int(renewal.over)]
                    for renewal in self.hold
                ],
                "drop": list(self.drop),
                "facts": [observation.told_at(self.at) for observation in self.observations],
                "back": self.back,
                "bye": self.bye,
            }
        )


@frozen
class SyncReply:
    """What the script said; spans in seconds.

    `moved`: another epoch, so Redis knows nothing of what is held here. `lost`: it knows less than it did before.
    """

    epoch: str = ""
    epoch_age: float = 0.0
    moved: bool = False
    limit: int = 0
    free: int = 0
    granted: int = 0
    freed: int = 0
    closing: int = 0
    opens_in: float = 0.0
    quota: bool = False
    reset_at: datetime | None = None
    opening: bool = False
    fleet: int = 1
    retry: float = 0.0
    clock: float = 0.0
    recovering: bool = False
    lost: bool = False
    due: list[tuple[int, float]] = field(factory=list[tuple[int, float]])


def decoded(answer: Sequence[bytes | str | int]) -> SyncReply:
    """Read what the script returned."""
    texts = [part.decode() if isinstance(part, bytes) else str(part) for part in answer]
    kind = texts[0]
    if kind == "late":
        return SyncReply(moved=True)
    if kind == "another epoch":
        return SyncReply(moved=True, epoch=texts[1], epoch_age=_seconds(texts[2]))
    due = texts[17:]
    return SyncReply(
        epoch=texts[1],
        epoch_age=_seconds(texts[2]),
        limit=int(texts[3]),
        free=int(texts[4]),
        granted=int(texts[5]),
        freed=int(texts[6]),
        closing=int(texts[7]),
        opens_in=_seconds(texts[8]),
        quota=texts[9].startswith("1"),
        reset_at=datetime.fromisoformat(texts[10]) if texts[10] else None,
        opening=texts[11] == "1",
        fleet=int(texts[12]),
        retry=_seconds(texts[13]),
        clock=_seconds(texts[14]),
        recovering=texts[15] == "1",
        lost=texts[16] == "1",
        due=[(int(rank), _seconds(span)) for rank, span in zip(due[::2], due[1::2], strict=True)],
    )


def _seconds(milliseconds: str) -> float:
    return float(milliseconds) / MILLISECONDS
