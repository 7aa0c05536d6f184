"""The session: checks what it is given, puts together the parts that a call passes, opens and closes them."""

import asyncio
import random
import warnings
from collections.abc import Callable, Iterable
from copy import copy
from datetime import UTC, datetime
from functools import partial
from ssl import SSLContext
from types import NoneType
from typing import TYPE_CHECKING, Any, Self

import aiohttp

from hindsight_async.call.access import Access, check_given, read_access, read_base_url
from hindsight_async.call.connections import check_connections, limits_of
from hindsight_async.call.execute import Executor
from hindsight_async.call.log_output import turn_on_logging
from hindsight_async.call.options import UNCHANGED, Timeouts, check_callable, check_type, check_whole_number
from hindsight_async.call.retry import RetryPolicy
from hindsight_async.call.transport import Transport
from hindsight_async.errors import OutcomeUnknownError
from hindsight_async.rate import Budget, Plan, RateBudget, plan_or_default
from hindsight_async.rate.client import Lane, check_deadline, check_lane
from hindsight_async.redaction import Secret
from hindsight_async.resources.anything import Anything
from hindsight_async.resources.interviews.calls import Interviews
from hindsight_async.resources.interviews.poll_schedule import Pace
from hindsight_async.resources.interviews.recipients import BlockedRecipients, CreateGuard, allowed_here
from hindsight_async.resources.on_first_use import LoadedOnFirstUse
from hindsight_async.shielding import to_the_end

if TYPE_CHECKING:
    from hindsight_async.call.events import CallEvent
    from hindsight_async.call.proxy import Proxy

DEFAULT_MAX_IN_FLIGHT = 16
DEFAULT_DEADLINE = 120.0
"""Seconds for one call, from its first queueing to its last attempt; for a create, until that leaves."""


