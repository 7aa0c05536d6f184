"""When two spellings of an email address are one person, and the hash that stands for them."""

import hashlib
import re
import unicodedata

import idna


def normalised(address: str) -> str:
    """Return the form under which an address counts as the same: trimmed, NFC, in small letters, ASCII domain.

    Not case-folded, which takes `ß` for `ss`: those are two mailboxes, and two domains. A plus-tag stays too: the API
    tells such addresses apart.
    """
    if address.isascii():
        # Composition and the domain's alphabet make no difference here, and most addresses come this way.
        return address.strip().lower()
    local, _, domain = address.strip().rpartition("@")
    return f"{_in_small_letters(local)}@{'.'.join(map(_ascii_label, _DOTS.split(domain)))}"


def hash_of(address: str) -> str:
    """Return the hash of a normalised address, in hex; not salted, so whoever knows the address can tell its hash."""
    return hashlib.sha256(address.encode()).hexdigest()


_DOTS = re.compile("[.\u3002\uff0e\uff61]")
"""What parts the labels of a domain, in any script (IDNA 2008, RFC 5895)."""


def _in_small_letters(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())


def _ascii_label(label: str) -> str:
    """Return a label of a domain as IDNA 2008 spells it (RFC 5891)."""
    if not label.isascii():
        try:
            return idna.encode(label, uts46=True).decode()
        except idna.IDNAError:
            pass  # no host name has this form, and the API may still take it: then only its exact twin is the same
    return _in_small_letters(label)
