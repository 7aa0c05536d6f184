"""Contact files: CSV, TSV, JSON Lines and workbooks, as CRMs and spreadsheets write them, to requests.

The modules, in the order in which a file passes:

    file_format    which kind of file it is, and its encoding
    workbook       the rows of an Excel workbook
    json_objects   the objects of JSON Lines
    report_layout  its delimiter, and what reports put above and below their table
    tables         its rows, streamed, each with its line number
    headings       what columns are called
    columns        their names, and which field of the API each one feeds
    products       which product wrote it, by its headings
    address_cell   the cell of an address
    rows           a row to a request, or what is wrong with it
    exclusions     another file: people who are not to be written to

Every file is read more than once, and text as a stream, so nothing here keeps rows but those of a workbook. An address is never repeated in an error
text; a row is named by its line.
"""

from hindsight_async.cli.contacts.address_cell import RIGHT, SELF_EXPLAINING, Several
from hindsight_async.cli.contacts.columns import REST, ColumnMapping
from hindsight_async.cli.contacts.exclusions import read_exclusions
from hindsight_async.cli.contacts.file_format import ContactFileError
from hindsight_async.cli.contacts.products import product_of
from hindsight_async.cli.contacts.rows import CheckedRows, ContactRow, UpdateRow, read_contacts, read_updates
from hindsight_async.cli.contacts.tables import BadRow

__all__ = [
    "REST",
    "RIGHT",
    "SELF_EXPLAINING",
    "BadRow",
    "CheckedRows",
    "ColumnMapping",
    "ContactFileError",
    "ContactRow",
    "Several",
    "UpdateRow",
    "product_of",
    "read_contacts",
    "read_exclusions",
    "read_updates",
]
