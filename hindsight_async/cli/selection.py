"""A first careful step: some of a file's rows (`--limit`), or some of them to oneself (`--test-to`)."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Generic, TypeVar

from attrs import evolve, field, frozen

from hindsight_async.cli.contacts import BadRow, CheckedRows, ContactRow
from hindsight_async.resources.interviews.models import CreateInterview

TEST_RESULTS_SUFFIX = ".test.results.csv"
"""What stands in place of the input's suffix in the name of a test's results, which are nobody's but one's own."""

Row = TypeVar("Row")


@frozen
class FirstRows(Generic[Row]):
    """The rows of a file until so many were given, bad ones not counted."""

    rows: Iterable[Row | BadRow]
    count: int

    def __iter__(self) -> Iterator[Row | BadRow]:
        left = self.count
        for row in self.rows if left else ():
            yield row
            left -= not isinstance(row, BadRow)
            if not left:
                return


@frozen
class RowsToOneself:
    """The first good rows of a file, each as a request for one address in the place of its own.

    A deal stays out of it: the interviews that a test leaves would be among those of the deal for ever.
    """

    rows: Iterable[ContactRow | BadRow]
    count: int
    address: str = field(repr=False)
    column: str
    """In which column the address stands."""

    def __iter__(self) -> Iterator[ContactRow]:
        good = (row for row in self.rows if not isinstance(row, BadRow))
        for number, row in enumerate(islice(good, self.count), start=1):
            request = evolve(row.request, contact_email=self.address, deal_id=None)
            # The results must not say that the file's own people have these interviews.
            cells = {**row.cells, self.column: self.address}
            yield evolve(row, request=request, cells=cells, key=f"test {number}")


def rows_to_oneself(rows: CheckedRows[ContactRow], count: int | None, address: str) -> RowsToOneself:
    """Return the first good rows of a file, one where no count is given, as requests for that address.

    Raises:
        ValueError: It is no address.

    """
    try:
        checked = CreateInterview(contact_email=address.strip(), sequence_id="any").contact_email
    except ValueError as error:
        raise ValueError(str(error).replace("contact_email", "--test-to")) from None
    return RowsToOneself(rows, count or 1, checked, rows.mapping.fields["contact_email"])


def first_rows(rows: Iterable[Row | BadRow], count: int | None) -> Iterable[Row | BadRow]:
    """Return the rows of a file until so many were given, bad ones not counted; all of them where there is no count."""
    return rows if count is None else FirstRows(rows, count)
