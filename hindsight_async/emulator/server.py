"""The emulator itself: what it is told, what it shows, and its life cycle."""

import asyncio
import secrets
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from hindsight_async.emulator.answers import Answer
from hindsight_async.emulator.control import CONTROL_ROOT, control
from hindsight_async.emulator.front_page import PAGE_FILES, front_page
from hindsight_async.emulator.gateway import Gateway, ReceivedRequest
from hindsight_async.emulator.kept import Line, Start, lead_elsewhere, lines_of
from hindsight_async.emulator.limits import MonthlyAllowance, Window
from hindsight_async.emulator.listener import (
    Handler,
    Listener,
    is_address,
    is_loopback,
    listen,
    reachable_here,
)
from hindsight_async.emulator.quota import Clock, Quota
from hindsight_async.emulator.routes import ROOT, Route, true_answer
from hindsight_async.emulator.scripting import Scriptable
from hindsight_async.emulator.settings import Settings, new_limit
from hindsight_async.emulator.state import Organisation
from hindsight_async.emulator.survey import SURVEY_PATH, survey
from hindsight_async.emulator.validation import DeclaredIds
from hindsight_async.emulator.visitors import is_own_name
from hindsight_async.rate import Plan

if TYPE_CHECKING:
    from hindsight_async.emulator.state_file import StateKeeper

ResetUnit = Literal["milliseconds", "seconds"]
"""The unit of X-RateLimit-Reset."""

_RESETS_PER_SECOND: Mapping[str, int] = {"milliseconds": 1000, "seconds": 1}


