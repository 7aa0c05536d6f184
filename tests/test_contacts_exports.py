"""Every export in `exports/`, as CRMs, sales tools and spreadsheets write them, gives the right rows or the right question."""

import io
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from hindsight_async.cli.contacts import REST, BadRow, ContactFileError, read_contacts, read_updates

EXPORTS = Path(__file__).parent / "exports"
ANN, BOB = "ann@x.test", "bob@y.test"
ZOE = (2, ANN, "Zoë Müller")
ANN_LEE = (2, ANN, "Ann Lee")
WINDOWS = "The text is no UTF-8 and was read as Windows-1252: check the letters with accents."


def headings_on(line):
    return f"The column names stand on line {line}; what is above was left out."


def footer(lines):
    one = "Lines" not in lines
    return f"{lines} {'is' if one else 'are'} the footer of a report, and left out."


# By file: its rows as (line, address, name), problems as (line, kind, value), or the question; then what was assumed.
EXPECTED = {
    "apollo_contacts.csv": [ANN_LEE],
    "apollo_without_address.csv": [ANN_LEE, (3, "no address", None)],
    "appended_exports.csv": [(2, ANN, "Ann"), (4, BOB, "Bob"), "1 more line with the column names: left out."],
    "copied_links.csv": [(2, ANN, "Ann"), (3, BOB, "Bob")],
    "dashboard_export.csv": [(4, ANN, "Ann Lee"), headings_on(3), footer("Line 5")],
    "enroll_results.csv": [(2, ANN, "Ann")],
    "excel_dutch.csv": [(2, ANN, "Zoë de Vries"), WINDOWS],
    "excel_dutch_surname.csv": [(2, ANN, "Zoë de Vries")],
    "excel_french.csv": [(2, ANN, "Zoé Lefèvre"), WINDOWS],
    "excel_german.csv": [ZOE, WINDOWS],
    "excel_italian.csv": [(2, ANN, "Niccolò Bianchi"), WINDOWS],
    "excel_portuguese.csv": [(2, ANN, "João Conceição"), WINDOWS],
    "excel_separator_line.csv": [(2, ANN, "Zoë Müller")],
    "excel_spanish.csv": [(2, ANN, "Inés García"), WINDOWS],
    "excel_title_and_semicolons.csv": [(4, ANN, "Zoë Müller"), WINDOWS, headings_on(3)],
    "excel_unicode_text.txt": [ZOE, "The text was read as UTF-16-LE."],
    "excel_workbook.xlsx": [ZOE, (3, BOB, "Bob")],
    "excel_workbook_sheets.xlsx": [(2, ANN, None), "Of 2 sheets the first, 'Won', was read."],
    "excel_workbook_with_title.xlsx": [(4, ANN, "Zoë Müller"), (6, BOB, "Bob Ray"), headings_on(3)],
    "gong_deals.csv": [ANN_LEE],
    "gong_participants.csv": [ANN_LEE],
    "google_contacts.csv": [ANN_LEE],
    "hubspot_additional_addresses.csv": [ANN_LEE],
    "hubspot_contacts.csv": [ZOE, (3, BOB, "Ben Larsen")],
    "hubspot_contacts_two_addresses.csv": "the columns 'Email', 'Work email' could all be contact_email: map the one",
    "hubspot_deals.csv": "no column is contact_email, of these: 'Record ID', 'Deal Name', ",
    "hubspot_french.csv": [(2, ANN, "Zoé Lefèvre")],
    "hubspot_german.csv": [ZOE],
    "hubspot_portuguese.csv": [(2, ANN, "João Conceição")],
    "hubspot_spanish.csv": [(2, ANN, "Inés García Ruiz")],
    "mail_recipients.csv": [ANN_LEE, (3, BOB, "Ray, Bob"), (4, "cat@z.test", None)],
    "no_footer_but_short_rows.csv": [(2, ANN, "Ann"), (4, "no address", None)],
    "outlook_contacts.csv": [ANN_LEE],
    "outreach_email.csv": [ANN_LEE],
    "outreach_prospects.csv": [ANN_LEE, (3, "not one address", "bob@y.test, bob@old.test")],
    "pipedrive_deals.csv": [(2, ANN, None)],
    "pipedrive_people.csv": [ANN_LEE],
    "pipedrive_several.csv": [(2, "not one address", "ann@x.test, ann.lee@x.test")],
    "placeholders.csv": [
        *((line, "not an address", value) for line, value in [(2, "n/a"), (3, "-"), (4, "unknown")]),
        (5, ANN, "Dan"),
    ],
    "salesforce_contact_roles.csv": [ANN_LEE],
    "salesforce_data_loader.csv": [ANN_LEE],
    "salesforce_formatted_report.csv": [(6, ANN, "Ann Lee"), (7, BOB, "Bob Ray"), headings_on(5), footer("Line 8")],
    "salesforce_leads.csv": [ANN_LEE],
    "salesforce_report.csv": [ANN_LEE, (3, BOB, "Bob Ray"), footer("Lines 7 to 11")],
    "salesforce_report.xlsx": [(5, ANN, "Ann Lee"), headings_on(4), footer("Lines 7 to 8")],
    "salesforce_report_latin_semicolons.csv": [ZOE, WINDOWS, footer("Lines 4 to 6")],
    "salesforce_report_windows.csv": [ZOE, WINDOWS, footer("Lines 3 to 5")],
    "salesloft_owner_first.csv": [ANN_LEE],
    "salesloft_people.csv": [ANN_LEE],
    "sequence_column_twice.csv": "line 1: 'sequence_id' stands more than once in the header",
    "spreadsheet_repeated_address.csv": "line 1: 'Email' stands more than once in the header",
    "spreadsheet_repeated_columns.csv": [
        (2, ANN, "Ann"),
        "'Notes' stands more than once in the header: numbered, as 'Notes (1)'.",
    ],
    "two_people_columns.csv": "no column is contact_email, of these: 'Account', 'Champion', 'Champion email', ",
}  # fmt: skip


