"""Requests become exact JSON; answers are read as far as they can be, and never coerced."""

import enum
import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hindsight_async import (
    CreatedInterview,
    CreateInterview,
    DecodeError,
    Interview,
    InterviewStatus,
    Transcript,
    UpdatedInterview,
    UpdateInterview,
)
from hindsight_async.call.answered import NOT_ON_THE_WIRE
from hindsight_async.call.codec import decode, encode, fields_of

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


@pytest.mark.parametrize("value", [False, "odd"])
def test_no_answer_says_that_it_was_created_earlier(value):
    """A field of that name is one that this version does not know."""
    created = decode(as_json(CREATED | {"created_now": value}), CreatedInterview)
    assert (True, {"created_now": value}) == (created.created_now, created.extra)


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


ODD_VALUES = [None, 5, 5.5, True, ["a"], {"a": 1}]


@pytest.mark.parametrize("value", ODD_VALUES, ids=repr)
@pytest.mark.parametrize("name", ["contact_id", "status", "deal_id", "survey_url", "survey_token"])
def test_a_created_interview_needs_nothing_but_its_id(name, value):
    """A field of another kind is None, and stands in `extra` as it came; the others are read."""
    created = decode(as_json({**CREATED, "deal_id": "d", name: value, "new": 1}), CreatedInterview)
    assert 4821 == created.interview_request_id
    assert None is getattr(created, name)
    assert {"new": 1, **({} if value is None else {name: value})} == created.extra
    assert "d" == created.deal_id or name == "deal_id"


def test_fields_that_are_absent_are_none():
    """An id alone is a created interview, an interview and an update."""
    for answer in (CreatedInterview, Interview, UpdatedInterview):
        assert answer(interview_request_id=7) == decode(b'{"interview_request_id":7}', answer)


@pytest.mark.parametrize("value", ["4821", "0004821", 4821.0], ids=repr)
def test_an_id_spelled_otherwise_is_read_and_kept_as_it_came(value):
    """Nobody loses the only handle on an interview to a pair of quotes or a point."""
    created = decode(as_json({**CREATED, "interview_request_id": value}), CreatedInterview)
    assert (4821, "contact_abc123") == (created.interview_request_id, created.contact_id)
    assert int is type(created.interview_request_id)
    assert repr({"interview_request_id": value}) == repr(dict(created.extra))


NO_IDS = {
    "null": None,
    "a boolean": True,
    "a number": 5.9,
    "text": "abc",
    "an integer": -5,
    "a list": [5],
    "an object": {"id": 5},
}


@pytest.mark.parametrize("kind", NO_IDS)
def test_what_is_no_id_is_an_error_that_names_kind_and_place(kind):
    """A create without a readable id cannot be told from others: the error says what is wrong where."""
    with pytest.raises(DecodeError) as raised:
        decode(as_json({**CREATED, "interview_request_id": NO_IDS[kind]}), CreatedInterview)
    problem = f"found {kind} where a non-negative 64-bit integer belongs @ $.interview_request_id"
    assert (problem,) == raised.value.problems


@pytest.mark.parametrize(
    "value",
    [
        2**63,
        -1.0,
        2.0**53,
        1e300,
        "",
        "-5",
        "+5",
        " 5",
        "5.0",
        "5_000",
        "1" * 20,
        "9" * 19,
        "\u0665",
        "9" * 5000,
    ],
    ids=lambda value: repr(value)[:20],
)
def test_no_id_is_guessed(value):
    """What has no one reading as an id that a database can hold is none."""
    with pytest.raises(DecodeError, match=r"where a non-negative 64-bit integer belongs"):
        decode(as_json({"interview_request_id": value}), CreatedInterview)


def test_an_absent_id_is_named():
    """The error says which field is missing."""
    with pytest.raises(DecodeError, match=r"a required field is missing @ \$\.interview_request_id"):
        decode(b'{"contact_id":"c","status":"sent"}', CreatedInterview)


