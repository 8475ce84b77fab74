from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from core.documents import ranking
from core.documents.ranking import before, chunks, smallest, top

# few different keys, also where they differ in the lowest or the highest bits alone
KEYS = st.sampled_from([0, 1, 2, 1 << 16, (1 << 16) + 1, 1 << 63, (1 << 64) - 1]) | st.integers(0, (1 << 64) - 1)
ITEMS = st.lists(st.tuples(KEYS, st.integers(0, 5)), max_size=25)


def divided(items: list[Any], cuts: list[int]) -> list[list[Any]]:
    """The items in parts, some of them empty."""
    ends = sorted(min(cut, len(items)) for cut in cuts)
    return [items[begin:end] for begin, end in zip([0, *ends], [*ends, len(items)], strict=True)]


@settings(deadline=None)
@given(ITEMS, st.lists(st.integers(0, 25), max_size=4), st.integers(0, 60), st.booleans())
def test_cut_is_that_of_a_stable_sort_of_everything(
    items: list[tuple[int, int]], cuts: list[int], budget: int, by_weight: bool
) -> None:
    parts = [
        (np.array([key for key, _ in part], np.uint64), np.array([weight for _, weight in part], np.int64))
        for part in divided(items, cuts)
    ]
    order = sorted(range(len(items)), key=lambda item: items[item][0])
    expected: set[int] = set()
    reached = 0
    for item in order:
        if reached >= budget:
            break
        expected.add(item)
        reached += items[item][1] if by_weight else 1
    cut = smallest(chunks(parts), budget, by_weight)
    chosen = np.concatenate([np.zeros(0, bool), *before(cut, (keys for keys, _ in parts))])
    assert set(np.flatnonzero(chosen).tolist()) == expected
    assert (cut.items, cut.weight) == (len(expected), sum(items[item][1] for item in expected))


@settings(deadline=None)
@given(
    st.lists(
        st.floats(width=32, allow_nan=False) | st.sampled_from([0.0, -0.0, 0.5, float("inf"), -float("inf")]),
        max_size=25,
    ),
    st.lists(st.integers(0, 25), max_size=3),
    st.decimals(0, 1, places=2),
)
def test_top_fraction_is_exact_and_ties_go_to_the_first(scores: list[float], cuts: list[int], fraction: Any) -> None:
    found = top([np.array(part, np.float32) for part in divided(scores, cuts)], float(fraction))
    order = sorted(range(len(scores)), key=lambda item: -scores[item])  # stable
    count = int(Fraction(str(fraction)) * len(scores))
    assert set(np.flatnonzero(np.concatenate(found)).tolist()) == set(order[:count])


def test_fraction_is_taken_as_it_is_written() -> None:
    assert sum(part.sum() for part in top([np.arange(100, dtype=np.float32)], 0.29)) == 29


def test_score_that_is_no_number_comes_last() -> None:
    scores = np.array([np.nan, -np.inf, 1, np.nan], np.float32)
    assert [part.tolist() for part in top([scores], 0.75)] == [[True, True, True, False]]


def test_fraction_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a number from 0 to 1"):
        top([], 1.5)


def test_parts_of_any_size_are_looked_at_in_small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "CHUNK", 100)
    keys = np.random.default_rng(0).integers(0, 1 << 63, 5000).astype(np.uint64)
    weights: NDArray[np.int64] = np.arange(5000)
    assert max(len(piece) for piece, _ in chunks([(keys, weights)])()) == 100
    cut = smallest(chunks([(keys[:1234], weights[:1234]), (keys[1234:], weights[1234:])]), 321)
    [first, second] = before(cut, [keys[:1234], keys[1234:]])
    assert set(np.concatenate([first, second]).nonzero()[0]) == set(np.argsort(keys)[:321])