def read(name, **options):
    with (EXPORTS / name).open("rb") as file:
        rows = read_contacts(file, sequence_id="seq", **options)
        return list(rows), rows


def told(row):
    if isinstance(row, BadRow):
        return row.line, row.kind, row.value
    return row.line, row.request.contact_email, row.request.contact_name


@pytest.mark.parametrize("name", sorted(path.name for path in EXPORTS.iterdir()))
def test_an_export_gives_the_right_rows_or_the_right_question(name):
    """As it is, without an option: each row, each problem with its value, and what had to be assumed."""
    expected = EXPECTED[name]
    if isinstance(expected, str):
        with pytest.raises(ContactFileError) as caught:
            read(name)
        assert expected == str(caught.value)[: len(expected)]
    else:
        rows, read_rows = read(name)
        assert expected == [*map(told, rows), *read_rows.assumed]


def test_each_export_is_expected():
    """The corpus has at least forty files, and no expectation without one."""
    assert sorted(EXPECTED) == sorted(path.name for path in EXPORTS.iterdir())
    assert len(EXPECTED) > 40


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("hubspot_contacts_two_addresses.csv", "Email"),
        ("two_people_columns.csv", "Champion email"),
        ("hubspot_contacts_two_addresses.csv", "Work email"),
    ],
)
def test_a_question_is_answered_by_mapping_a_column(name, column):
    """What the complaint asks for is enough."""
    [row], _ = read(name, mapping={"contact_email": column})
    assert row.cells[column] == row.request.contact_email


@pytest.mark.parametrize(
    ("several", "expected"), [("first", ["ann@x.test"]), ("all", ["ann@x.test", "ann.lee@x.test"])]
)
def test_of_several_addresses_the_first_or_all_are_taken(several, expected):
    """One cell gives one request or as many as it has addresses, each with the row's line, cells and name."""
    rows, _ = read("pipedrive_several.csv", several=several)
    assert expected == [row.request.contact_email for row in rows]
    assert {(2, "Ann Lee")} == {(row.line, row.request.contact_name) for row in rows}


def test_all_addresses_of_a_cell_would_share_a_key():
    """A key of columns and all addresses are refused together: the second would pass for the first again."""
    with pytest.raises(ContactFileError, match="would have one key: take the first"):
        read("pipedrive_several.csv", several="all", key=["Name"])


@pytest.mark.parametrize(
    ("cell", "addresses", "name"),
    [
        ("Ann <ann@x.test>;", ["ann@x.test"], "Ann"),
        ("<ann@x.test>", ["ann@x.test"], None),
        ("ann@x.test;", ["ann@x.test"], None),
        ("ann@x.test; ANN@x.test", ["ANN@x.test"], None),
        ("Ann <ann@x.test>, Bob <bob@y.test>", ["ann@x.test", "bob@y.test"], None),
        ("ann@x.test bob@y.test", ["ann@x.test", "bob@y.test"], None),
        ("ann@x.test/bob@y.test", ["ann@x.test", "bob@y.test"], None),
        ("mailto:ann@x.test, mailto:bob@y.test", ["ann@x.test", "bob@y.test"], None),
        ("ann@x.test\nbob@y.test", ["ann@x.test", "bob@y.test"], None),
        ("ann@x.test, n/a", [], None),
        ("ann@@x.test", [], None),
        ("ann at x.test", [], None),
    ],
)
def test_the_cell_of_an_address(cell, addresses, name):
    """What people write there is taken apart, and what is no address stays a problem."""
    quoted = cell.replace('"', '""')
    rows = list(read_contacts(io.BytesIO(f'Email,A\n"{quoted}",\n'.encode()), sequence_id="s", several="all"))
    good = [row for row in rows if not isinstance(row, BadRow)]
    assert addresses == [row.request.contact_email for row in good]
    assert {name} >= {row.request.contact_name for row in good}


def test_numbers_and_dates_of_a_workbook_are_text():
    """Whole numbers have no point, a date no midnight, and an empty cell is left out."""
    [zoe, bob], _ = read("excel_workbook.xlsx", context=REST)
    assert {"Seats": "5", "Since": "2024-05-01"} == zoe.request.contact_context
    assert {"Seats": "2.5"} == bob.request.contact_context


