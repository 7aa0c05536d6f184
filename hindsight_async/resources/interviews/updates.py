"""Updating interviews: overwriting what was there, or merging into what a ledger remembers."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias, Unpack, cast, overload

from attrs import evolve

from hindsight_async.call.codec import encode
from hindsight_async.call.execute import SendHooks
from hindsight_async.call.request import Call, Endpoint
from hindsight_async.errors import NotSentError
from hindsight_async.rate import Lane
from hindsight_async.resources.interviews.arguments import Update, checked_id, of_type, request_of
from hindsight_async.resources.interviews.context import ContactContext, merge_context
from hindsight_async.resources.interviews.models import (
    UpdatedInterview,
    UpdateInterview,
    UpdateInterviewFields,
)
from hindsight_async.resources.interviews.waiting import InterviewWaits

if TYPE_CHECKING:
    from hindsight_async.delivery.ledger.arguments import HasLedgerRun
    from hindsight_async.delivery.ledger.run import LedgerRun

COLLECTION = "/interviews"

_UPDATE = Endpoint(
    method="PATCH",
    route="PATCH /interviews/{id}",
    reply_type=UpdatedInterview,
    repeatable=True,
    status_suffices=True,
)

_Send: TypeAlias = Callable[[UpdateInterview], Awaitable[UpdatedInterview]]


class InterviewUpdates(InterviewWaits):
    """The part of `Interviews` that updates."""

    @overload
    async def update(self, interview_request_id: int, request: UpdateInterview) -> UpdatedInterview: ...
    @overload
    async def update(
        self, interview_request_id: int, **fields: Unpack[UpdateInterviewFields]
    ) -> UpdatedInterview: ...
    async def update(
        self, interview_request_id: int, request: UpdateInterview | None = None, **fields: Any
    ) -> UpdatedInterview:
        """Replace the contact's notes or name, or this interview's objective (page update-interview).

        What is replaced is gone; `enrich` merges into the notes that a ledger remembers, and knows nothing of these.

        Args:
            interview_request_id: From 0.
            request: What to change.
            **fields: In its place, what UpdateInterview takes: `update(4821, objective=...)`.

        Returns:
            What was updated.

        Raises:
            TypeError: An argument is of another type, or a request and fields are given.
            ValueError: The id is negative, or a field has a value that the API would refuse.
            HindsightError: It was not updated; where `delivery` is UNKNOWN it may have been, and doing it again does no
                harm.

        """
        request = request_of(UpdateInterview, request, fields)
        return await self._update((interview_request_id, request), "interactive", self._executor.deadline)

    async def enrich(
        self,
        interview_request_id: int,
        changes: ContactContext,
        *,
        ledger: "LedgerRun | HasLedgerRun | None" = None,
        previous: ContactContext | None = None,
    ) -> UpdatedInterview:
        """Merge into the notes of an interview's contact, by the rules of `merge_context` (page update-interview).

        The API overwrites a contact's notes, for all their interviews, and never returns them. So they are merged into
        those that it last accepted from this ledger (`Ledger(..., store_contexts=True)`), and the result is remembered.
        Of two at once for one contact none loses the other's changes: in one run they go one after the other, and where
        another process was first, this merges once more and sends that. What is changed otherwise (`update`, a run without
        `store_contexts`, the dashboard) is not in what it merges into.

        Args:
            interview_request_id: Of any interview of the contact, from 0.
            changes: What is new.
            ledger: What `Ledger.run()` opens (extra `bulk`), once for all calls, or a queue that sends.
            previous: The notes to merge into where the ledger remembers none of this contact, or none is given; `{}` or
                an empty text where there are none.

        Returns:
            What was updated.

        Raises:
            TypeError: An argument is of another type, or text and a mapping would be merged.
            ValueError: There is nothing to merge into: no ledger, one without contexts, or one that remembers none of this
                contact. Nothing was sent.
            LedgerError: The ledger cannot be read or, where `delivery` is UNKNOWN, the API has the notes and the ledger
                could not be written: do it again.
            HindsightError: As from `update`.

        """
        update = UpdateInterview(contact_context=changes)
        loop, deadline = asyncio.get_running_loop(), self._executor.deadline
        began = loop.time()

        def send(merged: UpdateInterview) -> Awaitable[UpdatedInterview]:
            # Another call for the same contact may have had its turn first.
            left = None if deadline is None else max(0.0, began + deadline - loop.time())
            return self._update((interview_request_id, merged), "interactive", left)

        checked_id(interview_request_id)
        return await _merge_and_send((interview_request_id, update), send, ledger, previous)

    async def _update_row(
        self, update: Update, deadline: float | None, hooks: SendHooks, merge_into: "LedgerRun | None"
    ) -> UpdatedInterview:
        """Make the update of a bulk run's row, merged where there is something to merge and a ledger to merge into."""
        interview_request_id, request = update

        def send(merged: UpdateInterview) -> Awaitable[UpdatedInterview]:
            return self._update((interview_request_id, merged), "bulk", deadline, hooks)

        if merge_into is None or request.contact_context is None:
            return await send(request)
        try:
            return await _merge_and_send(update, send, merge_into, None)
        except (TypeError, ValueError) as error:
            raise NotSentError(str(error)) from error

    def _update(
        self, update: Update, lane: Lane, deadline: float | None, hooks: SendHooks | None = None
    ) -> Awaitable[UpdatedInterview]:
        interview_request_id, request = update
        path = item_path(interview_request_id)
        body = encode(of_type(request, UpdateInterview))
        call = Call(_UPDATE, path, body, request, {"interview_request_id": interview_request_id})
        return self._executor.run(call, lane=lane, deadline=deadline, hooks=hooks)


def item_path(interview_request_id: int) -> str:
    """Return the path of an interview; TypeError or ValueError where that is no id."""
    return f"{COLLECTION}/{checked_id(interview_request_id)}"


def checked_ledger(ledger: object) -> "LedgerRun":
    """Return the open ledger that a call was given, or that of a queue; TypeError where it is another thing."""
    from hindsight_async.delivery.ledger.arguments import open_run  # noqa: PLC0415  needs the extra `bulk`

    return open_run(ledger)


async def _merge_and_send(
    update: Update, send: _Send, ledger: "LedgerRun | HasLedgerRun | None", previous: ContactContext | None
) -> UpdatedInterview:
    interview_request_id, request = update
    if ledger is None:
        if previous is None:
            raise ValueError(_nothing_to_merge_into("neither ledger nor previous is given"))
        return await send(_onto(previous, request))
    contexts = checked_ledger(ledger).contexts
    if previous is None and not contexts.is_on:
        raise ValueError(_nothing_to_merge_into("the ledger was not opened with store_contexts=True"))
    async with contexts.of_interview(interview_request_id) as contact:
        while True:
            remembered = await contact.read()
            base = previous if remembered is None else remembered
            if base is None:
                what = f"the ledger remembers no context of the contact of interview {interview_request_id}"
                raise ValueError(_nothing_to_merge_into(what))
            merged = _onto(base, request)
            updated = await send(merged)
            if await contact.replace(cast("ContactContext", merged.contact_context)):
                return updated


def _onto(base: ContactContext, request: UpdateInterview) -> UpdateInterview:
    return evolve(request, contact_context=merge_context(base, request.contact_context))


def _nothing_to_merge_into(why: str) -> str:
    return (
        f"there is nothing to merge into: {why}. The API overwrites a contact's notes and never returns them, so give"
        " previous=, what was sent last"
    )
