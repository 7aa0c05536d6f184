"""One round trip in plain values: what a process asks for and tells, and what it is told.

What is asked is for the script, and what is told for the other processes: the script keeps it in the log as it is.
"""

import json
from collections.abc import Sequence
from importlib.resources import files
from math import ceil
from typing import Any, cast

from attrs import asdict, field, frozen

from hindsight_async.rate.own_requests import REMEMBERED
from hindsight_async.rate.redis import log_entries
from hindsight_async.rate.redis.log_entries import Entry, ToldRequest
from hindsight_async.rate.redis.timing import Timing
from hindsight_async.rate.wait_queue import INTERACTIVE_IN_A_ROW

SCRIPT = files("hindsight_async.rate.redis").joinpath("sync.lua").read_text(encoding="utf-8")

STATE_REMEMBERED = 86400.0
"""Seconds after the last call, and after the server opens again, until Redis may forget the organisation."""

CLOCK_TOLERANCE = 1.5
"""Seconds by which Redis's clock and ours may disagree on a span before one of them counts as set."""

MILLISECONDS = 1000


FIRST_POSITION = "0-0"
"""In the log: before its first entry."""


@frozen
class Renewal:
    """How long Redis is to keep a permit from now on."""

    number: int
    seconds: float
    over: bool
    """Whether its request is over, so that this renewal is the last."""
    told: ToldRequest | None
    """What the log lacks of it."""


@frozen
class Group:
    """Permits that are asked for together."""

    route: str
    """The route with a limit of its own; "" for all others."""
    interactive: int
    bulk: int
    allowed: int
    """How many the fleet may have been issued in this group, in all."""


@frozen
class SyncRequest:
    """What a process asks for and tells in one call of the script."""

    process: str
    call: int
    """Its number: one that comes after a later one does nothing."""
    epoch: str
    """The data in Redis that the process has told of its permits; with any other the call does nothing."""
    at: float
    """When it was put together, on the process's clock."""
    first: int
    """The number for the first permit issued; the others follow it."""
    position: str = FIRST_POSITION
    """In the log, up to which the process has read it."""
    clock: float | None = None
    """What Redis's clock should show; None where that is not known yet."""
    groups: Sequence[Group] = ()
    limit: int = 0
    """Permits that may be out at the same time."""
    allowed: int = 0
    """How many the fleet may have been issued in all, by what this process has read."""
    alarms: int = 0
    """How many calls have told of what changes things for all, by what it has read: where there were more since, nothing
    is issued."""
    alarms_others: bool = False
    """Whether this one does: of a 429, or of another limit."""
    spare: int = 0
    """How many permits the process may take while the fleet recovers: it has so many fewer than before."""
    renewals: Sequence[Renewal] = ()
    unsent: Sequence[int] = ()
    """Permits with which nothing was sent."""
    answered: int = 0
    """The number of the last call that was answered."""
    closed: tuple[float, str] | None = None
    """Until when, on Redis's clock, the server refuses everybody, and why: for processes that join later."""
    limits: str | None = None
    """The limits that routes named, where Redis does not know of them, for the same."""
    returning: bool = False
    """Whether the process has permits that Redis did not know of until this call."""
    discards: bool = False
    """Whether Redis's clock was set, so that the data are not to be trusted."""
    leaving: bool = False
    """Whether this is its last call."""

    @property
    def wanted(self) -> int:
        """How many permits are asked for."""
        return sum(group.interactive + group.bulk for group in self.groups)

    def told(self) -> str:
        """Write what the log is to say; nothing where there is nothing to say."""
        told = [renewal.told for renewal in self.renewals if renewal.told is not None]
        return log_entries.written(told, self.unsent)

    def encoded(self, timing: Timing) -> list[str]:
        """Write it for the script."""
        spans = {
            "window": timing.window,
            "lease": timing.lease,
            "recovery": timing.recovery,
            "claim": timing.claim,
            "tolerance": CLOCK_TOLERANCE,
            "remember": STATE_REMEMBERED,
            "log_kept": REMEMBERED / timing.scale + timing.lease,
        }
        document = {
            **{name: seconds * MILLISECONDS for name, seconds in spans.items()},
            **self._what_is_known(),
            "interactive_in_a_row": INTERACTIVE_IN_A_ROW,
            "process": self.process,
            "call": self.call,
            "answered": self.answered,
            "epoch": self.epoch,
            "position": self.position,
            "first": self.first,
            "groups": [asdict(group) for group in self.groups],
            "limit": self.limit,
            "allowed": self.allowed,
            "alarms": self.alarms,
            "alarms_others": self.alarms_others,
            "spare": self.spare,
            "renewals": [[each.number, ceil(each.seconds * MILLISECONDS)] for each in self.renewals],
            "unsent": list(self.unsent),
            "returning": self.returning,
            "discards": self.discards,
            "leaving": self.leaving,
        }
        return [json.dumps(document), self.told()]

    def _what_is_known(self) -> dict[str, Any]:
        """List what the script does without where it is not known: Lua's null is not nil."""
        known: dict[str, Any] = {}
        if self.clock is not None:
            known["clock"] = self.clock * MILLISECONDS
        if self.closed is not None:
            known["closed_until"], known["closed"] = self.closed[0] * MILLISECONDS, self.closed[1]
        if self.limits is not None:
            known["limits"] = self.limits
        return known


