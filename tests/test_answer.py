"""What an answer means: a value, or exactly one error."""

import copy
import json
import pickle
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from hindsight_async import (
    APIError,
    BadRequestError,
    CreatedInterview,
    DecodeError,
    Delivery,
    ForbiddenError,
    HindsightError,
    InternalServerError,
    Interview,
    NotFoundError,
    OutcomeUnknownError,
    RateLimitExceededError,
    UnauthorizedError,
    UpdatedInterview,
)
from hindsight_async.call.answer import judge as judge_at
from hindsight_async.call.request import Call, Endpoint, Reply

NOW = datetime(2026, 7, 24, 10, tzinfo=UTC)
CREATE = Call(
    Endpoint(method="POST", route="POST /interviews", reply_type=CreatedInterview, repeatable=False),
    "/interviews",
)
UPDATE = Call(
    Endpoint(
        method="PATCH",
        route="PATCH /interviews/{id}",
        reply_type=UpdatedInterview,
        repeatable=True,
        status_suffices=True,
    ),
    "/interviews/1",
    known={"interview_request_id": 1},
)
GET = Call(
    Endpoint(method="GET", route="GET /interviews/{id}", reply_type=Interview, repeatable=True),
    "/interviews/1",
    known={"interview_request_id": 1},
)


def judge(call, answer):
    return judge_at(call, answer, lambda: NOW)


def reply(status, body=b"", **headers):
    named = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, named, content)


ENVELOPE = {"error": {"code": "some_code", "message": "some words", "details": {"missing_fields": ["x"]}}}
BODIES = {
    "the standard envelope": (ENVELOPE, "some_code", "some words", {"missing_fields": ["x"]}),
    "without details": (
        {"error": {"code": "some_code", "message": "some words"}},
        "some_code",
        "some words",
        {},
    ),
    "the deals page": ({"message": "some words"}, None, "some words", {}),
    "the export page": ({"error": "some words", "status": 400}, None, "some words", {}),
    "an HTML page": (b"<html>502</html>", None, None, {}),
    "an empty body": (b"", None, None, {}),
    "a list": ([1], None, None, {}),
    "fields of wrong kinds": ({"error": {"code": 5, "message": [], "details": "x"}}, None, None, {}),
    "a deep nest": (b"[" * 100_000, None, None, {}),
}
CLASSES = {
    400: BadRequestError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    429: RateLimitExceededError,
    500: InternalServerError,
    502: InternalServerError,
    599: InternalServerError,
    409: APIError,
    418: APIError,
}


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("status", CLASSES)
def test_every_body_of_every_error_status_becomes_the_right_class(status, body):
    """The class follows from the status alone; code, message and details are read where they are."""
    content, code, message, details = BODIES[body]
    error = judge(CREATE, reply(status, content))
    assert CLASSES[status] is type(error)
    assert (status, code, details) == (error.status, error.code, error.details)
    assert ("POST", "/interviews") == (error.method, error.path)
    assert message == error.message if message else "the body names no error" in error.message


@pytest.mark.parametrize(
    ("status", "delivery"),
    [
        (400, Delivery.REJECTED),
        (401, Delivery.REJECTED),
        (404, Delivery.REJECTED),
        (408, Delivery.UNKNOWN),
        (429, Delivery.REJECTED),
        (500, Delivery.UNKNOWN),
        (503, Delivery.UNKNOWN),
        (301, Delivery.REJECTED),
        (307, Delivery.REJECTED),
        (308, Delivery.REJECTED),
        (302, Delivery.UNKNOWN),
        (303, Delivery.UNKNOWN),
    ],
)
def test_delivery_follows_from_the_status(status, delivery):
    """A refusal had no effect; a server's failure, or an answer that lies elsewhere, may have had one."""
    assert delivery is judge(CREATE, reply(status)).delivery


def test_a_readable_success_is_its_value():
    """Any 2xx with the promised body is the value."""
    assert UpdatedInterview(interview_request_id=7) == judge(UPDATE, reply(200, {"interview_request_id": 7}))
    assert UpdatedInterview(interview_request_id=7) == judge(UPDATE, reply(202, {"interview_request_id": 7}))


def test_an_unreadable_success_of_a_create_is_an_unknown_outcome():
    """It was created: the caller must hear that, and not that a decoder failed."""
    error = judge(CREATE, reply(201, b"<html>"))
    assert OutcomeUnknownError is type(error)
    assert (Delivery.UNKNOWN, 201) == (error.delivery, error.status)
    assert "the server answered 201, so it was done" in str(error)
    assert isinstance(error.__cause__, DecodeError)


