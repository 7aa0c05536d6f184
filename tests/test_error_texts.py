"""The whole text of every kind of error in every state: one sentence at its end says what it means, and nothing else does."""

import inspect
import itertools
import re

import pytest

from hindsight_async import (
    APIError,
    BulkAbortedError,
    Delivery,
    ExportFailedError,
    HindsightError,
    LedgerError,
    NotSentError,
    OutcomeUnknownError,
    Plan,
    QuotaExceededError,
    RateBudget,
    WaitTimeoutError,
    errors,
)
from hindsight_async.call.request import Call, Endpoint, Reply
from hindsight_async.delivery.outcomes import end_of_run
from hindsight_async.errors.endings import Ending
from hindsight_async.redaction import LONGEST_TEXT
from stub_transport import StubTransport, executor_over

CLASSES = sorted(
    {cls for cls in vars(errors).values() if inspect.isclass(cls) and issubclass(cls, HindsightError)},
    key=lambda cls: cls.__name__,
)
STATUSES = {cls: (400, 429, 503) if issubclass(cls, APIError) else (None,) for cls in CLASSES}
STATUSES[OutcomeUnknownError] = (None, 201, 503)
ENDINGS = {re.escape(ending).replace(r"\{\}", r"\d+"): ending for ending in Ending}


def every_error(cls):
    """Yield an error of this class in each state that a call, a ledger or a run may leave it in."""
    for status, delivery, method, attempts, is_earlier in itertools.product(
        STATUSES[cls], [None, *Delivery], [None, "GET", "POST"], [0, 1, 4], [False, True]
    ):
        fields = {} if status is None else {"status": status}
        if method:
            fields |= {"method": method, "path": "/interviews"}
        error = cls("it went wrong", delivery=delivery, attempts=attempts, is_earlier=is_earlier, **fields)
        yield error
        if delivery is Delivery.NOT_SENT and attempts > 1:
            error.was_refused = True
            yield error
        if isinstance(error, LedgerError):
            for name, number in (("interview_request_id", 4821), ("unrecorded", 0), ("unrecorded", 3)):
                told = cls("it went wrong", delivery=delivery, attempts=attempts, **fields)
                setattr(told, name, number)
                yield told
        yield end_of_run(error, [])


def endings_in(text):
    return [ending for pattern, ending in ENDINGS.items() if re.search(rf"; {pattern}( \(after|$)", text)]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_each_text_ends_with_one_sentence_about_what_it_means(cls):
    """Call, what happened, that sentence, how many attempts: nothing more, and each at most once."""
    for error in every_error(cls):
        text = str(error)
        assert 1 == len(endings_in(text)), text
        shape = r"((GET|POST) /interviews: )?(an earlier call: )?[^;]*it went wrong; [^;()]*"
        assert re.fullmatch(rf"{shape}( \(after (1 attempt|4 attempts)\))?", text), text
        assert ("(after" in text) is (error.attempts > 0 and not error.ended_run), text


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_no_text_says_that_nothing_was_sent_where_something_was(cls):
    """Not after a refused attempt, not of a run, and nothing else where nothing was."""
    for error in every_error(cls):
        says_nothing = "nothing was sent" in str(error)
        was_sent = error.delivery is not Delivery.NOT_SENT or error.was_refused or error.ended_run
        about_more = getattr(error, "unrecorded", None) is not None or cls in (
            WaitTimeoutError,
            ExportFailedError,
        )
        assert says_nothing is not (was_sent or about_more), str(error)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_a_text_leaves_an_effect_open_only_where_it_is(cls):
    """Not where the status says that it was done, not of a read, and never together with another word on it."""
    for error in every_error(cls):
        if Ending.UNKNOWN in str(error):
            assert Delivery.UNKNOWN is error.delivery
            assert "GET" != error.method
            assert 201 != getattr(error, "status", None)


