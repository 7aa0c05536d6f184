"""What the ledger keeps of an error, and the error that a later call raises from it."""

import json
from collections.abc import Mapping
from typing import Any, cast

from hindsight_async.call.answer import refusal_class
from hindsight_async.delivery.ledger.entries import LedgerEntry, LedgerStatus
from hindsight_async.errors import APIError, Delivery, HindsightError, NotSentError, OutcomeUnknownError
from hindsight_async.redaction import LONGEST_TEXT, harmless, without_addresses

LOOK_IT_UP = "; look it up, then resolve it in the ledger"
"""The end of what is said of a row whose outcome nobody knows."""

_SURVEY_LINK = {"survey_url", "survey_token"}


def kept_of(error: HindsightError) -> dict[str, Any]:
    """Return what is kept of an error, by the names of LedgerEntry: no address, no survey link."""
    if isinstance(error, APIError):
        code, message = error.code, error.message
    else:
        code, message = type(error).__name__, str(error.args[0])
    return {
        "http_status": getattr(error, "status", None),
        "error_code": code and harmless(code),
        "error_message": harmless(message),
        "received": _as_much_as_has_room(getattr(error, "received", {})),
    }


def error_of(entry: LedgerEntry, request: object) -> HindsightError:
    """Return the error that an earlier call met: a refusal, that it is not to be sent, or that its outcome is unknown."""
    if entry.status in {LedgerStatus.DUPLICATE, LedgerStatus.EXPIRED}:
        why = entry.error_message or entry.error_code or "a person can have it sent (Ledger.resolve)"
        return NotSentError(f"the ledger has it as {entry.status}: {why}", is_earlier=True)
    if entry.status is not LedgerStatus.REJECTED:
        return OutcomeUnknownError(
            f"{entry.error_message or 'it was sent and had no answer'}{LOOK_IT_UP}",
            status=entry.http_status,
            request=request,
            # A run that died has not counted the attempt at which it did.
            attempts=entry.attempts or 1,
            is_earlier=True,
            received=entry.received,
        )
    said = entry.error_message or "the API said no"
    fields: dict[str, Any] = {
        "attempts": entry.attempts,
        "delivery": Delivery.REJECTED,
        "is_earlier": True,
    }
    if entry.http_status is None:  # a program of the user's own wrote it down
        return HindsightError(f"{said} ({entry.error_code})" if entry.error_code else said, **fields)
    return refusal_class(entry.http_status)(said, status=entry.http_status, code=entry.error_code, **fields)


def _as_much_as_has_room(received: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    room = LONGEST_TEXT
    for name, value in received.items():
        if name in _SURVEY_LINK:
            continue
        try:
            part = {name: _without_secrets(value)}
            room_taken = len(json.dumps(part))
        except (TypeError, ValueError, RecursionError):
            continue
        # A long field is left out, and not those after it: an id is short.
        if room_taken <= room:
            kept |= part
            room -= room_taken
    return kept


def _without_secrets(value: Any) -> Any:
    match value:
        case str():
            return without_addresses(value)
        case Mapping():
            items = cast("Mapping[str, Any]", value).items()
            return {
                without_addresses(name): _without_secrets(each)
                for name, each in items
                if name not in _SURVEY_LINK
            }
        case list():
            return [_without_secrets(each) for each in cast("list[object]", value)]
        case _:
            return value
