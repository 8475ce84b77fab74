"""Search spaces: grids, chance and TPE keep to the space and its constraint, and are the same every time."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import RecipeError
from core.tuning.space import Parameter, Space, Values

RATE = Parameter("train.sft.learning_rate", low=1e-5, high=1e-3, log=True)
EPOCHS = Parameter("train.sft.epochs", choices=(1, 2, 3))
SOURCES = Parameter("train.sft.data.sources", choices=(["a"], ["a", "b"]))
RANK = Parameter("train.sft.lora.rank", low=8, high=64, integer=True, step=8)
WHOLE = Space("whole", (RATE, EPOCHS, SOURCES, RANK))


def short(values: Values) -> bool:
    return bool(values[EPOCHS.key] < 3)


def test_a_grid_is_every_combination_that_is_allowed() -> None:
    grid = Space("some", (RATE, EPOCHS), short).grid(3)
    assert [(values[RATE.key], values[EPOCHS.key]) for values in grid] == [
        (1e-5, 1), (1e-5, 2), (1e-4, 1), (1e-4, 2), (1e-3, 1), (1e-3, 2),
    ]  # fmt: skip


def test_a_grid_of_steps_stays_on_the_steps() -> None:
    assert RANK.grid(3) == [8, 40, 64] or all(value % 8 == 0 for value in RANK.grid(3))
    assert RANK.grid(100) == [8, 16, 24, 32, 40, 48, 56, 64]


@given(st.integers(0, 2**32), st.integers(1, 12))
def test_chance_draws_the_same_different_points_for_the_same_seed(seed: int, count: int) -> None:
    space = Space("some", (RATE, EPOCHS, RANK), short)
    drawn = space.random(count, seed)
    assert drawn == space.random(count, seed)
    assert drawn[:1] == space.random(1, seed)
    assert len(drawn) == count
    for values in drawn:
        assert 1e-5 <= values[RATE.key] <= 1e-3
        assert values[EPOCHS.key] in (1, 2)
        assert values[RANK.key] in range(8, 65, 8)


def test_chance_ends_where_there_are_no_further_points() -> None:
    assert len(Space("few", (EPOCHS,)).random(10, 0)) == 3


def test_a_constraint_that_nothing_keeps_is_told() -> None:
    with pytest.raises(RecipeError, match="none of 1000 points keeps its constraint"):
        Space("none", (EPOCHS,), lambda values: False).random(1, 0)


def test_probes_have_every_extreme() -> None:
    probes = list(WHOLE.probes())
    assert {values[RATE.key] for values in probes} >= {1e-5, 1e-3}
    assert {values[EPOCHS.key] for values in probes} == {1, 2, 3}
    assert {values[RANK.key] for values in probes} >= {8, 64}


def test_tpe_finds_what_is_best_and_its_points_depend_on_seed_and_number_alone() -> None:
    def goodness(values: Values) -> float:
        return -abs(math.log10(values[RATE.key]) + 4) - values[EPOCHS.key]

    told: list[tuple[Values, list[float] | None]] = []
    for number in range(30):
        values = WHOLE.suggest(told, number, 7, ["maximize"])
        assert values == WHOLE.suggest(told, number, 7, ["maximize"])
        assert values[SOURCES.key] in (["a"], ["a", "b"])
        told.append((values, [goodness(values)]))
    later, first = ([goodness(values) for values, _ in told[part]] for part in (slice(15, 30), slice(0, 8)))
    assert sum(later) / len(later) > sum(first) / len(first)


def test_tpe_keeps_the_constraint_and_leaves_running_trials_alone() -> None:
    space = Space("some", (RATE, EPOCHS), short)
    told: list[tuple[Values, list[float] | None]] = [({RATE.key: 1e-4, EPOCHS.key: 1}, None)]
    for number in range(1, 12):
        values = space.suggest(told, number, 0, ["maximize", "minimize"])
        assert short(values)
        told.append((values, [values[RATE.key], float(values[EPOCHS.key])]))