@pytest.mark.parametrize("field", [{}, {"interview_request_id": None}, {"interview_request_id": "x"}])
def test_an_answer_need_not_repeat_the_id_that_was_asked_for(field):
    """Which interview it is is known from the request; what stood in the id's place is kept."""
    interview = decode(as_json({**field, "status": "sent"}), Interview, known={"interview_request_id": 7})
    assert Interview(interview_request_id=7, status=InterviewStatus.SENT, extra=field) == interview
    assert UpdatedInterview(interview_request_id=7, extra=field) == decode(
        as_json(field), UpdatedInterview, known={"interview_request_id": 7}
    )


def test_an_answers_own_id_goes_before_the_one_asked_for():
    """What the server says is not overwritten."""
    for spelled in (8, "8", 8.0):
        read = decode(
            as_json({"interview_request_id": spelled}), UpdatedInterview, known={"interview_request_id": 7}
        )
        assert 8 == read.interview_request_id


@pytest.mark.parametrize(
    "created_at", ["soon", "", 1753351200, "2026-02-30T10:00:00Z", "9999-12-31T23:59:60Z"]
)
def test_a_time_that_cannot_be_read_is_kept_as_it_came(created_at):
    """A transcript is read whatever is odd beside it, and beside its interview."""
    transcript = {"content": "**Paige:** Hi", "document_id": 5, "created_at": created_at, "new": 1}
    interview = decode(as_json({**INTERVIEW, "created_at": created_at, "transcript": transcript}), Interview)
    assert (None, InterviewStatus.SENT) == (interview.created_at, interview.status)
    assert {"created_at": created_at} == interview.extra
    kept = {"document_id": 5, "created_at": created_at, "new": 1}
    assert Transcript(content="**Paige:** Hi", extra=kept) == interview.transcript


@pytest.mark.parametrize(
    "transcript",
    [[], "**Paige:** Hi", 5, False, {}, {"content": None}, {"content": ["x"], "document_id": "d"}],
)
def test_a_transcript_without_text_is_none_and_kept_as_it_came(transcript):
    """Where a transcript is there, its text is."""
    interview = decode(as_json({**INTERVIEW, "transcript": transcript}), Interview)
    assert None is interview.transcript
    assert {"transcript": transcript} == interview.extra
    assert InterviewStatus.SENT is interview.status


@given(
    moment=st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)),  # noqa: DTZ001  the zone is drawn below
    minutes=st.integers(-23 * 60 - 59, 23 * 60 + 59),
    zone=st.sampled_from(["Z", "z", "+hh:mm", "+hhmm"]),
    between=st.sampled_from("Tt "),
    digits=st.text("0123456789", max_size=12),
    leap=st.booleans(),
)
@example(moment=datetime(2026, 7, 24, 10), minutes=0, zone="-00:00", between=" ", digits="", leap=False)  # noqa: DTZ001
def test_a_time_in_any_form_of_rfc_3339_is_read(*, moment, minutes, zone, between, digits, leap):
    """Small letters, a space, any number of digits, any offset, and a leap second as the second after it."""
    sign, hours, rest = ("-" if minutes < 0 else "+"), abs(minutes) // 60, abs(minutes) % 60
    written = zone if zone[0] in "zZ-" else f"{sign}{hours:02}{zone[3:-2]}{rest:02}"
    offset = timedelta(0) if zone[0] in "zZ-" else timedelta(minutes=minutes)
    second = 60 if leap else moment.second
    fraction = f".{digits}" if digits else ""
    text = f"{moment.strftime('%Y').zfill(4)}{moment:-%m-%d}{between}{moment:%H:%M}:{second:02}{fraction}{written}"
    read = decode(as_json({**INTERVIEW, "created_at": text}), Interview)
    local = moment.replace(second=0, microsecond=int(digits[:6].ljust(6, "0"))) + timedelta(seconds=second)
    assert {} == read.extra
    assert local.replace(tzinfo=timezone(offset)) == read.created_at
    assert offset == read.created_at.utcoffset()


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


