"""What kind of file it is: CSV, JSON Lines or a workbook, and in which encoding its text is."""

import codecs
import re
from typing import BinaryIO, NoReturn

from attrs import frozen

SAMPLE_SIZE = 65_536
"""Bytes at the beginning of a file by which its kind is told."""

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
"""What may stand between cells, and what that is called; where two make as many of the header, the first."""

BYTE_ORDER_MARK = "\ufeff"

BYTE_NOT_UTF8 = re.compile("[\udc80-\udcff]")
"""A byte that is no UTF-8, as `surrogateescape` keeps it."""

UTF_8 = "utf-8"
WINDOWS_1252 = "cp1252"

_HOW_TO_CONVERT = "save it as UTF-8 (in Excel: CSV UTF-8) or convert it with iconv"
_ENCODING_MARKS = {
    b"\xff\xfe\x00\x00": "utf-32-le",
    b"\x00\x00\xfe\xff": "utf-32-be",
    b"\xff\xfe": "utf-16-le",
    b"\xfe\xff": "utf-16-be",
}
_WORKBOOK_MARKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_GZIP_MARK = b"\x1f\x8b"
_NOT_IN_WINDOWS_1252 = re.compile("[\udc81\udc8d\udc8f\udc90\udc9d]")
_BEYOND_ASCII = re.compile(f"[^\0-\x7f\udc80-\udcff{BYTE_ORDER_MARK}]")
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
    """JSON Lines, CSV or a workbook, and what is to be known about it."""

    json_lines: bool = False
    workbook: bool = False
    encoding: str = UTF_8
    delimiter: str | None = None
    """What Excel's line `sep=;` before the header says; None where there is no such line."""
    sample: str = ""
    """The beginning of its text."""

    @property
    def assumed(self) -> str:
        """What had to be assumed of the encoding, as a sentence; empty where nothing had."""
        if self.encoding == WINDOWS_1252:
            return "The text is no UTF-8 and was read as Windows-1252: check the letters with accents."
        if self.encoding != UTF_8:
            return f"The text was read as {self.encoding.upper()}."
        return ""

    def described(self, delimiter: str) -> str:
        """Return what kind of file it is, as in `UTF-8, semicolons`, with what stands between its cells."""
        if self.workbook:
            return "Excel workbook"
        encoding = "Windows-1252" if self.encoding == WINDOWS_1252 else self.encoding.upper()
        return f"{encoding}, {'JSON Lines' if self.json_lines else DELIMITERS[delimiter]}"


def sniff(file: BinaryIO) -> FileFormat:
    """Tell the kind of a file, by its beginning, and its encoding, by all of it.

    Raises:
        ContactFileError: It is compressed, a JSON array, or broken in its own encoding; the text says what to do.

    """
    file.seek(0)
    sample = file.read(SAMPLE_SIZE)
    if sample.startswith(_WORKBOOK_MARKS):
        return FileFormat(workbook=True)
    if sample.startswith(_GZIP_MARK):
        raise ContactFileError("the file is compressed with gzip: unpack it first")
    encoding = _encoding(file, sample)
    text = sample.decode(encoding, "replace").lstrip(BYTE_ORDER_MARK)
    if text.lstrip().startswith("{"):
        return FileFormat(json_lines=True, encoding=encoding)
    if _JSON_ARRAY.match(text.lstrip()):
        raise ContactFileError("the file is a JSON array: write one object per line (jq -c '.[]')")
    separator = _SEPARATOR_LINE.match(text)
    return FileFormat(encoding=encoding, delimiter=separator and separator[1], sample=text.lstrip("\r\n "))


def _encoding(file: BinaryIO, sample: bytes) -> str:
    for mark, encoding in _ENCODING_MARKS.items():
        if sample.startswith(mark):
            return _checked(file, encoding)
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    # ASCII text in UTF-16 has a NUL in every other byte.
    if max(even, odd) > len(sample) // 4 and min(even, odd) < max(even, odd) // 4:
        return _checked(file, "utf-16-le" if odd > even else "utf-16-be")
    return WINDOWS_1252 if _is_windows_1252(file) else UTF_8


def _checked(file: BinaryIO, encoding: str) -> str:
    decoder = codecs.getincrementaldecoder(encoding)()
    file.seek(0)
    try:
        while chunk := file.read(SAMPLE_SIZE):
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        refuse_encoding(f"{encoding.upper()} that is broken")
    return encoding


def _is_windows_1252(file: BinaryIO) -> bool:
    """Tell whether the text is no UTF-8 anywhere: a file that is so in part is broken, and not to be guessed at."""
    decoder = codecs.getincrementaldecoder(UTF_8)("surrogateescape")
    foreign, is_cut_off = 0, False
    file.seek(0)
    while True:
        chunk = file.read(SAMPLE_SIZE)
        text = decoder.decode(chunk, final=not chunk)
        if not text.isascii():
            if _BEYOND_ASCII.search(text) or _NOT_IN_WINDOWS_1252.search(text):
                return False
            foreign += len(BYTE_NOT_UTF8.findall(text))
            is_cut_off = bool(BYTE_NOT_UTF8.match(text[-1]))
        if not chunk:
            # The only foreign byte at the very end is what was left of a character of UTF-8.
            return foreign > 1 or (foreign == 1 and not is_cut_off)


def refuse_encoding(name: str, line: int | None = None) -> NoReturn:
    """Refuse text in the encoding of that name, with what to do about it.

    Raises:
        ContactFileError: Always.

    """
    raise ContactFileError(f"the text is not UTF-8, it looks like {name}: {_HOW_TO_CONVERT}", line=line)
