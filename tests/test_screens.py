"""What a person sees at 80 and at 120 columns, run for real on a terminal: kept as text in `screens/`, to be looked at.

`RECORD_SCREENS=1 pytest -m screens tests/test_screens.py` writes them anew, where a screen is meant to be another.
"""

import itertools
import os
from pathlib import Path

import pytest

from hindsight_async import Plan
from hindsight_async.emulator import Emulator
from hindsight_async.testing import serving
from screen import Terminal

SCREENS = Path(__file__).parent / "screens"
RECORD = "RECORD_SCREENS"
PEOPLE = 30
IN_FLIGHT = 16
LOOKS_AT_REST = 40
HEADINGS = "Record ID,First Name,Last Name,Email,Job Title,Company,Sequence"
NAMES = ["Zoë Müller", "Ben Larsen", "Carla Mendes", "Yusuf Demir", "Amara Okafor"]
COMPANIES = ["acme", "fjordbank", "luzverde", "bosphorus", "northwind"]

pytestmark = pytest.mark.screens


@pytest.fixture(params=[80, 120])
def columns(request):
    return request.param


@pytest.fixture
def emulator():
    with serving(Emulator(plan=Plan.ENTERPRISE, sequences=["seq_abc123"], api_key="test-key")) as serving_on:
        yield serving_on


@pytest.fixture
def terminal(columns, emulator, tmp_path):
    """Give a test a terminal in a folder with an export of contacts."""
    write_export(tmp_path / "contacts.csv")
    variables = {
        "HINDSIGHT_API_KEY": emulator.api_key,
        "HINDSIGHT_BASE_URL": emulator.base_url,
        "HINDSIGHT_PLAN": "enterprise",
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "PATH": os.environ["PATH"],
        "TERM": "xterm-256color",
        "TZ": "UTC",
    }
    return Terminal(columns, tmp_path, variables)


@pytest.fixture
def looks_as_recorded(request, terminal, columns):
    """Give a test what compares the screen with the one that is kept, or keeps it."""

    def compare():
        name = request.node.originalname.removeprefix("test_")
        kept = SCREENS / f"{name}-{columns}.txt"
        if os.environ.get(RECORD):
            kept.write_text(f"{terminal.text}\n", encoding="utf-8")
        assert kept.read_text(encoding="utf-8") == f"{terminal.text}\n"

    return compare


def write_export(path, *, sequence="seq_abc123", spoil=()):
    """Write an export as a CRM makes it; `spoil` are other addresses for its first people."""
    addresses = dict(enumerate(spoil))
    rows = []
    for number in range(PEOPLE):
        first, last = NAMES[number % 5].split()
        company = COMPANIES[number % 5]
        address = addresses.get(number, f"{first.lower().replace('ë', 'e')}.{number}@{company}.example")
        rows.append(
            f"{number + 501},{first},{last},{address},Head of Sales,{company.title()},{sequence if number % 9 else 'seq_nope'}"
        )
    path.write_text("\n".join([HEADINGS, *rows, ""]), encoding="utf-8")


ENROLL = ["enroll", "contacts.csv", "--sequence", "seq_abc123"]
TO_A_FILE = ["--output", "contacts.results.csv"]


def enrolled(terminal, emulator, **options):
    """Enroll the people, of whom the screen shows nothing."""
    other = Terminal(terminal.columns, terminal.folder, terminal.variables)
    return other.run(*ENROLL, *TO_A_FILE, "--yes", **options)


def test_help(terminal, looks_as_recorded):
    """Each command with its line."""
    assert 0 == terminal.run("--help")
    looks_as_recorded()


def test_enroll_help(terminal, looks_as_recorded):
    """Each option, and examples."""
    assert 0 == terminal.run("enroll", "--help")
    looks_as_recorded()


def test_check(terminal, looks_as_recorded):
    """What is right, and what to do about the rest."""
    assert 0 == terminal.run("check")
    looks_as_recorded()


