"""Requests refuse what the API would refuse; responses keep what they do not know; reprs keep secrets."""

import math
import pickle
from datetime import UTC, datetime

import attrs
import pytest

from hindsight_async import (
    CreatedInterview,
    CreateInterview,
    Interview,
    InterviewStatus,
    Transcript,
    UpdatedInterview,
    UpdateInterview,
)

MOMENT = datetime(2026, 7, 24, tzinfo=UTC)
EVERY_MODEL = {
    CreateInterview: {"contact_email": "jane@acme.example", "sequence_id": "s"},
    UpdateInterview: {"objective": "x"},
    CreatedInterview: {"interview_request_id": 1, "contact_id": "c", "status": InterviewStatus.SENT},
    UpdatedInterview: {"interview_request_id": 1},
    Interview: {"interview_request_id": 1, "status": InterviewStatus.SENT, "created_at": MOMENT},
    Transcript: {"document_id": "d", "content": "x", "created_at": MOMENT},
}


@pytest.mark.parametrize("model", EVERY_MODEL)
def test_models_are_frozen_slotted_and_keyword_only(model):
    """No model can be altered, grow attributes, or be filled by position."""
    instance = model(**EVERY_MODEL[model])
    field = next(iter(EVERY_MODEL[model]))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(instance, field, "other")
    assert not hasattr(instance, "__dict__")
    with pytest.raises(TypeError):
        model(*EVERY_MODEL[model].values())


@pytest.mark.parametrize(
    ("fields", "error", "named"),
    [
        ({}, TypeError, "contact_email"),
        ({"contact_email": None}, TypeError, "contact_email must be text"),
        ({"contact_email": 7}, TypeError, "contact_email must be text (str), not int"),
        ({"contact_email": "jane"}, ValueError, "contact_email must be one bare email address"),
        ({"contact_email": "jane@acme"}, ValueError, "contact_email"),
        ({"contact_email": " jane@acme.example"}, ValueError, "contact_email"),
        ({"contact_email": "Jane <jane@acme.example>"}, ValueError, "contact_email"),
        ({"contact_email": "jane@acme.example, joe@acme.example"}, ValueError, "contact_email"),
        ({"contact_email": "jane@@acme.example"}, ValueError, "contact_email"),
        ({"contact_email": "jane@acme..example"}, ValueError, "contact_email"),
        ({"contact_email": "jane@acme.example\n"}, ValueError, "contact_email"),
        ({"contact_email": "\ud800@acme.example"}, ValueError, "contact_email"),
        ({"sequence_id": ""}, ValueError, "sequence_id must not be empty"),
        ({"sequence_id": 5}, TypeError, "sequence_id must be text"),
        ({"interview_type_id": " "}, ValueError, "interview_type_id must not be empty"),
        ({"deal_id": 5}, TypeError, "deal_id must be text"),
        ({"contact_name": ["Jane"]}, TypeError, "contact_name must be text"),
        ({"contact_name": "\udcff"}, ValueError, "contact_name must be valid Unicode"),
        ({"objective": 1.5}, TypeError, "objective must be text"),
        ({"contact_context": ["a"]}, TypeError, "contact_context must be text or a mapping, not list"),
        ({"contact_context": 5}, TypeError, "contact_context must be text or a mapping, not int"),
        (
            {"contact_context": {"seen": {1, 2}}},
            TypeError,
            "contact_context.seen must be something JSON can carry",
        ),
        ({"contact_context": {"a": [{"when": datetime.now(UTC)}]}}, TypeError, "contact_context.a[0].when"),
        (
            {"contact_context": {"score": math.nan}},
            ValueError,
            "contact_context.score must be a finite number",
        ),
        (
            {"contact_context": {"n": 2**70}},
            ValueError,
            "contact_context.n must be an integer of at most 64 bits",
        ),
        ({"contact_context": {1: "a"}}, TypeError, "contact_context must have text keys, not int"),
        ({"contact_context": {"a": "\ud800"}}, ValueError, "contact_context.a must be valid Unicode"),
        ({"contact_context": "\ud800"}, ValueError, "contact_context must be valid Unicode"),
    ],
)
def test_a_wrong_value_is_refused_at_construction_and_named(fields, error, named):
    """Nothing that the API would refuse gets as far as the network, and the error names the field."""
    whole = (
        {} if not fields else {"contact_email": "jane@acme.example", "sequence_id": "seq_abc123", **fields}
    )
    with pytest.raises(error) as raised:
        CreateInterview(**whole)
    assert named in str(raised.value)


