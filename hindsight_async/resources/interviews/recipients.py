"""Who may be emailed, and when two rows mean the same person and interview."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from hindsight_async.delivery.addresses import normalised
from hindsight_async.errors import CreateLimitReachedError, RecipientNotAllowedError
from hindsight_async.resources.interviews.models import CreateInterview

ALLOWED_RECIPIENTS_VARIABLE = "HINDSIGHT_ALLOWED_RECIPIENTS"


def interview_key(request: CreateInterview) -> str:
    """Return the hash that names one contact's interview: address, sequence, interview type and deal."""
    parts = [
        normalised(request.contact_email),
        request.sequence_id,
        request.interview_type_id,
        request.deal_id,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class AllowedRecipients:
    """Who may be emailed: lists of patterns such as `*@ours.test`, each of which must allow the address.

    A list that is None does not count, and an empty one allows nobody.

    Args:
        lists: Each by the name under which it was given.
        variable: The name of an environment variable that has one more list.

    """

    def __init__(self, lists: Mapping[str, Iterable[str] | None], *, variable: str | None = None) -> None:
        self._given = _in_normal_form(lists)
        self._variable = variable
        self._lists = self._given

    def read_variable(self) -> None:
        """Take the variable's list as it is now.

        Not at each create: looking up a variable that is not there raises and catches an error inside `os.environ`.
        """
        if self._variable is not None:
            now = {self._variable: _split(os.environ.get(self._variable))}
            self._lists = _in_normal_form(now) | self._given

    def check(self, address: str) -> None:
        """Raise RecipientNotAllowedError for an address that is not allowed."""
        if not self._lists:
            return
        known_as = normalised(address)
        for name, patterns in self._lists.items():
            if not any(fnmatchcase(known_as, pattern) for pattern in patterns):
                why = f"none of its {len(patterns)} patterns fits" if patterns else "it allows nobody"
                raise RecipientNotAllowedError(f"{name} does not allow this recipient: {why}")


def _in_normal_form(lists: Mapping[str, Iterable[str] | None]) -> dict[str, tuple[str, ...]]:
    return {
        name: tuple(map(normalised, patterns)) for name, patterns in lists.items() if patterns is not None
    }


class BlockedRecipients:
    """Who may not be emailed: people who asked for that, and whole domains.

    As many exact entries as there may be cost no time at a create; of patterns, each is tried.

    Args:
        entries: Addresses, domains and patterns, as `blocked_entry` takes them.

    Raises:
        TypeError: They are one text, and no list, or one of them is no text.
        ValueError: One is neither an address nor a domain; the error names its place, not itself.

    """

    def __init__(self, entries: Iterable[str] | None = None) -> None:
        if isinstance(entries, str):
            raise TypeError(
                "blocked_recipients must be a list such as ['ann@x.test', 'rival.test'], not one text"
            )
        exact: set[str] = set()
        patterns: set[str] = set()
        for place, entry in enumerate(entries or ()):
            if not isinstance(entry, str):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise TypeError(f"blocked_recipients[{place}] must be text (str), not {type(entry).__name__}")
            try:
                blocked = blocked_entry(entry)
            except ValueError as error:
                raise ValueError(f"blocked_recipients[{place}] is {error}") from None
            (patterns if _WILDCARD.search(blocked) else exact).add(blocked)
        self._exact = frozenset(exact)
        self._patterns = tuple(sorted(patterns))

    def check(self, address: str) -> None:
        """Raise RecipientNotAllowedError for an address that is blocked."""
        if not (self._exact or self._patterns):
            return
        known_as = normalised(address)
        domain = f".{known_as.rpartition('@')[2]}"
        # Each domain that it lies in begins behind a dot: `.mail.rival.test`, `.rival.test`, `.test`.
        domains = [domain[dot.start() + 1 :] for dot in re.finditer(r"\.", domain)]
        if not self._exact.isdisjoint([known_as, *domains]) or any(
            fnmatchcase(name, pattern) for pattern in self._patterns for name in (known_as, *domains)
        ):
            error = RecipientNotAllowedError("this recipient is blocked (blocked_recipients)")
            error.is_blocked = True
            raise error


def blocked_entry(text: str) -> str:
    """Return the form in which an address, a domain or a pattern is blocked; a domain stands for all below it, too.

    Args:
        text: Such as `ann@x.test`, `*@rival.test`, or `rival.test`, also as `@rival.test`.

    Raises:
        ValueError: It is neither, so that it would block nobody; the text does not repeat it.

    """
    local, at, domain = text.strip().rpartition("@")
    # Through an address, since a domain alone is no such thing.
    known_as = normalised(f"{local or 'x'}@{domain.removesuffix('.')}")
    in_form = known_as.rpartition("@")[2] if not local else known_as
    labels = known_as.rpartition("@")[2].split(".")
    is_whole = all(labels) and (len(labels) > 1 or (bool(at) and labels == ["*"]))
    if not is_whole or not in_form.isprintable() or _NO_ADDRESS.search(in_form):
        raise ValueError("neither an address nor a domain")
    return in_form


_WILDCARD = re.compile(r"[*?\[]")
_NO_ADDRESS = re.compile(r"[\s,;:<>()\"]|@.*@")


class CreateGuard:
    """What a create has to pass, of a session and of all its views together.

    Args:
        allowed: Who may be emailed.
        blocked: Who may not, also where they are allowed.
        max_creates: How many creates may be made; None for any number.

    """

    def __init__(
        self, allowed: AllowedRecipients, blocked: BlockedRecipients, max_creates: int | None
    ) -> None:
        self._allowed = allowed
        self._blocked = blocked
        self._max_creates = max_creates
        self._creates = 0
        """How many were made so far, whatever became of them."""

    def check_recipient(self, address: str) -> None:
        """Raise RecipientNotAllowedError for an address to which no create may go; counts nothing."""
        self._blocked.check(address)
        self._allowed.check(address)

    def check(self, address: str, method: str, path: str) -> None:
        """Count a create; RecipientNotAllowedError or CreateLimitReachedError where it may not be made."""
        self.check_recipient(address)
        if self._max_creates is None:
            return
        if self._creates >= self._max_creates:
            what = f"this session may make {self._max_creates} creates (max_creates), and has"
            raise CreateLimitReachedError(what, method=method, path=path)
        self._creates += 1


def allowed_here(given: Iterable[str] | None = None) -> AllowedRecipients:
    """Return who may be emailed by `given` and by the variable HINDSIGHT_ALLOWED_RECIPIENTS, both of which must allow it.

    Raises:
        TypeError: `given` is one text, and no list of patterns.

    """
    # The variable keeps people safe, so it counts at either time: where it was set later, and where it was lost.
    return AllowedRecipients(
        {
            "allowed_recipients": _patterns(given),
            f"{ALLOWED_RECIPIENTS_VARIABLE}, as it was when the session was built,": _split(
                os.environ.get(ALLOWED_RECIPIENTS_VARIABLE)
            ),
        },
        variable=ALLOWED_RECIPIENTS_VARIABLE,
    )


def _patterns(patterns: Iterable[str] | None) -> list[str] | None:
    if isinstance(patterns, str):
        raise TypeError("allowed_recipients must be a list of patterns such as ['*@ours.test'], not one text")
    return None if patterns is None else list(patterns)


def _split(listed: str | None) -> list[str] | None:
    return None if listed is None else [pattern for pattern in listed.split(",") if pattern.strip()]
