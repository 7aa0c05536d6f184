"""Columns find their fields, or an error says which; rows become requests."""

import copy
import gc
import io
import pickle
import shlex
import tempfile
import tracemalloc

import pytest

from hindsight_async import CreateInterview, UpdateInterview
from hindsight_async.cli.contacts import (
    REST,
    BadRow,
    ContactFileError,
    ContactRow,
    UpdateRow,
    read_contacts,
    read_updates,
)
from hindsight_async.cli.contacts.headings import HEADINGS

JANE = "jane@acme.example"
FIELDS = (
    "; the fields are contact_email, contact_name, first_name, last_name, contact_context, deal_id, objective,"
    " sequence_id, interview_type_id"
)


def contacts(text, **options):
    return list(read_contacts(io.BytesIO(text.encode()), **{"sequence_id": "seq", **options}))


def only(text, **options):
    [row] = contacts(text, **options)
    return row.request


def updates(text, **options):
    return list(read_updates(io.BytesIO(text.encode()), **options))


def complaint(text, **options):
    with pytest.raises(ContactFileError) as caught:
        contacts(text, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    "heading",
    [
        "contact_email",
        "Email",
        "EMAIL",
        "E-mail",
        "e-Mail Address",
        "Email_Address",
        "Contact Email",
        "Contact: Email",
        "Work Email",
        "\uff25\uff4d\uff41\uff49\uff4c",
    ],
)
def test_common_headings_are_the_address(heading):
    """Case, spaces, punctuation and width do not count."""
    assert JANE == only(f"{heading}\n{JANE}\n").contact_email


@pytest.mark.parametrize("heading", ["contact_name", "Name", "Full Name", "Contact Name"])
def test_common_headings_are_the_name(heading):
    """A whole name is taken as it is."""
    assert "Jane Smith" == only(f"Email,{heading}\n{JANE},Jane Smith\n").contact_name


@pytest.mark.parametrize(
    "heading", ["Record ID", "HubSpot Deal Record ID", "Salesforce ID", "Opportunity ID", "Id"]
)
def test_crm_ids_are_no_deal_ids(heading):
    """An id of another system is never sent as Hindsight's."""
    assert only(f"Email,{heading}\n{JANE},0061x\n").deal_id is None


def test_every_field_has_its_own_name_as_a_heading():
    """The API's field names work as they are."""
    names = [name for name in HEADINGS if name not in {"interview_request_id", "first_name", "last_name"}]
    cells = [JANE if name == "contact_email" else f"the {name}" for name in names]
    expected = CreateInterview(**dict(zip(names, cells, strict=True)))
    assert expected == only(f"{','.join(names)}\n{','.join(cells)}\n")


def test_a_whole_name_goes_before_its_parts():
    """Full name beside first and last name is no ambiguity; the parts are left for the context."""
    request = only(f"Email,First Name,Last Name,Full Name\n{JANE},Jane,Smith,Dr Jane Smith\n", context=REST)
    assert "Dr Jane Smith" == request.contact_name
    assert {"First Name": "Jane", "Last Name": "Smith"} == request.contact_context


def test_mapped_parts_go_before_a_guessed_whole_name():
    """Mapping first and last name takes the column that would pass for the whole name."""
    text = f"Email,Vorname,Name\n{JANE},Jane,Smith\n"
    assert "Jane Smith" == only(text, mapping={"first_name": "Vorname", "last_name": "Name"}).contact_name
    assert "Jane" == only(text, mapping={"first_name": "Vorname"}).contact_name


def test_a_mapping_wins_over_headings():
    """The mapped column is read, and decides which of two candidates is meant."""
    text = f"Email,Work Email,Target\nx@home.example,{JANE},Price?\n"
    request = only(text, mapping={"contact_email": "work email", "objective": "Target"})
    assert (JANE, "Price?") == (request.contact_email, request.objective)


