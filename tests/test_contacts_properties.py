"""Whatever the bytes: rows, bad rows, or one clear error."""

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from hindsight_async.cli.contacts import (
    REST,
    BadRow,
    ContactFileError,
    ContactRow,
    UpdateRow,
    read_contacts,
    read_updates,
)

ADDRESS = "jane@acme.example"
PIECES = st.sampled_from(
    [
        "Email",
        "Name",
        "contact_context",
        "interview_request_id",
        "sequence_id",
        "sep=;",
        ADDRESS,
        "4821",
        "=1",
        " ",
        "",
        '"',
        '""',
        ",",
        ";",
        "\t",
        "|",
        "\n",
        "\r",
        "\r\n",
        "{",
        "}",
        "[",
        "]",
        ":",
        '{"email": "jane@acme.example"}\n',
        f'"{ADDRESS}"',
        '"email"',
        "1e999",
        "NaN",
        "null",
        "\\ud800",
        "\ufeff",
        "\u200b",
        "\0",
        "é",
    ]
)
TEXTS = st.lists(PIECES, max_size=40).map("".join)
HEADED = TEXTS.map(lambda text: f"Email,Interview ID,Name\n{text}")
ENCODED = st.tuples(TEXTS | HEADED, st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le"]))
FILES = st.binary(max_size=400) | ENCODED.map(lambda pair: pair[0].encode(pair[1]))

CELLS = st.text(
    st.characters(codec="utf-8", exclude_characters="\0\ufeff", exclude_categories=["Cs"]), max_size=12
) | st.sampled_from(['"', ",", "\n", "\r\n", "a\rb", '"",', "'", ";"])


def gathered(read):
    rows, complaints = [], []
    try:
        rows.extend(read())
    except ContactFileError as error:
        complaints.append(str(error))
    return rows, [*complaints, *(row.problem for row in rows if isinstance(row, BadRow))]


@given(FILES)
def test_any_bytes_give_rows_or_a_complaint(data):
    """No bytes lead to any other exception, to an empty text, or to a text with an address in it."""
    for read, kind in [
        (lambda: read_contacts(io.BytesIO(data), sequence_id="seq"), ContactRow),
        (lambda: read_contacts(io.BytesIO(data), interview_type_id="type", context=REST), ContactRow),
        (lambda: read_updates(io.BytesIO(data), mapping={"objective": "Name"}), UpdateRow),
    ]:
        rows, complaints = gathered(read)
        assert {kind, BadRow} >= {type(row) for row in rows}
        assert all(complaints)
        assert not [text for text in complaints if ADDRESS in text]


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8), st.sampled_from(",;\t|"))
def test_what_a_csv_writer_wrote_is_read_back(rows, delimiter):
    """Every cell arrives as it was written, whatever stands in it and whatever the delimiter."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerow(["Email", "One", "Two"])
    writer.writerows([ADDRESS, *cells] for cells in rows)
    read = list(read_contacts(io.BytesIO(file.getvalue().encode()), sequence_id="seq"))
    assert [{"Email": ADDRESS, "One": one, "Two": two} for one, two in rows] == [row.cells for row in read]
