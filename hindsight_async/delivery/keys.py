"""A row's key that is the caller's own: what may be one, and the hash by which the ledger knows it.

The ledger's `key` is always a hash, so that a caller's text stands in one place, `caller_key`, from which it can be
left out. Two kinds of hash are in it, and none of one kind can equal one of the other: a default key is made from a
list as JSON, whose text begins with `[`, a caller's from `_CALLERS_OWN` and their text.
"""

import hashlib
from collections.abc import Container
from typing import Final

LONGEST_CALLER_KEY: Final = 500
"""Characters of a caller's own key; ids of two or three systems beside each other take less than 200."""

_CALLERS_OWN: Final = b"caller's key\0"


def caller_key_hash(text: str) -> str:
    """Return the key by which the ledger knows a row whose caller calls it `text`."""
    # What could not be stored has a hash too, under which nothing is found.
    return hashlib.sha256(_CALLERS_OWN + text.encode(errors="surrogatepass")).hexdigest()


def checked_caller_key(text: object, field: str = "key") -> str:
    """Return a caller's key.

    Args:
        text: What the caller gave.
        field: Under which name.

    Raises:
        TypeError: It is no text.
        ValueError: It is none that can be stored, and found again; the error does not repeat it.

    """
    if not isinstance(text, str):
        raise TypeError(f"{field} must be text (str), not {'None' if text is None else type(text).__name__}")
    if not text or text.isspace():
        raise ValueError(f"{field} must not be empty: it tells one interview from every other")
    if len(text) > LONGEST_CALLER_KEY:
        raise ValueError(f"{field} must have at most {LONGEST_CALLER_KEY} characters, not {len(text):,}")
    if text != text.strip():
        raise ValueError(f"{field} must have no white space at its ends: with it, it is another key")
    if "\0" in text:
        raise ValueError(f"{field} must have no NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{field} must be text that UTF-8 can carry, without half surrogate pairs") from None
    return text


def stored_key(key: str, stored: Container[str]) -> str:
    """Return the ledger's key for what somebody names a row by: that key itself, or the caller's own text.

    Args:
        key: What they gave.
        stored: The keys that the ledger has, as far as `key` and the hash of it are concerned.

    """
    hashed = caller_key_hash(key)
    return hashed if hashed in stored and key not in stored else key