def test_an_address_in_a_refused_value_is_not_repeated():
    """The error for a bad address does not put a person's address into a log."""
    with pytest.raises(ValueError, match="contact_email") as raised:
        CreateInterview(contact_email="Jane <jane@acme.example>", sequence_id="s")
    assert "jane" not in str(raised.value)


def test_a_create_needs_a_sequence_or_an_interview_type():
    """With neither id the API would not know what to do, and the error says what each does."""
    with pytest.raises(ValueError, match="sequence_id or interview_type_id must be given"):
        CreateInterview(contact_email="jane@acme.example")


def test_an_update_needs_a_field():
    """An empty update is refused, as the API would."""
    with pytest.raises(ValueError, match="contact_context, contact_name or objective must be given"):
        UpdateInterview()


def test_a_context_that_holds_itself_is_refused():
    """A cycle gives an error and no endless loop."""
    context = {}
    context["self"] = context
    with pytest.raises(ValueError, match="contact_context nests deeper than"):
        CreateInterview(contact_email="jane@acme.example", sequence_id="s", contact_context=context)


def test_a_request_keeps_the_context_it_was_given():
    """Altering the mapping afterwards does not alter what will be sent."""
    context = {"deals": ["a"]}
    request = UpdateInterview(contact_context=context)
    context["deals"].append("b")
    assert {"deals": ["a"]} == request.contact_context


def test_tuples_and_nested_mappings_become_plain_json():
    """What JSON can carry is carried in JSON's own types."""
    request = UpdateInterview(contact_context={"a": (1, None, True, {"b": 1.5})})
    assert {"a": [1, None, True, {"b": 1.5}]} == request.contact_context


def test_addresses_with_plus_tags_and_other_scripts_pass():
    """Real addresses are wider than ASCII letters."""
    for address in (
        "jane+q3@acme.example",
        "o'neil@sub.acme.example",
        "müller@bücher.example",
        "用户@例子.公司",
    ):
        assert address == CreateInterview(contact_email=address, sequence_id="s").contact_email


def test_requests_can_be_put_into_sets():
    """Equal requests are one, also where their context is a mapping."""
    requests = {
        CreateInterview(contact_email="j@acme.example", sequence_id="s", contact_context={"a": 1})
        for _ in range(3)
    }
    assert 1 == len(requests)


def test_people_and_secrets_stay_out_of_reprs():
    """No repr shows an address, a name, a context, a transcript, a survey token or an unknown value."""
    now = datetime.now(UTC)
    shown = repr(
        [
            CreateInterview(
                contact_email="jane@acme.example",
                sequence_id="s",
                contact_name="Jane",
                contact_context="tok_secret",
            ),
            UpdateInterview(contact_name="Jane", contact_context={"token": "tok_secret"}),
            CreatedInterview(
                interview_request_id=1,
                contact_id="c",
                status=InterviewStatus.SENT,
                survey_url="https://app.example/survey?token=tok_secret",
                survey_token="tok_secret",
                extra={"new_field": "tok_secret"},
            ),
            Interview(
                interview_request_id=1,
                status=InterviewStatus.COMPLETED,
                created_at=now,
                survey_url="https://app.example/survey?token=tok_secret",
                transcript=Transcript(document_id="d", content="**Jane:** tok_secret", created_at=now),
            ),
        ]
    )
    assert "tok_secret" not in shown
    assert "Jane" not in shown
    assert "jane@" not in shown
    assert "https://app.example/survey?…" in shown
    assert "new_field" in shown


def test_an_unknown_status_is_a_member_of_its_own():
    """A status that the API adds later compares, hashes, prints and pickles like the known ones."""
    status = InterviewStatus("declined")
    assert "declined" == status.value == str(status)
    assert status == InterviewStatus("declined")
    assert hash(status) == hash(InterviewStatus("declined"))
    assert status == pickle.loads(pickle.dumps(status))
    assert status not in set(InterviewStatus)
    assert InterviewStatus.SENT is InterviewStatus("sent")


def test_a_status_is_text():
    """What is no text is no status."""
    with pytest.raises(ValueError, match="7"):
        InterviewStatus(7)
