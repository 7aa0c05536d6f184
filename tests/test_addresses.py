"""Addresses, ids and names: what is refused before it is sent, and which addresses are one."""

import unicodedata
from contextlib import suppress

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from hindsight_async import CreateInterview, RecipientNotAllowedError, UpdateInterview
from hindsight_async.delivery.addresses import normalised
from hindsight_async.resources.interviews.recipients import AllowedRecipients, interview_key

IDS = ["sequence_id", "interview_type_id", "deal_id"]


def create(**fields):
    return CreateInterview(**{"contact_email": "jane@acme.example", "sequence_id": "seq_1", **fields})


CONTROLS = ["\0", "\t", "\n", "\r", "\x1b", "\x7f", "\x85", "\x9b", "\u2028", "\u2029"]
ZERO_WIDTH = [
    "\u200b",
    "\u200c",
    "\u200d",
    "\u2060",
    "\ufeff",
    "\xad",
    "\u202e",
    "\u2066",
    "\ufe0f",
    "\u3164",
]
SPACES = [" ", "\xa0", "\u3000"]
QUOTES = ['"', "'", "`", "\u2018", "\u2019", "\u201c", "\u201d", "\xab", "\xbb"]


@pytest.mark.parametrize("place", ["before", "inside", "behind"])
@pytest.mark.parametrize("character", [*CONTROLS, *ZERO_WIDTH, *SPACES, *QUOTES], ids=ascii)
@pytest.mark.parametrize("field", ["contact_email", *IDS])
def test_what_was_pasted_along_is_refused_and_named(field, character, place):
    """The error names the field, says of what kind the value is and what would be right, and repeats no address."""
    value = {"contact_email": "jane@acme.example"}.get(field, "seq_abc123")
    wrong = {
        "before": character + value,
        "inside": value[:2] + character + value[2:],
        "behind": value + character,
    }[place]
    harmless_inside = SPACES + QUOTES if field in IDS else QUOTES[1:]
    if place == "inside" and character in harmless_inside:
        assert wrong == getattr(create(**{field: wrong}), field)
        return
    with pytest.raises(ValueError, match=f"^{field} must ") as raised:
        create(**{field: wrong})
    text = str(raised.value)
    assert text.isprintable()
    assert f"the text of {len(wrong)} characters given" in text
    assert "jane" not in text


@pytest.mark.parametrize("character", CONTROLS, ids=ascii)
@pytest.mark.parametrize("model", [create, UpdateInterview])
def test_a_name_stands_on_one_line(model, character):
    """Control characters are refused there, and taken in the context and the objective, where line ends may stand."""
    with pytest.raises(
        ValueError, match=r"^contact_name must be text on one line, without control characters;"
    ):
        model(contact_name=f"Jane{character}Doe")
    texts = {"contact_context": f"one{character}two", "objective": f"one{character}two"}
    assert texts["objective"] == model(**texts).objective


@pytest.mark.parametrize(
    "name", ["José", "क्\u200cष", "👩\u200d💻", "O\u2019Neil", '"Bill"', "Дж. Доу", "张伟"]
)
def test_names_of_every_script_are_taken(name):
    """What shows as nothing may belong to a name: a joiner in Hindi, or in an emoji."""
    assert name == create(contact_name=name).contact_name


@given(st.text(st.characters(), max_size=30), st.sampled_from(["contact_email", *IDS]))
@example("a\0b", "sequence_id")
def test_what_is_taken_can_be_stored_and_seen(text, field):
    """Whatever is not refused has no control character, so PostgreSQL takes it, and no ends that nobody sees."""
    value = f"{text}@acme.example" if field == "contact_email" else text
    with suppress(ValueError):
        assert value == getattr(create(**{field: value}), field)
        assert value == value.strip()
        assert not {unicodedata.category(each) for each in value} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
        assert not value.startswith(tuple(QUOTES))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("jane@straße.example", "jane@strasse.example"),
        ("jane@faß.de", "jane@fass.de"),
        ("jane@βόλος.com", "jane@βόλοσ.com"),
        ("weiß@acme.example", "weiss@acme.example"),
        ("jane+a@acme.example", "jane+b@acme.example"),
    ],
)
def test_two_mailboxes_are_two(one, other):
    """IDNA 2008 keeps apart what its elder took for one, so nobody is called a duplicate of somebody else."""
    assert normalised(one) != normalised(other)
    assert interview_key(create(contact_email=one)) != interview_key(create(contact_email=other))
    allowed = AllowedRecipients({"allowed_recipients": [one]})
    allowed.check(one)
    with pytest.raises(RecipientNotAllowedError):
        allowed.check(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Jane@STRASSE.example", "jane@strasse.EXAMPLE"),
        ("jane@straße.example", "jane@xn--strae-oqa.example"),
        ("jane@STRAẞE.example", "jane@XN--STRAE-OQA.example"),
        ("jane@bücher.example", "jane@bu\u0308cher.example"),
        ("jane@例子。公司", "jane@例子.公司"),
        ("jane@\uff41\uff43\uff4d\uff45.example", "jane@acme.example"),
        ("JÖRG@acme.example", "jo\u0308rg@acme.example"),
        ("jane@a_b.bücher.example", "jane@A_B.xn--bcher-kva.example"),
    ],
)
def test_two_spellings_of_one_mailbox_are_one(one, other):
    """Case, composition, width and the two forms of a domain make no second person."""
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("*@straße.example", True),
        ("*@xn--strae-oqa.example", True),
        ("*@strasse.example", False),
        ("*@*.straße.example", False),
        ("*", True),
    ],
)
def test_patterns_follow_the_same_rules(pattern, fits):
    """A pattern fits what it names in either form, and not what only looks alike."""
    allowed = AllowedRecipients({"allowed_recipients": [pattern]})
    if fits:
        allowed.check("Jane@STRAẞE.example")
        return
    with pytest.raises(RecipientNotAllowedError):
        allowed.check("Jane@STRAẞE.example")


def test_a_pattern_for_the_domains_below_one_fits_these():
    """A star beside labels of another script hides nothing of them."""
    AllowedRecipients({"allowed_recipients": ["*@*.straße.example"]}).check("jane@mail.straße.example")


ADDRESSES = st.builds("{}@{}".format, st.text(min_size=1, max_size=12), st.text(min_size=1, max_size=20))


@given(
    ADDRESSES | st.builds("jane@{}.example".format, st.sampled_from(["ß", "ẞ", "ς", "İ", "☃", "a_ü", "\xad"]))
)
def test_the_normal_form_is_its_own(address):
    """What the ledger stores is under the same key when it comes back."""
    assert normalised(address) == normalised(normalised(address))


@given(st.text(st.characters(categories=("Ll", "Nd")), min_size=1, max_size=12))
def test_a_domain_is_known_by_its_ascii_form(label):
    """Whichever of the two a file has, it is the same person."""
    address = normalised(f"jane@{label}.example")
    assume(address.isascii())
    assert address == normalised(address.upper())
