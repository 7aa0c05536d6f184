"""What others say stands in our texts harmless: seen whole, short, and without people's addresses."""

import json
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hindsight_async.redaction import LONGEST_TEXT, escaped, harmless, json_text, without_addresses

ANY_TEXT = st.text(st.characters(exclude_categories=())) | st.text(
    st.sampled_from("\x1b[2J\r\n\t\0\x7f\x9b\u202e\u2066\u200b\ufeff\u2028\ud83d\udc00\U000e0041a@.b é界")
)
"""Half surrogate pairs too, which `str` can hold and no encoding takes."""

UNSEEN = {"Cc", "Cs", "Zl", "Zp"}
BIDI_CONTROLS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("\x1b[2J\x1b]0;owned\x07", r"\x1b[2J\x1b]0;owned\x07"),
        ("one\r\n2026-01-01 INFO two", r"one\r\n2026-01-01 INFO two"),
        ("\x9b31m and \x7f", r"\x9b31m and \x7f"),
        ("gpj.\u202eexe\u2069", r"gpj.\u202eexe\u2069"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("half \ud83d pair", "half \ufffd pair"),
        ("tag \U000e0041", r"tag \U000e0041"),
        ("müller, 用户, 👩\u200d💻, क्\u200cष", "müller, 用户, 👩\u200d💻, क्\u200cष"),
        ("jane@acme.example\x1b[0m said no", "<address> said no"),
    ],
)
def test_what_a_terminal_would_obey_is_spelled_out(said, shown):
    """Nothing that a server says moves the cursor, begins a line or turns the writing; what can be read stays."""
    assert shown == harmless(said)


@given(ANY_TEXT, st.integers(1, 40))
@example("x" * 30 + "\x1b" * 30, 40)
def test_any_text_comes_out_as_one_short_line_that_can_be_encoded(text, longest):
    """Whatever it is made of."""
    shown = harmless(text, longest)
    shown.encode()
    assert len(shown) <= longest
    assert [] == [each for each in shown if unicodedata.category(each) in UNSEEN]
    assert [] == [each for each in shown if unicodedata.bidirectional(each) in BIDI_CONTROLS]


@given(st.text(st.characters(categories=("L", "N", "P", "S", "Zs"), exclude_characters="@"), max_size=50))
def test_a_text_that_can_be_seen_stays_as_it_is(text):
    """Escaping is no censorship."""
    assert text == harmless(text) == escaped(text)


@given(st.integers(0, 60), st.integers(0, 40))
def test_an_address_is_not_cut_in_two_and_so_laid_open(before, longest):
    """Where the cut falls into one, it is left out; its first half would name a person too."""
    said = f"{'-' * before} jane.doe@acme.example and more"
    shown = harmless(said, longest + 1)
    assert "jane" not in shown
    assert "acme" not in shown


def test_the_longest_text_is_that_constant():
    """One number says how long, and the last character that there was more."""
    assert "x" * LONGEST_TEXT == harmless("x" * LONGEST_TEXT)
    assert "x" * (LONGEST_TEXT - 1) + "…" == harmless("x" * 5_000_000)


# First halves alone: with a second one behind it, JSON takes the two for one character.
json_texts = st.text(st.characters() | st.sampled_from("\ud83d\x1b\0\x9b\u202e\u2028\U000e0041"))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | json_texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(json_texts, inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_json_loses_nothing_and_has_no_hidden_character(value):
    """It is one line for a terminal, and the same value for a program."""
    text = json_text(value)
    text.encode()
    assert value == json.loads(text)
    assert text == escaped(text)


@given(st.text(st.sampled_from("ab@.c ,;<>\n\x1b"), max_size=40))
def test_no_address_is_left(text):
    """What looks like one is gone, also where hidden characters stand in it."""
    assert without_addresses(text) == without_addresses(without_addresses(text))
    assert "a@b" not in harmless(text)
