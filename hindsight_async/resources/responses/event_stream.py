"""Server-sent events out of the bytes of an answer, by the rules of the HTML standard (9.2.6)."""

import codecs
import re

from attrs import define, field, frozen

_LINE_END = re.compile("\r\n|\n|\r")

_decoder = codecs.getincrementaldecoder("utf-8")


@frozen
class ServerSentEvent:
    """What stands between two blank lines: the lines of its data, joined, and its name where it has one."""

    data: str
    name: str = ""


@define(eq=False)
class EventStreamParser:
    """Takes bytes in as they come and gives out each event at its blank line.

    What the stream ends in without a blank line is no event. Ids and waits before a reconnection are left out of account,
    since nothing here is asked for again.
    """

    _decoder: codecs.IncrementalDecoder = field(factory=lambda: _decoder("replace"))
    """Keeps back a character that is not whole yet."""
    _begun: bool = False
    """Whether the first character, which may be a byte order mark, has been here."""
    _after_return: bool = False
    """Whether the last character was a CR, of which an LF at the beginning of the next bytes would be the other half."""
    _line: list[str] = field(factory=list[str])
    """The parts of a line whose end is still to come."""
    _data: list[str] = field(factory=list[str])
    """The data lines since the last blank line."""
    _name: str = ""

    def feed(self, piece: bytes) -> list[ServerSentEvent]:
        """Return the events that end in these bytes."""
        text = self._decoder.decode(piece)
        if text and not self._begun:
            self._begun = True
            text = text.removeprefix("\ufeff")
        if text and self._after_return:
            text = text.removeprefix("\n")
            self._after_return = False
        if not text:
            return []
        self._after_return = text.endswith("\r")
        first, *others = _LINE_END.split(text)
        self._line.append(first)
        if not others:
            return []
        lines = ["".join(self._line), *others]
        self._line = [lines.pop()]
        return [event for line in lines if (event := self._take(line)) is not None]

    def _take(self, line: str) -> ServerSentEvent | None:
        if not line:
            event = ServerSentEvent("\n".join(self._data), self._name) if self._data else None
            self._data, self._name = [], ""
            return event
        field_name, _, value = line.partition(":")  # of a comment it is empty
        if field_name == "data":
            self._data.append(value.removeprefix(" "))
        elif field_name == "event":
            self._name = value.removeprefix(" ")
        return None
