"""What the server keeps: interviews, contacts and the emails that went out. Pure: the moment is handed in."""

import heapq
import itertools
import json
import secrets
from collections import Counter, deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from hindsight_async.emulator.deals import Deals
from hindsight_async.emulator.exports import Exports
from hindsight_async.emulator.responses import ScriptedResponses
from hindsight_async.emulator.tools import Tools

if TYPE_CHECKING:
    from hindsight_async.emulator.documents import Upload


@define
class Contact:
    """A person, one per email address."""

    contact_id: str
    """Such as `contact_000001`."""
    email: str
    """The address, trimmed and in lower case: by it two requests mean the same person."""
    name: str | None = None
    """The name that was sent last."""
    notes: str | None = None
    """The context that was sent last, which replaces earlier notes; JSON text where an object was sent."""


STATUSES = ("created", "sent", "completed")
"""What an interview goes through, in this order; a link only is never `sent`."""

DEFAULT_TRANSCRIPT = "**Paige:** Thank you for your time."


@frozen
class Transcript:
    """What was said in a completed interview."""

    document_id: str
    """Such as `doc_000001`."""
    content: str
    """The text, in Markdown."""
    created_at: datetime
    """When it was completed, on the server's wall clock; aware, UTC."""


@define
class InterviewRecord:
    """An interview as the server keeps it."""

    interview_request_id: int
    """From 1, in the order of creation."""
    contact: Contact
    created_at: datetime
    """When the server acted, on its wall clock; aware, UTC."""
    sequence_id: str | None
    """What makes the server email the contact; None for a link only."""
    interview_type_id: str | None
    deal_id: str | None
    objective: str | None
    survey_token: str = field(repr=False)
    """Opens the interview without a login, so it stays out of the repr."""
    survey_url: str = field(repr=False)
    """The page of the interview, with the token in it."""
    email_sent_at: datetime | None = None
    """When the email was out, aware, UTC; None before, and for a link only."""
    transcript: Transcript | None = None
    """What was said; None until it is completed."""
    questions: list[str] = field(factory=list[str], repr=False)
    """What its page asks; made at the first answer, and left as it is from then on."""
    answers: list[str] = field(factory=list[str], repr=False)
    """What was answered to them on its page so far."""

    @property
    def status(self) -> str:
        """`completed` once there is a transcript, `sent` once the email is out, before that `created`."""
        if self.transcript is not None:
            return "completed"
        return "created" if self.email_sent_at is None else "sent"


@frozen
class Email:
    """An email that a real person would have got."""

    address: str
    """The contact's address, trimmed and in lower case."""
    interview_request_id: int
    """The interview that it invites to."""
    sent_at: datetime
    """When it was out, on the server's wall clock; aware, UTC."""


