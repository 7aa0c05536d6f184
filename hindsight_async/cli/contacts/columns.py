"""A file's columns: whether their names can be used, and which field of the API each one feeds."""

import difflib
import shlex
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from attrs import frozen

from hindsight_async.cli.contacts.file_format import ContactFileError
from hindsight_async.cli.contacts.headings import HEADINGS, SURNAME_BESIDE_FIRST_NAME
from hindsight_async.cli.results import are_results, is_result_column

COLUMN_LIMIT = 4_096
"""Columns in one file; the names in JSON Lines are collected over all its lines."""

REST: Literal["rest"] = "rest"
"""As `context`: every column that feeds no field."""

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


def column_names(header: Sequence[str], line: int, assume: Callable[[str], None]) -> tuple[str, ...]:
    """Return the names in the header on that line; an unnamed column is called by its place, from 1.

    A name that stands there twice is numbered, unless it is that of a field: then nobody can tell which one counts.

    Raises:
        ContactFileError: They look like data, a field stands there twice, or they are too many.

    """
    cells = [trimmed(cell) for cell in header]
    refuse_many(cells, line)
    # An address where a name should be: without a header, the first person would be lost as one.
    if any("." in cell.partition("@")[2] for cell in cells):
        raise ContactFileError("the first line looks like data, not column names: add a header", line=line)
    while not cells[-1]:
        cells.pop()
    names = [name or f"column {place}" for place, name in enumerate(cells, start=1)]
    return _numbered(names, line, assume) if repeated(names) else tuple(names)


def _numbered(names: Sequence[str], line: int, assume: Callable[[str], None]) -> tuple[str, ...]:
    fields = {heading for headings in HEADINGS.values() for heading in headings}
    times, so_far = Counter(names), Counter[str]()
    numbered: list[str] = []
    for name in names:
        so_far[name] += 1
        numbered.append(name if times[name] == 1 else f"{name} ({so_far[name]})")
    twice = [name for name in times if times[name] > 1]
    if len(set(numbered)) < len(numbered) or any(heading_of(name) in fields for name in twice):
        raise ContactFileError(f"{repeated(names)} stands more than once in the header", line=line)
    assume(f"{repeated(names)} stands more than once in the header: numbered, as {shown(f'{twice[0]} (1)')}.")
    return tuple(numbered)


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
            raise ContactFileError(
                f"there is no field {shown(name)} to map{_did_you_mean(name, fields)}; "
                f"the fields are {', '.join(fields)}"
            )
        found[name] = find_column(columns, column)
    free = [column for column in columns if column not in found.values()]
    _find_surname(free, fields, found)
    for name in fields:
        if name not in found and not _RIVALS.get(name, set()) & found.keys():
            claims = [column for column in free if _claims(column, name)]
            if len(claims) > 1:
                raise ContactFileError(
                    f"the columns {_listed(claims)} could all be {name}: map the one that is, "
                    f"such as {map_option(name, claims[0])}"
                )
            if claims:
                found[name] = claims[0]
    _require(fields[0], found, columns)
    return ColumnMapping(fields=found, context=_context_columns(columns, found, context))


def _claims(column: str, name: str) -> bool:
    # Pipedrive writes `Deal - ID` above its own ids, which mean nothing here or another deal.
    return heading_of(column) in HEADINGS[name] and not (name == "deal_id" and " - " in column)


def _find_surname(free: Sequence[str], fields: Sequence[str], found: dict[str, str]) -> None:
    if "last_name" not in fields or found.keys() & {"contact_name", "first_name", "last_name"}:
        return
    by_heading = {heading_of(column): column for column in free}
    for first, surname in SURNAME_BESIDE_FIRST_NAME.items():
        if by_heading.keys() >= {first, surname} and not by_heading.keys() & set(HEADINGS["last_name"]):
            found |= {"first_name": by_heading[first], "last_name": by_heading[surname]}
            return


def _context_columns(
    columns: Sequence[str], found: Mapping[str, str], context: Sequence[str]
) -> Sequence[str]:
    if context and "contact_context" in found:
        raise ContactFileError(
            f"the column {shown(found['contact_context'])} is the whole context already: "
            "leave out the context columns"
        )
    if context == REST:
        # What a run wrote is not about the contact, and a link opens the interview.
        ours = set(filter(is_result_column, columns)) if are_results(columns) else set[str]()
        return tuple(column for column in columns if column not in {*found.values(), *ours})
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
            hint = f"; did you mean {map_option(name, column)}?"
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
        f"only if it holds Hindsight's interview ids, give {map_option(name, bare[0])}"
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
        hint = _did_you_mean(name, columns) or f", of these: {_listed(columns)}"
        raise ContactFileError(f"there is no column {shown(name)}{hint}")
    return alike[0]


def map_option(name: str, column: str) -> str:
    """Return the option that says which column feeds a field, as it is typed; never with an address."""
    named = "COLUMN" if "@" in column else column
    return f"--map {shlex.quote(f'{name}={named}')}"


def heading_of(column: str) -> str:
    """Return what of a column's name counts: its letters and digits, without case."""
    # Decomposed, so that an accent is no letter: it is often left out.
    folded = unicodedata.normalize("NFKD", column).casefold()
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
