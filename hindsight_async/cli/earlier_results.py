"""What the results of earlier runs have that is nowhere else: the links, by the interviews' ids."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from attrs import define, field

from hindsight_async.cli.contacts import ContactFileError
from hindsight_async.cli.contacts.tables import Table, TableRow
from hindsight_async.cli.results import ID_COLUMN, LINK_COLUMN, are_results, column_of


@define
class EarlierResults:
    """The interviews in one file of earlier results."""

    path: Path
    columns: Sequence[str] = ()
    """Its columns; none where it is no file of results that can be read."""
    links: dict[int, str | None] = field(factory=dict[int, "str | None"], repr=False)
    """The survey link of each interview, None where the file has none."""

    def may_be_replaced(self, columns: Collection[str], written: Collection[int]) -> bool:
        """Tell whether other results lose nothing of it.

        Args:
            columns: Theirs.
            written: The interviews in them.

        """
        return bool(self.columns) and set(self.columns) <= set(columns) and self.links.keys() <= set(written)


def read_earlier(path: Path) -> EarlierResults:
    """Read a file of results, also one whose run was killed while it wrote; OSError where it cannot be read."""
    earlier = EarlierResults(path)
    with path.open("rb") as file, suppress(ContactFileError, ModuleNotFoundError):
        table = Table(file)
        id_column, link_column = (column_of(table.columns, name) for name in (ID_COLUMN, LINK_COLUMN))
        if not are_results(table.columns) or id_column is None:
            return earlier
        earlier.columns = table.columns
        for row in table:
            number = str(row.cells.get(id_column) or "") if isinstance(row, TableRow) else ""
            if number.isdecimal() and number.isascii():
                link = row.cells.get(link_column) if link_column else None
                earlier.links[int(number)] = link if isinstance(link, str) and link else None
    return earlier