def fields_with(*names):
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names, JSON_VALUES | st.text()))


ANY_FIELDS = st.dictionaries(st.text(), JSON_VALUES)
IDS = st.integers(0, 2**63 - 1)
TRANSCRIPTS = st.builds(dict.__or__, ANY_FIELDS, fields_with("document_id", "content", "created_at", "extra"))


def assert_nothing_is_lost(document, answer):
    for name, value in document.items():
        if name in answer.extra:
            # Compared as text, since 1 equals True and 1.0.
            assert repr(value) == repr(answer.extra[name])
        elif name == "transcript" and value is not None:
            assert_nothing_is_lost(value, answer.transcript)
        elif name.endswith("_at") and value is not None:
            assert answer.__getattribute__(name).tzinfo
        else:
            assert repr(value) in {repr(getattr(answer, name)), repr(str(getattr(answer, name)))}
    assert set(answer.extra) <= set(document)


@given(any_fields=ANY_FIELDS, known=fields_with("contact_id", "status", "survey_url", "extra"), number=IDS)
def test_any_object_with_an_id_is_a_created_interview(any_fields, known, number):
    """Whatever else it says, the id is read, and each field is read as it is or kept in `extra`."""
    document = {**any_fields, **known, "interview_request_id": number}
    created = decode(as_json(document), CreatedInterview)
    assert number == created.interview_request_id
    assert_nothing_is_lost(document, created)


@given(
    any_fields=ANY_FIELDS,
    known=fields_with("status", "created_at", "email_sent_at", "objective", "deal_id"),
    transcript=JSON_VALUES
    | TRANSCRIPTS
    | st.builds(dict.__or__, TRANSCRIPTS, st.just({"content": "**Paige:** Hi"})),
    number=IDS,
)
def test_any_object_that_was_asked_for_is_an_interview(any_fields, known, transcript, number):
    """Whatever it says, each field of it and of its transcript is read as it is or kept in an `extra`."""
    document = {**any_fields, **known, "transcript": transcript}
    interview = decode(as_json(document), Interview, known={"interview_request_id": number})
    assert number == interview.interview_request_id or "interview_request_id" in document
    assert_nothing_is_lost(document, interview)
    has_text = isinstance(transcript, dict) and isinstance(transcript.get("content"), str)
    assert has_text == (interview.transcript is not None)


@given(document=JSON_VALUES)
def test_any_json_without_an_id_is_a_decode_error(document):
    """Whatever arrives in place of an answer, the one error is raised."""
    with pytest.raises(DecodeError):
        decode(as_json(document), CreatedInterview)


def test_a_decode_error_repeats_no_value():
    """A survey token in the wrong place does not leak into the error."""
    with pytest.raises(DecodeError) as raised:
        decode(as_json({**CREATED, "interview_request_id": "tok_secret"}), CreatedInterview)
    assert "tok_secret" not in f"{raised.value}{raised.value!r}{raised.value.__cause__!r}"


@given(
    name=st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1) | st.none(),
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

    class Enrollment(CreateInterview):
        pass

    fields = {"contact_email": "jane@acme.example", "sequence_id": "s"}
    assert encode(CreateInterview(**fields)) == encode(Enrollment(**fields))


@attrs.frozen(kw_only=True)
class Competitor:
    """A model that the codec has never heard of."""

    name: str
    extra: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Deal:
    """Another one, with a field of each kind."""

    id: str
    amount: float | None = None
    archived: bool | None = None
    founded_year: int | None = None
    competitors: list[Competitor] | None = None
    metadata: Mapping[str, Any] | None = None
    loaded_now: bool = attrs.field(default=True, metadata=NOT_ON_THE_WIRE)
    extra: Mapping[str, Any] = attrs.field(factory=dict)


DEAL = {
    "id": "d",
    "amount": 5.5,
    "archived": False,
    "founded_year": -3,
    "competitors": [{"name": "Acme", "threat_level": 5}],
    "metadata": {"a": [1]},
}


