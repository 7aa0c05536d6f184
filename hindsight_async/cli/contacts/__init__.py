"""Contact files: CSV, TSV and JSON Lines, as CRMs write them, to requests.

    rows          which column feeds which field, and what is wrong with a row
    columns       headings and their mapping
    tables        rows of a file, streaming
    file_format   delimiter and encoding

The command line and the demo read their files here.
"""

from hindsight_async.cli.contacts.columns import REST, ColumnMapping
from hindsight_async.cli.contacts.file_format import ContactFileError
from hindsight_async.cli.contacts.rows import CheckedRows, ContactRow, UpdateRow, read_contacts, read_updates
from hindsight_async.cli.contacts.tables import BadRow

__all__ = [
    "REST",
    "BadRow",
    "CheckedRows",
    "ColumnMapping",
    "ContactFileError",
    "ContactRow",
    "UpdateRow",
    "read_contacts",
    "read_updates",
]
