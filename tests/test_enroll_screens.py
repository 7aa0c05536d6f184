"""What `enroll` and `update` show before anything is sent, as text at 80 and at 120 columns."""

import csv
import io
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

from command_process import counts_in
from hindsight_async.cli.contacts import read_contacts
from hindsight_async.cli.preflight import Preflight, takes
from hindsight_async.cli.preview import NOTHING
from hindsight_async.cli.question import Question
from hindsight_async.cli.shared_options import SharedOptions
from hindsight_async.cli.terminal import ExitCode, NotConfirmedError, confirm
from hindsight_async.emulator import Emulator
from hindsight_async.rate import Plan
from hindsight_async.testing import serving

TESTS = Path(__file__).parent
ANN, BEN, CARL = (f"{name}@acme.example" for name in ("ann", "ben", "carl"))
DRY = ("--sequence", "seq_1", "--dry-run")
GROWTH = SharedOptions(plan=Plan.GROWTH)
LIVE = "https://app.usehindsight.com/api/v1"

HUBSPOT = """\
Record ID;First Name;Last Name;Email;Job Title;Company;Contact owner;Lead Status
1;Zoë;Müller;zoe@acme.example;VP of Engineering and Special Projects;Acme GmbH & Co. KG;Paula;Open
2;Ben;Larsen;ben@fjord.example;;Fjord Bank;Paula;Open
3;;;carla@luz.example;CTO;;Paula;Open
4;Dora;;;CTO;;Paula;Open
5;Zoë;Müller;ZOE@acme.example;VP;;Paula;Open
"""

AT_80 = f"""\
contacts.csv · 5 rows · UTF-8, semicolons · HubSpot contacts export

  column                 becomes
  Email                  contact_email
  First Name, Last Name  contact_name     First Name + Last Name
  Job Title              contact_context
  Company                contact_context
  Record ID              left out
  Contact owner          left out
  Lead Status            left out         --context rest takes them along

  row  contact_email      contact_name  contact_context
    2  zoe@acme.example   Zoë Müller    Job Title: VP of Engineering and Specia…
    3  ben@fjord.example  Ben Larsen    Company: Fjord Bank
    4  carla@luz.example  {NOTHING}             Job Title: CTO

3 to send · 1 with a problem · 1 twice in the file · 0 sent before
Problems
      1  no address
         row 5

Paige will email 3 people (sequence seq_1, Growth plan, live API).
This takes less than a minute; stop it at any time with Ctrl-C.
Hindsight's own agent may write to buyers of closed deals too.
Ledger: contacts.hindsight.db (new).
Dry run: nothing was sent.
"""

FIRST_ROW_AT_120 = """\
    2  zoe@acme.example   Zoë Müller    Job Title: VP of Engineering and Special Projects, Company: Acme GmbH & Co. KG
"""


@pytest.fixture
def screen(command_line, tmp_path):
    """Give a test what a command says on a terminal of so many columns, with its exit code."""

    def screen(*words, columns=80, **environment):
        variables = {"HINDSIGHT_PLAN": "growth", "HINDSIGHT_BASE_URL": LIVE, "COLUMNS": str(columns)}
        done = command_line(*words, folder=tmp_path, **{**variables, **environment})
        assert "" == done.stdout
        return done.returncode, done.stderr

    return screen


@pytest.fixture
def contacts(tmp_path):
    def contacts(text, name="contacts.csv"):
        (tmp_path / name).write_text(text, encoding="utf-8")

    return contacts


def test_the_mapping_is_shown_before_anything_else(screen, contacts):
    """Which column feeds which field, what is left out, three rows as a table, the counts, and what would be sent."""
    contacts(HUBSPOT)
    words = ("enroll", "contacts.csv", *DRY, "--context", "Job Title,Company", "--skip-invalid")
    assert (0, AT_80) == screen(*words)
    _, wide = screen(*words, columns=120)
    assert FIRST_ROW_AT_120 in wide
    assert wide == screen(*words, columns=200)[1]


