"""A request's fields as keywords of the call."""

import pytest
from attrs import fields_dict

from hindsight_async import CreateInterview, HindsightSession, UpdateInterview
from hindsight_async.emulator import Emulator
from hindsight_async.resources.interviews.models import CreateInterviewFields, UpdateInterviewFields

FIELDS = {
    "contact_email": "jane@acme.example",
    "sequence_id": "seq_abc123",
    "contact_name": "Jane",
    "contact_context": {"title": "VP"},
    "deal_id": "deal_1",
    "objective": "Why?",
}
CHANGES = {"contact_context": "new", "contact_name": "Jane D.", "objective": "Why not us?"}


async def test_fields_are_sent_as_the_request_that_they_make():
    """The bytes are those of the object, and so is the answer."""
    async with Emulator() as emulator, HindsightSession(emulator.api_key, base_url=emulator.base_url) as one:
        created = await one.interviews.create(**FIELDS)
        await one.interviews.create(CreateInterview(**FIELDS))
        await one.interviews.update(created.interview_request_id, **CHANGES)
        await one.interviews.update(created.interview_request_id, UpdateInterview(**CHANGES))
        by_fields, by_object, changed, changed_too = (request.body for request in emulator.requests)
    assert by_fields == by_object
    assert changed == changed_too


@pytest.mark.parametrize(
    ("call", "error", "complaint"),
    [
        (lambda to: to.create(CreateInterview(**FIELDS), deal_id="d"), TypeError, "its fields as keywords, not both"),
        (lambda to: to.create(), TypeError, "give a CreateInterview, or its fields as keywords"),
        (lambda to: to.create(None), TypeError, "give a CreateInterview, or its fields as keywords"),
        (lambda to: to.create(email="a@b.example"), TypeError, "email is no field of CreateInterview, which has contact_email, "),
        (lambda to: to.create(**FIELDS, lane="bulk"), TypeError, "lane is no field of CreateInterview"),
        (lambda to: to.create(contact_email="a@b.example"), ValueError, "sequence_id or interview_type_id must be given"),
        (lambda to: to.create(sequence_id="seq_1"), TypeError, "contact_email"),
        (lambda to: to.create(FIELDS), TypeError, "request must be CreateInterview, not dict"),
        (lambda to: to.update(1, UpdateInterview(**CHANGES), objective="a"), TypeError, "give a UpdateInterview or its fields"),
        (lambda to: to.update(1), TypeError, "give a UpdateInterview, or its fields as keywords"),
        (lambda to: to.update(1, deal_id="d"), TypeError, "deal_id is no field of UpdateInterview"),
        (lambda to: to.update(1, objective=None), ValueError, "there is nothing to update"),
        (lambda to: to.update(objective="a"), TypeError, "interview_request_id"),
    ],
)  # fmt: skip
async def test_what_makes_no_request_is_refused_before_anything_is_sent(call, error, complaint):
    """Both or neither, a field that there is not, and a value that the API would refuse."""
    async with Emulator() as emulator, HindsightSession(emulator.api_key, base_url=emulator.base_url) as one:
        with pytest.raises(error, match=complaint):
            await call(one.interviews)
        assert [] == emulator.requests


def test_the_type_checkers_know_the_fields_that_there_are():
    """The keywords that they take are the classes' own, in order."""
    assert [*fields_dict(CreateInterview)] == [*CreateInterviewFields.__annotations__]
    assert [*fields_dict(UpdateInterview)] == [*UpdateInterviewFields.__annotations__]
    assert {"contact_email"} == CreateInterviewFields.__required_keys__
