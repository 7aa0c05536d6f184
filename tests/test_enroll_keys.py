"""`enroll` with keys out of columns, one interview for a contact, and people to leave out."""

import asyncio
import io
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_process import counts_in, environment
from hindsight_async import CreateInterview, HindsightSession, Ledger, LedgerStatus
from hindsight_async.cli.contacts import ContactRow, read_contacts
from hindsight_async.cli.file_arguments import parse_time
from hindsight_async.delivery.keys import caller_key_hash

DEALS = "Email,Portal,Deal\nann@acme.example,62515,1\nann@acme.example,62515,2\nben@acme.example,62515,1\n"
LEDGER = "deals.hindsight.db"


@pytest.fixture
def run(emulator, tmp_path, command_line):
    (tmp_path / "deals.csv").write_text(DEALS)
    variables = environment(emulator, HINDSIGHT_PLAN="enterprise")

    def run(*words):
        done = command_line(*words, folder=tmp_path, **variables)
        return done.returncode, done.stdout, done.stderr.splitlines()

    return run


def enroll(run, *words):
    return run("enroll", "deals.csv", "--sequence", "seq_1", *words)


async def entries_of(folder):
    return [entry async for entry in Ledger(folder / LEDGER).entries()]


def test_columns_make_up_the_key(run, emulator, tmp_path):
    """A row with another key is another interview, also of the same contact; the same command again sends nothing."""
    code, _, said = enroll(run, "--key", "portal, deal")
    assert (0, "2 created · 1 duplicate") == (code, counts_in("\n".join(said)))
    code, out, said = enroll(run, "--key", "Portal,Deal", "--output", "-")
    assert (0, "1 duplicate · 2 done before") == (code, counts_in("\n".join(said)))
    assert "the same key as row 2" in out
    assert ["62515:1", "62515:2"] == sorted(entry.caller_key for entry in asyncio.run(entries_of(tmp_path)))
    assert 2 == len(emulator.outbox)


def test_a_program_of_ones_own_shares_such_a_key(run, emulator, tmp_path):
    """What a webhook has enrolled under the ids of portal and deal, the file does not enroll again."""

    async def event():
        request = CreateInterview(contact_email="carl@acme.example", sequence_id="seq_1")
        async with (
            HindsightSession(emulator.api_key, base_url=emulator.base_url) as hindsight,
            Ledger(tmp_path / LEDGER).run() as ledger,
        ):
            await hindsight.interviews.create_once(request, ledger=ledger, key="62515:2")

    asyncio.run(event())
    assert 0 == enroll(run, "--key", "Portal,Deal")[0]
    assert ["carl@acme.example", "ann@acme.example"] == [email.address for email in emulator.outbox]


def test_a_row_without_its_key_is_invalid(run, emulator, tmp_path):
    """It is named by its line and column; a column that is not there, and none at all, is wrong usage."""
    (tmp_path / "deals.csv").write_text(DEALS.replace("ben@acme.example,62515,1", "ben@acme.example,62515, "))
    code, _, said = enroll(run, "--key", "Portal,Deal")
    assert 2 == code
    assert "      1  'Deal', a column of the key, is empty\n         row 4\n" in "\n".join(said)
    code, _, said = enroll(run, "--key", "Deals ID")
    assert (2, True) == (code, "there is no column 'Deals ID'" in said[-1])
    assert 2 == enroll(run, "--key", ",")[0]
    assert [] == emulator.requests


def test_a_dry_run_counts_by_the_key(run):
    """As the run would, which goes by it too."""
    _, _, said = enroll(run, "--key", "Deal", "--dry-run")
    assert "2 to send · 0 with a problem · 1 twice in the file · 0 sent before" in said


CELLS = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"]) | st.sampled_from("a:\\,"),
    min_size=1,
    max_size=6,
)


@given(CELLS, CELLS, CELLS, CELLS)
def test_two_columns_make_one_key_of_each_two_cells(a, b, c, d):
    """No two rows with other cells have one key, and cells without a colon stand as they are."""
    cells = [(a, b), (c, d)]
    lines = [
        f'x@acme.example,"{one.replace(chr(34), chr(34) * 2)}","{other.replace(chr(34), chr(34) * 2)}"'
        for one, other in cells
    ]
    file = io.BytesIO("\n".join(["Email,One,Two", *lines]).encode())
    rows = [
        row for row in read_contacts(file, sequence_id="s", key=["One", "Two"]) if isinstance(row, ContactRow)
    ]
    keys = [row.key for row in rows]
    if len(keys) == 2:
        assert (cells[0] == cells[1]) is (keys[0] == keys[1])
    for row in rows:
        one, two = row.cells["One"], row.cells["Two"]
        if not {":", "\\"} & {*one, *two} and one == one.strip() and two == two.strip():
            assert f"{one}:{two}" == row.key


def test_json_lines_and_csv_make_the_same_key():
    """A whole number is its digits, and what has no one spelling is refused."""
    lines = '{"Email": "a@b.example", "Deal": 7}\n{"Email": "a@b.example", "Deal": 7.5}\n{"Email": "a@b.example", "Deal": true}'
    good, *bad = read_contacts(io.BytesIO(lines.encode()), sequence_id="s", key=["deal"])
    assert ("7", caller_key_hash("7")) == (good.key, good.ledger_key)
    assert ["'Deal', a column of the key, must be text or a whole number"] * 2 == [row.problem for row in bad]