def test_what_an_option_gives_to_all_rows_needs_no_column(screen, contacts):
    """The table has the fields that the file feeds; the sequence of --sequence stands in the question."""
    contacts(f"Email,sequence_id\n{ANN},seq_9\n{BEN},\n")
    _, said = screen("enroll", "contacts.csv", *DRY)
    assert "    2  ann@acme.example  seq_9\n    3  ben@acme.example  seq_1\n" in said
    assert "Paige will email 2 people (sequences seq_9, seq_1, Growth plan, live API).\n" in said
    contacts(f"Email\n{ANN}\n")
    assert "  row  contact_email\n    2  ann@acme.example\n" in screen("enroll", "contacts.csv", *DRY)[1]


def test_long_lists_of_columns_are_counted(screen, contacts):
    """Six columns of context and three left out are named, the others counted, with the option that takes them along."""
    names = [f"c{number}" for number in range(9)]
    contacts(f"Email,{','.join(names)}\n{ANN},{','.join(names)}\n")
    _, said = screen("enroll", "contacts.csv", *DRY)
    assert (
        "  c2                left out\n  + 6 more columns  left out       --context rest takes them along\n"
        in said
    )
    _, said = screen("enroll", "contacts.csv", *DRY, "--context", "rest")
    assert "  c5                contact_context\n  + 3 more columns  contact_context\n\n" in said
    assert "left out" not in said
    contacts(f"Email,Context,x\n{ANN},Knows us,\n")
    assert "  x        left out\n\n" in screen("enroll", "contacts.csv", *DRY)[1]


def test_a_context_is_shown_as_text(screen, contacts):
    """Objects and lists of JSON Lines stand in the table without brackets and quotes."""
    contacts(
        '{"email": "ann@acme.example", "context": {"deal": {"stage": "won"}, "tags": ["a", 5]}}\n',
        "people.jsonl",
    )
    _, said = screen("enroll", "people.jsonl", *DRY)
    assert said.startswith("people.jsonl · 1 row · UTF-8, JSON Lines\n")
    assert "    2" not in said
    assert "    1  ann@acme.example  deal: stage: won, tags: a, 5\n" in said


@pytest.mark.parametrize(
    "path", sorted([*TESTS.glob("exports/*"), *TESTS.glob("ugly/*")]), ids=lambda path: path.name
)
def test_each_file_that_can_be_read_fits_the_terminal(screen, tmp_path, path):
    """However a heading or a cell looks: no table is wider, and no control character gets through."""
    (tmp_path / path.name).write_bytes(path.read_bytes())
    code, said = screen("enroll", path.name, *DRY, "--skip-invalid", "--no-ledger")
    assert code in {0, 2}
    assert said.endswith("Dry run: nothing was sent.\n") is (code == 0)
    lines = [line for line in said.splitlines() if not line.startswith("hindsight-async: ")]
    assert 80 >= max(map(cell_len, lines), default=0)
    assert all(line.isprintable() for line in lines)


def test_a_narrow_terminal_gets_a_narrow_table(screen, contacts):
    """Cells are cut off with a mark, also between halves of a wide character."""
    contacts(
        "Email,Name,Company\nann@acme.example,名前名前名前名前名前名前名前名前,株式会社株式会社株式会社\n"
    )
    _, said = screen("enroll", "contacts.csv", *DRY, "--context", "rest", columns=40)
    table = [line for line in said.splitlines() if line.startswith("  ")]
    assert 40 >= max(map(cell_len, table))
    assert "…" in said


PRODUCTS = {
    "apollo_contacts.csv": "Apollo contacts export",
    "gong_participants.csv": "Gong calls export",
    "google_contacts.csv": "Google Contacts export",
    "hubspot_contacts.csv": "HubSpot contacts export",
    "hubspot_french.csv": "HubSpot contacts export",
    "hubspot_german.csv": "HubSpot contacts export",
    "hubspot_portuguese.csv": "HubSpot contacts export",
    "hubspot_spanish.csv": "HubSpot contacts export",
    "outlook_contacts.csv": "Outlook contacts",
    "outreach_prospects.csv": "Outreach prospects export",
    "pipedrive_people.csv": "Pipedrive export",
    "salesforce_contact_roles.csv": "Salesforce report",
    "salesforce_data_loader.csv": "Salesforce export",
    "salesforce_leads.csv": "Salesforce leads",
    "salesforce_report_latin_semicolons.csv": "Salesforce report",
    "salesloft_people.csv": "Salesloft people export",
    "enroll_results.csv": "results of an earlier run",
    "excel_german.csv": None,
    "copied_links.csv": None,
}


