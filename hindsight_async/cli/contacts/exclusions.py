"""A file of people who are not to be written to: addresses and domains."""

import csv
import re
from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO

from hindsight_async.cli.contacts.columns import heading_of, trimmed
from hindsight_async.cli.contacts.file_format import (
    DELIMITERS,
    UTF_8,
    WINDOWS_1252,
    ContactFileError,
    refuse_encoding,
    sniff,
)
from hindsight_async.cli.contacts.headings import HEADINGS
from hindsight_async.cli.contacts.tables import Lines, lines_of
from hindsight_async.resources.interviews.recipients import blocked_entry

COMMENT = "#"

_BEHIND_AN_ENTRY = re.compile(rf"\s{COMMENT}.*", re.DOTALL)
_HEADINGS = {
    *HEADINGS["contact_email"],
    "address",
    "domain",
    "domainname",
    "companydomain",
    "companydomainname",
}


def read_exclusions(file: BinaryIO) -> list[str]:
    """Return the addresses, domains and patterns of a file, one a line or in the first column of a CSV file.

    Lines that begin with a # say nothing, nor does what stands behind an entry and a #, nor a heading.

    Args:
        file: Binary, seekable, and the caller's to close.

    Raises:
        ContactFileError: A line is neither an address nor a domain, so that it would keep nobody back; or the file
            cannot be read.

    """
    file_format = sniff(file)
    if file_format.json_lines or file_format.workbook:
        kind = "JSON" if file_format.json_lines else "an Excel workbook"
        raise ContactFileError(f"this is {kind}: write one address or domain a line")
    # Nothing is assumed here: an address that was misread would keep nobody back.
    if file_format.encoding not in {UTF_8, WINDOWS_1252}:
        refuse_encoding(file_format.encoding.upper())
    entries: list[str] = []
    is_first = True
    with lines_of(file) as lines:
        for cell, line in _first_cells(lines):
            try:
                blocked_entry(cell)
            except ValueError as error:
                if not (is_first and heading_of(cell) in _HEADINGS):
                    raise ContactFileError(f"{error}: {_WHAT_IS_WANTED}", line=line) from None
            else:
                entries.append(cell)
            is_first = False
    return entries


_WHAT_IS_WANTED = "write one a line, such as ann@acme.example or acme.example, or in the first column"


def _first_cells(lines: Lines) -> Iterator[tuple[str, int]]:
    """Yield the first cell of each row, with the line on which the row begins."""
    said = _without_comments(lines)
    first = next(said, "")
    # What a comment says must not decide what stands between cells.
    entry = _BEHIND_AN_ENTRY.sub("", first)
    delimiter = max(DELIMITERS, key=entry.count)
    rows = csv.reader(chain([first], said), delimiter=delimiter, strict=True, skipinitialspace=True)
    try:
        for cells in rows:
            if any(map(trimmed, cells)):
                yield trimmed(_BEHIND_AN_ENTRY.sub("", cells[0])), lines.row_line
            lines.begin_row()
    except csv.Error:
        raise ContactFileError(
            "a quote that opens is not closed where its cell ends", line=lines.row_line
        ) from None


def _without_comments(lines: Lines) -> Iterator[str]:
    lines.begin_row()
    for line in lines:
        begins_a_row = lines.row_length == len(line)
        if not trimmed(line).startswith(COMMENT):
            yield line
        elif begins_a_row:
            lines.begin_row()
