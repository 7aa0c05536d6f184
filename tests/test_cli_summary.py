"""What a person reads at the end of a run: causes folded, the cause first, with the advice that fits, at 80 columns."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hindsight_async import CreateInterview
from hindsight_async.cli.causes import Causes
from hindsight_async.cli.enroll_endings import EnrollEndings
from hindsight_async.cli.run_failures import say_failure, unreached
from hindsight_async.cli.summary import Ending
from hindsight_async.delivery.outcomes import OutcomeStatus
from hindsight_async.errors import (
    BadRequestError,
    BulkAbortedError,
    ForbiddenError,
    LedgerError,
    NotFoundError,
    NotSentError,
    OutcomeUnknownError,
    QuotaExceededError,
    UnauthorizedError,
)

REJECTED, UNKNOWN, NOT_SENT = OutcomeStatus.REJECTED, OutcomeStatus.UNKNOWN, OutcomeStatus.NOT_SENT
ENDINGS = EnrollEndings("contacts.hindsight.db")


def refused(message, status=400, **fields):
    return BadRequestError(message, status=status, **fields)


def values(**fields):
    return {"contact_email": "ann@acme.test", "sequence_id": "seq_nope", "deal_id": None, **fields}


def text(counts, causes=None, **fields):
    ending = Ending(
        counts=Counter(counts), causes=causes or Causes(), advice=ENDINGS.advice,
        list_unknown=ENDINGS.list_unknown, **fields,
    )  # fmt: skip
    ending.next_step = ENDINGS.next_step(ending)
    return ending.text()


def test_the_end_of_a_run_is_one_screen():
    """Counts and time, each cause with its rows and its column, who is unknown, the file, and what to type next."""
    causes = Causes()
    for row in range(18, 38):
        causes.add(REJECTED, refused("sequence_id not found"), row, values())
    for row in (44, 45):
        causes.add(
            UNKNOWN, OutcomeUnknownError("the connection broke after the request had left"), row, values()
        )
    said = text(
        {OutcomeStatus.CREATED: 4839, REJECTED: 20, UNKNOWN: 2}, causes, seconds=964.2,
        columns={"sequence_id": "Sequence"}, unknown=[(44, "ann@acme.test"), (45, "ben@acme.test")],
        results=Path("contacts.results.csv"),
    )  # fmt: skip
    assert (
        """\
4,839 created · 20 refused · 2 unknown · 16 min 4 s

20 refused: sequence_id not found
   rows 18, 19, 20, … have seq_nope. Check the column "Sequence".
Correct the file and run the same command again. Where contact, sequence and
deal stay as they are, a row is sent again only after
  hindsight-async ledger resolve contacts.hindsight.db ADDRESS --not-created

2 unknown: the connection broke after the request had left
   row 44  ann@acme.test
   row 45  ben@acme.test
They may have been emailed, so they are not sent again. Look them up in
Hindsight, then, for each,
  hindsight-async ledger resolve contacts.hindsight.db ADDRESS --created ID
  hindsight-async ledger resolve contacts.hindsight.db ADDRESS --not-created

