"""From the rows of a contact file to requests: which column feeds which field, and what is wrong with a row."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, BinaryIO, Generic, TypeVar, cast, final

from attrs import field, frozen

from hindsight_async.cli.contacts.address_cell import NOT_AN_ADDRESS, CellError, Several, read_address_cell
from hindsight_async.cli.contacts.columns import (
    ColumnMapping,
    find_column,
    heading_of,
    map_columns,
    shown,
    trimmed,
)
from hindsight_async.cli.contacts.file_format import ContactFileError
from hindsight_async.cli.contacts.headings import HEADINGS
from hindsight_async.cli.contacts.json_objects import json_object
from hindsight_async.cli.contacts.tables import BadRow, Table, TableRow
from hindsight_async.delivery.keys import caller_key_hash, checked_caller_key
from hindsight_async.resources.interviews.context import ContactContext
from hindsight_async.resources.interviews.models import CreateInterview, UpdateInterview
from hindsight_async.resources.interviews.recipients import interview_key

_UPDATE_FIELDS = (
    "interview_request_id",
    "contact_name",
    "first_name",
    "last_name",
    "contact_context",
    "objective",
)
_CREATE_FIELDS = tuple(name for name in HEADINGS if name != "interview_request_id")
_NOT_TEXT_ONLY = {"interview_request_id", "contact_context"}
CANNOT_BE_SENT = "cannot be sent"
"""The kind of every problem of a row that has no kind of its own."""

_BETWEEN_KEY_CELLS = ":"
_ID_LENGTH = 18  # fewer digits than 64 bits, and than any id will have
_JSON_KINDS = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}


@frozen(kw_only=True)
class ContactRow:
    """A row to enroll."""

    line: int
    """Which row of the file it is, as a spreadsheet counts them from 1; of JSON Lines, which line."""
    cells: Mapping[str, Any] = field(repr=False)
    """Its cells as read, by column."""
    request: CreateInterview
    """What they ask for."""
    key: str | None = field(default=None, repr=False)
    """What tells it from other rows, out of the columns that were named for it; None where none were."""

    @property
    def ledger_key(self) -> str:
        """By what the ledger knows it."""
        return interview_key(self.request) if self.key is None else caller_key_hash(self.key)


@frozen(kw_only=True)
class UpdateRow:
    """A row to update."""

    line: int
    """Which row of the file it is, as a spreadsheet counts them from 1; of JSON Lines, which line."""
    cells: Mapping[str, Any] = field(repr=False)
    """Its cells as read, by column."""
    interview_request_id: int
    update: UpdateInterview
    """What changes."""


CheckedRow = TypeVar("CheckedRow", bound=ContactRow | UpdateRow)


@final
class CheckedRows(Generic[CheckedRow]):
    """The rows of a file, each ready to send or a BadRow; every iteration reads the file anew, one at a time.

    Iterating raises ContactFileError where the file breaks off being readable.

    Args:
        table: The file's rows.
        mapping: What feeds what.
        check: Makes a row ready to send, most often one, or raises TypeError or ValueError that says what is wrong
            with it.

    """

    def __init__(
        self,
        table: Table,
        mapping: ColumnMapping,
        check: Callable[[TableRow, ColumnMapping], Sequence[CheckedRow]],
    ) -> None:
        self.columns = table.columns
        self.mapping = mapping
        self._table = table
        self._check: Callable[[TableRow, ColumnMapping], Sequence[CheckedRow]] = check

    @property
    def assumed(self) -> Sequence[str]:
        """What was assumed in reading the file, as sentences; complete after the first iteration."""
        return self._table.assumed

    @property
    def described(self) -> str:
        """What kind of file it is, such as `UTF-8, semicolons`."""
        return self._table.described

    def __iter__(self) -> Iterator[CheckedRow | BadRow]:
        for row in self._table:
            if isinstance(row, BadRow):
                yield row
            else:
                yield from self._checked(row)

    def _checked(self, row: TableRow) -> Sequence[CheckedRow | BadRow]:
        try:
            return self._check(row, self.mapping)
        except (TypeError, ValueError) as error:
            problem = str(error)
            kind, value = CANNOT_BE_SENT, None
            if isinstance(error, CellError):
                kind, value = error.kind, error.value
            elif problem.startswith("contact_email"):
                kind, value = NOT_AN_ADDRESS, row.cells.get(self.mapping.fields["contact_email"])
            return [BadRow(line=row.line, cells=row.cells, problem=problem, kind=kind, value=value)]


def read_contacts(
    file: BinaryIO,
    *,
    sequence_id: str | None = None,
    interview_type_id: str | None = None,
    mapping: Mapping[str, str] | None = None,
    context: Sequence[str] = (),
    key: Sequence[str] = (),
    several: Several | None = None,
) -> CheckedRows[ContactRow]:
    """Return the contacts in a CSV or JSON Lines file, or a workbook.

    Args:
        file: Binary, seekable, and the caller's to close.
        sequence_id: For rows that name neither a sequence nor an interview type.
        interview_type_id: For the same rows, instead.
        mapping: Which column feeds a field, by the field's name, before any heading is guessed.
        context: The columns that make up the contact's context; REST takes all that are left.
        key: The columns that tell a row from others; none for the contact, the sequence or interview type, and the deal.
        several: Which addresses of a cell with several count; None where it is a bad row.

    Raises:
        ContactFileError: The file, the mapping, the context or the key cannot be used.

    """
    given = {"sequence_id": sequence_id, "interview_type_id": interview_type_id}
    defaults = {name: value for name, value in given.items() if value}

    def check(row: TableRow, columns: ColumnMapping) -> Sequence[ContactRow]:
        text = _texts(row, columns)
        cell = read_address_cell(text.get("contact_email"), several)
        # A row that names one of the two says what it wants: a link must not turn into an email.
        if not text.keys() & {"sequence_id", "interview_type_id"}:
            text |= defaults
        own_key = _key(row, key_columns) if key_columns else None
        request = partial(
            CreateInterview,
            sequence_id=text.get("sequence_id"),
            interview_type_id=text.get("interview_type_id"),
            contact_name=_name(text) or cell.name,
            contact_context=_context(row, columns),
            deal_id=text.get("deal_id"),
            objective=text.get("objective"),
        )
        return [
            ContactRow(line=row.line, cells=row.cells, request=request(contact_email=address), key=own_key)
            for address in cell.addresses
        ]

    if key and several == "all":
        raise ContactFileError(
            "with a key of columns all addresses of a cell would have one key: take the first"
        )
    table = Table(file, _headings(_CREATE_FIELDS[0], mapping))
    key_columns = [find_column(table.columns, name) for name in key]
    columns = map_columns(table.columns, _CREATE_FIELDS, mapping or {}, context)
    if not (sequence_id or interview_type_id or columns.fields.keys() & {"sequence_id", "interview_type_id"}):
        raise ContactFileError(
            "neither a sequence nor an interview type is given, and no column sequence_id or interview_type_id"
        )
    return CheckedRows(table, columns, check)


def read_updates(
    file: BinaryIO, *, mapping: Mapping[str, str] | None = None, context: Sequence[str] = ()
) -> CheckedRows[UpdateRow]:
    """Return the updates in a CSV or JSON Lines file.

    A column interview_request_id (or Interview ID) says which interview, and one that is only called ID does
    not: it must be mapped.

    Args:
        file: As in `read_contacts`, like everything else.
        mapping: Which column feeds a field.
        context: The columns that make up the contact's context.

    Raises:
        ContactFileError: The file, the mapping or the context cannot be used.

    """

    def check(row: TableRow, columns: ColumnMapping) -> Sequence[UpdateRow]:
        text = _texts(row, columns)
        update = UpdateInterview(
            contact_name=_name(text), contact_context=_context(row, columns), objective=text.get("objective")
        )
        interview = _interview_id(_filled(row, columns.fields["interview_request_id"]))
        return [UpdateRow(line=row.line, cells=row.cells, interview_request_id=interview, update=update)]

    table = Table(file, _headings(_UPDATE_FIELDS[0], mapping))
    return CheckedRows(table, map_columns(table.columns, _UPDATE_FIELDS, mapping or {}, context), check)


def _headings(required: str, mapping: Mapping[str, str] | None) -> set[str]:
    """Return by what the header of a file is known: the required field's headings, or what a person mapped."""
    mapped = {heading_of(column) for column in (mapping or {}).values()} - {""}
    return mapped or set(HEADINGS[required])


