"""The emulator itself: what it is told, what it shows, and its life cycle."""

import asyncio
import secrets
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self

from hindsight_async.emulator.answers import Answer
from hindsight_async.emulator.faults import At, FaultScript, How, scripted_fault
from hindsight_async.emulator.gateway import Gateway, ReceivedRequest
from hindsight_async.emulator.limits import MonthlyAllowance, Window, rate_limit
from hindsight_async.emulator.listener import Listener, is_loopback, listen
from hindsight_async.emulator.quota import Clock, Quota
from hindsight_async.emulator.routes import ROOT, Route, true_answer
from hindsight_async.emulator.state import DEFAULT_TRANSCRIPT, Email, InterviewRecord, Organisation
from hindsight_async.emulator.validation import DeclaredIds
from hindsight_async.rate import Plan, plan_of

ResetUnit = Literal["milliseconds", "seconds"]
"""The unit of X-RateLimit-Reset."""

_RESETS_PER_SECOND: Mapping[str, int] = {"milliseconds": 1000, "seconds": 1}


class Emulator:
    """A local Hindsight over real HTTP on a loopback address; use `async with`, or `start` and `close`.

    Args:
        plan: The tier, or its name, whose requests per minute are enforced, over all routes together.
        requests_per_minute: Another number of them, at least 1; None for the plan's.
        window: How they are counted: "weighted" (this minute of the wall clock, and the one before by what is left of this
            one), "sliding", "fixed" (a minute from the first request), "bucket" (refilled evenly), or "aligned" (to the
            minutes of the wall clock). The real server most likely counts in the first way.
        refusals_cached: Whether one refusal closes a weighted window until the minute has ended.
        api_key: The one key that is let in; None makes one up.
        host: A loopback address.
        port: A TCP port; 0 takes any free one.
        sequences: The sequence ids that exist; None takes any.
        interview_types: The interview type ids that exist; None takes any.
        deals: The deal ids that exist; None takes any.
        reset_unit: The unit of X-RateLimit-Reset, "milliseconds" or "seconds".
        rate_headers: Whether answers carry X-RateLimit-*.
        monthly_limit: Requests per calendar month (UTC), told in X-Usage-*; None counts none.
        latency: Seconds from acting to answering, or a function that returns them.
        email_delay: Seconds until an email is out, until when a GET says `created`.
        completes_after: Seconds from a create until the interview is completed, or a function that returns them; None
            leaves that to `complete`.
        started_at: What the server's wall clock shows at the first `start`, aware; None for now.
        clock_skew: Seconds by which that clock is ahead.

    Attributes:
        plan, api_key: The tier, and the key to give a client.
        requests: What arrived, in order; yours to clear.
        deals: The deals that GET /deals and exports have, by id; `deals.add` puts one in.
        exports: The exports by id; `exports.seconds` is how long they take, and `exports.fail_next` has one fail.
        uploads: The documents that were uploaded, in order.
        responses: The answers to come, to be scripted by its `say`.
        tools: What the direct tools know and answer.
        contacts: The contacts by email address, trimmed and in lower case.

    Raises:
        ValueError: A plan that there is not, a host that is not loopback, an unknown window or reset unit, cached refusals in another than a weighted
            window, or a limit below 1.

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
    ) -> None:
        if not is_loopback(host):
            raise ValueError(f"host must be a loopback address such as 127.0.0.1, not {host!r}")
        if reset_unit not in _RESETS_PER_SECOND:
            raise ValueError(f"reset_unit must be milliseconds or seconds, not {reset_unit!r}")
        self.plan = plan_of(plan)
        self.api_key = api_key or f"test-key-{secrets.token_hex(12)}"
        self.requests: list[ReceivedRequest] = []
        self._new_limit = partial(
            rate_limit,
            window,
            self.plan.requests_per_minute if requests_per_minute is None else requests_per_minute,
            refusals_cached=refusals_cached,
        )
        self._new_limit()  # which raises where the three do not go together
        self._host, self._port = host, port
        self._declared = DeclaredIds(sequences, interview_types, deals)
        self._resets_per_second = _RESETS_PER_SECOND[reset_unit] if rate_headers else None
        self._monthly = None if monthly_limit is None else MonthlyAllowance(monthly_limit)
        self._latency = latency
        self._started_at, self._clock_skew = started_at, clock_skew
        self._organisation = Organisation(email_delay=email_delay, completes_after=completes_after)
        self.deals, self.exports = self._organisation.deals, self._organisation.exports
        self.uploads, self.responses = self._organisation.uploads, self._organisation.responses
        self.tools, self.contacts = self._organisation.tools, self._organisation.contacts
        self._faults = FaultScript()
        self._gateway: Gateway | None = None  # from the first `start` on, with its clock and its count
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

        """
        loop = asyncio.get_running_loop()
        if self._listener is not None:
            raise RuntimeError("the emulator is started already")
        if self._gateway is None:
            self._gateway = self._new_gateway(loop)
        elif self._gateway.clock.loop is not loop:
            raise RuntimeError("the emulator cannot move to another event loop: build a new one")
        self._listener = await listen(self._gateway.handle, self._host, self._port)
        # Kept, so that a second `start` opens the same one: a client that pointed at it finds it again.
        self._port = self._listener.port

    async def close(self) -> None:
        """Close the port and every connection; what is in flight is cancelled. May be called again."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        self._opened.cancel_all()
        await listener.close()

    @property
    def base_url(self) -> str:
        """What to give a client as its base URL.

        Raises:
            RuntimeError: It was not started yet.

        """
        _ = self._opened
        return f"{self._origin()}{ROOT}"

    @property
    def interviews(self) -> dict[int, InterviewRecord]:
        """The interviews by `interview_request_id`."""
        self._catch_up()
        return self._organisation.interviews

    @property
    def outbox(self) -> list[Email]:
        """The emails that are out by now, oldest first."""
        self._catch_up()
        return self._organisation.outbox

    def complete(self, interview_id: int, transcript: str = DEFAULT_TRANSCRIPT) -> None:
        """Let an interview have taken place.

        Args:
            interview_id: Its `interview_request_id`.
            transcript: What was said in it, in Markdown.

        Raises:
            KeyError: There is no such interview.
            RuntimeError: The emulator was not started yet.

        """
        self._organisation.complete(interview_id, transcript, self._opened.clock.wall())

    def spend(self, requests: int) -> int:
        """Use up requests of the plan, as another program of the organisation would.

        Args:
            requests: How many it sends, all at this moment.

        Returns:
            How many of them passed; the others found the plan used up.

        Raises:
            RuntimeError: The emulator was not started yet.

        """
        return self._opened.quota.spend(requests)

    def fail(
        self,
        route: str,
        how: How | int,
        at: At | None = None,
        times: int | None = 1,
        *,
        seconds: float | None = None,
        status: int | None = None,
        to: str | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        retry_after: float | str | None = None,
    ) -> None:
        """Let the next requests on a route fail; several faults on it happen in the order they were scripted.

        Args:
            route: Method and path without ids, such as "GET /interviews/{id}", or "*" for every request.
            how: A status; "disconnect"; "reset" (the same by TCP reset); "slow"; "truncated" (more bytes promised
                than sent); or, instead of the answer, "html", "redirect" or "empty" (no body).
            at: "before_commit" (the default: nothing happened), "mid_upload" (the same, and half of the request's body was
                read), "after_commit" (it did), or "mid_body" (it did, and half of the answer is out; the default of
                "truncated").
            times: How many requests meet it; None for ever.
            seconds: How much later a slow one is answered. One that waits before the commit is not acted on if the
                caller hangs up meanwhile.
            status: The status of "html" (else 502), "redirect" (else 307) or "empty" (else that of the true answer).
            to: Where a redirect points.
            body: With a status: bytes, or a document for JSON, instead of the standard error envelope.
            headers: With a status, "html", "redirect" or "empty": headers that win over the usual ones.
            retry_after: With a status, "html" or "empty": the Retry-After header, in seconds or as a text.

        Raises:
            ValueError: It makes no sense; the text names what.

        """
        options = {
            "seconds": seconds,
            "status": status,
            "to": to,
            "body": body,
            "headers": headers,
            "retry_after": retry_after,
        }
        self._faults.add(scripted_fault(route, how, at, times, options))

    def heal(self) -> None:
        """Forget every scripted fault."""
        self._faults.clear()

    @property
    def _opened(self) -> Gateway:
        if self._gateway is None:
            raise RuntimeError("the emulator is not started: use `async with`, or await start()")
        return self._gateway

    def _origin(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    def _new_gateway(self, loop: asyncio.AbstractEventLoop) -> Gateway:
        started_at = self._started_at or datetime.now(UTC)
        clock = Clock(loop, wall_offset=started_at.timestamp() + self._clock_skew - loop.time())
        limit = self._new_limit(wall_offset=clock.wall_offset)
        return Gateway(
            api_key=self.api_key,
            clock=clock,
            quota=Quota(limit, self._monthly, clock, resets_per_second=self._resets_per_second),
            faults=self._faults,
            latency=self._latency,
            act=self._act,
            log=self.requests,
        )

    def _act(self, route: Route, raw: bytes) -> Answer:
        self._catch_up()
        return true_answer(
            route,
            raw,
            organisation=self._organisation,
            declared=self._declared,
            now=self._opened.clock.wall(),
            survey_page=f"{self._origin()}/survey",
            base_url=self.base_url,
        )

    def _catch_up(self) -> None:
        if self._gateway is not None:
            self._organisation.send_due_emails(self._gateway.clock.wall())
            self._organisation.complete_due(self._gateway.clock.wall())
