from __future__ import annotations

import bisect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import DataError
from core.tokens.packing import best_fit, pack
from tests.benchmarks.instructions import dialogues, log_normal_lengths


def plain_best_fit(lengths: np.ndarray, capacity: int) -> np.ndarray:
    """Best-fit decreasing as one would write it down: a sorted list of rooms, and the rows of each."""
    rows = np.empty(len(lengths), np.int64)
    rooms: list[int] = []
    open_rows: dict[int, list[int]] = {}
    count = 0
    for sample in np.argsort(-lengths, kind="stable"):
        length = int(lengths[sample])
        position = bisect.bisect_left(rooms, length)
        if position == len(rooms):
            row, room = count, capacity
            count += 1
        else:
            room = rooms[position]
            row = open_rows[room].pop()
            if not open_rows[room]:
                del open_rows[room], rooms[position]
        rows[sample] = row
        left = room - length
        if left:
            if left not in open_rows:
                open_rows[left] = []
                bisect.insort(rooms, left)
            open_rows[left].append(row)
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(int(row), len(numbers)) for row in rows], np.int64)


@st.composite
def lengths_and_capacity(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    capacity = draw(st.integers(1, 1000))
    longest = draw(st.integers(1, capacity))
    lengths = draw(st.lists(st.integers(1, longest), max_size=300))
    return np.array(lengths, np.int32), capacity


@settings(deadline=None)
@given(lengths_and_capacity())
def test_the_kernel_of_best_fit_does_what_best_fit_does(drawn):
    lengths, capacity = drawn
    assert best_fit(lengths, capacity).tolist() == plain_best_fit(lengths, capacity).tolist()


@settings(deadline=None)
@given(lengths_and_capacity())
def test_no_row_overflows_no_two_could_be_one_and_there_are_no_more_than_with_best_fit(drawn):
    lengths, capacity = drawn
    rows = pack(lengths, capacity)
    assert len(rows) == len(lengths)
    filled = np.bincount(rows, lengths).astype(int) if len(rows) else np.array([], int)
    assert (filled <= capacity).all()
    assert (filled > 0).all()
    smallest = np.sort(filled)[:2]
    assert len(smallest) < 2 or smallest.sum() > capacity
    assert len(filled) <= best_fit(lengths, capacity).max(initial=-1) + 1
    assert list(dict.fromkeys(rows.tolist())) == list(range(len(filled)))


@pytest.mark.parametrize("capacity", [2048, 8192, 131_072])
def test_the_longest_rows_are_packed_as_by_best_fit_or_better(capacity):
    lengths = np.clip(np.random.default_rng(1).lognormal(np.log(capacity) - 2.5, 1.0, 3000), 1, capacity).astype(int)
    assert best_fit(lengths, capacity).tolist() == plain_best_fit(lengths, capacity).tolist()
    assert fill(lengths, capacity) >= lengths.sum() / ((best_fit(lengths, capacity).max() + 1) * capacity)


def fill(lengths: np.ndarray, capacity: int) -> float:
    return float(lengths.sum() / ((pack(lengths, capacity).max() + 1) * capacity))


@pytest.mark.parametrize("capacity", [512, 1024, 2048, 8192])
def test_fill_on_instruction_lengths_is_above_995_in_1000(capacity):
    assert fill(log_normal_lengths(20_000, capacity), capacity) >= 0.995


def test_fill_is_above_995_in_1000_where_rows_hold_three_samples_and_best_fit_falls_short():
    lengths = np.clip(np.random.default_rng(0).lognormal(6.4, 0.2, 20_000).astype(int), 8, 2048)
    assert lengths.sum() / ((best_fit(lengths, 2048).max() + 1) * 2048) < 0.96
    assert fill(lengths, 2048) >= 0.995


@pytest.mark.parametrize("capacity", [512, 1024, 2048])
def test_fill_on_real_instructions_is_above_995_in_1000(shared_data, capacity):
    for name, documents in dialogues(shared_data).items():
        # four characters a token, about what tokenizers make of English
        texts = ["".join(turn["content"] for turn in turns) for turns in documents["messages"].to_pylist()]
        lengths = np.clip([len(text) // 4 + 8 for text in texts], 1, capacity)
        rows = pack(lengths, capacity).max() + 1
        assert rows <= -(-lengths.sum() // capacity) / 0.995, name  # the last row can be short in any packing


def test_a_sample_longer_than_a_row_is_an_error():
    with pytest.raises(DataError, match="65 tokens does not fit a row of 64"):
        pack(np.array([3, 65]), 64)
