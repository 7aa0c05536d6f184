"""Which request bodies the server takes: stricter than the real one, so that a misspelt field name fails."""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, NoReturn

from attrs import frozen

from hindsight_async.emulator.answers import wrong_request

_TEXT = (str,)
_TEXT_OR_OBJECT = (str, dict)

CREATE_FIELDS: Mapping[str, tuple[type, ...]] = {
    "contact_email": _TEXT,
    "sequence_id": _TEXT,
    "interview_type_id": _TEXT,
    "contact_name": _TEXT,
    "contact_context": _TEXT_OR_OBJECT,
    "deal_id": _TEXT,
    "objective": _TEXT,
}
"""The fields of `POST /interviews` and their types."""

UPDATE_FIELDS: Mapping[str, tuple[type, ...]] = {
    "contact_context": _TEXT_OR_OBJECT,
    "contact_name": _TEXT,
    "objective": _TEXT,
}
"""The fields of `PATCH /interviews/{id}` and their types."""

# Loose on purpose: no rule of the real server is documented, and whatever it takes a client may send.
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+")


@frozen
class DeclaredIds:
    """The ids that exist in the organisation, by the field that names one; None: any id is taken."""

    sequence_id: Collection[str] | None = None
    interview_type_id: Collection[str] | None = None
    deal_id: Collection[str] | None = None

    def unknown_in(self, body: Mapping[str, Any]) -> str | None:
        """Return the first field of the body that names an id which does not exist."""
        declared = {
            "sequence_id": self.sequence_id,
            "interview_type_id": self.interview_type_id,
            "deal_id": self.deal_id,
        }
        for name, ids in declared.items():
            if name in body and ids is not None and body[name] not in ids:
                return name
        return None


def parse_object(raw: bytes) -> dict[str, Any]:
    """Return the JSON object these bytes hold.

    Raises:
        WrongRequestError: They hold anything else (400).

    """
    try:
        document = json.loads(raw, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise wrong_request(400, "Invalid JSON") from None
    if not isinstance(document, dict):
        raise wrong_request(400, "The request body must be a JSON object")
    return document  # pyright: ignore[reportUnknownVariableType]


def check_create(body: Mapping[str, Any], declared: DeclaredIds) -> None:
    """Check a body that is to create an interview.

    Raises:
        WrongRequestError: It may not (400); the details name the fields.

    """
    _check_fields(body, CREATE_FIELDS)
    missing = [] if body.get("contact_email") else ["contact_email"]
    if not (body.get("sequence_id") or body.get("interview_type_id")):
        missing += ["sequence_id", "interview_type_id"]
    if missing:
        raise wrong_request(
            400,
            "contact_email and one of sequence_id, interview_type_id are required",
            missing_fields=missing,
        )
    if not _ADDRESS.fullmatch(body["contact_email"].strip()):
        raise wrong_request(400, "contact_email must be an email address", invalid_fields=["contact_email"])
    if unknown := declared.unknown_in(body):
        raise wrong_request(400, f"{unknown} not found")


def check_update(body: Mapping[str, Any]) -> None:
    """Check a body that is to change an interview.

    Raises:
        WrongRequestError: It changes nothing, or what cannot be changed (400); the details name the fields.

    """
    _check_fields(body, UPDATE_FIELDS)
    if not body:
        names = list(UPDATE_FIELDS)
        raise wrong_request(400, f"At least one of {', '.join(names)} is required", missing_fields=names)


def _check_fields(body: Mapping[str, Any], fields: Mapping[str, tuple[type, ...]]) -> None:
    if unknown := sorted(body.keys() - fields.keys()):
        raise wrong_request(400, f"Not accepted here: {', '.join(unknown)}", unknown_fields=unknown)
    if wrong := [name for name, value in body.items() if not isinstance(value, fields[name])]:
        raise wrong_request(400, f"Wrong type: {', '.join(wrong)}", invalid_fields=wrong)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
