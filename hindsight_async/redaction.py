"""What stays out of error texts, logs and files: secrets, people's addresses, characters that cannot be seen."""

import json
import re
from collections.abc import Iterable
from typing import Any

LONGEST_TEXT = 1000
"""How many characters of what others say go into a text of ours; the error's own field has them all."""

DEEPEST_NEST = 100
"""How deep lists may nest in what an error keeps, objects half as deep: more could not be copied or pickled."""


_ADDRESS = re.compile(r"[^\s@<>\"'(),;:=]{1,64}@[^\s@<>\"'(),;:=]{1,255}")
_LONGEST_ADDRESS = 64 + 1 + 255

# Control characters (C0, DEL, C1); what turns the direction of writing or ends a line; what shows as nothing at all and
# belongs to no script; and half surrogate pairs, which no encoding takes.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)


class Secret:
    """A value that no repr shows, so that no traceback which prints local variables does."""

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "<secret>"


def without_addresses(text: str) -> str:
    """Return `text` with every email address replaced, for logs and error texts."""
    return _ADDRESS.sub("<address>", text)


def escaped(text: str) -> str:
    r"""Return `text` with what a terminal would obey and an eye not see spelled out, as in `\x1b`."""
    return _HIDDEN.sub(lambda found: _spelled(found[0]), text)


def harmless(text: str, longest: int = LONGEST_TEXT) -> str:
    """Return a text of others as it may stand in an error, a log, a file or on a terminal.

    Args:
        text: What somebody else said, such as a server.
        longest: How many characters there may be; the last is an ellipsis where there were more.

    Returns:
        One line without addresses, whose characters can all be seen.

    """
    end = len(text)
    if end > longest:
        end = longest
        # One that is cut in two would not be known for an address.
        for found in _ADDRESS.finditer(text, 0, longest + _LONGEST_ADDRESS):
            if found.start() < longest < found.end():
                end = found.start()
    plain = escaped(without_addresses(text[:end]))
    return plain if end == len(text) and len(plain) <= longest else f"{plain[: longest - 1]}…"


def json_text(value: Any) -> str:
    """Return the JSON of `value` on one line, in which hidden characters are escaped and all others are as they are."""
    return _HIDDEN.sub(lambda found: json.dumps(found[0])[1:-1], json.dumps(value, ensure_ascii=False))


def _spelled(character: str) -> str:
    # Half a pair says nothing, whichever it is.
    return "\ufffd" if "\ud800" <= character <= "\udfff" else ascii(character)[1:-1]


def without_secret(value: Any, secret: str, word: str, depth: int = 0) -> Any:
    """Return `value` with `word` for `secret` in every text, and what nests deeper than DEEPEST_NEST left out."""
    match value:
        case str():
            return value.replace(secret, word)
        case dict() | list() | tuple() if depth > DEEPEST_NEST:
            return "<nested too deep>"
        case dict():
            return dict(_each(value.items(), secret, word, depth))
        case list():
            return list(_each(value, secret, word, depth))
        case tuple():
            return tuple(_each(value, secret, word, depth))
        case _:
            return value


def _each(values: Any, secret: str, word: str, depth: int) -> Iterable[Any]:
    return (without_secret(value, secret, word, depth + 1) for value in values)
