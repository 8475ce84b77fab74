"""What stays and what goes, against plain loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.dedup.clusters import Removed, keep_order, removals

THRESHOLD = 0.5
unhurried = settings(deadline=None)
PAIRS = st.dictionaries(
    st.tuples(st.integers(0, 9), st.integers(0, 9)).filter(lambda pair: pair[0] < pair[1]),
    st.sampled_from([0.1, 0.4, 0.5, 0.75, 1.0]),
    max_size=25,
)
PRIORITY = st.permutations(range(10))


def removed(
    similarity: dict[tuple[int, int], float], known: set[tuple[int, int]], rank: list[int], linkage: str, asks: bool
) -> Removed:
    """similarity: of all pairs, 0 for the others; known: those that were compared."""
    similar = sorted(pair for pair in known if similarity[pair] >= THRESHOLD)
    pairs = np.array(similar, np.int64).reshape(-1, 2)
    jaccards = np.array([similarity[pair] for pair in similar])

    def exact(asked: np.ndarray) -> np.ndarray:
        assert all(one < other for one, other in asked.tolist())
        return np.array([similarity.get((one, other), 0.0) for one, other in asked.tolist()])

    def order(rows: np.ndarray) -> np.ndarray:
        return np.argsort(np.array(rank)[rows])

    return removals(pairs, jaccards, order, linkage, THRESHOLD, exact if asks else None)  # type: ignore[arg-type]


@unhurried
@given(PAIRS, PRIORITY)
def test_of_each_connected_component_the_preferred_one_stays(similarity, rank) -> None:
    found = removed(similarity, set(similarity), rank, "component", True)
    group = {node: {node} for node in range(10)}
    for (one, other), value in similarity.items():
        if value >= THRESHOLD:
            both = group[one] | group[other]
            group.update(dict.fromkeys(both, both))
    expected = {node: min(group[node], key=lambda other: rank[other]) for node in range(10)}
    assert dict(zip(found.rows.tolist(), found.kept.tolist(), strict=True)) == {
        node: kept for node, kept in expected.items() if kept != node
    }
    for row, kept, cluster, jaccard in zip(found.rows, found.kept, found.clusters, found.jaccards, strict=True):
        assert cluster == min(group[int(row)])
        assert jaccard == similarity.get((min(row, kept), max(row, kept)), 0.0)


@unhurried
@given(PAIRS, PRIORITY)
def test_with_representatives_each_goes_for_the_most_similar_one_that_stays(similarity, rank) -> None:
    found = removed(similarity, set(similarity), rank, "representative", True)
    stays: dict[int, int] = {}
    for node in sorted(range(10), key=lambda node: rank[node]):
        similar = [
            (similarity[pair], -rank[other], other)
            for other in stays
            if stays[other] == other and similarity.get(pair := (min(node, other), max(node, other)), 0) >= THRESHOLD
        ]
        stays[node] = max(similar)[2] if similar else node
    assert dict(zip(found.rows.tolist(), found.kept.tolist(), strict=True)) == {
        node: kept for node, kept in stays.items() if kept != node
    }
    for row, kept, jaccard in zip(found.rows, found.kept, found.jaccards, strict=True):
        assert jaccard == similarity[min(row, kept), max(row, kept)] >= THRESHOLD


def test_a_copy_of_what_was_removed_is_compared_with_what_stayed_instead() -> None:
    """2 was compared with 1 alone, which goes for 0."""
    similarity = {(0, 1): 1.0, (1, 2): 0.9, (0, 2): 0.9}
    found = removed(similarity, {(0, 1), (1, 2)}, list(range(10)), "representative", True)
    assert (found.rows.tolist(), found.kept.tolist(), found.jaccards.tolist()) == ([1, 2], [0, 0], [1.0, 0.9])
    similarity[0, 2] = 0.3
    found = removed(similarity, {(0, 1), (1, 2)}, list(range(10)), "representative", True)
    assert found.rows.tolist() == [1]


def test_what_was_not_compared_has_no_similarity_if_it_cannot_be_asked_for() -> None:
    found = removed({(0, 1): 0.8, (1, 2): 0.7}, {(0, 1), (1, 2)}, list(range(10)), "component", False)
    assert found.rows.tolist() == [1, 2]
    assert found.jaccards[0] == 0.8
    assert np.isnan(found.jaccards[1])
    assert found.cluster_count == 1


@pytest.mark.parametrize(
    ("keep", "expected"), [("first", [0, 1, 2, 3]), ("longest", [2, 0, 3, 1]), ("priority", [1, 3, 0, 2])]
)
def test_order_of_preference(keep, expected) -> None:
    rows, lengths, priorities = np.array([5, 6, 8, 9]), np.array([3, 1, 7, 3]), np.array([1, 0, 1, 0])
    assert keep_order(rows, keep, lengths, priorities).tolist() == expected


def test_no_pairs_remove_nothing() -> None:
    for linkage, asks in itertools.product(["component", "representative"], [True, False]):
        assert len(removed({}, set(), list(range(10)), linkage, asks).rows) == 0
