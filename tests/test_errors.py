"""Every error says what happened, on which call, after how many attempts, and what it means."""

import copy
import inspect
import pickle
from datetime import UTC, datetime

import pytest

import hindsight_async
from hindsight_async import (
    APIError,
    BadRequestError,
    DeadlineExceededError,
    DecodeError,
    Delivery,
    ExportFailedError,
    HindsightError,
    NotSentError,
    OutcomeUnknownError,
    RateLimitExceededError,
    SessionClosedError,
    WaitTimeoutError,
    errors,
)

MOMENT = datetime(2026, 7, 24, tzinfo=UTC)
CALL = {"method": "POST", "path": "/interviews"}
EXAMPLES = [
    APIError("odd", status=418, code="teapot", details={"a": 1}, **CALL),
    BadRequestError("sequence_id not found", status=400, code="bad_request", **CALL),
    RateLimitExceededError("slow down", status=429, reset_at=MOMENT, retry_after=5.0, **CALL),
    NotSentError("refused", attempts=4, **CALL),
    OutcomeUnknownError("broke off", status=201, received={"contact_id": "c", "deep": [{}]}, **CALL),
    DecodeError("unreadable", problems=("a", "b"), **CALL),
    WaitTimeoutError("not over", last={"export_id": "exp_1"}, **CALL),
    ExportFailedError("no column of that name", export_id="exp_1", reason="no column of that name"),
    DeadlineExceededError("too late", retry_after=3.5, delivery=Delivery.REJECTED, **CALL),
    SessionClosedError("closed", **CALL),
    HindsightError("plain"),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_errors_pickle_and_copy_whole(error, twin):
    """An error that crosses a process boundary keeps its class, fields and text."""
    error.add_note("a note")
    other = twin(error)
    assert type(error) is type(other)
    assert error.__dict__ == other.__dict__
    assert str(error) == str(other)


def test_a_text_says_what_happened_where_and_after_how_many_attempts():
    """One line tells the story of a failed call."""
    assert (
        "POST /interviews: the server answered 400 bad_request: sequence_id not found; it had no effect"
        " (after 1 attempt)"
    ) == str(BadRequestError("sequence_id not found", status=400, code="bad_request", attempts=1, **CALL))
    assert "POST /interviews: refused; nothing was sent (after 4 attempts)" == str(
        NotSentError("refused", attempts=4, **CALL)
    )


def test_an_unknown_outcome_says_that_it_may_have_taken_effect():
    """The one thing to know about an unknown outcome stands in its text, after one attempt and after several."""
    error = OutcomeUnknownError("broke off", attempts=4, **CALL)
    assert "POST /interviews: broke off; it may have taken effect (after 4 attempts)" == str(error)


def test_addresses_stay_out_of_texts():
    """A server that repeats a contact's address does not put it into our logs; the field keeps it."""
    error = BadRequestError("contact jane.doe+q3@acme.example is not valid", status=400, **CALL)
    assert "contact <address> is not valid" in str(error)
    assert "jane" not in repr(error)
    assert "contact jane.doe+q3@acme.example is not valid" == error.message


def test_no_text_is_empty():
    """Even an error without words names itself."""
    assert "HindsightError; nothing was sent" == str(HindsightError(""))
    assert "<SessionClosedError: closed; nothing was sent>" == repr(SessionClosedError("closed"))


def test_a_text_without_a_call_speaks_of_no_attempts():
    """Where there was a call or an attempt it does, and says how many."""
    assert "refused; nothing was sent" == str(NotSentError("refused"))
    assert "refused; nothing was sent (after 2 attempts)" == str(NotSentError("refused", attempts=2))
    assert "POST /interviews: refused; nothing was sent (after 0 attempts)" == str(
        NotSentError("refused", **CALL)
    )


def test_a_wait_that_ran_out_is_a_timeout_with_what_was_last_read():
    """Who catches either class has it, and its text says that what was waited for goes on."""
    with pytest.raises(TimeoutError) as raised:
        raise WaitTimeoutError("the export is pending after 5 s", last="the last answer", **CALL)
    assert isinstance(raised.value, HindsightError)
    assert "the last answer" == raised.value.last
    assert "it goes on" in str(raised.value)


def test_every_error_is_public_and_drawn_in_the_tree():
    """The tree at the top of the module is the truth, and all of it can be imported."""
    classes = [
        cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, HindsightError)
    ]
    for cls in classes:
        assert cls is getattr(hindsight_async, cls.__name__)
        assert cls.__name__ in errors.__doc__


def test_a_long_text_of_a_server_is_cut():
    """A page of words in one error neither fills the log nor holds up the program."""
    error = BadRequestError("x" * 5_000_000, status=400, **CALL)
    assert len(str(error)) < 1200
    assert 5_000_000 == len(error.message)


def test_a_secret_is_hidden_wherever_it_stands():
    """Text, code, details and lists in them."""
    error = BadRequestError("bad k3y", status=400, code="k3y", details={"k3y": ["k3y", ("k3y", 1)]}, **CALL)
    error.hide("k3y")
    assert "k3y" not in f"{error!r}{error.__dict__}"
    assert {"<api key>": ["<api key>", ("<api key>", 1)]} == error.details


def test_what_nests_too_deep_is_left_out_where_a_secret_is_hidden():
    """Details that could not be walked, copied or pickled do not take the error's place."""
    deep = []
    for _ in range(5000):
        deep = [deep]
    error = BadRequestError("bad", status=400, details={"deep": deep, "why": "k3y"}, **CALL)
    error.hide("k3y")
    assert "<api key>" == error.details["why"]
    assert "<nested too deep>" in str(error.details)
    assert error.details == pickle.loads(pickle.dumps(error)).details == copy.deepcopy(error).details
