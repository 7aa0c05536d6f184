"""The cell of an address, as people and programs fill it: `Ann <ann@x.test>`, `mailto:`, several at once."""

import re
import unicodedata
from typing import Literal

from attrs import evolve, field, frozen

from hindsight_async.cli.contacts.columns import trimmed

Several = Literal["first", "all"]
"""What becomes of a cell with several addresses."""

NO_ADDRESS = "no address"
NOT_ONE_ADDRESS = "not one address"
NOT_AN_ADDRESS = "not an address"
SELF_EXPLAINING = {
    NO_ADDRESS: "",
    NOT_ONE_ADDRESS: "--several first takes the first of them, --several all takes each",
    NOT_AN_ADDRESS: "",
}
"""The kinds of problems that say all, and what else to do about them than to correct the file."""

_ONE = "one address, such as ann@acme.example"
RIGHT = {
    NO_ADDRESS: _ONE,
    NOT_ONE_ADDRESS: f"{_ONE}; or --several first, which takes the first, or --several all",
    NOT_AN_ADDRESS: _ONE,
}
"""What would be right in the place of each of these problems."""

_MAILTO = re.compile("mailto:", re.IGNORECASE)
_NAMED = re.compile(r"([^<>]*)<([^<>]+)>")
_ADDRESS = re.compile(r"""[^\s<>;,|"'()@/]+@[^\s<>;,|"'()@/]+""")
_QUOTES = "\"'"


@frozen(kw_only=True)
class AddressCell:
    """What stands in the cell of an address."""

    addresses: tuple[str, ...] = field(repr=False)
    """Each once, in order; a single one may be no address at all."""
    name: str | None = field(default=None, repr=False)
    """The name before a single address in angle brackets."""


class CellError(ValueError):
    """A cell cannot be used.

    Args:
        problem: What is wrong, without repeating an address.
        kind: What sort of problem it is.
        value: What stands in the cell.

    """

    def __init__(self, problem: str, *, kind: str, value: object = None) -> None:
        super().__init__(problem)
        self.kind = kind
        self.value = value


def read_address_cell(text: str | None, several: Several | None) -> AddressCell:
    """Return what stands in the cell; whether each is a valid address is for the request to say.

    Raises:
        CellError: There is no address, there are several and nobody said which count, or one only looks like one.

    """
    if text is None:
        raise CellError("contact_email is empty", kind=NO_ADDRESS)
    cell = _parsed(text)
    if len(cell.addresses) > 1 and several is None:
        problem = (
            f"contact_email has {len(cell.addresses)} addresses: --several first takes the first of them"
        )
        raise CellError(problem, kind=NOT_ONE_ADDRESS, value=text)
    if several == "first":
        cell = evolve(cell, addresses=cell.addresses[:1])
    if any(unicodedata.east_asian_width(character) == "F" for character in "".join(cell.addresses)):
        problem = "contact_email has full-width characters in it: type it in half-width"
        raise CellError(problem, kind=NOT_AN_ADDRESS, value=text)
    return cell


def _parsed(text: str) -> AddressCell:
    if text.count("@") > 1:
        # A domain tells no case apart, and hardly any mailbox does.
        each = {found.casefold(): found for found in _ADDRESS.findall(_MAILTO.sub(" ", text))}
        # A quoted local part may hold an @ of its own: that is one address, for the check that follows.
        if len(each) > 1 or len(_ADDRESS.findall(text)) > 1:
            return AddressCell(addresses=tuple(each.values()))
    name = None
    if named := _NAMED.fullmatch(text.rstrip(";, ")):
        name, text = trimmed(named[1]).strip(_QUOTES) or None, trimmed(named[2])
    if prefix := _MAILTO.match(text):
        text = text[prefix.end() :].partition("?")[0]
    return AddressCell(addresses=(trimmed(text).rstrip(";,") if "@" in text else text,), name=name)
