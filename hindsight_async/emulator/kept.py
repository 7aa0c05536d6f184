"""What of an organisation is kept between two starts, as documents of JSON, one a line. Pure.

The first line says which format it is, and the last one how many lines there are. Settings, faults, counts and the list of
requests are not kept: they are of one run of a program, and a new one begins with its own.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, Final

from attrs import evolve, fields, frozen

from hindsight_async.emulator.documents import Upload
from hindsight_async.emulator.exports import ExportRecord
from hindsight_async.emulator.state import Contact, Email, InterviewRecord, Organisation, Transcript

FORMAT = 1
"""Goes up where an older version could not read what is written."""

_HEAD = "hindsight_emulator_state"
_END = "lines"

Document = dict[str, Any]
Line = tuple[str, Any]
"""What kind of thing it is, and the values of its fields in the order of `_NAMES`, else the document itself."""


class WrongStateError(ValueError):
    """The lines are not what an emulator of this version has written."""


@frozen
class Start:
    """What is kept beside the organisation."""

    api_key: str
    """The key that was let in."""
    origin: str
    """Where the emulator was, and with it the survey links that were made for this machine."""


def lines_of(start: Start, organisation: Organisation) -> list[Line]:
    """Return what there is now, fast, since requests wait meanwhile; `encoded` may take its time in a thread."""
    contact, interview, email, export, upload = (_READERS[kind] for kind in _NAMES)
    return [
        (_HEAD, {"format": FORMAT, "api_key": start.api_key, "origin": start.origin}),
        *(("contact", contact(one)) for one in organisation.contacts.values()),
        *(("interview", interview(one)) for one in organisation.interviews.values()),
        *(("email", email(one)) for one in organisation.outbox),
        *(("deal", dict(one)) for one in organisation.deals.values()),
        *(("export", export(one)) for one in organisation.exports.values()),
        *(("document", upload(one)) for one in organisation.uploads),
    ]


def encoded(lines: Iterable[Line]) -> Iterator[bytes]:
    """Yield the lines as they stand in a file."""
    number = 0
    for number, (kind, values) in enumerate(lines, 1):  # noqa: B007  counted
        names = _NAMES.get(kind)
        document = values if names is None else dict(zip(names, values, strict=True))
        yield json.dumps({kind: document}, default=_plain).encode() + b"\n"
    yield json.dumps({_END: number}).encode() + b"\n"


def restore(raw: Iterable[bytes], organisation: Organisation) -> Start:
    """Fill an empty organisation with what the lines of a file say.

    Args:
        raw: The lines.
        organisation: What is filled; half filled where an error is raised.

    Returns:
        What was kept beside it.

    Raises:
        WrongStateError: A newer version wrote them, or something else did, or some are missing; the text says which.

    """
    start: Start | None = None
    count: int | None = None
    number = 0
    for number, line in enumerate(raw, 1):
        try:
            [(kind, document)] = json.loads(line).items()
            if start is None:
                start = _start(kind, document)
            elif kind == _END:
                count = document
            else:
                _RESTORED_BY[kind](organisation, document)
        except WrongStateError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise WrongStateError(f"line {number} is not what an emulator writes") from None
    if start is None or count != number - 1:
        raise WrongStateError("its end is missing")
    organisation.go_on()
    return start


def lead_elsewhere(organisation: Organisation, before: str, now: str) -> None:
    """Have the survey links that led to one origin lead to another."""
    for interview in organisation.interviews.values():
        if interview.survey_url.startswith(f"{before}/"):
            interview.survey_url = now + interview.survey_url.removeprefix(before)


def _start(kind: str, document: Document) -> Start:
    if kind != _HEAD:
        raise WrongStateError("it is no state of an emulator")
    if document["format"] > FORMAT:
        raise WrongStateError(
            f"a newer hindsight-async wrote it (format {document['format']}, and this one reads {FORMAT})"
        )
    return Start(document["api_key"], document["origin"])


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat()
        case Transcript():
            return {
                "document_id": value.document_id,
                "content": value.content,
                "created_at": value.created_at,
            }
        case _:
            return b64encode(value).decode()


def _moment(text: str | None) -> Any:
    return None if text is None else datetime.fromisoformat(text)


def _with_moments(document: Mapping[str, Any], *names: str) -> Document:
    return {**document, **{name: _moment(document[name]) for name in names}}


def _contact(organisation: Organisation, document: Document) -> None:
    contact = Contact(**document)
    organisation.contacts[contact.email] = contact


def _restore_interview(organisation: Organisation, document: Document) -> None:
    transcript = document["transcript"]
    known = _with_moments(document, "created_at", "email_sent_at")
    known["contact"] = organisation.contacts[document["contact"]]
    known["transcript"] = transcript and Transcript(**_with_moments(transcript, "created_at"))
    organisation.add(InterviewRecord(**known))


def _email(organisation: Organisation, document: Document) -> None:
    email = Email(**_with_moments(document, "sent_at"))
    _ = organisation.interviews[email.interview_request_id]  # which it shows
    organisation.outbox.append(email)


def _deal(organisation: Organisation, document: Document) -> None:
    organisation.deals.add(**document)


def _export(organisation: Organisation, document: Document) -> None:
    record = ExportRecord(**_with_moments(document, "created_at", "ready_at", "expires_at"))
    record.csv = None if document["csv"] is None else b64decode(document["csv"])
    organisation.exports[record.export_id] = record


def _document(organisation: Organisation, document: Document) -> None:
    upload = Upload(**_with_moments(document, "created_at"))
    content = document["content"]
    organisation.uploads.append(evolve(upload, content=None if content is None else b64decode(content)))


_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    kind: tuple(attribute.name for attribute in fields(of))
    for kind, of in {
        "contact": Contact, "interview": InterviewRecord, "email": Email, "export": ExportRecord, "document": Upload,
    }.items()
}  # fmt: skip


def _reader(names: Sequence[str]) -> Callable[[Any], Any]:
    # A contact is kept by itself, and elsewhere by its address.
    first, *more = ["contact.email" if name == "contact" else name for name in names]
    return attrgetter(first, *more)


_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {kind: _reader(names) for kind, names in _NAMES.items()}

_RESTORED_BY: Final[Mapping[str, Callable[[Organisation, Document], None]]] = {
    "contact": _contact,
    "interview": _restore_interview,
    "email": _email,
    "deal": _deal,
    "export": _export,
    "document": _document,
}