@pytest.mark.parametrize(("name", "product"), PRODUCTS.items())
def test_the_product_that_wrote_a_file_is_named(screen, tmp_path, name, product):
    """By its headings; a file that anybody may have written is not ascribed to a product."""
    (tmp_path / "file.csv").write_bytes((TESTS / "exports" / name).read_bytes())
    _, said = screen("enroll", "file.csv", *DRY, "--no-ledger", "--several", "first")
    parts = said.splitlines()[0].split(" · ")
    assert ([product] if product else []) == parts[3:]


@pytest.mark.parametrize(
    ("text", "described"),
    [
        (b"Email,Name\na@x.example,Ann\n", "UTF-8, commas"),
        ("Email\tName\na@x.example\tAnn\n".encode("utf-16"), "UTF-16-LE, tabs"),
        ("Email|Name\na@x.example|Zoë\n".encode("cp1252"), "Windows-1252, vertical bars"),
        ((TESTS / "exports" / "excel_workbook.xlsx").read_bytes(), "Excel workbook"),
    ],
)
def test_the_kind_of_a_file_is_named(text, described):
    """Its encoding, and what stands between its cells."""
    assert described == read_contacts(io.BytesIO(text), sequence_id="s").described


def test_a_wrong_name_lists_what_there_is(screen, contacts):
    """--map with no such field lists the fields, with no such column the columns."""
    contacts(f"Email,Name,Title\n{ANN},Ann,CTO\n")
    _, said = screen("enroll", "contacts.csv", *DRY, "--map", "contact_mail=Email")
    assert "there is no field 'contact_mail' to map; did you mean 'contact_email'?" in said
    assert (
        "the fields are contact_email, contact_name, first_name, last_name, contact_context, deal_id" in said
    )
    _, said = screen("enroll", "contacts.csv", *DRY, "--map", "contact_name=Person")
    assert "there is no column 'Person', of these: 'Email', 'Name', 'Title'" in said


def test_problems_beyond_the_examples_stand_in_a_file(screen, contacts, tmp_path):
    """Three of a kind are shown, all are in a file for its owner alone, with what would be right."""
    values = ["n/a", "-", "=x", "unknown", "a@x.example; b@x.example", ""]
    contacts("Email,Name\n" + "".join(f"{value},N\n" for value in values))
    code, said = screen("enroll", "contacts.csv", *DRY)
    assert 2 == code
    assert (
        """\
Problems (all of them in contacts.problems.csv)
      4  not an address
         rows 2 'n/a', 3 '-', 4 '=x' and 1 more
      1  not one address
         row 6 'a@x.example; b@x.example'
         --several first takes the first of them, --several all takes each
      1  no address
         row 7
hindsight-async: nothing was sent: mend the file, or add --skip-invalid
to leave those 6 rows out
"""
        in said
    )
    problems = tmp_path / "contacts.problems.csv"
    assert 0o600 == problems.stat().st_mode & 0o777
    rows = list(csv.DictReader(problems.read_text(encoding="utf-8").splitlines()))
    assert ["2", "3", "4", "5", "6", "7"] == [row["row"] for row in rows]
    assert ["n/a", "'-", "'=x"] == [row["value"] for row in rows[:3]]
    assert {"row", "kind", "value", "what would be right"} == rows[0].keys()
    assert all("ann@acme.example" in row["what would be right"] for row in rows)


def test_few_problems_make_no_file(screen, contacts, tmp_path):
    """Where all of them are on the screen nothing is written."""
    contacts("Email\nx\ny\nz\n")
    _, said = screen("enroll", "contacts.csv", *DRY)
    assert "Problems\n      3  not an address\n         rows 2 'x', 3 'y', 4 'z'\n" in said
    assert ["contacts.csv"] == [file.name for file in tmp_path.iterdir()]


def test_a_file_of_problems_takes_the_place_of_an_earlier_one(screen, contacts, tmp_path):
    """Also of one that others may read, or that is a link to something else: that stays as it is."""
    contacts("Email\n" + "x\n" * 5)
    (tmp_path / "other.txt").write_text("mine")
    (tmp_path / "contacts.problems.csv").symlink_to("other.txt")
    screen("enroll", "contacts.csv", *DRY)
    assert "mine" == (tmp_path / "other.txt").read_text()
    assert 6 == len((tmp_path / "contacts.problems.csv").read_text().splitlines())


