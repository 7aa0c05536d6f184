"""The way of one request through the server: the key, the quota, the fault if one is due, the answer."""

import asyncio
import json
from collections.abc import Callable, Mapping
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any

from aiohttp import web
from attrs import define, evolve, field

from hindsight_async.emulator import wire
from hindsight_async.emulator.activity import Activity
from hindsight_async.emulator.answers import Answer, error_answer, overlay
from hindsight_async.emulator.faults import Fault, FaultScript
from hindsight_async.emulator.listener import Handler
from hindsight_async.emulator.quota import Clock, Quota
from hindsight_async.emulator.routes import Route, route_of

LARGEST_KEPT = 16_384
"""Bytes of an answer's body that are kept to be looked at."""


@define(eq=False)
class ReceivedRequest:
    """A request that arrived, whatever became of it."""

    method: str
    """The HTTP method, such as `POST`."""
    path: str
    """The path as it was sent, with its query."""
    route: str | None
    """What faults on it are scripted under, such as `GET /interviews/{id}`; None where nothing is served."""
    headers: Mapping[str, str] = field(repr=False)
    """The headers, of which case does not count. They stay out of the repr, since they carry the key."""
    arrived_at: float
    """When its headers were in, in seconds of the event loop's clock."""
    peer_port: int
    """The caller's TCP port, which tells connections apart."""
    body: Any = None
    """Its body, parsed where it is JSON, else the bytes; None without any, or before it is in."""
    status: int | None = None
    """The status of the answer; None before there is one, where the connection was dropped, or the caller hung up."""
    seconds: float | None = None
    """From `arrived_at` until the answer was made or the connection given up; None before."""
    answer_headers: Mapping[str, str] = field(factory=dict[str, str], repr=False)
    """The headers of the answer; empty where there was none."""
    answer_body: bytes = field(default=b"", repr=False)
    """The first 16 KiB of the answer's body. Out of the repr, since it may hold a survey token."""
    answer_bytes: int = 0
    """How long that body was."""