def test_a_mapped_column_feeds_nothing_else():
    """A column mapped to one field is not guessed to be another as well."""
    request = only(f"Email,Name\n{JANE},Win\n", mapping={"objective": "Name"})
    assert ("Win", None) == (request.objective, request.contact_name)


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        ({"contct_email": "Email"}, f"no field 'contct_email' to map; did you mean 'contact_email'?{FIELDS}"),
        ({"zzz": "Email"}, f"there is no field 'zzz' to map{FIELDS}"),
        (
            {"interview_request_id": "Email"},
            f"no field 'interview_request_id' to map; did you mean 'interview_type_id'?{FIELDS}",
        ),
        ({"objective": "Titel"}, "there is no column 'Titel'; did you mean 'Title'?"),
        ({"objective": "zzz"}, "there is no column 'zzz', of these: 'Email', 'Title', 'city', 'City', '#'"),
        ({"objective": "?!"}, "there is no column '?!', of these: 'Email', 'Title', 'city', 'City', '#'"),
        ({"objective": "CITY"}, "'CITY' could be any of the columns 'city', 'City': write it exactly"),
        ({"objective": JANE}, "(a name with an @), of these: 'Email', 'Title', 'city', 'City', '#'"),
    ],
)
def test_a_wrong_mapping_is_named(mapping, expected):
    """An unknown field or column is an error with the nearest name, if one is near, and with all fields."""
    text = f"Email,Title,city,City,#\n{JANE},CTO,x,y,z\n"
    assert complaint(text, mapping=mapping).endswith(expected)


def test_an_exact_name_goes_before_similar_ones():
    """Where two columns differ by case only, the exact spelling picks one."""
    assert "y" == only(f"Email,city,City\n{JANE},x,y\n", mapping={"objective": "City"}).objective


def test_many_columns_are_not_all_listed():
    """The list of columns in an error ends after twenty, and long names are cut."""
    text = complaint(f"{','.join(f'c{i}' for i in range(30))},{'z' * 500}\n{JANE}\n")
    assert text.endswith("'c19' and 11 more")
    assert f"'{'z' * 60}…'" in complaint(f"{'z' * 500},b\n{JANE},x\n")


@pytest.mark.parametrize("context", [["job title", "Company"], ("Job Title", "company"), REST])
def test_columns_become_the_context(context):
    """Named columns, or all that feed no field, go in under their headings; empty cells stay out."""
    text = f"Email,Name,Job Title,Company\n{JANE},Jane, CTO ,Acme\nsam@acme.example,Sam, ,\n"
    jane, sam = contacts(text, context=context)
    assert {"Job Title": "CTO", "Company": "Acme"} == jane.request.contact_context
    assert sam.request.contact_context is None


def test_a_single_context_column_may_be_given_as_text():
    """A bare name is one column, not its letters."""
    assert {"Title": "CTO"} == only(f"Email,Title\n{JANE},CTO\n", context="title").contact_context


@pytest.mark.parametrize(
    ("text", "context", "expected"),
    [
        ("Email,Title\n", ["Titel"], "there is no column 'Titel'; did you mean 'Title'?"),
        ("Email,Context,Title\n", ["Title"], "'Context' is the whole context already"),
        ("Email,contact_context\n", REST, "'contact_context' is the whole context already"),
    ],
)
def test_a_wrong_context_is_named(text, context, expected):
    """A missing column, or a second source of the context, is an error."""
    assert expected in complaint(f"{text}{JANE},x\n", context=context)


def test_json_values_stay_in_the_context():
    """In JSON Lines a context column keeps its kind; null and empty text stay out."""
    text = f'{{"email": "{JANE}", "seats": 5, "tags": ["a"], "won": false, "x": null, "y": " "}}'
    assert {"seats": 5, "tags": ["a"], "won": False} == only(text, context=REST).contact_context


def test_the_files_ids_go_before_the_given_ones():
    """A row that names a sequence or a type gets nothing added, so that no link turns into an email."""
    text = f"Email,sequence_id,interview_type_id\n{JANE},own,\nsam@acme.example,,type\nmax@acme.example,,\n"
    rows = contacts(text, sequence_id="seq")
    assert [("own", None), (None, "type"), ("seq", None)] == [
        (row.request.sequence_id, row.request.interview_type_id) for row in rows
    ]


