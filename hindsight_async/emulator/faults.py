"""Scripted faults: which request goes wrong, when, and what is answered instead. Pure; the gateway carries them out.

What matters to a client is whether the server has acted, the commit: before it a request may be sent again, after it
a second one emails the person twice, and from outside the two often look the same. So every fault has its moment:

    before_commit   the server did nothing: no interview, no email
    mid_upload      the same, and half of the request's body was read; what goes wrong does so then
    after_commit    it has acted, and the caller learns nothing, or something wrong
    mid_body        it has acted, and the answer begins well: its status and headers are out, and half of its body

A fault is met by requests that carry the right key and that the plan still has room for: what the server answers
with its own 401 or 429 uses up no fault. It counts against the plan like any other request, save one that is
dropped before the commit, which never reached the counter, and an injected 429, which like a true one is not counted.
"""

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Literal, get_args

from attrs import define, evolve, field, frozen

from hindsight_async.emulator.answers import Answer, error_answer, json_answer, overlay
from hindsight_async.emulator.routes import ROUTES

At = Literal["before_commit", "mid_upload", "after_commit", "mid_body"]
"""When it happens: the server did nothing; it did nothing, and has half of the request's body; it has acted; it has acted, and some of its answer is out."""

How = Literal["disconnect", "reset", "slow", "truncated", "html", "redirect", "empty"]
"""What happens, besides a plain status."""

ANY_ROUTE = "*"
"""Stands for every request, also one to an unknown route."""

DEFAULT_STATUS: Mapping[str, int] = {"html": 502, "redirect": 307}
"""The status of a fault that was scripted without one; an empty answer has that of the true answer."""

EMPTY_STATUS = 500
"""The status of an empty answer where the server did not act."""

REDIRECT_TARGET = "/api/v1/moved"
"""Where a redirect points unless `to` says otherwise."""

HTML_PAGE = b"<!doctype html>\n<html><body><h1>Something went wrong</h1></body></html>\n"
"""What a proxy shows instead of JSON."""

_PLAIN_STATUS = "a status"
"""The kind of a fault that is scripted by a status alone."""

_OPTIONS: Mapping[str, frozenset[str]] = {
    "disconnect": frozenset(),
    "reset": frozenset(),
    "slow": frozenset({"seconds"}),
    "truncated": frozenset(),
    _PLAIN_STATUS: frozenset({"body", "retry_after", "headers"}),
    "html": frozenset({"status", "retry_after", "headers"}),
    "redirect": frozenset({"status", "to", "headers"}),
    "empty": frozenset({"status", "retry_after", "headers"}),
}
"""The kinds of fault, and the options that mean something for each."""

# The others replace the whole answer, so there is no middle of a true one.
_MID_BODY = frozenset({"disconnect", "reset", "slow", "truncated"})
_BEFORE = frozenset({"before_commit", "mid_upload"})
_DROPS = frozenset({"disconnect", "reset"})
_STATUSES = range(200, 600)  # 1xx are no final answers
_REDIRECTS = range(300, 400)
_CLIENT_ERRORS = range(400, 500)  # by which a server says that it did not act


@frozen
class Fault:
    """One kind of trouble on one route."""

    route: str
    """One of ROUTES, or ANY_ROUTE."""
    kind: str
    """A key of _OPTIONS."""
    at: At
    times: int | None
    """How many requests meet it; None is for ever."""
    seconds: float = 0.0
    """How long a slow one waits, at its moment."""
    status: int | None = None
    """The status of the answer; None for that of the true one."""
    to: str = REDIRECT_TARGET
    """Where a redirect points."""
    body: Any = None
    """The body of a plain status: bytes as they are, anything else as JSON, None for the error envelope."""
    headers: Mapping[str, str] = field(factory=dict[str, str])
    """Headers of the answer, which win over the usual ones."""
    retry_after: float | str | None = None
    """The Retry-After header: seconds, or any text."""

    @property
    def drops(self) -> bool:
        """Whether the connection is cut instead of an answer, or in the middle of it."""
        return self.kind in _DROPS

    @property
    def resets(self) -> bool:
        """Whether the connection is cut by a TCP reset."""
        return self.kind == "reset"

    @property
    def commits(self) -> bool:
        """Whether the server acts on the request."""
        # A slow one that waits before the commit acts after the wait, if the caller is still there.
        return self.at not in _BEFORE or self.kind == "slow"

    @property
    def counts(self) -> bool:
        """Whether the request counts against the plan."""
        dropped_early = self.drops and self.at in _BEFORE
        return not dropped_early and self.status != HTTPStatus.TOO_MANY_REQUESTS

    @property
    def cuts_body(self) -> bool:
        """Whether only some of the answer goes out before the trouble."""
        return self.at == "mid_body" or self.kind == "truncated"

    @property
    def closed_for(self) -> float | None:
        """For how many seconds a 429 claims to be closed, 0 where it does not say; None for every other fault.

        X-RateLimit-Reset then agrees with Retry-After, as a true server's headers do.
        """
        if self.status != HTTPStatus.TOO_MANY_REQUESTS:
            return None
        return 0.0 if self.retry_after is None or isinstance(self.retry_after, str) else self.retry_after

    def as_scripted(self) -> dict[str, Any]:
        """Return it by the names under which it was scripted; None for what means nothing, or is bytes."""
        is_status = self.kind == _PLAIN_STATUS
        return {
            "route": self.route,
            "how": self.status if is_status else self.kind,
            "at": self.at,
            "seconds": self.seconds if self.kind == "slow" else None,
            "status": None if is_status else self.status,
            "to": self.to if self.kind == "redirect" else None,
            "body": None if isinstance(self.body, bytes) else self.body,
            "headers": dict(self.headers),
            "retry_after": self.retry_after,
        }

    def answer(self, true_answer: Answer | None) -> Answer:
        """Return what goes out, given what would have: None where the server did not act."""
        natural = true_answer.status if true_answer else EMPTY_STATUS
        usual = self._usual_answer(natural if self.status is None else self.status, true_answer)
        wait = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return evolve(usual, headers=overlay(usual.headers, {**wait, **self.headers}))

    def _usual_answer(self, status: int, true_answer: Answer | None) -> Answer:
        match self.kind:
            case "html":
                return Answer(status, HTML_PAGE, {"Content-Type": "text/html; charset=utf-8"})
            case "redirect":
                return Answer(status, headers={"Location": self.to})
            case "empty":
                return Answer(status)
            case "a status" if isinstance(self.body, bytes):
                return Answer(status, self.body)
            case "a status":
                return error_answer(status) if self.body is None else json_answer(status, self.body)
            case _:
                return true_answer or Answer(status)


