"""What goes to the API and what comes back: frozen attrs classes with the API's own field names."""

import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Required, TypedDict, cast

from attrs import Attribute, field, frozen

from hindsight_async.call.answered import NOT_ON_THE_WIRE, Answered, extra_field
from hindsight_async.call.values import OpenEnum
from hindsight_async.resources.interviews.context import ContactContext, json_ready, sendable_text


class InterviewStatus(OpenEnum):
    """How far an interview has come (page get-interview).

    Open: a value that this version does not know becomes a member of its own, with that value.
    """

    CREATED = "created"
    """No email was sent yet, or the interview is a link that you deliver."""

    SENT = "sent"
    """The email is out, or (right after a create) queued."""

    COMPLETED = "completed"
    """The interview is over; the transcript is there."""


_QUOTES = "\"'`\u00b4\u00ab\u00bb\u2018-\u201f\u2039\u203a"
_ATOM = r"[^\s@<>()\[\]\\,;:\"\x00-\x1f\x7f-\x9f]"
_LABEL = rf"[^\s@<>()\[\]\\,;:.\x00-\x1f\x7f-\x9f{_QUOTES}]"
_ADDRESS_SHAPE = re.compile(rf"(?![{_QUOTES}]){_ATOM}+@{_LABEL}+(\.{_LABEL}+)+")
_PLAIN_ID = re.compile(r"[\w.:/+=~-]+", re.ASCII)
_AROUND_AN_ID = re.compile(rf"^[\s{_QUOTES}]|[\s{_QUOTES}]$")
_LINE_ENDS = {"Zl", "Zp"}

# Beside Unicode's format characters (Cf): variation selectors, and letters and marks that show as nothing.
_ZERO_WIDTH = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def _text(_request: object, attribute: "Attribute[Any]", value: str | None) -> None:
    if value is not None:
        _check_text(value, attribute.name)


def _line(_request: object, attribute: "Attribute[Any]", value: str | None) -> None:
    if value is not None:
        _check_text(value, attribute.name)
        _refuse_controls(value, attribute.name)


def _refuse_controls(value: str, name: str) -> None:
    if value.isprintable():
        return
    for place, character in enumerate(value, start=1):
        category = unicodedata.category(character)
        if category == "Cc" or category in _LINE_ENDS:
            raise ValueError(
                f"{name} must be text on one line, without control characters; {_found(value, place)}"
            )


def _refuse_zero_width(value: str, name: str) -> None:
    if value.isascii():
        return
    for place, character in enumerate(value, start=1):
        if unicodedata.category(character) == "Cf" or _ZERO_WIDTH.match(character):
            raise ValueError(
                f"{name} must have no invisible characters: type it anew; {_found(value, place)}"
            )


def _found(value: str, place: int) -> str:
    """Say which character is wrong, and no other: the text may be an address."""
    character = value[place - 1]
    known_as = unicodedata.name(character, "a control character")
    return f"the text of {len(value)} characters given has U+{ord(character):04X} ({known_as}) at {place}"


def _check_text(value: object, name: str) -> None:
    if type(value) is str and value.isascii():
        return
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text (str), not {'None' if value is None else type(value).__name__}")
    sendable_text(value, name)


def _address(_request: object, attribute: "Attribute[Any]", value: str) -> None:
    _check_text(value, attribute.name)
    _refuse_zero_width(value, attribute.name)
    if not _ADDRESS_SHAPE.fullmatch(value):
        _refuse_controls(value, attribute.name)
        raise ValueError(
            f"{attribute.name} must be one bare email address such as name@company.example; "
            f"the text of {len(value)} characters given is not"
        )


def _identifier(_request: object, attribute: "Attribute[Any]", value: str | None) -> None:
    if value is None:
        return
    _check_text(value, attribute.name)
    if not value or value.isspace():
        raise ValueError(f"{attribute.name} must not be empty; leave it out or give an id from the dashboard")
    if _PLAIN_ID.fullmatch(value):
        return
    _refuse_controls(value, attribute.name)
    _refuse_zero_width(value, attribute.name)
    if around := _AROUND_AN_ID.search(value):
        raise ValueError(
            f"{attribute.name} must be a bare id, with neither spaces nor quotes around it;"
            f" {_found(value, around.start() + 1)}"
        )


def _context(value: object) -> ContactContext | None:
    if value is None or (type(value) is str and value.isascii()):
        return value
    if not isinstance(value, (str, Mapping)):
        raise TypeError(f"contact_context must be text or a mapping, not {type(value).__name__}")
    return cast("ContactContext", json_ready(cast("object", value), "contact_context"))