@frozen
class SyncReply:
    """What the script replied; spans and moments in seconds."""

    kind: str
    """What came of the call: "ok"; or nothing, since Redis knows nothing of this process's permits ("another epoch"), or
    since its clock does not show what it should, or the call was long on its way ("another time")."""
    clock: float
    """What Redis's clock shows."""
    epoch: str = ""
    epoch_age: float = 0.0
    issued: int = 0
    """To the fleet in all, since the epoch began."""
    alarms: int = 0
    fleet: int = 1
    """Processes seen within the last window."""
    recovering: bool = False
    """Whether each process may take only what it gives back, until all have told what they have."""
    yielded: bool = False
    """Whether permits were left to others, whose turn it is."""
    full_for: float = 0.0
    """Where as many permits are out as may be: until one of them comes free at the latest."""
    closed_until: float = 0.0
    closed: str = ""
    limits: str = ""
    groups: list[tuple[int, int]] = field(factory=list[tuple[int, int]])
    """Of each group asked for: how many were issued now, and how many to the fleet since the epoch began."""
    entries: list[Entry] = field(factory=list[Entry])
    """Of the log, since what the process had read."""
    position: str = ""
    """Up to which these read the log; empty where there are none."""


def decoded(answer: Sequence[Any]) -> SyncReply:
    """Read what the script returned."""
    kind, clock, *rest = _texts(answer)
    if kind != "ok":
        epoch, age = rest or ("", "0")
        return SyncReply(kind, _seconds(clock), epoch=epoch, epoch_age=_seconds(age))
    issued, alarms, fleet, recovering, yielded, full_for, closed_until, closed, limits, groups, log = rest
    return SyncReply(
        kind,
        _seconds(clock),
        issued=int(issued),
        alarms=int(alarms),
        fleet=int(fleet),
        recovering=recovering == "1",
        yielded=yielded == "1",
        full_for=_seconds(full_for),
        closed_until=_seconds(closed_until),
        closed=closed,
        limits=limits,
        groups=[(int(now), int(in_all)) for now, in_all in groups],
        entries=[log_entries.read(_seconds(name.partition("-")[0]), fields) for name, fields in log],
        position=log[-1][0] if log else "",
    )


def _texts(part: Any) -> Any:
    if isinstance(part, bytes):
        return part.decode()
    if isinstance(part, (list, tuple)):
        return [_texts(each) for each in cast("Sequence[Any]", part)]
    return str(part)


def _seconds(milliseconds: str) -> float:
    return float(milliseconds) / MILLISECONDS
