"""Every ugly file in `ugly/` gives the right rows or a clear complaint."""

import csv
import io
import json
from pathlib import Path

import attrs
import pytest

from hindsight_async.cli.contacts import BadRow, ContactFileError, read_contacts
from hindsight_async.cli.contacts.columns import COLUMN_LIMIT
from hindsight_async.cli.contacts.tables import FIELD_LIMIT, ROW_LIMIT

UGLY = Path(__file__).parent / "ugly"
JANE = "jane@acme.example"
SAM = "sam@acme.example"
NO_ADDRESS = "contact_email must be one bare email address"
NO_WORKBOOK = "the file looks like an Excel workbook and cannot be read as one"
NOT_UTF8 = "the text is not UTF-8, it looks like "
DEFAULT_SEQUENCE = "seq_default"


def row(line, address=JANE, **fields):
    expected = {"contact_email": address, "sequence_id": DEFAULT_SEQUENCE, **fields}
    return ("row", line, {name: value for name, value in expected.items() if value is not None})


def bad(line, problem):
    return ("bad", line, problem)


def unusable(problem, line=None):
    return ("unusable", line, problem if line is None else f"line {line}: {problem}")


EXPECTED = {
    "address_as_name.jsonl": [row(1), bad(2, "(withheld) must be a finite number")],
    "all_nul.csv": [unusable("a NUL byte", 1)],
    "array.json": [unusable("the file is a JSON array: write one object per line")],
    "bad_objects.jsonl": [
        row(1),
        bad(2, "not JSON on one line: Expecting value at character 10"),
        bad(3, "not a JSON object"),
        bad(4, "deal_id must be text, not a number"),
        bad(5, "'email' stands more than once in one object"),
        bad(6, "contact_context must be text or a mapping, not list"),
        bad(7, "contact_context.(withheld) must be a finite number"),
        bad(8, "title must be valid Unicode"),
        bad(9, "contact_email is empty"),
        bad(10, "NaN is not JSON"),
        bad(11, "an integer of more than 20 digits cannot be sent"),
    ],
    "blank_lines.csv": [row(5, contact_name="Jane"), bad(8, NO_ADDRESS)],
    "blank_lines_then_semicolons.csv": [row(4, contact_name="Jane")],
    "bom.csv": [row(2, contact_name="Jane")],
    "bom.jsonl": [row(1)],
    "bom_and_sep_line.csv": [row(2, contact_name="Jane")],
    "bom_in_the_middle.csv": [
        row(2, contact_name="Jane"),
        row(3, SAM, contact_name="Sam"),
        row(4, "max@acme.example", contact_name="Max"),
    ],
    "bom_twice_and_quoted.csv": [row(2, contact_name="Jane")],
    "cut_off_character.csv": [unusable(NOT_UTF8, 2)],
    "duplicate_columns.csv": [row(2, contact_name="Jane")],
    "empty.csv": [unusable("the file is empty")],
    "excel_sep_line.csv": [row(2, contact_name="Jane")],
    "first_and_last_name.csv": [row(2, contact_name="Jane Smith"), row(3, SAM, contact_name="Sam")],
    "formulas.csv": [row(2, contact_name="=1+1", objective='=HYPERLINK("http://x.example")')],
    "full_width.csv": [
        bad(2, "contact_email has full-width characters"),
        bad(3, "contact_email has full-width characters"),
    ],
    "gzipped.csv": [unusable("the file is compressed with gzip")],
    "header_only.csv": [unusable("the file has column names but no row below them")],
    "ids_in_file.csv": [
        row(2, sequence_id="seq_own", deal_id="d1"),
        row(3, SAM, sequence_id=None, interview_type_id="type_1"),
    ],
    "json_context.csv": [
        row(2, contact_context={"title": "CTO"}),
        row(3, SAM, contact_context="{plain text"),
        row(4, "max@acme.example", contact_context='{"a": NaN}'),
    ],
    "latin_1.csv": [row(2, contact_name="Jérôme")],
    "lone_cr.csv": [row(2, contact_name="Jane"), bad(3, NO_ADDRESS)],
    "missing_header.csv": [unusable("the first line looks like data, not column names", 1)],
    "misspelt_heading.csv": [
        unusable(
            "no column is contact_email, of these: 'Emial', 'Name'; did you mean --map contact_email=Emial?"
        )
    ],
    "mixed_line_ends.csv": [
        row(2, contact_name="Jane"),
        row(3, SAM, contact_name="Sam"),
        bad(4, NO_ADDRESS),
    ],
    "newline_in_header.csv": [row(2, contact_name="Jane"), bad(3, NO_ADDRESS)],
    "no_address_column.csv": [unusable("no column is contact_email, of these: 'Nme', 'Phone'")],
    "no_final_newline.csv": [row(2)],
    "nul_bytes.csv": [unusable("a NUL byte", 2)],
    "objects.jsonl": [row(2, contact_context={"title": "CTO", "seats": 5}), row(4, SAM)],
    "old_workbook.csv": [unusable(NO_WORKBOOK)],
    "only_blank_lines.csv": [unusable("the file is empty")],
    "other_delimiter_in_rows.csv": [bad(2, NO_ADDRESS)],
    "pandas_index.csv": [row(2)],
    "pipes.csv": [row(2, contact_name="Jane")],
    "pretty_printed.jsonl": [unusable("not JSON on one line", 1)],
    "quotes_with_newlines.csv": [
        row(2, objective='Why?\nAnd "how"?'),
        bad(3, "the row has 3 cells, the header names 2"),
    ],
    "record_ids.csv": [row(2)],
    "semicolons.csv": [row(2, contact_name="Smith, Jane")],
    "short_and_long_rows.csv": [
        bad(2, "the row has 1 cell, the header names 3"),
        bad(3, "the row has 4 cells, the header names 3"),
        row(4, "max@acme.example", contact_name="Max", deal_id="d2"),
    ],
    "space_before_quote.csv": [row(2, contact_name="Smith, Jane")],
    "spaces_in_header.csv": [row(2, contact_name="Jane")],
    "stray_quote.csv": [unusable("text follows a closing quote", 2)],
    "tab_in_comma_file.csv": [bad(2, "contact_name must be text on one line, without control characters")],
    "tabs.tsv": [row(2, contact_name="Smith, Jane")],
    "trailing_delimiters.csv": [
        row(2, contact_name="Jane"),
        bad(3, "the row has 4 cells, the header names 2"),
    ],
    "two_address_columns.csv": [
        unusable("the columns 'Email', 'Work E-mail' could all be contact_email: map the one that is")
    ],
    "two_bad_addresses.csv": [bad(2, NO_ADDRESS), bad(3, "contact_email has 2 addresses")],
    "two_names_for_one_field.jsonl": [
        unusable("the columns 'email', 'contact_email' could all be contact_email")
    ],
    "unterminated_quote.csv": [
        row(2, contact_name="Jane"),
        unusable("a quote that opens in this row is never closed", 3),
    ],
    "unusual_heading.csv": [
        unusable(
            "no column is contact_email, of these: 'Name', 'Preferred e-mail (work)'; "
            "did you mean --map 'contact_email=Preferred e-mail (work)'?"
        )
    ],
    "utf_16_be.csv": [row(2, contact_name="Jérôme")],
    "utf_16_be_bom.csv": [row(2, contact_name="Jérôme")],
    "utf_16_le.csv": [row(2, contact_name="Jérôme")],
    "utf_16_le_bom.csv": [row(2, contact_name="Jérôme")],
    "utf_32_bom.csv": [row(2, contact_name="Jérôme")],
    "web_page.csv": [unusable("no column is contact_email, of these: '<!DOCTYPE html>'")],
    "windows_1252.csv": [row(2, contact_name="Jane"), row(3, SAM, contact_name="O\u2019Neil")],
    "workbook.csv": [unusable(NO_WORKBOOK)],
    "zero_width_around_address.csv": [row(2), row(3, SAM)],
    "zero_width_inside_address.csv": [bad(2, "contact_email must have no invisible characters")],
}