ODD_SUCCESSES = {
    "no id": (
        b'{"contact_id":"c","survey_token":"tok_secret"}',
        {"contact_id": "c", "survey_token": "tok_secret"},
    ),
    "an odd id": (b'{"interview_request_id":["tok_secret"]}', {"interview_request_id": ["tok_secret"]}),
    "words behind it": (b'{"interview_request_id":7} tok_secret', {"interview_request_id": 7}),
    "a byte that is no UTF-8": (
        b'{"interview_request_id":7,"to":"J\xf6"}',
        {"interview_request_id": 7, "to": "J\ufffd"},
    ),
    "UTF-16": ('\ufeff{"contact_id":"c"}'.encode("utf-16-le"), {"contact_id": "c"}),
    "a list": (b'[{"interview_request_id":7}]', {}),
    "no JSON": (b"tok_secret", {}),
    "nothing": (b"", {}),
    "a deep nest": (b'{"a":' * 100_000, {}),
}


@pytest.mark.parametrize("answer", ODD_SUCCESSES)
def test_what_could_be_read_of_a_create_without_a_readable_id_is_kept(answer):
    """The error has the answer's fields to look it up by, and shows their names and no value."""
    body, received = ODD_SUCCESSES[answer]
    error = judge(CREATE, reply(201, body))
    assert OutcomeUnknownError is type(error)
    assert received == error.received
    assert not received or f"it has the fields {sorted(received)}" in str(error)
    assert "tok_secret" not in f"{error}{error!r}{error.__cause__!r}"
    assert received == pickle.loads(pickle.dumps(error)).received == copy.deepcopy(error).received


def test_a_secret_is_hidden_in_what_was_received_however_deep_it_nests():
    """An answer that repeats the API key in its depths neither keeps it nor breaks what hides it."""
    nested = '"k3y",[' * 600 + "]" * 600
    error = judge(CREATE, reply(201, f'{{"k3y":"k3y","deep":[{nested}],"id":7}}'.encode()))
    error.hide("k3y")
    assert ("<api key>", 7) == (error.received["<api key>"], error.received["id"])
    assert "k3y" not in f"{error}{error.__dict__}"
    assert error.received == pickle.loads(pickle.dumps(error)).received == copy.deepcopy(error).received


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"OK",
        b"<html>",
        b"null",
        b"[]",
        b'"done"',
        b"[" * 100_000,
        b'{"a":',
        b"{}",
        b'{"interview_request_id":null}',
    ],
)
@pytest.mark.parametrize("status", [200, 204])
def test_an_update_that_was_answered_carries_the_id_that_was_asked_for(status, body):
    """A 2xx says that it was done, and which interview it was is known."""
    updated = judge(UPDATE, reply(status, body))
    assert UpdatedInterview is type(updated)
    assert 1 == updated.interview_request_id


def test_an_unreadable_answer_to_a_get_is_a_decode_error():
    """It may be repeated, so what is wrong is the answer."""
    error = judge(GET, reply(200, b"[]"))
    assert DecodeError is type(error)
    assert ("GET", "/interviews/1") == (error.method, error.path)


def test_a_redirect_names_its_target_without_the_query():
    """Redirects are not followed; the error shows where one led, less what may be secret."""
    error = judge(CREATE, reply(307, Location="https://login.example/start?token=secret#x"))
    assert "redirected to https://login.example/start, which is not followed" in str(error)
    assert "secret" not in str(error)
    assert "the API promises no such answer: check base_url" in str(judge(CREATE, reply(304)))
    assert "redirected to an unreadable place" in str(judge(CREATE, reply(307, Location="http://[::1")))


def test_a_429_says_when_the_server_opens_again():
    """Milliseconds on the server's clock become an aware moment, and a wait in seconds."""
    date = "Fri, 24 Jul 2026 09:00:00 GMT"
    server_now = datetime(2026, 7, 24, 9, tzinfo=UTC)
    reset = int((server_now + timedelta(seconds=42)).timestamp() * 1000)
    error = judge(CREATE, reply(429, ENVELOPE, Date=date, X_RateLimit_Reset=str(reset)))
    assert server_now + timedelta(seconds=42) == error.reset_at
    assert 42 == pytest.approx(error.retry_after)


def test_a_503_keeps_the_wait_that_the_server_named():
    """Retry-After counts on a 5xx; the rate window's reset does not."""
    assert 7 == judge(UPDATE, reply(503, Retry_After="7")).retry_after
    assert None is judge(UPDATE, reply(503, X_RateLimit_Reset="7")).retry_after


@given(status=st.integers(300, 999), body=st.binary(max_size=200), location=st.text(max_size=50))
def test_any_answer_that_is_no_success_is_an_api_error_with_a_text(status, body, location):
    """Whatever a server or a proxy says, the caller gets one of our errors, and it says something."""
    error = judge(CREATE, reply(status, body, Location=location))
    assert isinstance(error, APIError)
    assert isinstance(error, HindsightError)
    assert str(error)
