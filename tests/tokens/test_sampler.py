from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.tokens.sampler import Sampler


@given(st.integers(1, 50), st.integers(1, 17), st.integers(1, 4))
def test_every_row_comes_exactly_once_an_epoch(rows, batch_size, epochs):
    sampler = Sampler(rows, batch_size, seed=7, epochs=epochs)
    order = np.concatenate([sampler.batch(step) for step in range(sampler.steps)])
    assert len(order) == rows * epochs
    for epoch in order.reshape(epochs, rows):
        assert sorted(epoch) == list(range(rows))


def test_epochs_are_shuffled_differently_and_the_same_by_seed():
    first, second = Sampler(100, 100, seed=7, epochs=2), Sampler(100, 100, seed=8, epochs=2)
    assert first.batch(0).tolist() != first.batch(1).tolist()
    assert first.batch(0).tolist() != second.batch(0).tolist()
    assert Sampler(100, 100, seed=7, epochs=2).batch(1).tolist() == first.batch(1).tolist()


def test_a_step_in_the_middle_needs_none_before_it():
    whole = Sampler(1000, 32, seed=1, epochs=3)
    before = [whole.batch(step).tolist() for step in range(whole.steps)]
    assert Sampler(1000, 32, seed=1, epochs=3).batch(60).tolist() == before[60]


def test_max_steps_and_parts_of_epochs():
    assert Sampler(10, 4, seed=1, max_steps=9).steps == 9
    sampler = Sampler(10, 4, seed=1, epochs=0.5)
    assert (sampler.steps, len(sampler.batch(1)), sampler.epoch(2)) == (2, 1, 0.5)