def told(file):
    outcomes = []
    try:
        for read in read_contacts(file, sequence_id=DEFAULT_SEQUENCE):
            if isinstance(read, BadRow):
                outcomes.append(("bad", read.line, read.problem))
            else:
                fields = attrs.asdict(read.request, filter=lambda _, value: value is not None)
                outcomes.append(("row", read.line, fields))
    except ContactFileError as error:
        outcomes.append(("unusable", error.line, str(error)))
    return outcomes


def assert_told(expected, outcomes):
    shortened = [
        (kind, line, said[: len(wanted[2])] if isinstance(said, str) else said)
        for (kind, line, said), wanted in zip(outcomes, expected, strict=True)
    ]
    assert expected == shortened


@pytest.mark.parametrize("name", sorted(path.name for path in UGLY.iterdir()))
def test_an_ugly_file_gives_the_right_rows_or_a_clear_complaint(name):
    """Each file gives exactly the rows, bad rows and the complaint stated for it, at their rows as a spreadsheet counts them."""
    with (UGLY / name).open("rb") as file:
        assert_told(EXPECTED[name], told(file))


def test_the_corpus_is_complete():
    """Every expectation has its file."""
    assert sorted(EXPECTED) == sorted(path.name for path in UGLY.iterdir())


def test_addresses_appear_in_no_complaint():
    """No text about any ugly file repeats an address that stands in it."""
    for path in sorted(UGLY.iterdir()):
        with path.open("rb") as file:
            said = [text for kind, _, text in told(file) if kind != "row"]
        assert not [text for text in said if "@acme" in text or "@b.example" in text], path.name


