from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.tokens import order_kernels
from core.tokens.sampler import Sampler


@settings(deadline=None)
@given(st.integers(1, 50), st.integers(1, 17), st.integers(1, 4))
def test_every_row_comes_exactly_once_an_epoch(rows, batch_size, epochs):
    sampler = Sampler(rows, batch_size, seed=7, epochs=epochs)
    order = np.concatenate([sampler.batch(step) for step in range(sampler.steps)])
    assert len(order) == rows * epochs
    for epoch in order.reshape(epochs, rows):
        assert sorted(epoch) == list(range(rows))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 200_000), st.integers(0, 2**63 - 1))
def test_the_order_of_any_number_of_rows_under_any_key_has_each_once(rows, key):
    order = order_kernels.shuffled(0, rows, rows, key)
    np.testing.assert_array_equal(np.sort(order), np.arange(rows))


def test_epochs_are_shuffled_differently_and_the_same_by_seed():
    first, second = Sampler(100, 100, seed=7, epochs=2), Sampler(100, 100, seed=8, epochs=2)
    assert first.batch(0).tolist() != first.batch(1).tolist()
    assert first.batch(0).tolist() != second.batch(0).tolist()
    assert Sampler(100, 100, seed=7, epochs=2).batch(1).tolist() == first.batch(1).tolist()


def test_every_order_of_few_rows_is_as_likely():
    counts = Counter(tuple(Sampler(4, 4, seed=seed, epochs=1).batch(0)) for seed in range(4800))
    assert len(counts) == 24
    chi_squared = sum((count - 200) ** 2 / 200 for count in counts.values())
    assert chi_squared < 50  # 23 degrees of freedom: more than that comes once in a thousand times


@pytest.mark.parametrize("rows", [37, 1000, 4096])
def test_every_place_of_many_rows_is_as_likely_and_neighbours_are_not_related(rows):
    orders = np.stack([Sampler(rows, rows, seed=seed, epochs=1).batch(0) for seed in range(2000)]) / rows
    mean_deviation = (1 / 12 / len(orders)) ** 0.5  # of a mean of numbers drawn evenly from 0 to 1
    assert np.abs(orders.mean(axis=0) - 0.5).max() < 5 * mean_deviation
    correlation = np.corrcoef(orders[:, :-1].ravel(), orders[:, 1:].ravel())[0, 1]
    assert correlation == pytest.approx(-1 / (rows - 1), abs=5 / (2000 * (rows - 1)) ** 0.5)


def test_a_step_in_the_middle_needs_none_before_it():
    whole = Sampler(1000, 32, seed=1, epochs=3)
    before = [whole.batch(step).tolist() for step in range(whole.steps)]
    assert Sampler(1000, 32, seed=1, epochs=3).batch(60).tolist() == before[60]


def test_step_one_million_costs_what_step_ten_costs_and_nothing_is_kept(monkeypatch):
    asked = []
    original = order_kernels.shuffled

    def counting(start, stop, rows, key):
        asked.append(stop - start)
        return original(start, stop, rows, key)

    monkeypatch.setattr(order_kernels, "shuffled", counting)
    sampler = Sampler(10**8, 32, seed=1, max_steps=10**7)
    state = pickle.dumps(vars(sampler))
    for step in (10, 1_000_000):
        asked.clear()
        rows = sampler.batch(step)
        assert len(set(rows.tolist())) == 32
        assert asked == [32]  # no row is looked up but the step's own
    assert pickle.dumps(vars(sampler)) == state


def test_max_steps_and_parts_of_epochs():
    assert Sampler(10, 4, seed=1, max_steps=9).steps == 9
    sampler = Sampler(10, 4, seed=1, epochs=0.5)
    assert (sampler.steps, len(sampler.batch(1)), sampler.epoch(2)) == (2, 1, 0.5)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=60),
    st.integers(1, 12),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_the_heaviest_step_has_the_micro_batch_of_most_padded_tokens(lengths, batch_size, micro, workers, epochs):
    lengths = np.array(lengths)
    sampler = Sampler(len(lengths), batch_size, seed=3, epochs=epochs)
    weights = []
    for step in range(sampler.steps):
        batch = sampler.batch(step)
        padded = []
        for worker in range(workers):
            mine = lengths[batch[worker::workers]]
            padded += [max(part) * len(part) for part in np.split(mine, range(micro, len(mine), micro)) if len(part)]
        weights.append((max(padded), sum(padded)))
    assert sampler.heaviest_step(lengths, micro, workers) == weights.index(max(weights))


def test_the_heaviest_step_is_found_where_steps_are_looked_at_in_several_pieces(monkeypatch):
    lengths = np.random.default_rng(0).integers(1, 10**6, 1000)
    sampler = Sampler(1000, 7, seed=3, epochs=3)
    whole = sampler.heaviest_step(lengths, 2)
    monkeypatch.setattr("core.tokens.sampler.AT_A_TIME", 50)
    assert sampler.heaviest_step(lengths, 2) == whole
    assert lengths.max() in lengths[sampler.batch(whole)]
