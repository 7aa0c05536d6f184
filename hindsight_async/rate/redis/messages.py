"""One round trip in plain values: what a process asks for and tells, and what it is told.

All of it is about spans of time, never moments: no process's clock is ever compared with another's, or with Redis's.
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
"""Between two requests of a process that has to wait for what another one does."""

RECHECK_SECONDS = 1.0
"""Between two looks at whether programs outside the fleet still use the plan."""

MILLISECONDS = 1000


@frozen
class Observation:
    """What one answer of the server taught; the moments are on the event loop's clock."""

    route: str
    sent_at: float
    got_at: float
    status: int
    refused: bool
    """Whether it was a 429."""
    limit: int | None = None
    remaining: int | None = None
    generation: int | None = None
    """Of the fleet's cooldown when the script issued the permit; None where it did not."""
    freed: int | None = None
    """How many permits the fleet had freed then; the same."""
    wait: float | None = None
    """Seconds for which the server refuses everybody; None where it named none."""
    quota: bool = False
    reset_at: datetime | None = None
    jitter: float = 0.0
    """A random number in [0, 1): those that a script draws are the same in each run."""

    def encoded(self, now: float) -> dict[str, Any]:
        """Put it as the script reads it, told at this moment."""
        fields = {
            "route": self.route,
            "sent": (now - self.sent_at) * MILLISECONDS,
            "got": (now - self.got_at) * MILLISECONDS,
            "status": self.status,
            "refused": self.refused,
            "limit": self.limit,
            "remaining": self.remaining,
            "generation": self.generation,
            "freed": self.freed,
            "wait": None if self.wait is None else self.wait * MILLISECONDS,
            "quota": self.quota,
            "reset_at": None if self.reset_at is None else self.reset_at.isoformat(),
            "jitter": self.jitter,
        }
        return {name: value for name, value in fields.items() if value is not None}


@frozen
class Renewal:
    """How long Redis is to keep a permit from now on."""

    number: int
    seconds: float
    over: bool
    """Whether its request is over, so that this renewal is the last."""


@frozen
class SyncRequest:
    """What a process asks for and tells in one call of the script."""

    process: str
    call: int
    """Its number: one that comes after a later one does nothing."""
    epoch: str
    """The data in Redis that the process has told of its permits; with any other the call does nothing."""
    plan: int
    """Requests per minute until the server names a limit."""
    at: float
    """When it was put together, on the process's clock."""
    first: int
    """The number for the first permit issued; the others follow it."""
    interactive: int = 0
    """Permits wanted for interactive callers."""
    bulk: int = 0
    """Permits wanted for bulk callers."""
    spare: int = 0
    """How many permits the process may take while the fleet recovers: it has so many fewer than before."""
    renewals: Sequence[Renewal] = ()
    unsent: Sequence[int] = ()
    """Permits with which nothing was sent."""
    observations: Sequence[Observation] = ()
    answered: int = 0
    """The number of the last call that was answered."""
    returning: bool = False
    """Whether the process has permits that Redis did not know of until this call."""
    leaving: bool = False
    """Whether this is its last call."""

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
                "answered": self.answered,
                "epoch": self.epoch,
                "plan": self.plan,
                "first": self.first,
                "interactive": self.interactive,
                "bulk": self.bulk,
                "spare": self.spare,
                "renewals": [
                    [renewal.number, ceil(renewal.seconds * MILLISECONDS), int(renewal.over)]
                    for renewal in self.renewals
                ],
                "unsent": list(self.unsent),
                "observations": [observation.encoded(self.at) for observation in self.observations],
                "returning": self.returning,
                "leaving": self.leaving,
            }
        )


@frozen
class SyncReply:
    """What the script replied; spans in seconds."""

    epoch: str = ""
    """The name of the data in Redis."""
    epoch_age: float = 0.0
    moved: bool = False
    """Whether that is another epoch than the process named, so that Redis knows nothing of its permits."""
    limit: int = 0
    free: int = 0
    """Permits that nobody has, these ones not counted."""
    issued: int = 0
    freed: int = 0
    """How many permits have come free since the epoch began."""
    generation: int = 0
    """Of the fleet's cooldown."""
    opens_in: float = 0.0
    quota: bool = False
    reset_at: datetime | None = None
    opening: bool = False
    """Whether only a few requests may be under way, behind a probe."""
    fleet: int = 1
    """Processes seen within the last window."""
    retry: float = 0.0
    """Until another call may be issued more."""
    clock: float = 0.0
    """What Redis's clock shows."""
    recovering: bool = False
    """Whether each process may take only what it gives back, until all have told what they have."""
    lost: bool = False
    """Whether Redis knows less of this process than it did before."""
    due: list[tuple[int, float]] = field(factory=list[tuple[int, float]])
    """How many permits come free before one, and how long until it does; of some, where not all were issued."""


def decoded(answer: Sequence[bytes | str | int]) -> SyncReply:
    """Read what the script returned."""
    texts = [part.decode() if isinstance(part, bytes) else str(part) for part in answer]
    kind = texts[0]
    if kind == "another epoch":
        return SyncReply(moved=True, epoch=texts[1], epoch_age=_seconds(texts[2]))
    due = texts[17:]
    return SyncReply(
        epoch=texts[1],
        epoch_age=_seconds(texts[2]),
        limit=int(texts[3]),
        free=int(texts[4]),
        issued=int(texts[5]),
        freed=int(texts[6]),
        generation=int(texts[7]),
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