def test_a_row_is_resolved_by_its_own_key(run, emulator, tmp_path):
    """`resolve` takes the caller's key and the ledger's, and `show` has both."""
    emulator.fail("POST /interviews", how="disconnect", at="after_commit", times=2)
    code, _, said = enroll(run, "--key", "Email")
    assert (3, True) == (code, "   row 2  ann@acme.example" in said)
    assert 0 == run("ledger", "resolve", LEDGER, "ann@acme.example", "--created", "4821")[0]
    assert 0 == run("ledger", "resolve", LEDGER, caller_key_hash("ben@acme.example")[:8], "--not-created")[0]
    _, out, _ = run("ledger", "show", LEDGER, "--status", "created")
    assert "ann@acme.example" == out.splitlines()[0].split("\t")[-1]
    assert [LedgerStatus.CREATED, LedgerStatus.NOT_SENT] == [
        entry.status for entry in asyncio.run(entries_of(tmp_path))
    ]


def test_a_contact_has_one_interview_within_the_time(run, emulator):
    """A second deal is a duplicate with a reason, and the dry run says so before; without the option it is sent."""
    words = ("--key", "Deal,Email", "--once-per-contact", "90d")
    _, _, said = enroll(run, *words, "--dry-run")
    counts = "to send · 0 with a problem · 0 twice in the file ·"
    assert f"2 {counts} 0 sent before ·\n1 with another interview within that time\n" in "\n".join(said)
    code, out, said = enroll(run, *words, "--output", "-")
    assert (0, "2 created · 1 duplicate") == (code, counts_in("\n".join(said)))
    assert "the contact has another interview within the time of --once-per-contact" in out
    _, _, said = enroll(run, *words, "--dry-run")
    assert f"0 {counts} 2 sent before ·\n1 with another interview within that time\n" in "\n".join(said)
    assert 2 == len(emulator.outbox)
    assert 0 == enroll(run, "--key", "Deal,Email")[0]
    assert 3 == len(emulator.outbox)


@pytest.mark.parametrize(
    ("text", "time"),
    [("90d", timedelta(days=90)), ("12W", timedelta(weeks=12)), (" 36h ", timedelta(hours=36)), (None, None)],
)
def test_a_time_is_a_number_and_a_unit(text, time):
    """Hours, days or weeks."""
    assert time == parse_time(text)


@pytest.mark.parametrize("text", ["90", "d", "0d", "-1d", "1.5d", "90 days", "1d2h", "٣d", "999999d", ""])
def test_what_is_no_time_is_wrong_usage(run, emulator, text):
    """Nothing is taken for days by guess."""
    with pytest.raises(ValueError, match="takes hours, days or weeks, such as 36h, 90d or 12w"):
        parse_time(text)
    assert 2 == enroll(run, f"--once-per-contact={text or ' '}")[0]
    assert [] == emulator.requests


def test_one_interview_a_contact_needs_a_ledger(run, emulator):
    """Without one nobody knows who was written to."""
    code, _, said = enroll(run, "--once-per-contact", "90d", "--no-ledger")
    assert (2, True) == (code, "--once-per-contact needs a ledger" in said[-1])
    assert [] == emulator.requests


def test_people_who_asked_not_to_be_written_to_are_left_out(run, emulator, tmp_path):
    """By address or domain; said by their lines before anything is sent, counted, and no failure of the run."""
    (tmp_path / "deals.csv").write_text(f"{DEALS}joe@eu.rival.test,1,1\n")
    (tmp_path / "no.csv").write_text(
        "\ufeffEmail,Why\r\n# asked in May\r\nBEN@acme.example,asked\r\nrival.test,\r\n"
    )
    words = ("--key", "Deal,Email", "--exclude", "no.csv")
    _, _, said = enroll(run, *words, "--dry-run")
    assert "\n2 excluded by --exclude:\n  rows 4, 5\n" in "\n".join(said)
    assert "2 to send · 0 with a problem · 0 twice in the file · 0 sent before · 2 excluded" in said
    code, out, said = enroll(run, *words, "--output", "-")
    assert (0, "2 created · 2 left out by --exclude") == (code, counts_in("\n".join(said)))
    assert "this recipient is blocked" in out
    assert {"ann@acme.example"} == {email.address for email in emulator.outbox}
    assert "safe to run again" not in "\n".join(said)


@pytest.mark.parametrize(
    ("text", "why"), [("ann\n", "no.txt: line 1: neither an address"), (None, "no.txt cannot be read: ")]
)
def test_a_list_that_cannot_be_used_ends_the_command(run, emulator, tmp_path, text, why):
    """Before anything is sent, and without a ledger made."""
    if text is not None:
        (tmp_path / "no.txt").write_text(text)
    code, _, said = enroll(run, "--exclude", "no.txt")
    assert (2, True) == (code, why in said[-1])
    assert [] == emulator.requests
    assert not (tmp_path / LEDGER).exists()