def test_problems_that_cannot_be_written_are_named(screen, contacts, tmp_path):
    """What is in the way is said, and the rows stand on the screen instead."""
    contacts("Email\n" + "x\n" * 5)
    (tmp_path / "contacts.problems.csv").mkdir()
    code, said = screen("enroll", "contacts.csv", *DRY)
    assert 2 == code
    assert "         rows 2 'x', 3 'x', 4 'x', 5, 6\ncontacts.problems.csv cannot be written: " in said


def test_a_test_goes_to_oneself_alone(emulated_command, emulator, contacts, tmp_path):
    """The first rows' names and contexts, to one address, with no deal and no ledger; the same again sends it again."""
    contacts(f"Email,Name,Deal ID,Title\nnobody,No,,\n{ANN},Ann,deal_1,CTO\n{BEN},Ben,,\n")
    words = (
        "enroll",
        "contacts.csv",
        "--sequence",
        "seq_1",
        "--context",
        "Title",
        "--test-to",
        "me@ours.example",
    )
    for times in (1, 2):
        done = emulated_command(*words, COLUMNS="80")
        assert 0 == done.returncode
        assert ["me@ours.example"] * times == [email.address for email in emulator.outbox]
    assert (
        """\
  row  contact_email    contact_name  contact_context
    3  me@ours.example  Ann           Title: CTO

A test: Paige will email me@ours.example once, and nobody else (sequence seq_1,
"""
        in done.stderr
    )
    assert "\nNames and contexts are those of the first row, without their deals.\n" in done.stderr
    assert "\nEach leaves an interview that cannot be deleted.\n" in done.stderr
    assert "\nNo ledger, no check for duplicates: the same command sends it all again.\n" in done.stderr
    results = tmp_path / "contacts.test.results.csv"
    [row] = csv.DictReader(results.read_text().splitlines())
    assert ("me@ours.example", "created") == (row["Email"], row["status"])
    assert {None} == {interview.deal_id for interview in emulator.interviews.values()}
    assert [] == [*tmp_path.glob("*.db"), *tmp_path.glob("contacts.results.csv")]
    emulated_command(*words, "--limit", "5")
    assert ["created", "created"] == [
        row["status"] for row in csv.DictReader(results.read_text().splitlines())
    ]
    assert {"me@ours.example"} == {email.address for email in emulator.outbox}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--test-to nobody", "--test-to must be one bare email address"),
        ("--test-to a@x.example --ledger a.db", "--ledger needs a ledger"),
        (
            "--test-to a@x.example --store-contexts",
            "--store-contexts needs a ledger, since it keeps them in it",
        ),
        ("--test-to a@x.example --once-per-contact 90d", "with --test-to there is none"),
        ("--test-to a@x.example --key Email", "--key needs a ledger, since it tells rows apart in it"),
        ("--limit 0", "--limit"),
    ],
)
def test_a_careful_step_that_cannot_be_is_refused(screen, contacts, words, complaint):
    """Each complaint names the option."""
    contacts(f"Email\n{ANN}\n")
    code, said = screen("enroll", "contacts.csv", *DRY, *words.split())
    assert 2 == code
    assert complaint in said


def test_a_limit_sends_the_first_and_then_the_next(emulated_command, emulator, contacts):
    """Rows that would not be sent do not count, and each run goes on behind the one before."""
    contacts(f"Email\n{ANN}\n{ANN}\n{BEN}\nnobody\n{CARL}\ndora@acme.example\n")
    words = ("enroll", "contacts.csv", "--sequence", "seq_1", "--skip-invalid", "--limit")
    done = emulated_command(*words, "2", COLUMNS="80")
    assert [ANN, BEN] == [email.address for email in emulator.outbox]
    assert (
        """\
2 to send · 1 with a problem · 1 twice in the file · 0 sent before ·
2 left for later by --limit
"""
        in done.stderr
    )
    assert "2 created · 1 duplicate" == counts_in(done.stderr)
    done = emulated_command(*words, "1", COLUMNS="80")
    assert [ANN, BEN, CARL] == [email.address for email in emulator.outbox]
    assert "1 created · 1 duplicate · 2 done before · 1 with a problem" == counts_in(done.stderr)
    emulated_command(*words, "9")
    assert [ANN, BEN, CARL, "dora@acme.example"] == [email.address for email in emulator.outbox]


