"""Requests become exact JSON; answers are read strictly and never coerced."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hindsight_async import (
    CreatedInterview,
    CreateInterview,
    DecodeError,
    Interview,
    InterviewStatus,
    UpdatedInterview,
    UpdateInterview,
)
from hindsight_async.codec import decode, encode

TEXT = st.text(st.characters(exclude_categories=["Cs"]))

CREATED = {"interview_request_id": 4821, "contact_id": "contact_abc123", "status": "sent"}
INTERVIEW = {"interview_request_id": 4821, "status": "sent", "created_at": "2026-07-24T10:00:00Z"}

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=8,
)


def as_json(document):
    return json.dumps(document).encode()


def test_a_whole_create_is_encoded_under_the_apis_own_names():
    """Every field is sent under its own name, text beyond ASCII as UTF-8."""
    request = CreateInterview(
        contact_email="jane@acme.example",
        sequence_id="seq_abc123",
        interview_type_id="type_abc123",
        contact_name="Jäne",
        contact_context={"title": "VP"},
        deal_id="deal_xyz789",
        objective="Why?",
    )
    expected = (
        '{"contact_email":"jane@acme.example","sequence_id":"seq_abc123","interview_type_id":"type_abc123",'
        '"contact_name":"Jäne","contact_context":{"title":"VP"},"deal_id":"deal_xyz789","objective":"Why?"}'
    )
    assert expected.encode() == encode(request)


def test_what_is_none_is_left_out_and_what_is_empty_is_sent():
    """None means "leave it"; an empty text means an empty text."""
    assert b'{"objective":""}' == encode(UpdateInterview(objective=""))
    assert b'{"contact_context":{}}' == encode(UpdateInterview(contact_context={}))
    assert b'{"contact_context":{"a":null}}' == encode(UpdateInterview(contact_context={"a": None}))


def test_a_created_interview_is_read_with_all_its_fields():
    """Nullable fields may be absent or null; unknown ones are kept."""
    document = {
        **CREATED,
        "deal_id": None,
        "survey_token": "tok",
        "survey_url": "https://x.example",
        "new": [1],
    }
    created = CreatedInterview(
        interview_request_id=4821,
        contact_id="contact_abc123",
        status=InterviewStatus.SENT,
        survey_token="tok",
        survey_url="https://x.example",
        extra={"new": [1]},
    )
    assert created == decode(as_json(document), CreatedInterview)


def test_an_interview_is_read_with_its_transcript_and_aware_times():
    """Times carry their zone; one without a zone is UTC."""
    document = {
        **INTERVIEW,
        "status": "completed",
        "email_sent_at": "2026-07-24T12:00:00+02:00",
        "transcript": {
            "document_id": "d",
            "content": "**Paige:** Hi",
            "created_at": "2026-07-25T10:00:00",
            "x": 1,
        },
    }
    interview = decode(as_json(document), Interview)
    assert datetime(2026, 7, 24, 10, tzinfo=UTC) == interview.created_at
    assert datetime(2026, 7, 24, 12, tzinfo=timezone(timedelta(hours=2))) == interview.email_sent_at
    assert datetime(2026, 7, 25, 10, tzinfo=UTC) == interview.transcript.created_at
    assert {"x": 1} == interview.transcript.extra
    assert InterviewStatus.COMPLETED is interview.status


def test_an_unknown_status_is_read():
    """A status this version does not know is no error."""
    assert "declined" == decode(as_json({**CREATED, "status": "declined"}), CreatedInterview).status


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"contact_id": None}, "found null where text belongs @ $.contact_id"),
        ({"contact_id": 5}, "found an integer where text belongs @ $.contact_id"),
        ({"contact_id": ["a"]}, "found a list where text belongs @ $.contact_id"),
        ({"contact_id": {}}, "found an object where text belongs @ $.contact_id"),
        ({"deal_id": 5.5}, "found a number where text belongs @ $.deal_id"),
        ({"survey_token": False}, "found a boolean where text belongs @ $.survey_token"),
        ({"interview_request_id": True}, "found a boolean where an integer belongs @ $.interview_request_id"),
        ({"interview_request_id": 5.9}, "found a number where an integer belongs @ $.interview_request_id"),
        ({"interview_request_id": "5"}, "found text where an integer belongs @ $.interview_request_id"),
        ({"status": None}, "found null where text belongs @ $.status"),
        ({"status": 3}, "found an integer where text belongs @ $.status"),
    ],
)
def test_a_wrong_kind_is_an_error_that_names_the_path(change, problem):
    """Nothing is coerced: the error says where, what was found and what belongs there."""
    with pytest.raises(DecodeError) as raised:
        decode(as_json({**CREATED, **change}), CreatedInterview)
    assert (problem,) == raised.value.problems


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"created_at": "soon"}, "found text where an ISO 8601 date-time belongs @ $.created_at"),
        ({"created_at": 1753351200}, "found an integer where an ISO 8601 date-time belongs @ $.created_at"),
        ({"transcript": []}, "found a list where an object belongs @ $.transcript"),
        (
            {"transcript": {"document_id": "d", "content": None, "created_at": "2026-07-24T10:00:00Z"}},
            "found null where text belongs @ $.transcript.content",
        ),
        (
            {"transcript": {"document_id": "d", "content": "x"}},
            "a required field is missing @ $.transcript.created_at",
        ),
    ],
)
def test_a_wrong_kind_deeper_down_is_named_by_its_whole_path(change, problem):
    """The path leads through nested objects."""
    with pytest.raises(DecodeError) as raised:
        decode(as_json({**INTERVIEW, **change}), Interview)
    assert (problem,) == raised.value.problems


def test_every_wrong_place_is_named_at_once():
    """One error lists all the problems of a document."""
    with pytest.raises(DecodeError) as raised:
        decode(b'{"interview_request_id": "1", "contact_id": null}', CreatedInterview)
    assert 3 == len(raised.value.problems)
    assert "a required field is missing @ $.status" in raised.value.problems


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff\xfe", b"[" * 100_000, b"1" * 5000, b'{"a":'])
def test_what_is_no_json_is_a_decode_error(body):
    """Broken, hostile and empty bodies all give the one error."""
    with pytest.raises(DecodeError, match=f"the body of {len(body)} bytes is not JSON"):
        decode(body, UpdatedInterview)


@pytest.mark.parametrize("body", [b"null", b"[]", b'"text"', b"7", b"true"])
def test_a_document_of_another_kind_is_a_decode_error(body):
    """A null or a list where an object belongs gives the one error, not a TypeError."""
    with pytest.raises(DecodeError, match=r"where an object belongs @ \$"):
        decode(body, UpdatedInterview)


@given(document=JSON_VALUES | st.fixed_dictionaries(dict.fromkeys(CREATED, JSON_VALUES)))
def test_any_json_is_read_exactly_or_is_a_decode_error(document):
    """Whatever arrives, the values read are the values sent, or the one error is raised."""
    try:
        created = decode(as_json(document), CreatedInterview)
    except DecodeError:
        return
    assert all(document[name] == getattr(created, name) for name in CREATED)


def test_a_decode_error_repeats_no_value():
    """A survey token in the wrong place does not leak into the error."""
    with pytest.raises(DecodeError) as raised:
        decode(as_json({**CREATED, "interview_request_id": "tok_secret"}), CreatedInterview)
    assert "tok_secret" not in f"{raised.value}{raised.value!r}{raised.value.__cause__!r}"


@given(
    name=TEXT | st.none(),
    context=TEXT | st.dictionaries(TEXT, st.floats(allow_nan=False, allow_infinity=False) | TEXT),
)
@example(name=None, context={"score": 0.00001})
def test_a_body_has_the_standard_librarys_bytes(name, context):
    """Whichever library writes it, the body is what the standard one writes, to the byte."""
    request = CreateInterview(
        contact_email="jane@acme.example", sequence_id="s", contact_name=name, contact_context=context
    )
    document = {
        "contact_email": "jane@acme.example",
        "sequence_id": "s",
        **({} if name is None else {"contact_name": name}),
        "contact_context": context,
    }
    assert json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() == encode(request)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("NaN", float("nan")),
        ("-Infinity", float("-inf")),
        ("1e400", float("inf")),
        ("18446744073709551616", 2**64),
        ("-9223372036854775809", -(2**63) - 1),
        ("1e-5", 1e-05),
        ('"\\ud800"', "\ud800"),
        ('"a", "new": "b"', "b"),
        ("[" * 300 + "]" * 300, None),
    ],
)
def test_unusual_values_are_read_as_the_standard_library_reads_them(value, read):
    """Numbers beyond 64 bits, what is no number, half surrogate pairs, duplicate keys and nesting are not lost."""
    created = decode(
        f'{{"contact_id":"c","interview_request_id":1,"status":"sent","new":{value}}}'.encode(),
        CreatedInterview,
    )
    kept = created.extra["new"]
    assert (repr(read) if read is not None else value) == (repr(kept) if read is not None else str(kept))


@pytest.mark.parametrize(
    "around", ["{}", " \r\n\t{}\n", "\ufeff{}"], ids=["nothing", "white space", "byte order mark"]
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-32-be"])
def test_what_stands_around_a_document_does_no_harm(around, encoding):
    """White space, a byte order mark and the wider encodings are read, as the standard library reads them."""
    if encoding != "utf-8" and around.startswith("\ufeff"):
        encoding = encoding[:6]  # the codec writes the mark itself
        around = "{}"
    body = around.format('{"interview_request_id":7}').encode(encoding)
    assert 7 == decode(body, UpdatedInterview).interview_request_id


@pytest.mark.parametrize("after", ["x", "{}", ",", "\x0c", "\u00a0", "\x00"])
def test_nothing_may_follow_a_document(after):
    """A second document, or anything but JSON's own white space, makes it no JSON."""
    with pytest.raises(DecodeError, match="is not JSON"):
        decode(f'{{"interview_request_id":7}}{after}'.encode(), UpdatedInterview)


def test_a_request_of_a_derived_class_is_sent_alike():
    """A class of one's own that adds no field is encoded as the one it derives from."""

    class Enrolment(CreateInterview):
        pass

    fields = {"contact_email": "jane@acme.example", "sequence_id": "s"}
    assert encode(CreateInterview(**fields)) == encode(Enrolment(**fields))


def test_all_this_holds_without_orjson():
    """The same tests pass where the extra `speedups` is not installed."""
    without = "import sys; sys.modules['orjson'] = None; import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", without, "-q", "-k", "not without_orjson", __file__],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert 0 == done.returncode, done.stdout
