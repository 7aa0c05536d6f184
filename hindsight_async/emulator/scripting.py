"""What a test sees of the emulator, and does to it while it runs."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Unpack

from attrs import evolve

from hindsight_async.emulator.faults import At, FaultScript, How, scripted_fault
from hindsight_async.emulator.gateway import Gateway, ReceivedRequest
from hindsight_async.emulator.settings import LIMIT_FIELDS, Settings, SettingsChanges, new_limit
from hindsight_async.emulator.state import DEFAULT_TRANSCRIPT, STATUSES, Email, InterviewRecord, Organisation
from hindsight_async.rate import Plan


class Scriptable:
    """The part of the emulator that is not its life cycle.

    Args:
        settings: What it starts with, and goes back to on `reset`.
        organisation: What it keeps.

    """

    def __init__(self, settings: Settings, organisation: Organisation) -> None:
        self.requests: list[ReceivedRequest] = []
        self.deals, self.exports = organisation.deals, organisation.exports
        self.uploads, self.responses = organisation.uploads, organisation.responses
        self.tools, self.contacts = organisation.tools, organisation.contacts
        self._settings = self._first_settings = settings
        self._organisation = organisation
        self._faults = FaultScript()
        self._gateway: Gateway | None = None  # from the first `start` on, with its clock and its count

    @property
    def plan(self) -> Plan:
        """The tier."""
        return self._settings.plan

    @property
    def settings(self) -> Settings:
        """What `configure` changes."""
        return self._settings

    @property
    def faults(self) -> list[dict[str, Any]]:
        """The faults that are still to happen: what `fail` was given, and as `left` how many more times, None for ever."""
        return self._faults.pending()

    def wall_clock(self, loop_time: float | None = None) -> datetime:
        """Return the server's wall clock, aware, now or at a time of the event loop."""
        clock = self._opened.clock
        return clock.wall() if loop_time is None else clock.wall_at(loop_time)

    def left(self) -> dict[str, Any]:
        """Return how many requests are left of the minute and of the month, and when the minute resets."""
        return self._opened.quota.left()

    def activity(self) -> dict[str, Any]:
        """Return what came in the `last_minute`, and `changes`: a number that another one follows when something has changed."""
        activity, now = self._opened.activity, self._opened.clock.now()
        return {"last_minute": activity.last_minute(now), "changes": activity.changes}

    @property
    def interviews(self) -> dict[int, InterviewRecord]:
        """The interviews by `interview_request_id`."""
        self._catch_up()
        return self._organisation.interviews

    def statuses(self) -> dict[str, int]:
        """Return how many interviews there are of each status."""
        self._catch_up()
        return {status: self._organisation.statuses[status] for status in STATUSES}

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

    def configure(self, **changes: Unpack[SettingsChanges]) -> None:
        """Change what it was built with; what is not named stays.

        Args:
            **changes: `plan`, `requests_per_minute`, `window`, `refusals_cached`, `monthly_limit` and `latency`, as in
                `Emulator`. Another plan brings its own number of requests, unless one is named beside it. With any of the
                first four the minute is counted anew; what the month has used up stays used up.

        Raises:
            ValueError: One makes no sense, or not beside another; nothing has changed then.

        """
        if "plan" in changes:
            changes.setdefault("requests_per_minute", None)
        self._apply(evolve(self._settings, **changes), counts_anew=bool(changes.keys() & LIMIT_FIELDS))

    def reset(self) -> None:
        """Forget all that arrived or was put in, faults and counts too; `configure` is undone. Clock, key and port stay."""
        self._organisation.forget()
        self._faults.clear()
        self.requests.clear()
        if self._gateway is not None:
            self._gateway.quota.forget_month()
            self._gateway.activity.forget()
        self._apply(self._first_settings, counts_anew=True)

    def _apply(self, settings: Settings, *, counts_anew: bool) -> None:
        self._settings = settings
        if self._gateway is None:
            return
        self._gateway.latency = settings.latency
        self._gateway.quota.allow_monthly(settings.monthly_limit)
        if counts_anew:
            self._gateway.quota.limit = new_limit(settings, self._gateway.clock.wall_offset)

    @property
    def _opened(self) -> Gateway:
        if self._gateway is None:
            raise RuntimeError("the emulator is not started: use `async with`, or await start()")
        return self._gateway

    def _catch_up(self) -> None:
        if self._gateway is not None:
            self._organisation.send_due_emails(self._gateway.clock.wall())
            self._organisation.complete_due(self._gateway.clock.wall())
