from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from core.documents.mixture import keys, sample, select

IDS = pa.array([f"s:0:{row}" for row in range(2000)])


def test_count_is_kept_exactly_and_all_where_there_are_fewer() -> None:
    assert [sample(IDS, count, 1).sum() for count in (0, 1, 700, 2000, 9000)] == [0, 1, 700, 2000, 2000]
    assert sample([], 5, 1).shape == (0,)


def test_choice_is_spread_evenly_and_follows_the_seed() -> None:
    chosen = sample(IDS, 1000, 1)
    halves = chosen.reshape(4, 500).sum(axis=1)
    assert halves.min() > 200
    assert (chosen == sample(IDS, 1000, 1)).all()
    assert 300 < (chosen & sample(IDS, 1000, 2)).sum() < 700


def test_keys_are_the_same_on_every_machine() -> None:
    assert keys(["s:0:0", "größe"], 42).tolist() == [16567061109433449888, 17420246033315459584]


@given(st.lists(st.text(max_size=6), max_size=30), st.integers(0, 30), st.integers(0, 30), st.integers(0, 2**63 - 1))
def test_smaller_choice_is_part_of_the_larger(ids: list[str], some: int, more: int, seed: int) -> None:
    small, large = sample(ids, min(some, more), seed), sample(ids, max(some, more), seed)
    assert not (small & ~large).any()
    assert large.sum() == min(max(some, more), len(ids))


@given(st.permutations(range(40)), st.integers(0, 40))
def test_choice_depends_on_ids_and_not_on_their_order(order: list[int], count: int) -> None:
    ids = [f"d{number}" for number in range(40)]
    straight = {name for name, kept in zip(ids, sample(ids, count, 3), strict=True) if kept}
    shuffled = [ids[place] for place in order]
    assert {name for name, kept in zip(shuffled, sample(shuffled, count, 3), strict=True) if kept} == straight


def test_of_equal_ids_the_earlier_goes_first() -> None:
    assert select(np.array([5, 1, 5, 5], np.uint64), 2).tolist() == [True, True, False, False]
