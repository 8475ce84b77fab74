from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.documents.table import DOCUMENTS
from core.instructions.preference_pairs import PreferencePairs, edit_distances, preference_pairs


def documents(*pairs, source="s"):
    made = [
        {"id": str(n), "source": source, "prompt": prompt, "chosen": chosen, "rejected": rejected}
        for n, (prompt, chosen, rejected) in enumerate(pairs)
    ]
    return pa.table(
        [pa.array([row.get(name) for row in made], DOCUMENTS.field(name).type) for name in DOCUMENTS.names], DOCUMENTS
    )


def reasons(table, **options):
    return preference_pairs(table, PreferencePairs(**options)).reason.to_pylist()


def test_empty_and_equal_pairs_are_dropped_and_others_stay():
    pairs = documents(
        ("p", "a", "b"), (" ", "a", "b"), ("p", "\n", "b"), ("p", "a", ""), ("p", "a", "a"), ("p", "a ", "a")
    )
    assert reasons(pairs) == [None, "empty_prompt", "empty_chosen", "empty_rejected", *["same_completions"] * 2]
    assert reasons(pairs, ignore_white_space=False)[-2:] == ["same_completions", None]


def test_texts_and_dialogues_are_not_judged():
    text = documents((None, None, None)).set_column(2, DOCUMENTS.field("text"), pa.array([""], pa.large_string()))
    assert reasons(text, min_edit_distance=0.5) == [None]


def test_only_the_sources_named_are_judged():
    assert reasons(documents(("p", "a", "a"), source="other"), sources=["s"]) == [None]
    assert reasons(documents(("p", "a", "a")), sources=["s"]) == ["same_completions"]


def test_pairs_are_dropped_by_their_edit_distance_with_the_value_as_evidence():
    pairs = documents(("p", "abcd", "abcx"), ("p", "abcd", "wxyz"))
    assert reasons(pairs) == [None, None]
    verdict = preference_pairs(pairs, PreferencePairs(min_edit_distance=0.3))
    assert verdict.reason.to_pylist() == ["too_similar", None]
    assert verdict.evidence.to_pylist() == ["0.25 of the longer completion", None]
    assert reasons(pairs, max_edit_distance=0.5) == [None, "too_different"]
    with pytest.raises(ValidationError, match="above"):
        PreferencePairs(min_edit_distance=0.5, max_edit_distance=0.4)


def slow_distance(first, second):
    """By its definition, one recursion per edit."""
    table = {(i, 0): i for i in range(len(first) + 1)} | {(0, j): j for j in range(len(second) + 1)}
    for i, a in enumerate(first, start=1):
        for j, b in enumerate(second, start=1):
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (a != b))
    return table[len(first), len(second)]


@given(st.lists(st.tuples(st.text("abü🙂", max_size=9), st.text("abü🙂", max_size=9)), max_size=5))
def test_edit_distance_is_levenshteins_over_the_longer_length(pairs):
    found = edit_distances(documents(*(("p", *pair) for pair in pairs)))
    expected = [slow_distance(a, b) / max(1, len(a), len(b)) for a, b in pairs]
    np.testing.assert_allclose(found, expected)


def test_documents_without_completions_have_no_distance():
    assert math.isnan(edit_distances(documents((None, None, None)))[0])
    assert len(edit_distances(documents())) == 0
    assert preference_pairs(documents(), PreferencePairs(min_edit_distance=0.1)).reason.to_pylist() == []