def question(shared=GROWTH, **counts):
    return str(Question(preflight=Preflight(**counts), shared=shared, ledger="Ledger: a.db (new)."))


def names(*names):
    return dict.fromkeys(names)


def test_the_question_names_what_is_about_to_happen(monkeypatch):
    """Sequences, plan, host, people and interviews, how long it takes, the agent, and the ledger."""
    monkeypatch.delenv("HINDSIGHT_BASE_URL", raising=False)
    assert """
Paige will email 4,861 people (sequence seq_abc123, Growth plan, live API).
At 300 a minute this takes about 16 minutes; stop it at any time with Ctrl-C.
Hindsight's own agent may write to buyers of closed deals too.
Ledger: a.db (new).""" == question(to_send=4861, emails=4861, people=4861, sequences=names("seq_abc123"))
    assert "Paige will email 1 person for 2 interviews (sequence s, Growth plan, live API)." in question(
        to_send=2, emails=2, people=1, sequences=names("s")
    )
    assert "(sequences a, b, c and 2 more, Growth plan, live API)" in question(
        to_send=9, emails=9, people=9, sequences=names(*"abcde")
    ).replace("\n", " ")


def test_the_question_tells_links_from_emails(monkeypatch):
    """Whoever makes links alone reads that nobody is emailed, and nothing of an agent."""
    monkeypatch.setenv("HINDSIGHT_BASE_URL", "http://127.0.0.1:8123/api/v1")
    links = question(to_send=2, interview_types=names("type_1"))
    assert (
        "\n2 links will be made, and nobody emailed (interview type type_1, Growth plan,\nhost 127.0.0.1:8123).\n"
        in links
    )
    assert "agent" not in links
    both = question(to_send=3, emails=2, people=2, sequences=names("s"), interview_types=names("type_1"))
    assert "Paige will email 2 people" in both
    assert "1 link will be made" in both


@pytest.mark.parametrize(
    ("requests", "limit", "expected"),
    [
        (0, 60, "This takes less than a minute"),
        (60, 60, "This takes less than a minute"),
        (61, 60, "At 60 a minute this takes about 1 minute"),
        (7_200, 60, "At 60 a minute this takes about 119 minutes"),
        (100_000, 1000, "At 1,000 a minute this takes about 99 minutes"),
        (100_000, 60, "At 60 a minute this takes about 28 hours"),
    ],
)
def test_the_time_is_told_at_the_plans_rate(requests, limit, expected):
    """The first minute's worth goes at once; from two hours on hours are enough."""
    assert expected == takes(requests, limit)


class Typed(io.StringIO):
    """Stands for a terminal at which somebody has typed."""

    def isatty(self):
        return True


@pytest.mark.parametrize("answer", ["yes\n", "Y\n", " YES \n"])
def test_a_yes_goes_on(monkeypatch, answer):
    """In any case of letters, also the first of them alone."""
    monkeypatch.setattr(sys, "stdin", Typed(answer))
    monkeypatch.setattr(sys, "stderr", Typed())
    confirm("All of them.", from_stdin=False)


@pytest.mark.parametrize("answer", ["n\n", "no\n", "\n", "", "yes please\n"])
def test_anything_but_a_yes_is_exit_code_4(monkeypatch, answer):
    """Also the end of the input, which leaves the cursor behind the question."""
    screen = Typed()
    monkeypatch.setattr(sys, "stdin", Typed(answer))
    monkeypatch.setattr(sys, "stderr", screen)
    with pytest.raises(NotConfirmedError) as declined:
        confirm("All of them.", from_stdin=False, how="Type yes to go on:")
    assert (4, ExitCode.DECLINED) == (declined.value.code, declined.value.code)
    ending = "Nothing was sent.\n" if answer else "\nNothing was sent.\n"
    assert f"All of them. Type yes to go on: {ending}" == screen.getvalue()


RESULTS = f"""\
Email,Name,status,interview_request_id,survey_url,error
{ANN},Ann,created,4821,https://h.test/survey/a,
{BEN},Ben,rejected,,,400
{CARL},Carl,not_sent,,,
"""