@frozen(kw_only=True)
class CreateInterview:
    """The body of POST /interviews (page create-interview).

    What is None is left out of the body.

    Args:
        contact_email: One bare address, without invisible characters.
        sequence_id: Enrolls the contact, and Paige emails them.
        interview_type_id: Alone, no email goes out, and you deliver the survey link.
        contact_name: Replaces the contact's name.
        contact_context: Replaces the contact's notes: text, or a mapping of what JSON can carry, which is copied.
        deal_id: The deal that the interview is about.
        objective: What to find out.

    Raises:
        TypeError: A value is of a type that the API would refuse; the text names the field.
        ValueError: A value is one that it would refuse, or both ids are missing.

    """

    contact_email: str = field(validator=_address, repr=False)
    sequence_id: str | None = field(default=None, validator=_identifier)
    interview_type_id: str | None = field(default=None, validator=_identifier)
    contact_name: str | None = field(default=None, validator=_line, repr=False)
    # A mapping has no hash; left out of it, requests still go into sets.
    contact_context: ContactContext | None = field(default=None, converter=_context, repr=False, hash=False)
    deal_id: str | None = field(default=None, validator=_identifier)
    objective: str | None = field(default=None, validator=_text)

    def __attrs_post_init__(self) -> None:
        if self.sequence_id is None and self.interview_type_id is None:
            raise ValueError(
                "sequence_id or interview_type_id must be given: a sequence emails the contact, "
                "an interview type gives a link to deliver"
            )


class CreateInterviewFields(TypedDict, total=False):
    """The fields of CreateInterview as keywords."""

    contact_email: Required[str]
    sequence_id: str | None
    interview_type_id: str | None
    contact_name: str | None
    contact_context: ContactContext | None
    deal_id: str | None
    objective: str | None


@frozen(kw_only=True)
class UpdateInterview:
    """The body of PATCH /interviews/{id} (page update-interview); what is None stays as it is.

    Args:
        contact_context: Replaces the contact's notes, for all their interviews.
        contact_name: Replaces the contact's name, for all their interviews.
        objective: What this one is to find out.

    Raises:
        TypeError: A value is of a type that the API would refuse; the text names the field.
        ValueError: A value is one that it would refuse, or nothing is given.

    """

    contact_context: ContactContext | None = field(default=None, converter=_context, repr=False, hash=False)
    contact_name: str | None = field(default=None, validator=_line, repr=False)
    objective: str | None = field(default=None, validator=_text)

    def __attrs_post_init__(self) -> None:
        if self.contact_context is None and self.contact_name is None and self.objective is None:
            raise ValueError(
                "contact_context, contact_name or objective must be given: there is nothing to update"
            )


class UpdateInterviewFields(TypedDict, total=False):
    """The fields of UpdateInterview as keywords."""

    contact_context: ContactContext | None
    contact_name: str | None
    objective: str | None


def _without_query(url: str | None) -> str:
    # The link's query carries the survey token.
    return repr(url) if url is None else f"'{url.partition('?')[0]}?…'"


@frozen(kw_only=True)
class CreatedInterview(Answered):
    """The answer to a create (page create-interview).

    `survey_url` and `survey_token` open the interview without a login, so keep them secret.
    `created_now` is False where `create_once` found that an earlier call had created it: link and token are
    None then; read it with `get`. What the answer lacks, or has as another kind of value, is None. `extra` has, as
    they came, the fields that this version does not know or could not read as they are; an id that came as text is
    one of these.
    """

    interview_request_id: int
    contact_id: str | None = None
    status: InterviewStatus | None = None
    deal_id: str | None = None
    survey_url: str | None = field(default=None, repr=_without_query)
    survey_token: str | None = field(default=None, repr=False)
    created_now: bool = field(default=True, metadata=NOT_ON_THE_WIRE)
    extra: Mapping[str, Any] = extra_field()


@frozen(kw_only=True)
class UpdatedInterview(Answered):
    """The answer to an update (page update-interview); the id is the one asked for where the answer has none."""

    interview_request_id: int
    extra: Mapping[str, Any] = extra_field()


@frozen(kw_only=True)
class Transcript:
    """What was said: markdown, turns as `**Name:** text` separated by blank lines."""

    content: str = field(repr=False)
    document_id: str | None = None
    created_at: datetime | None = None
    extra: Mapping[str, Any] = extra_field()


@frozen(kw_only=True)
class Interview(Answered):
    """One interview (page get-interview); `transcript` is None until `status` is completed.

    What cannot be read is None and stands in `extra`, as in CreatedInterview; so does a transcript without text.
    """

    interview_request_id: int
    status: InterviewStatus | None = None
    created_at: datetime | None = None
    contact_id: str | None = None
    deal_id: str | None = None
    survey_url: str | None = field(default=None, repr=_without_query)
    objective: str | None = None
    email_sent_at: datetime | None = None
    transcript: Transcript | None = None
    extra: Mapping[str, Any] = extra_field()