Results   contacts.results.csv  (all rows, with ids and links: keep it private)
Next      hindsight-async status contacts.hindsight.db --watch"""
        == said
    )
    assert 80 >= max(map(len, said.splitlines()))


def test_many_unknown_rows_are_listed_by_a_command():
    """Their addresses would fill the screen."""
    causes = Causes()
    for row in reversed(range(6)):
        causes.add(UNKNOWN, OutcomeUnknownError("it broke"), row, values())
    said = text({UNKNOWN: 6}, causes, unknown=[(2, "ann@acme.test")])
    assert "ann@acme.test" not in said
    assert (
        "   rows 0, 1, 2, …\n"
        "   All 6 of them, as a file that ledger resolve takes once it is filled in:\n"
        "  hindsight-async ledger show contacts.hindsight.db --status unknown --csv\n" in said
    )


@pytest.mark.parametrize("ledger", [None, "a b.db", "postgresql+asyncpg://u:***@h/d"])
def test_no_command_that_emails_somebody_can_be_pasted(ledger):
    """Whatever is advised, `enroll` does not stand there, and what is resolved is named by a placeholder."""
    endings = EnrollEndings(ledger, is_secret="***" in (ledger or ""))
    ending = Ending(Counter({OutcomeStatus.CREATED: 1}), Causes(), endings.advice, interrupted=True)
    said = [*endings.advice.values(), endings.list_unknown or "", endings.next_step(ending) or ""]
    ending.interrupted = False
    said.append(endings.next_step(ending) or "")
    assert "enroll" not in "".join(said)
    commands = [line for each in said for line in each.splitlines() if "ledger resolve" in line]
    assert all(" ADDRESS --" in line for line in commands)
    assert (ledger is None) is (not commands)


def test_one_cause_is_one_line_whatever_ids_its_rows_have():
    """The ids stand behind the rows; where a few say it, not all of them do."""
    causes = Causes()
    for row, deal in enumerate(["deal_a", "deal_b", "deal_a", "deal_c", "deal_d"], 2):
        causes.add(REJECTED, refused(f"deal_id {deal} not found"), row, values(deal_id=deal))
    (cause,) = causes.of(REJECTED)
    assert ("deal_id … not found", "deal_id", 5) == (cause.text, cause.about, cause.count)
    assert ["deal_a", "deal_b", "deal_c"] == cause.values
    said = text({REJECTED: 5}, causes, columns={"deal_id": "Deal"})
    assert '   rows 2, 3, 4, … have deal_a, deal_b, deal_c, …. Check the column "Deal".\n' in said


def test_the_field_at_fault_is_named_by_details_too():
    """Where the words do not say it; and where several are named, none is picked."""
    causes = Causes()
    causes.add(REJECTED, refused("Wrong", details={"invalid_fields": ["contact_email"]}), 2, values())
    causes.add(REJECTED, refused("contact_email and one of sequence_id are required"), 3, values())
    first, second = causes.of(REJECTED)
    assert ("contact_email", ["ann@acme.test"]) == (first.about, first.values)
    assert (None, []) == (second.about, second.values)


def test_no_server_fills_the_screen():
    """Answers that differ each time are counted together from some number on."""
    causes = Causes()
    for row in range(1000):
        causes.add(REJECTED, refused(f"trace {row}"), row, values())
    assert 21 == len(list(causes.of(REJECTED)))
    assert 980 == next(causes.of(REJECTED)).count


NO_NAME = NotSentError("no connection to https://h.test/api/v1: [Errno -2] Name or service not known")


def gone_for_good():
    failure = BulkAbortedError("the network was gone for 600 s: whatever")
    failure.__cause__ = NO_NAME
    return failure


FAILURES = [
    (
        UnauthorizedError("Invalid API key", status=401),
        (
            "The API refused the key (401: Invalid API key). Nobody was emailed.\n"
            "Set HINDSIGHT_API_KEY to a key from the dashboard's Settings > API Keys."
        ),
    ),
    (
        ForbiddenError("read only", status=403),
        (
            "The API knows the key and does not let it do this (403: read only). Nobody was\nemailed.\n"
            "Ask whoever made the key for its rights, or set HINDSIGHT_API_KEY to another;\n"
            "then run the same command again."
        ),
    ),
    (
        QuotaExceededError("the month's quota is used up", reset_at=datetime(2026, 12, 1, 12, tzinfo=UTC)),
        "The month's quota is used up. Nobody was emailed.\nRun the same command again after 2026-12-01 ",
    ),
    (
        gone_for_good(),
        (
            "No connection to h.test (name not found): the network was gone for 600 s. Nobody\nwas emailed.\n"
            "Check the network, a proxy, and HINDSIGHT_BASE_URL; then run the same command\nagain. --wait 2h waits"
        ),
    ),
    (
        BulkAbortedError("20 rows in a row failed; the last: it broke"),
        (
            "The run stopped itself: 20 rows in a row failed; the last: it broke. Nobody was\nemailed.\n"
            "Mend what these rows have in common"
        ),
    ),
    (
        NotFoundError("no page", status=404),
        (
            "There is no API where this looked for it (404: no page). Nobody was emailed.\n"
            "Check HINDSIGHT_BASE_URL and any proxy, then run the same command again."
        ),
    ),
    (LedgerError("a.db: the disk is full"), "The ledger: a.db: the disk is full. Nobody was emailed.\n"),
]


@pytest.mark.parametrize(("failure", "said"), FAILURES, ids=[type(each).__name__ for each, _ in FAILURES])
def test_what_ends_a_run_is_said_with_the_advice_that_fits(failure, said):
    """The key, its rights, the month, the network, the rows, the address, the ledger: each another, within 80 columns."""
    text = say_failure(failure, done=0, in_doubt=0)
    assert text.startswith(said)
    assert 80 >= max(map(len, text.splitlines()))


def test_nobody_is_told_that_nobody_was_emailed_where_somebody_was():
    """What was done before is counted; where it is in doubt, nothing is claimed."""
    failure = UnauthorizedError("Invalid API key", status=401)
    said = " ".join(say_failure(failure, done=1204, in_doubt=0).split())
    assert "Before that 1,204 were done; they are not sent again." in said
    assert "emailed" not in say_failure(failure, done=0, in_doubt=1)


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        (
            "no connection to http://127.0.0.1:1/api/v1: [Errno 111] Connect call failed",
            ("127.0.0.1:1", "connection refused"),
        ),
        (
            "no connection to https://h.test/v1: [Errno -3] Temporary failure in name resolution",
            ("h.test", "name not found"),
        ),
        (
            "no connection to https://h.test/v1: [Errno 101] Network is unreachable",
            ("h.test", "network unreachable"),
        ),
        ("connecting to https://h.test/v1 took too long", ("h.test", "no answer in time")),
        (
            "no connection to https://h.test/v1: the proxy answered 502 Bad",
            ("h.test", "the proxy has no way there"),
        ),
        ("no connection to https://h.test/v1: [Errno 5] Odd thing", ("h.test", "Odd thing")),
        ("something else", ("the API", "something else")),
    ],
)
def test_a_missing_connection_is_said_in_a_few_words(summary, expected):
    """The host, and what people call it."""
    assert expected == unreached(NotSentError(summary))


def test_rows_that_a_run_kept_back_are_said_once_by_its_own_cause():
    """Not each with the error that ended the run."""
    causes = Causes()
    failure = UnauthorizedError("Invalid API key", status=401)
    for row in range(3):
        causes.add(NOT_SENT, failure, row, values())
    said = text({NOT_SENT: 400}, causes, failure=failure)
    assert 1 == said.count("401")
    assert "\n400 not sent: the run ended before\nSafe to run again" in said


def test_what_a_person_left_out_is_no_failure():
    """Rows that --exclude keeps back are counted, and no advice is given on them."""
    said = text({OutcomeStatus.CREATED: 3, NOT_SENT: 2}, excluded=2)
    assert "3 created · 2 left out by --exclude\n\nNext " in said


def test_a_request_shows_no_address_in_a_cause():
    """What a server repeats of one is left out of its text."""
    request = CreateInterview(contact_email="ann@acme.test", sequence_id="s")
    causes = Causes()
    causes.add(REJECTED, refused(f"{request.contact_email} is no address"), 2, values())
    assert "<address> is no address" == next(causes.of(REJECTED)).text