@pytest.mark.parametrize("choice", ["--no-ledger", "--ledger other.db"])
@pytest.mark.parametrize("status", ["created", "already_done", "unknown", "duplicate"])
def test_whom_an_earlier_run_has_sent_to_is_not_sent_to_by_accident(
    emulated_command, emulator, contacts, choice, status
):
    """Rows that say so, of which no ledger knows, hold everything back, whatever else is agreed to."""
    contacts(RESULTS.replace("created", status), "results.csv")
    words = ("enroll", "results.csv", "--sequence", "seq_1", *choice.split(), "--yes", "--skip-invalid")
    done = emulated_command(*words, COLUMNS="80")
    assert (2, "") == (done.returncode, done.stdout)
    assert 'By the column "status" 1 row has its interview from an earlier run, and' in done.stderr
    assert "Name that run's ledger with" in done.stderr
    assert [] == emulator.requests
    contacts(RESULTS.replace("created", "invalid"), "results.csv")
    assert 0 == emulated_command(*words).returncode
    assert [ANN, BEN, CARL] == sorted(email.address for email in emulator.outbox)


def test_results_of_results_are_told_by_the_later_run(emulated_command, emulator, contacts):
    """Of two columns with a status the one with the prefix counts."""
    contacts(
        "Email,status,interview_request_id,hindsight_status,hindsight_interview_request_id\n"
        f"{ANN},rejected,,created,7\n",
        "results.csv",
    )
    done = emulated_command("enroll", "results.csv", "--sequence", "s", "--no-ledger")
    assert 2 == done.returncode
    assert 'By the column "hindsight_status" 1 row has its interview' in done.stderr
    done = emulated_command("update", "results.csv", "--yes")
    assert 2 == done.returncode
    assert "could all be interview_request_id: map the one that is" in done.stderr
    assert [] == emulator.requests


def test_results_are_what_update_takes(emulated_command, emulator, contacts, tmp_path):
    """As `enroll` wrote them: rows without an interview are counted and left out, and it names what it replaces."""
    contacts(f"Email,Name,Title\n{ANN},Ann,CTO\n{BEN},Ben,CFO\nnobody,No,\n")
    words = ("enroll", "contacts.csv", "--sequence", "seq_1", "--skip-invalid", "--output", "results.csv")
    assert 1 == emulated_command(*words).returncode
    sent = len(emulator.requests)
    update = ("update", "results.csv", "--context", "Title", "--map", "objective=Title")
    done = emulated_command(*update, COLUMNS="80", HINDSIGHT_BASE_URL=LIVE)
    assert 2 == done.returncode
    assert done.stderr.startswith("results.csv · 3 rows · UTF-8, commas · results of an earlier run\n")
    assert (
        """\
2 to update · 0 with a problem · 0 twice in the file ·
1 without an interview, left out

This updates 2 interviews (Enterprise plan, live API) and overwrites
        2  contacts' notes (contact_context)
        2  contacts' names (contact_name)
        2  objectives
This takes less than a minute. Hindsight keeps no old values.
Nobody can be asked here: give --yes to go on.
Nothing was sent.
"""
        in done.stderr
    )
    assert sent == len(emulator.requests)
    done = emulated_command("update", "results.csv", "--context", "rest", "--dry-run")
    assert "  survey_url            left out\n" in done.stderr
    assert "takes them along" not in done.stderr
    done = emulated_command(*update, "--yes", "--output", "updated.csv")
    assert (0, "2 updated") == (done.returncode, counts_in(done.stderr))
    assert {"CTO", "CFO"} == {interview.objective for interview in emulator.interviews.values()}


def test_a_run_is_summed_up_though_nobody_agrees_to_read_its_links(command_line, contacts, tmp_path):
    """Links of earlier runs that would take too much of the month stay missing; what was made is told all the same."""
    contacts("Email\n" + "".join(f"p{each}@x.example\n" for each in range(9)))
    with serving(Emulator(plan=Plan.ENTERPRISE, monthly_limit=20)) as small:
        words = ("enroll", "contacts.csv", "--sequence", "s")
        variables = {"HINDSIGHT_API_KEY": small.api_key, "HINDSIGHT_BASE_URL": small.base_url}
        assert 0 == command_line(*words, folder=tmp_path, **variables).returncode
        results = tmp_path / "contacts.results.csv"
        results.unlink()
        done = command_line(*words, folder=tmp_path, **variables)
    assert (0, True) == (done.returncode, "\n9 done before" in done.stderr)
    assert "No more was read.\n8 links still missing" in done.stderr
    assert 9 == len(results.read_text().splitlines()[1:])