@pytest.mark.parametrize("name", ["pipedrive_deals.csv", "salesforce_contact_roles.csv"])
def test_ids_of_products_are_no_deal_ids(name):
    """An opportunity's or deal's id of another program is not sent as Hindsight's."""
    [row], _ = read(name)
    assert row.request.deal_id is None


def test_results_of_a_run_are_not_notes_about_a_contact():
    """Status and link of an earlier run stay out of the context of the rest."""
    [row], _ = read("enroll_results.csv", context=REST)
    assert {"Title": "CTO"} == row.request.contact_context


def test_results_are_an_input_for_updates():
    """The interview is found by the results' own column."""
    with (EXPORTS / "enroll_results.csv").open("rb") as file:
        [row] = read_updates(file, context=["Title"])
    assert 4821 == row.interview_request_id


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("Email\nann@x.test\n".encode("utf-16") + b"x", "UTF-16-LE that is broken"),
        (b"Email,Name\nann@x.test,\x81\n", "the text is not UTF-8"),
        ("Email,Name\nann@x.test,Zoë\n".encode() + "bob@y.test,Zoë\n".encode("cp1252"), "the text is not UTF-8"),
    ],
    ids=["cut off", "no letter there", "two encodings"],
)  # fmt: skip
def test_a_text_of_no_single_encoding_is_not_guessed_at(data, problem):
    """Where a guess would turn names into others, the file is refused."""
    with pytest.raises(ContactFileError, match=problem):
        list(read_contacts(io.BytesIO(data), sequence_id="seq"))


def test_a_row_of_data_is_not_taken_for_the_headings():
    """The word Email in a cell below an unknown heading asks which column is the address."""
    text = b"Person,Preferred channel\nAnn,Email\nann@x.test,Phone\n"
    with pytest.raises(ContactFileError, match="of these: 'Person', 'Preferred channel'"):
        read_contacts(io.BytesIO(text), sequence_id="seq")


def test_a_mapped_column_finds_the_headings_below_a_title():
    """A heading that nobody knows is found where somebody named it."""
    text = b"Winners of May\nWho,Where to write\nAnn,ann@x.test\n"
    [row] = read_contacts(
        io.BytesIO(text), sequence_id="seq", mapping={"contact_email": "where to write", "contact_name": "who"}
    )  # fmt: skip
    assert (3, "Ann") == (row.line, row.request.contact_name)


def test_remarks_in_the_middle_are_rows():
    """A remark above further rows is a bad row, not a footer: nobody below it is lost."""
    text = b"Email,Name\nann@x.test,Ann\n\nConfidential Information\nbob@y.test,Bob\n"
    rows = list(read_contacts(io.BytesIO(text), sequence_id="seq"))
    assert [2, 4, 5] == [row.line for row in rows]
    assert [False, True, False] == [isinstance(row, BadRow) for row in rows]


def test_a_workbook_without_the_extra_says_how_to_get_it():
    """Where python-calamine is missing, the complaint names the extra and the way without."""
    code = (
        "import sys; sys.modules['python_calamine'] = None\n"
        "from hindsight_async.cli.contacts import read_contacts\n"
        f"read_contacts(open({str(EXPORTS / 'excel_workbook.xlsx')!r}, 'rb'), sequence_id='seq')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 1 == done.returncode
    assert done.stderr.splitlines()[-1].endswith(
        "ContactFileError: python_calamine is not installed: an Excel workbook needs"
        " pip install 'hindsight-async[excel]', or save the sheet as CSV UTF-8"
    )


HEADINGS_BY_LANGUAGE = {
    "English": "First Name,Last Name,Email Address",
    "German": "Vorname,Nachname,E-Mail-Adresse",
    "French": "Prénom,Nom,Adresse e-mail",
    "Spanish": "Nombre,Apellidos,Correo electrónico",
    "Italian": "Nome,Cognome,Indirizzo e-mail",
    "Dutch": "Voornaam,Achternaam,E-mailadres",
    "Portuguese": "Nome,Sobrenome,Endereço de e-mail",
    "Swedish": "Förnamn,Efternamn,E-postadress",
    "Danish": "Fornavn,Efternavn,E-mailadresse",
    "Norwegian": "Fornavn,Etternavn,E-post",
    "Finnish": "Etunimi,Sukunimi,Sähköposti",
    "Polish": "Imię,Nazwisko,Adres e-mail",
    "Czech": "Jméno,Příjmení,E-mailová adresa",
    "Hungarian": "Keresztnév,Vezetéknév,E-mail cím",
}


@pytest.mark.parametrize("language", HEADINGS_BY_LANGUAGE)
def test_headings_of_european_languages_are_known(language):
    """Address, first and last name find their fields, with and without their accents."""
    for heading in (HEADINGS_BY_LANGUAGE[language], unaccented(HEADINGS_BY_LANGUAGE[language])):
        [row] = read_contacts(io.BytesIO(f"{heading}\nAnn,Lee,ann@x.test\n".encode()), sequence_id="seq")
        assert ("ann@x.test", "Ann Lee") == (row.request.contact_email, row.request.contact_name)


def unaccented(text):
    return "".join(each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each))