def test_an_interview_type_alone_gives_links():
    """Without a sequence the request names only the interview type."""
    request = only(f"Email\n{JANE}\n", sequence_id=None, interview_type_id="type")
    assert (None, "type") == (request.sequence_id, request.interview_type_id)


def test_neither_sequence_nor_type_is_an_error_before_any_row():
    """Where no id is given and no column has one, the file is refused; a row without one is a bad row."""
    assert "neither a sequence nor an interview type" in complaint(f"Email\n{JANE}\n", sequence_id=None)
    [bad] = contacts(f"Email,sequence_id\n{JANE},\n", sequence_id=None)
    assert (2, True) == (bad.line, bad.problem.startswith("sequence_id or interview_type_id must be given"))


def test_addresses_keep_their_case():
    """Nothing but the ends of an address is touched, also where it is not ASCII."""
    assert ["Jane.O@ACME.example", "jörg@acme.example"] == [
        row.request.contact_email for row in contacts("Email\n Jane.O@ACME.example \njörg@acme.example\n")
    ]


def test_rows_carry_their_cells_as_read():
    """The cells are the file's own, untrimmed, and show in no repr."""
    [row, bad] = contacts(f"Email,Phone\n{JANE} ,+49 1 \nnobody,x\n")
    assert {"Email": f"{JANE} ", "Phone": "+49 1 "} == row.cells
    assert {"Email": "nobody", "Phone": "x"} == bad.cells
    assert not [text for text in (repr(row), repr(bad)) if JANE in text or "+49" in text]


def test_a_file_can_be_read_again():
    """Each iteration begins at the first row, whatever was read before, and leaves the file open."""
    file = io.BytesIO(f"Email\n{JANE}\nnobody\n".encode())
    rows = read_contacts(file, sequence_id="seq")
    next(iter(rows))
    gc.collect()
    assert list(rows) == list(rows)
    assert [ContactRow, BadRow] == [type(row) for row in rows]
    assert not file.closed


def test_what_was_mapped_can_be_seen():
    """The result names the file's columns and what each feeds."""
    rows = read_contacts(io.BytesIO(b"Mail,Email,Title\na,b,c\n"), sequence_id="seq", context=["title"])
    assert ("Mail", "Email", "Title") == rows.columns
    assert ({"contact_email": "Email"}, ("Title",)) == (rows.mapping.fields, rows.mapping.context)


def test_columns_of_json_lines_are_those_of_all_lines():
    """A column that first appears in a later line is there from the beginning, in order of appearance."""
    text = f'{{"email": "{JANE}"}}\nnonsense\n{{"email": "sam@acme.example", "title": "CTO"}}\n'
    rows = read_contacts(io.BytesIO(text.encode()), sequence_id="seq", context=["title"])
    assert ("email", "title") == rows.columns
    assert [None, {"title": "CTO"}] == [
        row.request.contact_context for row in rows if isinstance(row, ContactRow)
    ]


def test_a_spooled_file_works():
    """Standard input kept in a temporary file can be read."""
    with tempfile.SpooledTemporaryFile(max_size=10) as file:
        file.write(f"Email\n{JANE}\n".encode())
        assert 1 == len(list(read_contacts(file, sequence_id="seq")))


def test_a_file_may_be_closed_before_an_abandoned_iteration_is():
    """Leaving an iteration behind and closing the file raises nothing."""
    file = io.BytesIO(f"Email\n{JANE}\n".encode())
    iteration = iter(read_contacts(file, sequence_id="seq"))
    next(iteration)
    file.close()
    iteration.close()
    assert file.closed


