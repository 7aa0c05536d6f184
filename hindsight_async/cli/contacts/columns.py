"""A file's columns: whether their names can be used, and which field of the API each one feeds."""

import difflib
import shlex
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from attrs import frozen

from hindsight_async.cli.contacts.file_format import ContactFileError

COLUMN_LIMIT = 4_096
"""Columns in one file; the names in JSON Lines are collected over all its lines."""

REST: Literal["rest"] = "rest"
"""As `context`: every column that feeds no field."""

HEADINGS: Mapping[str, Sequence[str]] = {
    "contact_email": (
        "contactemail",
        "contactemailaddress",
        "email",
        "emailaddress",
        "workemail",
        "workemailaddress",
        "businessemail",
        "primaryemail",
    ),
    "interview_request_id": ("interviewrequestid", "interviewid"),
    "contact_name": ("contactname", "contactfullname", "fullname", "name"),
    "first_name": ("firstname", "givenname", "contactfirstname"),
    "last_name": ("lastname", "surname", "familyname", "contactlastname"),
    "contact_context": ("contactcontext", "context"),
    "deal_id": ("dealid", "hindsightdealid"),
    "objective": ("objective", "interviewobjective"),
    "sequence_id": ("sequenceid",),
    "interview_type_id": ("interviewtypeid",),
}
"""What a column may be called, by the field it feeds; case, spaces and punctuation do not count.

First and last name are joined into `contact_name`. CRM record ids are no deal ids of Hindsight.
"""

_BARE_ID = "id"
"""A heading that does not say whose id it is: in an export it is most often the CRM's record."""

# A whole name and its parts say the same; what is found or mapped first stands.
_RIVALS = {
    "contact_name": {"first_name", "last_name"},
    "first_name": {"contact_name"},
    "last_name": {"contact_name"},
}

_COLUMNS_SHOWN = 20
_SHORTEST_TELLING_HEADING = 4  # a shorter one is part of too many words to suggest what a column is
_NAME_LENGTH_SHOWN = 60

# What word processors, web pages and right-to-left text leave around a copied address, where nobody sees it.
_ZERO_WIDTH = "\u00ad\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"
_TRIMMED = _ZERO_WIDTH + "".join(chr(code) for code in range(0x3001) if chr(code).isspace())


@frozen(kw_only=True)
class ColumnMapping:
    """What becomes of each column."""

    fields: Mapping[str, str]
    """The column that feeds a field, by the field's name."""
    context: Sequence[str] = ()
    """The columns that go into the contact's context, under their own names."""


def trimmed(text: str) -> str:
    """Return `text` without white space, byte order marks and other zero-width characters at its ends."""
    return text.strip() if text.isascii() else text.strip(_TRIMMED)


def shown(name: str) -> str:
    """Return a column's name as error texts show it: quoted, not endless, and never an address."""
    if "@" in name:
        return "(a name with an @)"
    return repr(name if len(name) <= _NAME_LENGTH_SHOWN else f"{name[:_NAME_LENGTH_SHOWN]}…")


def column_names(header: Sequence[str], line: int) -> tuple[str, ...]:
    """Return the names in the header on that line; an unnamed column is called by its place, from 1.

    Raises:
        ContactFileError: They look like data, stand there twice, or are too many.

    """
    cells = [trimmed(cell) for cell in header]
    refuse_many(cells, line)
    # An address where a name should be: without a header, the first person would be lost as one.
    if any("." in cell.partition("@")[2] for cell in cells):
        raise ContactFileError("the first line looks like data, not column names: add a header", line=line)
    while not cells[-1]:
        cells.pop()
    names = [name or f"column {place}" for place, name in enumerate(cells, start=1)]
    if twice := repeated(names):
        raise ContactFileError(f"{twice} stands more than once in the header", line=line)
    return tuple(names)


def repeated(names: Sequence[str]) -> str:
    """Return the names that occur more than once, as error texts list them; empty where none does."""
    if len(names) == len(set(names)):
        return ""
    return ", ".join(shown(name) for name, times in Counter(names).items() if times > 1)


def refuse_many(names: Sequence[str] | Mapping[str, None], line: int) -> None:
    """Refuse more than COLUMN_LIMIT names.

    Raises:
        ContactFileError: There are more.

    """
    if len(names) > COLUMN_LIMIT:
        raise ContactFileError(f"more than {COLUMN_LIMIT:,} columns", line=line)