class Gateway:
    """Takes requests in and sends answers out.

    Args:
        api_key: The one key that is let in.
        clock: The server's clocks.
        quota: Counts what is let in.
        faults: What is scripted to go wrong.
        latency: Seconds from acting to answering, or a function that returns them.
        act: Does what a request that was let in asks for, and returns the true answer.
        log: Where each request that arrives is written down.
        door: Returns who takes a request that is not for the API, else None; nobody counts or logs those.
        tell: Called with each request once it is done with; None for nobody.

    """

    def __init__(
        self,
        *,
        api_key: str,
        clock: Clock,
        quota: Quota,
        faults: FaultScript,
        latency: float | Callable[[], float],
        act: Callable[[Route, bytes], Answer],
        log: list[ReceivedRequest],
        door: Callable[[str], Handler | None] = lambda _path: None,
        tell: Callable[[ReceivedRequest], object] | None = None,
    ) -> None:
        self._authorization = f"Bearer {api_key}"
        self.clock = clock
        self.quota = quota
        self._faults = faults
        self.latency = latency
        self._act = act
        self._log = log
        self._door = door
        self._tell = tell
        self.activity = Activity()
        self._in_flight: set[asyncio.Task[Any]] = set()  # aiohttp's handlers, to be cancelled on `close`

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Take one request through; this is what aiohttp.web calls."""
        handler = asyncio.current_task()
        assert handler is not None  # noqa: S101
        self._in_flight.add(handler)
        try:
            return await (self._door(request.path) or self._serve)(request)
        finally:
            self._in_flight.discard(handler)
            if request.method != "GET":  # which may come from those who look on, and changes nothing there
                self.activity.changes += 1

    def cancel_all(self) -> None:
        """Let go of every request in flight: its connection closes without an answer."""
        for handler in self._in_flight:
            handler.cancel()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        route = evolve(
            route_of(request.method, request.path, request.query),
            content_type=request.headers.get("Content-Type", ""),
            host=request.headers.get("Host", ""),
        )
        received = self._write_down(request, route)
        try:
            return await self._take_through(request, received, route)
        finally:
            now = self.clock.now()
            received.seconds = now - received.arrived_at
            self.activity.note(now, refused=received.status == HTTPStatus.TOO_MANY_REQUESTS)
            if self._tell is not None:
                self._tell(received)

    async def _take_through(
        self, request: web.BaseRequest, received: ReceivedRequest, route: Route
    ) -> web.StreamResponse:
        early = self._meets_early(request, route)
        raw = await _body_of(request, early)
        received.body = _parsed(raw)
        if request.headers.get("Authorization") != self._authorization and not route.opens_without_key:
            return await self._answer(received, error_answer(401), self.quota.headers())
        # Used up only once the quota has let the request in: a script of n faults meets n requests, however many
        # true 429s lie between them.
        fault = early or self._faults.next_for(route.name)
        if (fault is None or fault.counts) and not self.quota.admit():
            return await self._answer(received, error_answer(429), self.quota.headers())
        if fault is None:
            answer = self._act(route, raw)
            if not answer.charged:
                self.quota.charge_nothing()
            return await self._answer(received, answer, self.quota.headers())
        if early is None:
            self._faults.use_up(route.name)
        # Before anything is waited for: they say what was left when this request was counted.
        headers = self.quota.headers(closed_for=fault.closed_for)
        return await self._go_wrong(request, received, fault, headers, lambda: self._act(route, raw))

    def _meets_early(self, request: web.BaseRequest, route: Route) -> Fault | None:
        """Return the fault that comes in the middle of the body; it is used up, whether the plan has room or not."""
        fault = self._faults.next_for(route.name)
        if (
            fault is None
            or fault.at != "mid_upload"
            or request.headers.get("Authorization") != self._authorization
        ):
            return None
        self._faults.use_up(route.name)
        return fault

    async def _answer(
        self, received: ReceivedRequest, answer: Answer, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        await self._linger()
        return wire.whole(_noted(received, self._complete(answer, headers)))

    async def _go_wrong(
        self,
        request: web.BaseRequest,
        received: ReceivedRequest,
        fault: Fault,
        headers: Mapping[str, str],
        act: Callable[[], Answer],
    ) -> web.StreamResponse:
        # A caller that hangs up in this sleep cancels the handler (see `start`), so nothing is acted on, and in the next
        # one it was: the two that a client cannot tell apart.
        if fault.at == "before_commit":
            await asyncio.sleep(fault.seconds)
        answer = fault.answer(act() if fault.commits else None)
        if fault.at == "after_commit":
            await asyncio.sleep(fault.seconds)
        if fault.cuts_body:
            return await self._cut_body(request, received, fault, answer, headers)
        if fault.drops:
            await self._linger()
            return wire.drop(request, reset=fault.resets)
        return await self._answer(received, answer, headers)

    async def _cut_body(
        self,
        request: web.BaseRequest,
        received: ReceivedRequest,
        fault: Fault,
        answer: Answer,
        headers: Mapping[str, str],
    ) -> web.StreamResponse:
        await self._linger()
        whole = self._complete(answer, headers)
        response = await wire.first_half(request, whole)
        if fault.drops:
            return wire.drop(request, reset=fault.resets)
        _noted(received, whole)
        if fault.kind == "truncated" and answer.pieces:
            # In order, but without the last chunk, which aiohttp would add.
            return wire.hang_up(request)
        if fault.kind == "truncated":
            # Kept alive, the connection would leave the client waiting for the rest.
            response.force_close()
            return response
        await asyncio.sleep(fault.seconds)
        return await wire.second_half(response, answer)

    async def _linger(self) -> None:
        latency = self.latency() if callable(self.latency) else self.latency
        if latency > 0:
            await asyncio.sleep(latency)

    def _complete(self, answer: Answer, headers: Mapping[str, str]) -> Answer:
        date = {"Date": format_datetime(self.clock.wall(), usegmt=True)}
        return evolve(answer, headers=overlay({**headers, **date}, answer.headers))

    def _write_down(self, request: web.BaseRequest, route: Route) -> ReceivedRequest:
        assert request.transport is not None  # noqa: S101
        received = ReceivedRequest(
            method=request.method,
            path=request.raw_path,
            route=route.name,
            headers=request.headers,
            arrived_at=self.clock.now(),
            peer_port=request.transport.get_extra_info("peername")[1],
        )
        self._log.append(received)
        return received


def _noted(received: ReceivedRequest, answer: Answer) -> Answer:
    """Return the answer, once it is written down with the request."""
    body = b"".join(answer.pieces) if answer.pieces else answer.body
    received.status, received.answer_headers = answer.status, answer.headers
    received.answer_body, received.answer_bytes = body[:LARGEST_KEPT], len(body)
    return answer


async def _body_of(request: web.BaseRequest, early: Fault | None) -> bytes:
    """Read the body; only half of it where a fault comes then, which a slow one waits through."""
    if early is None:
        return await request.content.read()
    length = request.content_length
    half = await (request.content.readany() if length is None else request.content.readexactly(length // 2))
    if early.kind != "slow":
        return half
    await asyncio.sleep(early.seconds)
    return half + await request.content.read()


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw) if raw else None
    except (ValueError, RecursionError):
        return raw
