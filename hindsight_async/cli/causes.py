"""Why rows failed, folded: each cause once, with the rows that met it and what of theirs is at fault."""

import re
from bisect import insort
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from attrs import define, field

from hindsight_async.delivery.ledger.kept_errors import LOOK_IT_UP
from hindsight_async.delivery.outcomes import OutcomeStatus
from hindsight_async.errors import APIError, HindsightError, NotFoundError

ROWS_NAMED = 3
"""How many rows of a cause are named by their numbers."""

VALUES_NAMED = 3
"""How many different values at fault are named."""

CAUSES_KEPT = 20
"""How many causes there may be; what fails in yet another way is counted together."""

OTHER = "other causes: see the results"

_VALUE_LENGTH = 40
_IDS = ("sequence_id", "interview_type_id", "deal_id")
_FIELDS = (
    "contact_email",
    *_IDS,
    "contact_name",
    "contact_context",
    "objective",
    "interview_request_id",
)


@define(eq=False)
class Cause:
    """One cause."""

    status: OutcomeStatus
    """What it made of the rows."""
    text: str
    """The cause itself."""
    error: HindsightError | None = None
    """What the first of them met."""
    about: str | None = None
    """The field that it is about, by the API's name; None where it is about none, or nobody knows."""
    count: int = 0
    rows: list[int] = field(factory=list[int])
    """The first ROWS_NAMED."""
    values: list[str] = field(factory=list[str], repr=False)
    """The first VALUES_NAMED different ones of the field at fault."""

    def add(self, row: int, value: object) -> None:
        """Take a row in."""
        self.count += 1
        insort(self.rows, row)  # they come in the order in which they ended
        del self.rows[ROWS_NAMED:]
        shown = None if value is None else str(value)
        if shown and shown not in self.values and len(self.values) < VALUES_NAMED:
            self.values.append(shown if len(shown) <= _VALUE_LENGTH else f"{shown[:_VALUE_LENGTH]}…")


class Causes:
    """All causes of one run."""

    def __init__(self) -> None:
        self._by_text: dict[tuple[OutcomeStatus, str], Cause] = {}

    def add(
        self, status: OutcomeStatus, error: HindsightError | None, row: int, values: Mapping[str, Any]
    ) -> None:
        """Take in a row that failed.

        Args:
            status: Its verdict.
            error: What it met.
            row: Its number in the file.
            values: What it asked for, by the API's names of the fields.

        """
        text = OTHER if error is None else _without_values(said_of(error), values)
        if (status, text) not in self._by_text and len(self._by_text) >= CAUSES_KEPT:
            text, error = OTHER, None
        name = field_at_fault(error)
        cause = self._by_text.setdefault((status, text), Cause(status, text, error, name))
        cause.add(row, values.get(name) if name else None)

    def of(self, status: OutcomeStatus) -> Iterator[Cause]:
        """Yield the causes of one verdict, the most frequent first."""
        found = (cause for cause in self._by_text.values() if cause.status is status)
        yield from sorted(found, key=lambda cause: -cause.count)


def said_of(error: HindsightError) -> str:
    """Return what happened, in the server's words where it said something."""
    if isinstance(error, APIError) and error.message:
        return re.sub(r"^the server answered \d+[^:]*: ", "", error.summary)
    # Of an earlier run's error it says what to do too, which is said of all such rows together.
    return error.summary.removesuffix(LOOK_IT_UP)


def field_at_fault(error: HindsightError | None) -> str | None:
    """Return the field that a refusal is about, by its details or its words; None where it names none, or several."""
    if isinstance(error, NotFoundError):  # a create names nothing that could be missing
        return "interview_request_id"
    if not isinstance(error, APIError):
        return None
    details = error.details
    keys = ("field", "invalid_fields", "missing_fields")
    named = {str(name) for key in keys for name in _listed(details.get(key))}
    found = [name for name in _FIELDS if name in named] or [
        name for name in _FIELDS if re.search(rf"\b{name}\b", error.message)
    ]
    return found[0] if len(found) == 1 else None


def _listed(value: object) -> Iterable[object]:
    if value is None:
        return ()
    return cast("list[object]", value) if isinstance(value, list) else (value,)


def _without_values(text: str, values: Mapping[str, Any]) -> str:
    """Leave out which ids this row has, so that rows that met the same are told by one text."""
    for name in _IDS:
        value = values.get(name)
        if isinstance(value, str) and len(value) > len("id"):  # a shorter one may stand inside of any word
            text = text.replace(value, "…")
    return text


def named_rows(cause: Cause) -> str:
    """Return the numbers of the first rows of a cause: `rows 18, 44, 71, …`."""
    more = ", …" if cause.count > len(cause.rows) else ""
    return f"row{'s' * (cause.count > 1)} {', '.join(map(str, cause.rows))}{more}"