def test_every_sentence_is_said_by_some_error():
    """None is left over, and none is made up elsewhere."""
    said = {ending for cls in CLASSES for error in every_error(cls) for ending in endings_in(str(error))}
    assert set(Ending) == said


def test_what_a_run_raises_says_what_became_of_the_run():
    """The error of the row that ended it is its cause, and says of that row what is true of it."""
    row_error = QuotaExceededError("the quota is used up", method="POST", path="/interviews")
    error = end_of_run(row_error, [])
    assert QuotaExceededError is type(error)
    assert row_error is error.__cause__
    assert (
        "POST /interviews: the quota is used up;"
        " no more rows were begun, and each outcome says what became of its row"
    ) == str(error)
    assert "POST /interviews: the quota is used up; nothing was sent" == str(row_error)


def test_an_exception_that_is_not_ours_ends_a_run_as_it_is():
    """What the caller's own input raised is raised to them."""
    theirs = ZeroDivisionError()
    assert theirs is end_of_run(theirs, [])
    aborted = BulkAbortedError("20 rows in a row failed")
    assert aborted is end_of_run(aborted, [])


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_what_a_server_says_reaches_no_text_unescaped(cls):
    """In each of them: no line of its own, no escape sequence, no address, not endless; its sentence stays."""
    nasty = "\x1b[2J\u202e\n2026 INFO all well; jane@acme.example \ud83d" + "x" * 5000
    for status in STATUSES[cls]:
        error = cls(nasty, **({} if status is None else {"status": status}))
        text = str(error)
        text.encode()
        assert r"\x1b[2J\u202e\n2026 INFO all well; <address> " in text
        assert len(text) <= LONGEST_TEXT + 200
        assert 1 == len(endings_in(text))


CREATE = Endpoint(method="POST", route="POST /interviews", reply_type=dict, repeatable=False)
NO_WAY = NotSentError("no way", method="POST", path="/interviews")
REFUSED = Reply(429, {"Retry-After": "1"}, b"")


class ScriptedTransport(StubTransport):
    """Answers with one of a list after the other; raises those that are exceptions."""

    def __init__(self, *script):
        super().__init__()
        self.script = list(script)

    async def send(self, call, *, loop, deadline, attempt):
        answer = self.script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def hide_key(self, error):
        """Have none."""


class FailingHook:
    """Keeps back the attempt of this number, or fails to note that nothing came of the first one."""

    def __init__(self, *, at=None, error=None):
        self.at, self.error, self.calls = at, error, 0

    async def about_to_send(self):
        self.calls += 1
        if self.calls == self.at:
            raise self.error

    async def not_processed(self):
        if self.at is None:
            raise self.error


@pytest.mark.parametrize(
    ("script", "hook", "said"),
    [
        ([NO_WAY] * 4, None, "no way; nothing was sent (after 4 attempts)"),
        (
            [REFUSED, *[NO_WAY] * 4],
            None,
            "no way; it had no effect (after 5 attempts)",
        ),
        ([REFUSED], FailingHook(at=2, error=LedgerError("full")), "full; it had no effect (after 1 attempt)"),
        ([REFUSED], FailingHook(error=LedgerError("full")), "full; it had no effect (after 1 attempt)"),
        ([], FailingHook(at=1, error=LedgerError("full")), "full; nothing was sent"),
        (
            [REFUSED],
            FailingHook(at=2, error=ValueError("odd")),
            "ValueError came up around the request: odd; it had no effect (after 1 attempt)",
        ),
    ],
)
async def test_a_text_counts_every_attempt_of_its_call(script, hook, said):
    """What was sent and refused is not said to have never been sent, whatever comes behind it."""
    executor = executor_over(ScriptedTransport(*script), RateBudget.for_plan(Plan.ENTERPRISE))
    with pytest.raises(HindsightError) as raised:
        await executor.run(Call(CREATE, "/interviews"), lane="bulk", deadline=None, hooks=hook)
    assert f"POST /interviews: {said}" == str(raised.value)
    assert raised.value.delivery is not Delivery.UNKNOWN
