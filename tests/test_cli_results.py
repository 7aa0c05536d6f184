"""Results stand beside the input's columns, and no cell is run by a spreadsheet."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hindsight_async.cli.contacts import read_contacts
from hindsight_async.cli.results import (
    FORMULA_STARTS,
    CsvResults,
    JsonLinesResults,
    RowResult,
    are_results,
    result_names,
)
from hindsight_async.redaction import escaped

CREATED = RowResult(status="created", interview_request_id=4821, survey_url="https://x.example/s?t=1")
TEXT = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ['"', ",", "\n", "\r\n", "a\rb", "=1", "+1", "-1", "@x", "\tx", "\r", "\n=1", "\uff1d1", "'", "'=1"]
)


def test_csv_rows_carry_input_and_result():
    """The header and each row are the input's columns, then ours; what is missing stays empty."""
    file = io.StringIO(newline="")
    results = CsvResults(file, ["Email", "Title"])
    results.write({"Email": "jane@acme.example", "Title": "CTO, acting"}, CREATED)
    results.write({"Email": "sam@acme.example"}, RowResult(status="rejected", error="deal_id not found"))
    assert (
        "Email,Title,status,interview_request_id,survey_url,error,ledger_key\r\n"
        'jane@acme.example,"CTO, acting",created,4821,https://x.example/s?t=1,,\r\n'
        "sam@acme.example,,rejected,,,deal_id not found,\r\n"
    ) == file.getvalue()


def test_json_lines_carry_input_and_result():
    """Each line is one object: the cells as they were, then all of ours, null where there is none."""
    file = io.StringIO(newline="")
    results = JsonLinesResults(file, ["email", "seats"])
    results.write({"email": "jörg@acme.example", "seats": 5, "tags": ["=a"]}, CREATED)
    assert (
        '{"email": "jörg@acme.example", "seats": 5, "tags": ["=a"], "status": "created", '
        '"interview_request_id": 4821, "survey_url": "https://x.example/s?t=1", "error": null, "ledger_key": null}\n'
    ) == file.getvalue()


@pytest.mark.parametrize("start", FORMULA_STARTS)
def test_formulas_are_escaped_everywhere(start):
    """A heading, an input cell and an error text that a spreadsheet would run get an apostrophe."""
    file = io.StringIO(newline="")
    results = CsvResults(file, [f"{start}head"])
    results.write({f"{start}head": f"{start}cell"}, RowResult(status="rejected", error=f"{start}error"))
    header, row = csv.reader(io.StringIO(file.getvalue(), newline=""), strict=True)
    assert [f"'{start}head", "status", "interview_request_id", "survey_url", "error", "ledger_key"] == header
    error = f"'{start}error" if start.isprintable() else escaped(f"{start}error")
    assert [f"'{start}cell", "rejected", "", "", error, ""] == row


def test_json_values_are_written_as_json_in_csv():
    """A cell that is no text is its JSON; one that begins with a minus is escaped too."""
    file = io.StringIO(newline="")
    columns = ["a", "b", "c", "d", "e"]
    values = [{"x": "é"}, [1], True, None, -5]
    CsvResults(file, columns).write(dict(zip(columns, values, strict=True)), RowResult(status="created"))
    row = list(csv.reader(io.StringIO(file.getvalue(), newline="")))[1]
    assert ['{"x": "é"}', "[1]", "true", "", "'-5"] == row[:5]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (["Email"], ("status", "interview_request_id", "survey_url", "error", "ledger_key")),
        (
            ["Status", "error"],
            ("hindsight_status", "interview_request_id", "survey_url", "hindsight_error", "ledger_key"),
        ),
        (
            ["status", "hindsight_status"],
            ("hindsight_hindsight_status", "interview_request_id", "survey_url", "error", "ledger_key"),
        ),
    ],
)
def test_clashing_names_give_way(columns, expected):
    """Our name takes a prefix, as often as needed, where the input has it already in any case."""
    assert expected == result_names(columns)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (["Email", *result_names(["Email"])], True),
        (["Status", *result_names(["Status"])], True),
        ([*result_names(["Status", "error"]), "Email"], True),
        (["STATUS", "Interview_Request_ID", "Survey_URL", "Error"], True),
        (["Email", "status", "error"], False),
        (["Email", "interview_request_id", "status", "survey_url"], True),
        (["Email", "survey_url", "hindsight_status"], True),
        (["Email", "interview_request_id", "survey_url", "error"], False),
        ([], False),
    ],
)
def test_results_are_known_by_their_columns(columns, expected):
    """A status beside an interview makes a file results, also where our name has the prefix and the other is gone."""
    assert expected is are_results(columns)