def _texts(row: TableRow, columns: ColumnMapping) -> dict[str, str]:
    texts: dict[str, str] = {}
    for name, column in columns.fields.items():
        value = None if name in _NOT_TEXT_ONLY else _filled(row, column)
        if isinstance(value, str):
            texts[name] = value
        elif value is not None:
            raise TypeError(f"{name} must be text, not {_JSON_KINDS[type(value)]}")
    return texts


def _filled(row: TableRow, column: str) -> Any:
    value = row.cells.get(column)
    return trimmed(value) or None if isinstance(value, str) else value


def _name(text: Mapping[str, str]) -> str | None:
    parts = [text[part] for part in ("first_name", "last_name") if part in text]
    return text.get("contact_name") or " ".join(parts) or None


def _context(row: TableRow, columns: ColumnMapping) -> ContactContext | None:
    if own := columns.fields.get("contact_context"):
        value = _filled(row, own)
        if isinstance(value, str) and value.startswith("{"):
            with suppress(ValueError):
                return json_object(value)
        return cast("ContactContext | None", value)
    filled = ((column, _filled(row, column)) for column in columns.context)
    return {column: value for column, value in filled if value is not None} or None


def _key(row: TableRow, columns: Sequence[str]) -> str:
    """Return the cells of these columns, parted by colons: as a program of their own would write that key."""
    cells: list[str] = []
    for column in columns:
        value = _filled(row, column)
        if value is None:
            raise ValueError(f"{shown(column)}, a column of the key, is empty")
        if not isinstance(value, str) and type(value) is not int:
            raise TypeError(f"{shown(column)}, a column of the key, must be text or a whole number")
        cells.append(str(value))
    if len(cells) > 1:  # so that no two rows with other cells have one key
        cells = [
            cell.replace("\\", "\\\\").replace(_BETWEEN_KEY_CELLS, rf"\{_BETWEEN_KEY_CELLS}")
            for cell in cells
        ]
    return checked_caller_key(_BETWEEN_KEY_CELLS.join(cells), "the key")


def _interview_id(value: object) -> int:
    text = str(value)
    if not (text.isascii() and text.isdecimal() and len(text) <= _ID_LENGTH and int(text) > 0):
        raise ValueError("interview_request_id must be the interview's whole number, such as 4821")
    return int(text)