class HindsightSession(LoadedOnFirstUse):
    """One organisation's access to Hindsight: a connection pool, a rate budget, and the calls.

    Use it with `async with`, or let it open itself on the first call and `await close()` it. It may be built anywhere,
    also at import where no event loop runs. It serves one event loop at a time, and starts afresh once that one or the
    session is closed, or the process has forked; on a second one, calls raise WrongEventLoopError until then. It opens
    each time that it starts, and reads the key and the address then where they come from the environment.

    Args:
        api_key: From the dashboard; else the variable HINDSIGHT_API_KEY.
        plan: The organisation's tier, or its name (essentials, growth or enterprise); else HINDSIGHT_PLAN, else `plan.DEFAULT_PLAN`.
        base_url: Else HINDSIGHT_BASE_URL, else `access.DEFAULT_BASE_URL`. Plain http is taken for this machine only.
        allow_plain_http: Take plain http for other machines too, where everybody on the way can read the key: for an
            emulator in a test network of containers. Never taken for the API itself.
        max_in_flight: How many requests may be under way at a time, at least 1; no more than a borrowed `http` takes.
        deadline: Seconds for one call with all its waiting; None for no end. Of a create, those until it leaves.
        timeouts: Seconds that the network may take.
        retry: How often and how patiently a call is sent again.
        budget: One that several sessions of the organisation share, instead of one made for `plan`: a RateBudget in
            this process, a RedisBudget among many.
        allowed_recipients: Patterns such as `*@ours.test`; a create to anyone else raises RecipientNotAllowedError. The
            variable HINDSIGHT_ALLOWED_RECIPIENTS (comma-separated) must allow them too, both as it was when the
            session was built and as it is when that opens.
        blocked_recipients: Addresses and patterns (`ann@x.test`, `*@rival.test`), and domains with all below them
            (`rival.test`), of those who asked not to be written to; RecipientNotAllowedError too.
        max_creates: How many creates this session may make; one more raises CreateLimitReachedError. None for no end.
        proxy: The URL of an HTTP proxy to the API, such as http://user:password@host:3128.
        ssl: For a certificate authority of your own, say; else the system's certificates count.
        http: An aiohttp session to borrow, with its own proxy and certificates; it is never closed here. On its
            connections an answer that nobody asked for, such as the 408 with which a load balancer ends an idle
            connection, is taken for the answer to the next call, and of one whose head is no valid HTTP not even the
            status is known. Its tracing is called, but for `on_response_chunk_received`.
        on_outcome_unknown: Called with an OutcomeUnknownError when a create is cancelled after it left, since its
            caller hears nothing then; without it a warning is logged.
        on_event: Called, within the event loop, with what happens to each call, as small values (`CallStarted` and its
            like) without body, address or key. What it raises is logged, the first time.

    Attributes:
        budget: The rate budget, as passed or made.
        interviews: Create, read, update and wait for interviews.
        deals: Read and export deals.
        documents: Uploads to deals and to the library.
        responses: Questions, and answers with their sources.
        tools: Its direct tools.
        request: Sends what is new in the API: see `Anything.request`.

    Raises:
        TypeError: An argument is of the wrong type; the text names it.
        ValueError: An argument or a variable has a wrong value; the text names it. A missing key and a wrong variable
            that is read when the session opens are raised then, with nothing sent.

    """

    _viewed: Self | None = None

    def __init__(
        self,
        api_key: str | None = None,
        *,
        plan: Plan | str | None = None,
        base_url: str | None = None,
        allow_plain_http: bool = False,
        max_in_flight: int = DEFAULT_MAX_IN_FLIGHT,
        deadline: float | None = DEFAULT_DEADLINE,
        timeouts: Timeouts = Timeouts(),  # noqa: B008  frozen
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008  frozen
        budget: Budget | None = None,
        allowed_recipients: Iterable[str] | None = None,
        blocked_recipients: Iterable[str] | None = None,
        max_creates: int | None = None,
        proxy: str | None = None,
        ssl: SSLContext | None = None,
        http: aiohttp.ClientSession | None = None,
        on_outcome_unknown: Callable[[OutcomeUnknownError], object] | None = None,
        on_event: "Callable[[CallEvent], object] | None" = None,
    ) -> None:
        # A traceback that shows local variables, as that of an error below may, has neither key nor password in it.
        key, proxy_url = (None if given is None else Secret(given) for given in (api_key, proxy))
        del api_key, proxy
        check_whole_number("max_in_flight", max_in_flight, least=1)
        check_whole_number("max_creates", 0 if max_creates is None else max_creates, least=0)
        check_deadline(deadline)
        check_type("timeouts", timeouts, Timeouts)
        check_type("retry", retry, RetryPolicy)
        check_type("base_url", base_url, (str, NoneType))
        check_connections(http, proxy_url, ssl)
        check_callable("on_outcome_unknown", on_outcome_unknown)
        check_callable("on_event", on_event)
        _check_budget(budget, plan)
        max_in_flight = min([max_in_flight, *limits_of(http)])
        via = None if proxy_url is None else _parsed_proxy(proxy_url)
        check_given(key, base_url, via, allow_plain_http=allow_plain_http)
        self._read_base_url = partial(read_base_url, base_url, allow_plain_http=allow_plain_http)
        self.budget = RateBudget.for_plan(plan_or_default(plan)) if budget is None else budget
        allowed = allowed_here(allowed_recipients)
        guard = CreateGuard(allowed, BlockedRecipients(blocked_recipients), max_creates)

        def read_environment() -> Access:  # when it opens: tests and child processes may point it elsewhere
            turn_on_logging()
            allowed.read_variable()
            return read_access(key, base_url, via, allow_plain_http=allow_plain_http)

        self._transport = Transport(
            read_access=read_environment, timeouts=timeouts, max_in_flight=max_in_flight,
            http=http, proxy=via, ssl=ssl, on_outcome_unknown=on_outcome_unknown,
        )  # fmt: skip
        self._client = self.budget.join(max_in_flight)
        executor = Executor(
            self._transport, self._client, policy=retry, deadline=deadline,
            random=random.random, wall_clock=lambda: datetime.now(UTC), on_event=on_event,
        )  # fmt: skip
        self._interviews_over = partial(Interviews, guard=guard, pace=Pace(), max_in_flight=max_in_flight)
        self._offer(executor)

    def _offer(self, executor: Executor) -> None:
        self._executor = executor
        self.interviews = self._interviews_over(executor)
        self.request = Anything(executor).request
        self._forget_used()

    @property
    def base_url(self) -> str:
        """Where requests go: what is open, else what would be.

        Raises:
            ValueError: What was given, or stands in HINDSIGHT_BASE_URL, cannot be used.

        """
        return self._transport.base_url or self._read_base_url()

    def listen(self, listener: "Callable[[CallEvent], object]") -> None:
        """Have one more listener called with what happens to each call, of views too, as `on_event` is.

        Args:
            listener: Called within the event loop; what it raises is logged, the first time.

        Raises:
            TypeError: It cannot be called, or this is a view.

        """
        self._refuse_on_a_view("listen to")
        self._executor.listen(listener)

    def with_options(
        self,
        *,
        deadline: float | None = UNCHANGED,
        lane: Lane = UNCHANGED,
        timeouts: Timeouts = UNCHANGED,
        retry: RetryPolicy = UNCHANGED,
    ) -> Self:
        """Return a view of this session for calls with other options; what is not given stays as it is here.

        A view has the pool, the budget, the fuse and the hooks of the session, and is open as long as that is. It costs
        no more than a few objects, so that one may be made for a single call.

        Args:
            deadline: Seconds for one call with all its waiting, as for the session; None for no end.
            lane: "interactive" goes before "bulk". Without it single calls go in the first, and bulk runs, walks over
                pages and repeated reads while waiting in the second.
            timeouts: Seconds that the network may take.
            retry: How often and how patiently a call is sent again.

        Returns:
            The view. It has views of its own, and cannot be entered or closed.

        Raises:
            TypeError: An argument is of the wrong type; the text names it.
            ValueError: An argument has a wrong value; the text names it.

        """
        if deadline is not UNCHANGED:
            check_deadline(deadline)
        if lane is not UNCHANGED:
            check_lane(lane)
        if timeouts is not UNCHANGED:
            check_type("timeouts", timeouts, Timeouts)
        if retry is not UNCHANGED:
            check_type("retry", retry, RetryPolicy)
        executor = copy(self._executor)
        executor.keep_to(deadline=deadline, lane=lane, timeouts=timeouts, retry=retry)
        view = copy(self)
        view._become_view_of(self, executor)  # noqa: SLF001  of the same class
        return view

    def _become_view_of(self, viewed: Self, executor: Executor) -> None:
        self._viewed = viewed  # which lives as long, and warns where nobody closes it
        self._offer(executor)

    def _refuse_on_a_view(self, what: str) -> None:
        if self._viewed is not None:
            raise TypeError(f"this is a view (with_options): {what} the session that it is of")

    async def __aenter__(self) -> Self:
        self._refuse_on_a_view("enter")
        self._transport.open(asyncio.get_running_loop())
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def close(self, *, drain: float = 0.0) -> None:
        """Close the connections, unless they are borrowed; idempotent.

        New calls, and those still waiting to be sent, raise SessionClosedError.

        Args:
            drain: Seconds that calls in flight have to end; then they are cut off, and raise what is known of them.

        Raises:
            CancelledError: The caller was cancelled: no call in flight is waited for then, and all is closed.
            WrongEventLoopError: It is open on another event loop that lives, and stays so.
            TypeError: It is a view: close the session.

        """
        self._refuse_on_a_view("close")
        self._transport.follow(asyncio.get_running_loop())
        self._client.close()
        try:
            await self._transport.close(drain=drain)
        finally:
            await to_the_end(self._client.leave())

    def __repr__(self) -> str:
        if not hasattr(self, "_client"):
            return "<HindsightSession that could not be built>"
        try:
            where = self.base_url
        except ValueError:
            where = "to no usable address"
        kind = "HindsightSession" if self._viewed is None else "view of HindsightSession"
        return f"<{kind} {where} {self.budget.limit} requests per minute>"

    def __del__(self, warn: Any = warnings.warn) -> None:
        transport: Transport | None = getattr(self, "_transport", None)
        if transport is not None and transport.is_open and self._viewed is None:
            warn(f"{self!r} was not closed: use 'async with' or await close()", ResourceWarning, source=self)


def _parsed_proxy(url: Secret) -> "Proxy":
    from hindsight_async.call.proxy import parse_proxy  # noqa: PLC0415  later: few have one

    return parse_proxy(url)


def _check_budget(budget: object, plan: Plan | str | None) -> None:
    if budget is None:
        return
    if not isinstance(budget, Budget):
        raise TypeError(f"budget must be a RateBudget or a RedisBudget, not {type(budget).__name__}")
    if plan is not None:
        raise ValueError("give plan or budget, not both: a budget has its own limit")