TEN_MEGABYTES = 10_000_000
MANY_LINES = "x\n" * FIELD_LIMIT
QUOTE_OR_CELL = (
    f"a cell has more than {FIELD_LIMIT:,} characters, or a quote that opens in this row is never closed"
)
TOO_LONG = f"the row has more than {ROW_LIMIT:,} characters"
ROWS_BELOW = "sam@acme.example,Sam\n" * 10_000


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: f"Email,Name\n{JANE},{'x' * FIELD_LIMIT}\n", [row(2, contact_name="x" * FIELD_LIMIT)]),
        (lambda: f"Email,Name\n{JANE},{'x' * (FIELD_LIMIT + 1)}\n", [unusable(QUOTE_OR_CELL, 2)]),
        (lambda: f'Email,Name\n{JANE},"{MANY_LINES}"\n', [unusable(QUOTE_OR_CELL, 2)]),
        (lambda: f"Email,Name\n{JANE},{'x' * TEN_MEGABYTES}\n", [unusable(TOO_LONG, 2)]),
        (lambda: f'Email,Name\n\n{JANE},"{"x" * TEN_MEGABYTES}"\n', [unusable(TOO_LONG, 3)]),
        (
            lambda: f"Email,Name\n{JANE},{'x' * 100_000},{'y' * 100_000}\n",
            [bad(2, "the row has 3 cells, the header names 2")],
        ),
        (lambda: "x" * TEN_MEGABYTES, [unusable(TOO_LONG, 1)]),
        (
            lambda: f'Email,Name\n{JANE},Jane\n{SAM},"Sam\n{ROWS_BELOW}',
            [row(2, contact_name="Jane"), unusable(QUOTE_OR_CELL, 3)],
        ),
        (
            lambda: f'{{"email": "{JANE}"}}\n{{"email": "{"x" * TEN_MEGABYTES}"}}\n',
            [unusable(TOO_LONG, 2)],
        ),
        (
            lambda: f'{{"email": "{JANE}"}}\n{{"a": {"[" * 100_000}\n',
            [row(1), bad(2, "the JSON nests too deeply")],
        ),
        (
            lambda: f'{{"email": "{JANE}"}}\n{{"a": {"9" * 5000}}}\n',
            [row(1), bad(2, "an integer of more than 20 digits")],
        ),
        (lambda: f"Email{',x' * COLUMN_LIMIT}\n", [unusable("more than 4,096 columns", 1)]),
        (
            lambda: json.dumps(dict.fromkeys(map(str, range(COLUMN_LIMIT)))) + f'\n{{"email": "{JANE}"}}\n',
            [unusable("more than 4,096 columns", 2)],
        ),
    ],
)
def test_sizes_have_limits(build, expected):
    """A cell, a row, a number, nesting or a header beyond its limit is named; at the limit it is read."""
    assert_told(expected, told(io.BytesIO(build().encode())))


@pytest.mark.parametrize(
    ("bad_object", "ending"),
    [
        (f'{{"{"k" * 500_000}": 1e999}}', "must be a finite number, not inf"),
        (f'{{"a": {"[" * 200}{"]" * 200}}}', "[0] nests deeper than 100 levels"),
    ],
    ids=["name", "nesting"],
)
def test_a_long_path_gives_a_short_text(bad_object, ending):
    """A key of half a million characters, or a hundred levels, do not flood the error text."""
    [_, (_, line, problem)] = told(io.BytesIO(f'{{"email": "{JANE}"}}\n{bad_object}\n'.encode()))
    assert (2, True) == (line, len(problem) < 400)
    assert problem.endswith(ending)


@pytest.mark.parametrize("limit", [5, FIELD_LIMIT * 4])
def test_the_csv_modules_own_limit_may_have_been_changed(limit):
    """An application that lowered or raised the csv module's limit gets the same kind of complaint."""
    files = {5: b"Email,Name\n", FIELD_LIMIT * 4: f"Email,Name\n{JANE},{'x' * FIELD_LIMIT}y\n".encode()}
    before = csv.field_size_limit(limit)
    try:
        [(kind, _, text)] = told(io.BytesIO(files[limit].replace(b"Name", b"Contact Name")))
    finally:
        csv.field_size_limit(before)
    assert ("unusable", True) == (
        kind,
        f"a cell has more than {min(limit, FIELD_LIMIT):,} characters" in text,
    )