def map_columns(
    columns: Sequence[str], fields: Sequence[str], mapping: Mapping[str, str], context: Sequence[str]
) -> ColumnMapping:
    """Find out which column feeds which field.

    Args:
        columns: The file's columns.
        fields: The fields to be fed, the first of which is required.
        mapping: What a person said: columns, by field. It goes before what the headings say.
        context: The columns that make up the contact's context; REST for all that feed no field.

    Raises:
        ContactFileError: A name is not there or not clear; the text suggests the nearest.

    """
    found: dict[str, str] = {}
    for name, column in mapping.items():
        if name not in fields:
            raise ContactFileError(f"there is no field {shown(name)} to map{_did_you_mean(name, fields)}")
        found[name] = find_column(columns, column)
    free = [column for column in columns if column not in found.values()]
    for name in fields:
        if name not in found and not _RIVALS.get(name, set()) & found.keys():
            claims = [column for column in free if heading_of(column) in HEADINGS[name]]
            if len(claims) > 1:
                raise ContactFileError(
                    f"the columns {_listed(claims)} could all be {name}: map the one that is, "
                    f"such as {name}={shown(claims[0])}"
                )
            if claims:
                found[name] = claims[0]
    _require(fields[0], found, columns)
    return ColumnMapping(fields=found, context=_context_columns(columns, found, context))


def _context_columns(
    columns: Sequence[str], found: Mapping[str, str], context: Sequence[str]
) -> Sequence[str]:
    if context and "contact_context" in found:
        raise ContactFileError(
            f"the column {shown(found['contact_context'])} is the whole context already: "
            "leave out the context columns"
        )
    if context == REST:
        return tuple(column for column in columns if column not in found.values())
    wanted = [context] if isinstance(context, str) else context
    return tuple(find_column(columns, name) for name in wanted)


def _require(name: str, found: Mapping[str, str], columns: Sequence[str]) -> None:
    if name in found:
        return
    known = HEADINGS[name]
    telling = [heading for heading in known if len(heading) >= _SHORTEST_TELLING_HEADING]
    for column in columns:
        heading = heading_of(column)
        if any(word in heading for word in telling) or difflib.get_close_matches(heading, known, n=1):
            hint = f"; did you mean {name}={shown(column)}?"
            break
    else:
        hint = _whose_id(name, columns)
    raise ContactFileError(f"no column is {name}, of these: {_listed(columns)}{hint}")


def _whose_id(name: str, columns: Sequence[str]) -> str:
    bare = [column for column in columns if heading_of(column) == _BARE_ID]
    if name != "interview_request_id" or not bare:
        return ""
    # Never taken by itself: a number that means a record elsewhere is also some stranger's interview here.
    return (
        f"; {shown(bare[0])} does not say whose id it is, and another program's ids would overwrite strangers' notes: "
        f"only if it holds Hindsight's interview ids, give --map {shlex.quote(f'{name}={bare[0]}')}"
    )


def find_column(columns: Sequence[str], name: str) -> str:
    """Return the column that somebody called so.

    Raises:
        ContactFileError: There is none, or several could be meant.

    """
    if name in columns:
        return name
    heading = heading_of(name)
    alike = [column for column in columns if heading and heading_of(column) == heading]
    if len(alike) > 1:
        raise ContactFileError(
            f"{shown(name)} could be any of the columns {_listed(alike)}: write it exactly"
        )
    if not alike:
        raise ContactFileError(f"there is no column {shown(name)}{_did_you_mean(name, columns)}")
    return alike[0]


def heading_of(column: str) -> str:
    """Return what of a column's name counts: its letters and digits, without case."""
    folded = unicodedata.normalize("NFKC", column).casefold()
    return "".join(character for character in folded if character.isalnum())


def _did_you_mean(name: str, choices: Sequence[str]) -> str:
    by_heading = {heading_of(choice): choice for choice in choices}
    # Two names without a letter or digit are alike to difflib.
    by_heading.pop("", None)
    close = difflib.get_close_matches(heading_of(name), by_heading, n=1)
    return f"; did you mean {shown(by_heading[close[0]])}?" if close else ""


def _listed(columns: Sequence[str]) -> str:
    more = len(columns) - _COLUMNS_SHOWN
    return ", ".join(map(shown, columns[:_COLUMNS_SHOWN])) + (f" and {more} more" if more > 0 else "")