def test_clashing_names_lose_nothing():
    """The input's status and ours both stand in the row, in both formats."""
    for results_of, read in [
        (CsvResults, lambda text: list(csv.DictReader(io.StringIO(text, newline="")))),
        (JsonLinesResults, lambda text: [json.loads(line) for line in text.splitlines()]),
    ]:
        file = io.StringIO(newline="")
        results_of(file, ["status"]).write({"status": "old"}, RowResult(status="created"))
        [row] = read(file.getvalue())
        assert ("old", "created") == (row["status"], row["hindsight_status"])


@pytest.mark.parametrize("results_of", [CsvResults, JsonLinesResults])
def test_each_row_is_out_when_write_returns(results_of, tmp_path):
    """A run that dies later leaves the rows so far in the file."""
    path = tmp_path / "results"
    with path.open("w", encoding="utf-8") as file:
        results = results_of(file, ["Email"])
        results.write({"Email": "jane@acme.example"}, CREATED)
        assert "4821" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("results_of", [CsvResults, JsonLinesResults])
def test_any_file_open_for_text_will_do(results_of):
    """Encoding, newline translation and half a surrogate pair spoil nothing: the file is switched over."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii", newline="\r\n")
    results_of(file, ["Name"]).write({"Name": "Jérôme\n"}, RowResult(status="rejected", error="\ud800"))
    text = raw.getvalue().decode()
    assert "Jérôme" in text
    assert ("\ufffd" if results_of is CsvResults else "\\ud800") in text
    assert "\r\r\n" not in text


@given(st.lists(TEXT, min_size=1, max_size=4, unique_by=str.casefold), st.data())
def test_csv_results_are_read_back(columns, data):
    """A strict reader gets every cell as it was but for the apostrophe before a formula, and ours with nothing hidden."""
    cells = {column: data.draw(TEXT) for column in columns}
    error = data.draw(TEXT)
    file = io.StringIO(newline="")
    CsvResults(file, columns).write(cells, RowResult(status="rejected", error=error))
    header, row = csv.reader(io.StringIO(file.getvalue(), newline=""), strict=True)
    expected = [*cells.values(), "rejected", "", "", escaped(error), ""]
    assert [f"'{text}" if text.startswith(FORMULA_STARTS) else text for text in expected] == row
    assert len(columns) + 5 == len(header)


def test_what_a_server_says_is_harmless_in_the_results():
    """Neither format has an escape sequence or a line of the server's; a program that reads JSON gets it as it was."""
    said = "https://x.example/?who=jane@acme.example\x1b[2J\n=1+1"
    texts = []
    for results_of in (CsvResults, JsonLinesResults):
        file = io.StringIO(newline="")
        results_of(file, []).write({}, RowResult(status="created", survey_url=said, error="\x9b31m\u202e"))
        texts.append(file.getvalue())
        assert {"\r", "\n"} >= {each for each in file.getvalue() if not each.isprintable()}
    assert r"created,,https://x.example/?who=jane@acme.example\x1b[2J\n=1+1,\x9b31m\u202e" in texts[0]
    assert said == json.loads(texts[1])["survey_url"]


@given(st.dictionaries(TEXT, TEXT | st.integers() | st.none() | st.lists(TEXT), max_size=4), TEXT)
def test_json_results_are_read_back(cells, error):
    """One line per row, whatever stands in it."""
    file = io.StringIO(newline="")
    results = JsonLinesResults(file, list(cells))
    results.write(cells, RowResult(status="rejected", error=error))
    [line] = file.getvalue().split("\n")[:-1]
    names = result_names(list(cells))
    assert {**cells, **dict(zip(names, ("rejected", None, None, error, None), strict=True))} == json.loads(
        line
    )


def test_results_are_an_input_for_updates_and_enrollments():
    """The results file can be read again as a contact file."""
    file = io.StringIO(newline="")
    CsvResults(file, ["Email"]).write({"Email": "jane@acme.example"}, CREATED)
    [row] = read_contacts(io.BytesIO(file.getvalue().encode()), sequence_id="seq")
    assert "jane@acme.example" == row.request.contact_email


def test_a_result_keeps_the_link_to_itself():
    """The survey link, which opens the interview, shows in no repr."""
    assert "x.example" not in repr(CREATED)