def test_wrong_key(terminal, looks_as_recorded):
    """It is said before anybody is emailed, and what to do."""
    terminal.variables["HINDSIGHT_API_KEY"] = "hs_wrong"
    terminal.run("check")
    terminal.run(*ENROLL, *TO_A_FILE, "--yes")
    looks_as_recorded()


def test_demo(terminal, looks_as_recorded):
    """The whole loop without an account."""
    assert 0 == terminal.run("demo")
    looks_as_recorded()


def test_dry_run(terminal, emulator, looks_as_recorded):
    """What was understood of the file."""
    assert 0 == terminal.run(*ENROLL, "--dry-run")
    looks_as_recorded()
    assert [] == emulator.requests


def test_problems(terminal, emulator, looks_as_recorded):
    """Rows that cannot be sent hold all back until somebody has decided."""
    spoilt = ["", "n/a", "ann@x.example; bob@x.example", "", "zoe.4@acme.example "]
    write_export(terminal.folder / "contacts.csv", spoil=spoilt)
    assert 2 == terminal.run(*ENROLL)
    looks_as_recorded()
    assert [] == emulator.requests


def test_question_answered_no(terminal, emulator, looks_as_recorded):
    """Nobody is emailed."""
    assert terminal.run(*ENROLL, *TO_A_FILE, answer="n") in {2, 4}
    looks_as_recorded()
    assert [] == list(emulator.outbox)


def test_enroll(terminal, emulator, looks_as_recorded):
    """The question, the run, and what is next."""
    assert 0 == terminal.run(*ENROLL, *TO_A_FILE, answer="yes")
    looks_as_recorded()
    assert PEOPLE == len(emulator.outbox)


def test_refused_rows(terminal, looks_as_recorded):
    """The cause, its rows, and what to do."""
    words = ["enroll", "contacts.csv", "--map", "sequence_id=Sequence", *TO_A_FILE, "--yes"]
    assert 1 == terminal.run(*words)
    looks_as_recorded()


def test_resume_after_an_interrupt(terminal, emulator, looks_as_recorded):
    """How to go on, and the rest of them."""
    emulator.fail("POST /interviews", how="slow", seconds=4.0, at="after_commit", times=None)
    words, looks = [*ENROLL, *TO_A_FILE, "--yes"], itertools.count()
    # Some looks later than the last one that may be in flight, so that the next one's worker has it in hand for sure.
    assert 130 == terminal.run(
        *words, interrupt=lambda: len(emulator.outbox) >= IN_FLIGHT and next(looks) > LOOKS_AT_REST
    )
    emulator.heal()
    assert 0 == terminal.run(*words)
    looks_as_recorded()
    assert PEOPLE == len(emulator.outbox)


def test_status(terminal, emulator, looks_as_recorded):
    """What became of them, in numbers, and what is new."""
    enrolled(terminal, emulator)
    for number in (1, 2, 7):
        emulator.complete(number)
    assert 0 == terminal.run("status", "contacts.csv")
    assert 0 == terminal.run("status", "contacts.csv", "--only", "completed")
    looks_as_recorded()


def test_transcripts(terminal, emulator, looks_as_recorded):
    """What was saved, and where."""
    enrolled(terminal, emulator)
    for number in (1, 2, 7):
        emulator.complete(number)
    assert 0 == terminal.run("transcripts", "contacts.csv", "--to", "interviews/")
    assert 0 == terminal.run("transcripts", "contacts.csv", "--to", "interviews/")
    looks_as_recorded()


def test_unknown(terminal, emulator, looks_as_recorded):
    """Who may have been emailed, and how to say what became of them."""
    emulator.fail("POST /interviews", how="disconnect", at="after_commit", times=2)
    assert 3 == terminal.run(*ENROLL, *TO_A_FILE, "--yes")
    assert 0 == terminal.run("ledger", "show", "contacts.hindsight.db", "--status", "unknown")
    looks_as_recorded()