class Emulator(Scriptable):
    """A local Hindsight over real HTTP; use `async with`, or `start` and `close`.

    Args:
        plan: The tier, or its name, whose requests per minute are enforced, over all routes together.
        requests_per_minute: Another number of them, at least 1; None for the plan's.
        window: How they are counted: "weighted" (this minute of the wall clock, and the one before by what is left of this
            one), "sliding", "fixed" (a minute from the first request), "bucket" (refilled evenly), or "aligned" (to the
            minutes of the wall clock). The real server most likely counts in the first way.
        refusals_cached: Whether one refusal closes a weighted window until the minute has ended.
        api_key: The one key that is let in; None makes one up.
        host: An IP address of this machine. With any but a loopback address, such as 0.0.0.0 for all of them, whoever is on
            the network can read what is in it, and with the remote control change it.
        port: A TCP port; 0 takes any free one.
        sequences: The sequence ids that exist; None takes any.
        interview_types: The interview type ids that exist; None takes any.
        deals: The deal ids that creates and uploads may name; None takes any.
        reset_unit: The unit of X-RateLimit-Reset, "milliseconds" or "seconds".
        rate_headers: Whether answers carry X-RateLimit-*.
        monthly_limit: Requests per calendar month (UTC), told in X-Usage-*, 0 for a month that is used up; None counts none.
        latency: Seconds from acting to answering, or a function that returns them.
        email_delay: Seconds until an email is out, until when a GET says `created`.
        completes_after: Seconds from a create until the interview is completed, or a function that returns them; None
            leaves that to `complete`.
        started_at: What the server's wall clock shows at the first `start`, aware; None for now.
        clock_skew: Seconds by which that clock is ahead.
        remote_control: Whether programs in any language may look at it and change it, below `/_emulator/v1`, and a person
            on a page at its root.
        state: A file in which interviews, contacts, emails, deals, exports and documents are kept between two starts, with
            the key unless `api_key` is given; None keeps nothing. It is written
            less than a second after a request, and at the end.
        on_request: Called, within the event loop, with each request to the API once it is done with; it must not raise.

    Attributes:
        api_key: The key to give a client.
        requests: What arrived, in order; yours to clear.
        deals: The deals that GET /deals and exports have, by id; `deals.add` puts one in.
        exports: The exports by id; `exports.seconds` is how long they take, and `exports.fail_next` has one fail.
        uploads: The documents that were uploaded, in order.
        responses: The answers to come, to be scripted by its `say`.
        tools: What the direct tools know and answer.
        contacts: The contacts by email address, trimmed and in lower case.

    Raises:
        TypeError: One text where a list of ids is meant.
        ValueError: A plan that there is not, a host that is no IP address, an unknown window or reset unit, cached refusals in another than a weighted
            window, or a limit below 1 (for a month: below 0).

    """

    def __init__(
        self,
        *,
        plan: Plan | str = Plan.ESSENTIALS,
        requests_per_minute: int | None = None,
        window: Window = "weighted",
        refusals_cached: bool = False,
        api_key: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        sequences: Collection[str] | None = None,
        interview_types: Collection[str] | None = None,
        deals: Collection[str] | None = None,
        reset_unit: ResetUnit = "milliseconds",
        rate_headers: bool = True,
        monthly_limit: int | None = None,
        latency: float | Callable[[], float] = 0.0,
        email_delay: float = 0.0,
        completes_after: float | Callable[[], float] | None = None,
        started_at: datetime | None = None,
        clock_skew: float = 0.0,
        remote_control: bool = False,
        state: str | Path | None = None,
        on_request: Callable[[ReceivedRequest], object] | None = None,
    ) -> None:
        if not is_address(host):
            raise ValueError(f"host must be an IP address such as 127.0.0.1, not {host!r}")
        if reset_unit not in _RESETS_PER_SECOND:
            raise ValueError(f"reset_unit must be milliseconds or seconds, not {reset_unit!r}")
        settings = Settings(plan, requests_per_minute, window, refusals_cached, monthly_limit, latency)
        super().__init__(settings, Organisation(email_delay=email_delay, completes_after=completes_after))
        self._has_own_key = api_key is not None
        self.api_key = api_key or f"test-key-{secrets.token_hex(12)}"
        self._host, self._port = host, port
        self._reachable_here, self._is_for_the_network = reachable_here(host), not is_loopback(host)
        for name, ids in {"sequences": sequences, "interview_types": interview_types, "deals": deals}.items():
            if isinstance(ids, str):  # of which "seq" in ids would ask for a part
                raise TypeError(f"{name} must be a list of ids, not one text")
        self._declared = DeclaredIds(sequences, interview_types, deals)
        self._resets_per_second = _RESETS_PER_SECOND[reset_unit] if rate_headers else None
        self._started_at, self._clock_skew = started_at, clock_skew
        self._remote_control, self._on_request = remote_control, on_request
        self._keeper = None if state is None else self._keeper_of(state)
        self._listener: Listener | None = None  # between `start` and `close`

    def __repr__(self) -> str:
        return f"<Emulator {self.base_url if self._gateway else 'not started'} {self.plan.name}>"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Open the port. After `close` it opens the same port again, with all that was there, on the same loop.

        Raises:
            RuntimeError: It is open already, or was started on another event loop, whose clock is its clock.
            OSError: The port is taken.
            ValueError: The state file cannot be used; the text says why.

        """
        loop = asyncio.get_running_loop()
        if self._listener is not None:
            raise RuntimeError("the emulator is started already")
        if self._gateway is not None and self._gateway.clock.loop is not loop:
            raise RuntimeError("the emulator cannot move to another event loop: build a new one")
        try:
            await self._open(loop)
        except BaseException:
            await self.close()
            raise

    async def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        kept: Start | None = None
        if self._keeper is not None:
            kept = await self._keeper.open(self._organisation if self._gateway is None else None)
        if kept is not None and not self._has_own_key:
            self.api_key = kept.api_key
        if self._gateway is None:
            self._gateway = self._new_gateway(loop)
        self._listener = await listen(self._gateway.handle, self._host, self._port)
        # Kept, so that a second `start` opens the same one: a client that pointed at it finds it again.
        self._port = self._listener.port
        if kept is not None:
            lead_elsewhere(self._organisation, kept.origin, self._origin())
        if self._keeper is not None:
            await self._keeper.begin()

    async def close(self) -> None:
        """Close the port and every connection; what is in flight is cancelled. May be called again.

        Raises:
            OSError: The state cannot be written.

        """
        listener, self._listener = self._listener, None
        try:
            if listener is not None:
                self._opened.cancel_all()
                await listener.close()
        finally:
            if self._keeper is not None:
                await self._keeper.end()

    @property
    def base_url(self) -> str:
        """What to give a client as its base URL.

        Raises:
            RuntimeError: It was not started yet.

        """
        _ = self._opened
        return f"{self._origin()}{ROOT}"

    @property
    def control_url(self) -> str:
        """The URL of the remote control.

        Raises:
            RuntimeError: It is off, or the emulator was not started yet.

        """
        if not self._remote_control:
            raise RuntimeError("the remote control is off: build the emulator with remote_control=True")
        _ = self._opened
        return f"{self._origin()}{CONTROL_ROOT}"

    @property
    def page_url(self) -> str:
        """The URL of the page that shows what arrived and what would have gone out, to be opened in a browser.

        Raises:
            RuntimeError: The remote control is off, of which the page is made, or the emulator was not started yet.

        """
        return self.control_url.removesuffix(CONTROL_ROOT) + "/"

    def _origin(self, asked_for: str = "") -> str:
        # Who comes over the network could not open a link that leads to this machine's own loopback address.
        if self._is_for_the_network and is_own_name(asked_for, self._host):
            return f"http://{asked_for}"
        return f"http://{self._reachable_here}:{self._port}"

    def _new_gateway(self, loop: asyncio.AbstractEventLoop) -> Gateway:
        started_at = self._started_at or datetime.now(UTC)
        clock = Clock(loop, wall_offset=started_at.timestamp() + self._clock_skew - loop.time())
        limit = new_limit(self._settings, clock.wall_offset)
        month = self._settings.monthly_limit
        monthly = None if month is None else MonthlyAllowance(month)
        return Gateway(
            api_key=self.api_key,
            clock=clock,
            quota=Quota(limit, monthly, clock, resets_per_second=self._resets_per_second),
            faults=self._faults,
            latency=self._settings.latency,
            act=self._act,
            log=self.requests,
            door=self._door,
            tell=self._on_request,
        )

    def _door(self, path: str) -> Handler | None:
        if path == SURVEY_PATH:
            return partial(
                survey, organisation=self._organisation, clock=self._opened.clock, bound_to=self._host
            )
        if self._remote_control and path.startswith(f"{CONTROL_ROOT}/"):
            return partial(control, emulator=self, bound_to=self._host)
        if self._remote_control and path in PAGE_FILES:
            return partial(front_page, bound_to=self._host)
        return None

    def _act(self, route: Route, raw: bytes) -> Answer:
        self._catch_up()
        self._opened.activity.changes += 1  # also where the answer waits, or never leaves
        origin = self._origin(route.host)
        return true_answer(
            route,
            raw,
            organisation=self._organisation,
            declared=self._declared,
            now=self._opened.clock.wall(),
            survey_page=f"{origin}{SURVEY_PATH}",
            base_url=f"{origin}{ROOT}",
        )

    def _keeper_of(self, state: str | Path) -> "StateKeeper":
        # Needs sqlite3, which not every Python has.
        from hindsight_async.emulator.state_file import StateFile, StateKeeper  # noqa: PLC0415

        return StateKeeper(StateFile(state), self._changes, self._lines)

    def _changes(self) -> int:
        return self._opened.activity.changes

    def _lines(self) -> list[Line]:
        self._catch_up()
        return lines_of(Start(self.api_key, self._origin()), self._organisation)
