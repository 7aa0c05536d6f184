"""What kind of file it is: CSV or JSON Lines, which delimiter, and whether the text is UTF-8 at all."""

import csv
import io
import re
from typing import NoReturn

from attrs import frozen

SAMPLE_SIZE = 65_536
"""Bytes at the beginning of a file by which its kind is told."""

DELIMITERS = (",", ";", "\t", "|")
"""What may stand between cells; where two make as many of the header, the first."""

BYTE_ORDER_MARK = "\ufeff"

_HOW_TO_CONVERT = "save it as UTF-8 (in Excel: CSV UTF-8) or convert it with iconv"
_ENCODING_MARKS = {
    b"\xff\xfe\x00\x00": "UTF-32 LE",
    b"\x00\x00\xfe\xff": "UTF-32 BE",
    b"\xff\xfe": "UTF-16 LE",
    b"\xfe\xff": "UTF-16 BE",
}
_FOREIGN_MARKS = {
    b"PK\x03\x04": "an Excel workbook or a ZIP archive: save the sheet as CSV UTF-8",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: save the sheet as CSV UTF-8",
    b"\x1f\x8b": "compressed with gzip: unpack it first",
}
_SEPARATOR_LINE = re.compile(r'"?sep=([,;\t|])"?[ \t]*(?:[\r\n]|\Z)', re.IGNORECASE)
_JSON_ARRAY = re.compile(r"\[\s*[{\]]")


class ContactFileError(ValueError):
    """The file as a whole cannot be used.

    Args:
        problem: What is wrong, and what to do.
        line: Where that showed, from 1; None where no line is at fault.

    """

    def __init__(self, problem: str, *, line: int | None = None) -> None:
        super().__init__(problem if line is None else f"line {line}: {problem}")
        self.line = line


@frozen(kw_only=True)
class FileFormat:
    """JSON Lines or CSV, and what is to be known about it."""

    json_lines: bool = False
    delimiter: str = ","
    """Between the cells of CSV; one of DELIMITERS."""
    separator_line: bool = False
    """Whether Excel's line `sep=;` stands before the header."""


def sniff(sample: bytes) -> FileFormat:
    """Tell the kind of a file by its first SAMPLE_SIZE bytes.

    Raises:
        ContactFileError: It is in an encoding other than UTF-8 that shows at the beginning, a workbook, an archive
            or a JSON array; the text says what to do.

    """
    for mark, encoding in _ENCODING_MARKS.items():
        if sample.startswith(mark):
            refuse_encoding(encoding)
    for mark, meaning in _FOREIGN_MARKS.items():
        if sample.startswith(mark):
            raise ContactFileError(f"the file is {meaning}")
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    # ASCII text in UTF-16 has a NUL in every other byte.
    if max(even, odd) > len(sample) // 4 and min(even, odd) < max(even, odd) // 4:
        refuse_encoding("UTF-16 LE" if odd > even else "UTF-16 BE")
    text = sample.decode("utf-8", "replace").lstrip(BYTE_ORDER_MARK)
    if text.lstrip().startswith("{"):
        return FileFormat(json_lines=True)
    if _JSON_ARRAY.match(text.lstrip()):
        raise ContactFileError("the file is a JSON array: write one object per line (jq -c '.[]')")
    if separator := _SEPARATOR_LINE.match(text):
        return FileFormat(delimiter=separator[1], separator_line=True)
    return FileFormat(delimiter=_delimiter(text.lstrip("\r\n ")))


def _delimiter(text: str) -> str:
    def header_cells(delimiter: str) -> int:
        try:
            return len(next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), ()))
        except csv.Error:
            return 0

    return max(DELIMITERS, key=header_cells)


def refuse_encoding(name: str, line: int | None = None) -> NoReturn:
    """Refuse text in the encoding of that name, with what to do about it.

    Raises:
        ContactFileError: Always.

    """
    raise ContactFileError(f"the text is not UTF-8, it looks like {name}: {_HOW_TO_CONVERT}", line=line)
