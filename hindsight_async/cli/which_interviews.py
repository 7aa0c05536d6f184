"""Which interviews a person means by a ledger, an input, results or ids."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from hindsight_async.cli.contacts import ContactFileError
from hindsight_async.cli.contacts.tables import Table, TableRow
from hindsight_async.cli.followed import Followed, Source
from hindsight_async.cli.ledger_beside import LEDGER_SUFFIX, ledger_path
from hindsight_async.cli.results import CLASH_PREFIX, are_results
from hindsight_async.cli.terminal import counted
from hindsight_async.delivery.ledger.entries import LedgerEntry
from hindsight_async.delivery.ledger.ledger import Ledger

ID_COLUMN = "interview_request_id"

_SQLITE_HEAD = b"SQLite format 3\0"


async def find(words: Sequence[str]) -> Source:
    """Return the interviews that a person means.

    Args:
        words: Ids; or one ledger, its input, or its results; none for the one ledger in this folder.

    Raises:
        ValueError: Nothing can be meant by them.
        LedgerError: The ledger is not there, or cannot be read.

    """
    meant = _meant(words)
    return meant if isinstance(meant, Source) else await _from_ledger(*meant)


def _meant(words: Sequence[str]) -> Source | tuple[str, str | None]:
    """Return the interviews, or where the ledger is that has them, and what is wrong if there is none."""
    if words and all(word.isdecimal() and word.isascii() for word in words):
        return Source(counted(len(words), "interview"), [Followed(int(word)) for word in words])
    if len(words) > 1:
        raise ValueError("give interview ids, or one ledger, input or results file")
    word = words[0] if words else _only_ledger()
    path = Path(word)
    if "://" in word or not path.is_file() or _begins_as_sqlite(path):
        return word, None
    results = _results(path)
    if results is not None:
        return Source(path.name, results)
    beside = ledger_path(path)
    return (
        str(beside),
        f"nothing was sent from {word} yet: there is no ledger {beside.name} beside it",
    )


def _only_ledger() -> str:
    found = sorted(Path.cwd().glob(f"*{LEDGER_SUFFIX}"))
    if len(found) != 1:
        several = f"; here are {', '.join(path.name for path in found[:3])}" if found else ""
        raise ValueError(f"give a ledger, an input or results file, or interview ids{several}")
    return found[0].name


def _begins_as_sqlite(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE_HEAD)) == _SQLITE_HEAD
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None


def _results(path: Path) -> list[Followed] | None:
    """Return the interviews in the results of a run; None where the file is something else."""
    # What is no table that can be read here may be an input all the same.
    with path.open("rb") as file, suppress(ContactFileError, ModuleNotFoundError):
        table = Table(file)
        if not are_results(table.columns):
            return None
        named = {column.casefold(): column for column in table.columns}
        column = named.get(CLASH_PREFIX + ID_COLUMN) or named[ID_COLUMN]
        email = next((name for folded, name in named.items() if folded in {"contact_email", "email"}), None)
        return [
            Followed(int(str(row.cells[column])), _text(row.cells.get(email or "")))
            for row in table
            if isinstance(row, TableRow) and str(row.cells.get(column) or "").isdecimal()
        ]
    return None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


async def _from_ledger(location: str, missing: str | None) -> Source:
    ledger = Ledger(location)
    if missing is not None and not await ledger.exists():
        raise ValueError(missing)
    interviews = [
        _followed(entry) async for entry in ledger.entries() if entry.interview_request_id is not None
    ]
    name = ledger.name if "://" in location else Path(location).name
    return Source(name, interviews, ledger)


def _followed(entry: LedgerEntry) -> Followed:
    assert entry.interview_request_id is not None  # noqa: S101
    return Followed(
        entry.interview_request_id, entry.contact_email, entry.deal_id, entry.sequence_id,
        status=entry.interview_status, read_at=entry.read_at, completed_at=entry.completed_at,
    )  # fmt: skip