@define(eq=False)
class _Pending:
    fault: Fault
    left: float
    """How many more times it is met; infinity is for ever."""


class FaultScript:
    """The faults that are still to happen, in the order they were scripted."""

    def __init__(self) -> None:
        self._pending: list[_Pending] = []

    def add(self, fault: Fault) -> None:
        """Put a fault behind those already scripted."""
        self._pending.append(_Pending(fault, math.inf if fault.times is None else fault.times))

    def clear(self) -> None:
        """Forget all of them."""
        self._pending.clear()

    def pending(self) -> list[dict[str, Any]]:
        """Return each by the names of `Emulator.fail`, with how many more times it is met (`left`; None: for ever)."""
        return [
            one.fault.as_scripted() | {"left": None if one.left == math.inf else int(one.left)}
            for one in self._pending
        ]

    def next_for(self, route: str | None) -> Fault | None:
        """Return the fault that a request on this route would meet now, without using it up."""
        met = self._find(route)
        return None if met is None else met.fault

    def use_up(self, route: str | None) -> None:
        """Take one time off the fault that `next_for` returns for this route."""
        met = self._find(route)
        if met is not None:
            met.left -= 1
            self._pending = [pending for pending in self._pending if pending.left]

    def _find(self, route: str | None) -> _Pending | None:
        return next((pending for pending in self._pending if pending.fault.route in (route, ANY_ROUTE)), None)


def scripted_fault(
    route: str, how: How | int, at: At | None, times: int | None, options: Mapping[str, Any]
) -> Fault:
    """Return the fault these words describe.

    Args:
        route: As in `Emulator.fail`, like everything else.
        how: What happens.
        at: When; None for the usual moment of its kind.
        times: How often; None for ever.
        options: The other arguments of `Emulator.fail`; those that are None were not given.

    Raises:
        ValueError: It makes no sense; the text names what.

    """
    if route not in (*ROUTES, ANY_ROUTE):
        raise ValueError(f"route must be one of {', '.join(ROUTES)} or {ANY_ROUTE}, not {route!r}")
    if times is not None and times < 1:
        raise ValueError(f"times must be at least 1, or None for ever, not {times}")
    if not isinstance(how, int) and how not in get_args(How):
        raise ValueError(f"how must be a status or one of {', '.join(get_args(How))}, not {how!r}")
    kind = _PLAIN_STATUS if isinstance(how, int) else how
    given = {name: value for name, value in options.items() if value is not None}
    if strange := sorted(given.keys() - _OPTIONS[kind]):
        raise ValueError(f"{', '.join(strange)} means nothing with how={how!r}")
    if isinstance(how, int):
        given["status"] = how
    elif kind in DEFAULT_STATUS:
        given.setdefault("status", DEFAULT_STATUS[kind])
    moment: At = at or ("mid_body" if kind == "truncated" else "before_commit")
    _check_moment(kind, moment, given.get("status"))
    _check_values(kind, given)
    return Fault(route, kind, moment, times, **given)


def _check_moment(kind: str, at: str, status: int | None) -> None:
    if at not in get_args(At):
        raise ValueError(f"at must be one of {', '.join(get_args(At))}, not {at!r}")
    if at == "mid_body" and kind not in _MID_BODY:
        raise ValueError(f"how={kind!r} replaces the whole answer, so at='mid_body' makes no sense")
    if at in _BEFORE and kind == "truncated":
        raise ValueError(f"a truncated answer is that of a request the server acted on, so not at={at!r}")
    if at == "after_commit" and status in _CLIENT_ERRORS:
        raise ValueError(f"{status} says that the server refused to act, so at='after_commit' makes no sense")


def _check_values(kind: str, given: Mapping[str, Any]) -> None:
    status = given.get("status")
    if status is not None and status not in _STATUSES:
        raise ValueError(f"status must be from 200 to 599, not {status}")
    if kind == "redirect" and status not in _REDIRECTS:
        raise ValueError(f"a redirect has a status from 300 to 399, not {status}")
    if kind == "slow" and not given.get("seconds", 0) > 0:
        raise ValueError("how='slow' needs seconds=, more than 0")