class Organisation:
    """Everything one organisation has on the server.

    Args:
        email_delay: Seconds from the creation of an interview until its email is out.
        completes_after: Seconds from there until it is completed, or a function that returns them; None for never.

    """

    def __init__(
        self, *, email_delay: float, completes_after: float | Callable[[], float] | None = None
    ) -> None:
        self.interviews: dict[int, InterviewRecord] = {}
        self.by_token: dict[str, InterviewRecord] = {}
        # Counted along: who looks on asks often, and there may be many.
        self.statuses: Counter[str] = Counter()
        self.contacts: dict[str, Contact] = {}
        self.outbox: list[Email] = []
        self.deals = Deals()
        self.exports = Exports(self.deals)
        self.tools = Tools()
        self.uploads: list[Upload] = []
        self.responses = ScriptedResponses()
        self._email_delay = timedelta(seconds=email_delay)
        self._queued: deque[Email] = deque()  # emails to be sent, the next one first
        self._completes_after = completes_after
        self._to_complete: list[tuple[datetime, int]] = []  # a heap: when, and which interview
        self._numbers = itertools.count(1)

    def create(self, body: Mapping[str, Any], now: datetime, survey_page: str) -> dict[str, Any]:
        """Create the interview that a checked body asks for, queue its email, and return the 201 document."""
        contact = self._contact(body["contact_email"])
        self._describe(contact, body)
        token = f"tok_{secrets.token_hex(12)}"
        interview = InterviewRecord(
            interview_request_id=next(self._numbers),
            contact=contact,
            created_at=now,
            sequence_id=body.get("sequence_id"),
            interview_type_id=body.get("interview_type_id"),
            deal_id=body.get("deal_id"),
            objective=body.get("objective"),
            survey_token=token,
            survey_url=f"{survey_page}?token={token}",
        )
        self.add(interview)
        self._schedule(interview)
        self.send_due_emails(now)
        return {
            "interview_request_id": interview.interview_request_id,
            "contact_id": contact.contact_id,
            "deal_id": interview.deal_id,
            "survey_url": interview.survey_url,
            "survey_token": interview.survey_token,
            "status": "sent" if interview.sequence_id else "created",
        }

    def add(self, interview: InterviewRecord) -> None:
        """Have an interview, under its id and its token."""
        self.interviews[interview.interview_request_id] = interview
        self.by_token[interview.survey_token] = interview
        self.statuses[interview.status] += 1

    def go_on(self) -> None:
        """Go on with the interviews that were put in by `add`: let new ids follow theirs, and happen what is still to."""
        self._numbers = itertools.count(max(self.interviews, default=0) + 1)
        for interview in self.interviews.values():
            if interview.transcript is None:
                self._schedule(interview)

    def read(self, interview_id: int) -> dict[str, Any]:
        """Return the document of an interview that exists: it shows the survey link, never the token by itself."""
        interview = self.interviews[interview_id]
        transcript = interview.transcript
        return {
            "interview_request_id": interview.interview_request_id,
            "contact_id": interview.contact.contact_id,
            "deal_id": interview.deal_id,
            "survey_url": interview.survey_url,
            "status": interview.status,
            "objective": interview.objective,
            "email_sent_at": iso(interview.email_sent_at),
            "created_at": iso(interview.created_at),
            "transcript": transcript
            and {
                "document_id": transcript.document_id,
                "content": transcript.content,
                "created_at": iso(transcript.created_at),
            },
        }

    def update(self, interview_id: int, body: Mapping[str, Any]) -> dict[str, Any]:
        """Change what a checked body asks for; name and context belong to the contact, not to one interview."""
        interview = self.interviews[interview_id]
        self._describe(interview.contact, body)
        interview.objective = body.get("objective", interview.objective)
        return {"interview_request_id": interview_id}

    def complete(self, interview_id: int, transcript: str, now: datetime) -> None:
        """Let the interview have taken place.

        Raises:
            KeyError: There is no such interview.

        """
        interview = self.interviews[interview_id]
        before = interview.status
        interview.transcript = Transcript(f"doc_{interview_id:06}", transcript, now)
        self._count_moved(interview, before)

    def forget(self) -> None:
        """Be empty, as at the start: in the same dicts and lists, which somebody may hold on to."""
        self.interviews.clear()
        self.by_token.clear()
        self.statuses.clear()
        self.contacts.clear()
        self.outbox.clear()
        self._queued.clear()
        self._to_complete.clear()
        self._numbers = itertools.count(1)
        self.deals.clear()
        self.exports.clear()
        self.uploads.clear()
        self.responses.pending.clear()
        self.tools.deals.clear()
        self.tools.answers.clear()

    def send_due_emails(self, now: datetime) -> None:
        """Move the emails that are due by now into the outbox, which makes their interviews `sent`."""
        while self._queued and self._queued[0].sent_at <= now:
            email = self._queued.popleft()
            self.outbox.append(email)
            interview = self.interviews[email.interview_request_id]
            before = interview.status
            interview.email_sent_at = email.sent_at
            self._count_moved(interview, before)

    def complete_due(self, now: datetime) -> None:
        """Let the interviews that are due by now have taken place, each when it was due."""
        while self._to_complete and self._to_complete[0][0] <= now:
            due, interview_id = heapq.heappop(self._to_complete)
            if self.interviews[interview_id].transcript is None:
                self.complete(interview_id, DEFAULT_TRANSCRIPT, due)

    def _count_moved(self, interview: InterviewRecord, before: str) -> None:
        self.statuses[before] -= 1
        self.statuses[interview.status] += 1

    def _schedule(self, interview: InterviewRecord) -> None:
        number, created_at = interview.interview_request_id, interview.created_at
        if self._completes_after is not None:
            seconds = self._completes_after() if callable(self._completes_after) else self._completes_after
            heapq.heappush(self._to_complete, (created_at + timedelta(seconds=seconds), number))
        if interview.sequence_id and interview.email_sent_at is None:
            self._queued.append(Email(interview.contact.email, number, created_at + self._email_delay))

    def _contact(self, address: str) -> Contact:
        email = address.strip().casefold()
        if email not in self.contacts:
            self.contacts[email] = Contact(f"contact_{len(self.contacts) + 1:06}", email)
        return self.contacts[email]

    @staticmethod
    def _describe(contact: Contact, body: Mapping[str, Any]) -> None:
        contact.name = body.get("contact_name", contact.name)
        if "contact_context" in body:
            context = body["contact_context"]
            contact.notes = context if isinstance(context, str) else json.dumps(context, ensure_ascii=False)


def iso(moment: datetime | None) -> str | None:
    """Return a moment as the API writes it."""
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")