def test_a_model_that_the_codec_has_never_heard_of_is_read():
    """A class says by itself how it is read: a new resource needs no line in the codec."""
    deal = decode(as_json({**DEAL, "loaded_now": 5}), Deal)
    acme = Competitor(name="Acme", extra={"threat_level": 5})
    assert Deal(**{**DEAL, "competitors": [acme]}, extra={"loaded_now": 5}) == deal


@pytest.mark.parametrize("name", [name for name in DEAL if name != "id"])
@pytest.mark.parametrize("value", ["x", [5], {"name": 5}, 7.5, True], ids=repr)
def test_a_field_of_any_model_that_holds_another_kind_is_none_and_kept(name, value):
    """What an API sends in another shape one day costs that field and no more."""
    deal = decode(as_json({**DEAL, name: value}), Deal)
    fits = type(value) is type(DEAL[name]) and not isinstance(value, list)
    assert (value if fits else None) == getattr(deal, name)
    assert ({} if fits else {name: value}) == deal.extra


def test_a_list_of_models_is_read():
    """A page of a resource is a list, and a fault in it is named by its place."""
    assert [Deal(id="a"), Deal(id="b", amount=5)] == decode(b'[{"id":"a"},{"id":"b","amount":5}]', list[Deal])
    assert [] == decode(b"[]", list[Deal])
    with pytest.raises(DecodeError, match=r"found an integer where text belongs @ \$\[1\]\.id"):
        decode(b'[{"id":"a"},{"id":5}]', list[Deal])
    with pytest.raises(DecodeError, match=r"found an object where a list belongs @ \$"):
        decode(b'{"id":"a"}', list[Deal])


def test_a_bare_value_is_read():
    """A count is a number and nothing around it; bytes are what came."""
    assert 142 == decode(b"142", int)
    assert "a" == decode(b'"a"', str)
    assert b"\xff\x00" == decode(b"\xff\x00", bytes)
    for body in (b'"142"', b"[142]", b"true", b"null", b"1.5", b""):
        with pytest.raises(DecodeError):
            decode(body, int)


def test_a_closed_enumeration_keeps_out_what_it_does_not_list():
    """Only a class that is open makes a member of any text."""

    class Kind(enum.StrEnum):
        ASSET = "asset"

    assert [Kind.ASSET] == decode(b'["asset"]', list[Kind])
    with pytest.raises(DecodeError, match=r"found text where one of \['asset'\] belongs @ \$\[0\]"):
        decode(b'["other"]', list[Kind])


def test_a_request_of_other_requests_is_written():
    """Models in lists and mappings in models become plain JSON, and what is at its default is left out."""
    deal = Deal(id="d", competitors=[Competitor(name="Acme")], metadata={"a": 1.5})
    assert b'{"id":"d","competitors":[{"name":"Acme"}],"metadata":{"a":1.5}}' == encode(deal)


@pytest.mark.slow
def test_all_this_holds_without_orjson():
    """The same tests pass where the extra `speedups` is not installed."""
    without = "import sys; sys.modules['orjson'] = None; import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", without, "-q", "-k", "not without_orjson", __file__],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert 0 == done.returncode, done.stdout


@given(document=st.dictionaries(st.text(max_size=5), JSON_VALUES, max_size=4), part=st.floats(0, 1))
def test_of_an_object_that_breaks_off_the_whole_fields_are_read(document, part):
    """None is half a value, and a number at the very end, which may go on, is none yet."""
    body = json.dumps(document).encode()
    found = fields_of(body[: int(len(body) * part)])
    assert list(document.items())[: len(found)] == list(found.items())


def test_the_fields_in_front_of_the_break_are_all_there():
    """An id that a comma follows is whole."""
    assert {"id": 7, "a": [1]} == fields_of(b'{"id": 7, "a": [1] , "b": 4')
    assert {} == fields_of(b'{"id": 7')
