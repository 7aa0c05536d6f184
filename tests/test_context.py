"""Notes that the API overwrites can be enriched by the caller."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hindsight_async import merge_context

KEYS = st.sampled_from(["a", "b", "c", ""])
MAPPINGS = st.recursive(
    st.dictionaries(KEYS, st.none() | st.integers() | st.lists(st.text(max_size=3), max_size=2), max_size=3),
    lambda children: st.dictionaries(KEYS, children | st.text(max_size=3), max_size=3),
    max_leaves=8,
)


def test_mappings_merge_recursively_and_the_changes_win():
    """What is new is added, what is old and untouched stays, what clashes is the new."""
    previous = {"title": "VP", "deal": {"amount": 10, "stage": "won"}, "tags": ["a"]}
    changes = {"deal": {"stage": "lost", "why": "price"}, "tags": ["b"], "region": "EMEA"}
    merged = {
        "title": "VP",
        "deal": {"amount": 10, "stage": "lost", "why": "price"},
        "tags": ["b"],
        "region": "EMEA",
    }
    assert merged == merge_context(previous, changes)


def test_text_is_appended_after_a_blank_line():
    """Two notes stay two paragraphs; an empty one adds no blank line."""
    assert "met in May\n\nasked for SSO" == merge_context("met in May", "asked for SSO")
    assert "asked for SSO" == merge_context("", "asked for SSO")


@pytest.mark.parametrize(
    ("previous", "changes", "named"),
    [
        ("text", {"a": 1}, "cannot merge a mapping onto text"),
        ({"a": 1}, "text", "cannot merge text onto a mapping"),
        ({"a": 1}, 7, "cannot merge a value of type int onto a mapping"),
    ],
)
def test_text_and_mapping_do_not_mix(previous, changes, named):
    """There is no right way to join them, so the error says which is which."""
    with pytest.raises(TypeError, match=named):
        merge_context(previous, changes)


def test_nothing_on_one_side_gives_the_other():
    """A contact without notes starts with the changes."""
    assert {"a": 1} == merge_context(None, {"a": 1})
    assert "a" == merge_context("a", None)
    assert None is merge_context(None, None)


@given(previous=MAPPINGS, changes=MAPPINGS)
def test_merging_alters_neither_side_and_keeps_every_key(previous, changes):
    """Both arguments are as before, and no key of either is lost."""
    before = copy.deepcopy((previous, changes))
    merged = merge_context(previous, changes)
    assert before == (previous, changes)
    assert previous.keys() | changes.keys() == merged.keys()


@given(previous=MAPPINGS, changes=MAPPINGS)
def test_merging_the_same_changes_again_changes_nothing(previous, changes):
    """A retried enrichment is harmless."""
    merged = merge_context(previous, changes)
    assert merged == merge_context(merged, changes)