def test_memory_does_not_grow_with_the_rows():
    """Reading three times as many rows takes no more memory."""

    def peak(count):
        lines = (f"jane{i}@acme.example,{'Jane ' * 40},CTO\n".encode() for i in range(count))
        file = io.BytesIO(b"Email,Name,Title\n" + b"".join(lines))
        tracemalloc.start()
        try:
            assert count == sum(1 for _ in read_contacts(file, sequence_id="seq", context=REST))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(100)
    assert peak(3_000) < peak(1_000) + 100_000


def test_a_contact_file_error_travels():
    """The error pickles and copies with its line."""
    error = ContactFileError("something", line=7)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert ("line 7: something", 7) == (str(twin), twin.line)


def test_updates_are_read():
    """Id and fields of each row become an update; other columns may become the context."""
    rows = updates(
        "Interview ID,Full Name,Objective,Title\n4821,Jane,Why?,CTO\n17,,,CFO\n", context=["Title"]
    )
    assert [
        (2, 4821, UpdateInterview(contact_name="Jane", objective="Why?", contact_context={"Title": "CTO"})),
        (3, 17, UpdateInterview(contact_context={"Title": "CFO"})),
    ] == [(row.line, row.interview_request_id, row.update) for row in rows]
    assert {"Interview ID": "17", "Full Name": "", "Objective": "", "Title": "CFO"} == rows[1].cells


@pytest.mark.parametrize(
    "heading", ["interview_request_id", "Interview Request ID", "interviewId", "Interview ID"]
)
def test_common_headings_are_the_interview(heading):
    """The id column goes by its field name or by the short form, also beside another program's ID."""
    [row] = updates(f"ID,{heading},objective\n7,5,x\n")
    assert 5 == row.interview_request_id


@pytest.mark.parametrize("heading", ["ID", "Id", "id", " id ", "I.D."])
def test_an_id_that_does_not_say_whose_is_not_the_interviews(heading):
    """A record's id is never taken for the interview's by itself; the error shows the --map that takes it."""
    text = f"{heading},objective\n5,x\n"
    with pytest.raises(
        ContactFileError, match=r"no column is interview_request_id, .*does not say whose"
    ) as failure:
        updates(text)
    option, words = str(failure.value).rpartition(", give ")[2].split(" ", 1)
    [pair] = shlex.split(words)
    field, column = pair.split("=")
    assert ("--map", heading.strip()) == (option, column)
    [row] = updates(text, mapping={field: column})
    assert 5 == row.interview_request_id


def test_updates_in_json_lines_take_numbers_as_ids():
    """An id may be a number or its digits; a context may be an object."""
    text = '{"interview_id": 4821, "contact_context": {"a": 1}}\n{"interview_id": "17", "first_name": "Jane", "last_name": "Smith"}\n'
    assert [
        (4821, UpdateInterview(contact_context={"a": 1})),
        (17, UpdateInterview(contact_name="Jane Smith")),
    ] == [(row.interview_request_id, row.update) for row in updates(text)]


@pytest.mark.parametrize(
    "value",
    [
        '""',
        "null",
        '"4821.0"',
        "4821.5",
        "-5",
        "0",
        "true",
        '"\u0664"',
        '"jane@acme.example"',
        "9" * 19,
        "[1]",
    ],
)
def test_what_is_no_id_is_a_bad_row(value):
    """Anything but a positive whole number is refused, and not repeated."""
    [bad] = updates(f'{{"interview_id": {value}, "objective": "x"}}')
    assert "interview_request_id must be the interview's whole number, such as 4821" == bad.problem


def test_an_update_needs_something_to_change():
    """A row with only its id is a bad row; an id column must be there."""
    [bad] = updates("interview_id,objective\n5,\n")
    assert bad.problem.startswith("contact_context, contact_name or objective must be given")
    with pytest.raises(ContactFileError, match=r"no column is interview_request_id, of these: 'objective'$"):
        updates("objective\nx\n")
    with pytest.raises(
        ContactFileError, match="did you mean --map 'interview_request_id=Hindsight interview id'"
    ):
        updates("Hindsight interview id,objective\n5,x\n")
    assert UpdateRow is type(updates("interview_id,objective\n5,x\n")[0])
