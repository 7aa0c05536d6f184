"""The facts that `ledger resolve` is given: of which rows, and that an interview was created or that none was."""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from attrs import frozen

from hindsight_async.cli.contacts import ContactFileError
from hindsight_async.cli.contacts.tables import Table, TableRow
from hindsight_async.cli.results import ID_COLUMN, KEY_COLUMN, STATUS_COLUMN, column_of
from hindsight_async.cli.terminal import ExitCode, counted, refuse, say
from hindsight_async.delivery.addresses import hash_of, normalised
from hindsight_async.delivery.keys import caller_key_hash
from hindsight_async.delivery.ledger.entries import MAY_BE_RESOLVED, LedgerEntry, LedgerStatus
from hindsight_async.delivery.ledger.ledger import Ledger
from hindsight_async.delivery.ledger.resolving import resolve_rows

SHORTEST_KEY = 6
"""How many characters of a key must be given, so that no slip resolves another row."""

PROBLEMS_SHOWN = 10
"""How many of the rows that cannot be resolved are named."""

NOT_CREATED = ("not created", "not_created", "no", "none")
"""What may stand in the column of ids where no interview was created."""

_RESOLVABLE = f"{', '.join(MAY_BE_RESOLVED[:-1])} or {MAY_BE_RESOLVED[-1]}"
"""What is looked through, in words."""


@frozen
class Fact:
    """What became of one row, as a person says."""

    name: str
    """What the row is named by: its key or the beginning of it, the caller's own key, or an address."""
    created: int | None
    """The interview's id; None where none was created."""


def given_facts(words: Sequence[str], *, created: int | None, not_created: bool) -> list[Fact]:
    """Return the facts in the words of a command.

    Raises:
        ValueError: They say nothing clear: not one fact, one id for several rows, or a file that cannot be used.

    """
    is_file = len(words) == 1 and Path(words[0]).is_file()
    if is_file and created is None and not not_created:
        return _facts_in(Path(words[0]))
    if (created is None) is not not_created:
        raise ValueError("say what is known: --created ID, or --not-created, or a CSV file that says it")
    if created is not None and created < 1:
        raise ValueError(f"created={created} is no interview request id: these start at 1")
    if created is not None and len(words) > 1:
        raise ValueError(
            "one interview is one row's: give --created ID with one key or address, or a CSV file with an id for each"
        )
    return [Fact(word, created) for word in words]


def _facts_in(path: Path) -> list[Fact]:
    """Return the facts in the CSV of `ledger show`, or in results, that a person has filled in."""
    try:
        with path.open("rb") as file:
            table = Table(file)
            key, status, number = (
                column_of(table.columns, name) for name in (KEY_COLUMN, STATUS_COLUMN, ID_COLUMN)
            )
            if key is None or number is None:
                raise ValueError(
                    f"{path} needs the columns {KEY_COLUMN} and {ID_COLUMN}, as the results of enroll and"
                    " ledger show --csv have them"
                )
            facts: list[Fact] = []
            for row in table:
                said = str(row.cells.get(number) or "").strip()
                is_open = status is None or row.cells.get(status) == LedgerStatus.UNKNOWN
                if isinstance(row, TableRow) and said and is_open:
                    facts.append(Fact(str(row.cells.get(key) or "").strip(), _created(said, row.line)))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except ContactFileError as error:
        raise ValueError(f"{path}: {error}") from None
    if not facts:
        raise ValueError(
            f"{path} says nothing of a row that is unknown: fill in {ID_COLUMN} with the id, or: {NOT_CREATED[0]}"
        )
    return facts


def _created(said: str, line: int) -> int | None:
    if said.casefold() in NOT_CREATED:
        return None
    if not (said.isascii() and said.isdecimal() and int(said)):
        raise ValueError(f"row {line}: {ID_COLUMN} takes an interview's id, or: {NOT_CREATED[0]}")
    return int(said)


async def resolve_all(ledger: Ledger, facts: Sequence[Fact]) -> int:
    """Resolve every row, or none where one of them cannot be; say which, and return the exit code."""
    entries = [entry for status in MAY_BE_RESOLVED async for entry in ledger.entries(status=status)]
    by_name = _Named(entries)
    found: dict[str, int | None] = {}
    problems: list[str] = []
    for fact in facts:
        keys = by_name.keys_of(fact)
        if isinstance(keys, str):
            problems.append(keys)
        elif keys[0] in found:
            problems.append(f"{fact.name} names a row that was named before")
        elif fact.created is not None and fact.created in found.values():
            problems.append(f"interview {fact.created} is given to two rows")
        else:
            found[keys[0]] = fact.created
    if problems:
        if len(facts) == 1:
            return refuse(problems[0])
        more = len(problems) - PROBLEMS_SHOWN
        listed = [*problems[:PROBLEMS_SHOWN], *([f"and {more:,} more"] if more > 0 else [])]
        return refuse("\n  ".join(["nothing was resolved, since not all of it can be:", *listed]))
    await ledger.with_connection(partial(resolve_rows, ledger.tables, found, ledger.now()))
    say(_said(found.values()))
    return ExitCode.DONE


def _said(created: Iterable[int | None]) -> str:
    ids = list(created)
    made = [number for number in ids if number is not None]
    if len(ids) == 1:
        return f"resolved: created as {made[0]}" if made else "resolved: it will be sent by the next run"
    left = len(ids) - len(made)
    parts = [f"{len(made):,} created"] if made else []
    parts += [f"{left:,} not created, which the next run sends"] if left else []
    return f"{counted(len(ids), 'row')} resolved: {', '.join(parts)}"


class _Named:
    """Rows that a person may resolve, by all that they can be named by.

    Args:
        entries: Them.

    """

    def __init__(self, entries: Sequence[LedgerEntry]) -> None:
        self._by_key = {entry.key: entry for entry in entries}
        self._by_address: dict[str, list[LedgerEntry]] = {}
        for entry in entries:
            self._by_address.setdefault(entry.address_hash, []).append(entry)

    def keys_of(self, fact: Fact) -> list[str] | str:
        """Return the key of the one row that a fact is about; a text where there is none, or more than one."""
        name = fact.name
        exact = (
            next((key for key in (name, caller_key_hash(name)) if key in self._by_key), None)
            if name
            else None
        )
        if exact is not None:
            return [exact]
        fitting = self._at_address(name) if "@" in name else None
        if fitting is None:
            if len(name) < SHORTEST_KEY:
                return f"give at least {SHORTEST_KEY} characters of the key"
            fitting = [entry for key, entry in self._by_key.items() if key.startswith(name)]
            how = f"a key that begins with {name}"
        else:
            how = "this address"
        if fact.created is not None:
            fitting = [entry for entry in fitting if entry.status is LedgerStatus.UNKNOWN]
        if len(fitting) == 1:
            return [fitting[0].key]
        of = LedgerStatus.UNKNOWN if fact.created is not None else _RESOLVABLE
        if not fitting:
            return f"no {of} row has {how}{f': {name}' if '@' in name else ''}"
        keys = ", ".join(f"{entry.key[:12]} ({entry.status.value})" for entry in fitting[:3])
        return f"{len(fitting)} {of} rows have {how}: give the key of one, such as {keys}"

    def _at_address(self, name: str) -> list[LedgerEntry] | None:
        try:
            return self._by_address.get(hash_of(normalised(name)), [])
        except (TypeError, ValueError):
            return None
