"""What the remote control shows, as documents. Pure."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from hindsight_async.emulator.documents import Upload
from hindsight_async.emulator.gateway import ReceivedRequest
from hindsight_async.emulator.settings import Settings
from hindsight_async.emulator.state import Email, InterviewRecord, iso

if TYPE_CHECKING:
    from hindsight_async.emulator.scripting import Scriptable

SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})
"""What may hold a true key, if a program has taken the wrong one along."""


def settings_view(settings: Settings) -> dict[str, Any]:
    """Return the settings; the latency is null where a function of a Python program makes it."""
    own = settings.requests_per_minute
    return {
        "plan": settings.plan.value,
        "requests_per_minute": settings.plan.requests_per_minute if own is None else own,
        "window": settings.window,
        "refusals_cached": settings.refusals_cached,
        "monthly_limit": settings.monthly_limit,
        "latency": None if callable(settings.latency) else settings.latency,
    }


def state_view(emulator: "Scriptable") -> dict[str, Any]:
    """Return the settings, what is left, and how much there is of everything."""
    statuses = emulator.statuses()
    return {
        "now": iso(emulator.wall_clock()),
        "settings": settings_view(emulator.settings),
        "left": emulator.left(),
        "interviews": statuses,
        "emails": len(emulator.outbox),
        "contacts": len(emulator.contacts),
        "requests": len(emulator.requests),
        "deals": len(emulator.deals),
        "exports": len(emulator.exports),
        "documents": len(emulator.uploads),
        "faults": len(emulator.faults),
    }


def interview_view(interview: InterviewRecord) -> dict[str, Any]:
    """Return an interview with its contact, as the interviewer would see both."""
    contact, transcript = interview.contact, interview.transcript
    return {
        "interview_request_id": interview.interview_request_id,
        "status": interview.status,
        "contact_id": contact.contact_id,
        "contact_email": contact.email,
        "contact_name": contact.name,
        "contact_context": contact.notes,
        "objective": interview.objective,
        "sequence_id": interview.sequence_id,
        "interview_type_id": interview.interview_type_id,
        "deal_id": interview.deal_id,
        "survey_url": interview.survey_url,
        "created_at": iso(interview.created_at),
        "email_sent_at": iso(interview.email_sent_at),
        "completed_at": iso(transcript.created_at if transcript else None),
        "transcript": transcript and transcript.content,
    }


def email_view(number: int, email: Email, interview: InterviewRecord) -> dict[str, Any]:
    """Return an email: to whom, when, and the interview that it invites to."""
    return {
        "number": number,
        "to": email.address,
        "sent_at": iso(email.sent_at),
        "interview": interview_view(interview),
    }


def request_view(
    wall_clock: Callable[[float], datetime], number: int, request: ReceivedRequest
) -> dict[str, Any]:
    """Return a request without its key; of a body that is not JSON only the size."""
    is_raw = isinstance(request.body, bytes)
    return {
        "number": number,
        "method": request.method,
        "path": request.path,
        "route": request.route,
        "arrived_at": wall_clock(request.arrived_at)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z"),
        "seconds": None if request.seconds is None else round(request.seconds, 6),
        "status": request.status,
        "headers": {
            name: "(left out)" if name.lower() in SECRET_HEADERS else value
            for name, value in request.headers.items()
        },
        "body": None if is_raw else request.body,
        "body_bytes": len(request.body) if is_raw else None,
        "answer_headers": dict(request.answer_headers),
    }


def answer_view(request: ReceivedRequest) -> dict[str, Any]:
    """Return the body of the answer: JSON where it is, and whole, else a text of what was kept of it."""
    kept, is_cut = request.answer_body, len(request.answer_body) < request.answer_bytes
    try:
        body = json.loads(kept) if kept and not is_cut else None
    except (ValueError, RecursionError):
        body = None
    return {
        "answer_body": body,
        "answer_text": kept.decode("utf-8", "replace") if kept and body is None else None,
        "answer_bytes": request.answer_bytes,
    }


def document_view(number: int, upload: Upload) -> dict[str, Any]:
    """Return a document that was uploaded; of its file the size."""
    return {
        "number": number,
        "document_id": upload.document_id,
        "created_at": iso(upload.created_at),
        "fields": dict(upload.fields),
        "bytes": None if upload.content is None else len(upload.content),
    }
