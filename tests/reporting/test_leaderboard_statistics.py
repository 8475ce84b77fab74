"""Correlations, fronts and scales."""

from __future__ import annotations

import datetime
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from core.reporting.leaderboard.board import Ranked, ranked
from core.reporting.leaderboard.entries import Entry, Parameters
from core.reporting.leaderboard.snapshots import BENCHMARKS
from core.reporting.leaderboard.statistics import correlation, difference_of_medians, pairs, pareto_front, spread_out

NUMBERS = np.random.default_rng(0)


def models(scores: np.ndarray, sizes: list[int | None] | None = None) -> list[Ranked]:
    """scores: (models, 4)"""
    entries = [
        Entry(
            datetime.date(2023, 5, 23),
            f"m{n}",
            {name: Decimal(f"{value:.2f}") for name, value in zip(BENCHMARKS, row, strict=True)},
            "x",
            parameters=Parameters(sizes[n], "file") if sizes and sizes[n] else Parameters(),
        )
        for n, row in enumerate(scores)
    ]
    return ranked(entries, BENCHMARKS)


def test_the_correlation_is_spearmans():
    first = NUMBERS.normal(size=40).round(1)
    second = (first + NUMBERS.normal(size=40)).round(1)
    found = correlation(first, second)
    assert found.value == pytest.approx(spearmanr(first, second).statistic)
    assert -1 < found.low < found.value < found.high < 1


def test_the_interval_holds_the_truth_19_times_in_20():
    held = []
    for _ in range(400):
        first, noise = NUMBERS.normal(size=(2, 40))
        found = correlation(first, -0.5 * first + np.sqrt(0.75) * noise)
        held.append(found.low <= 6 / np.pi * np.arcsin(-0.5 / 2) <= found.high)  # Spearman's ρ of two normal variables
    assert 0.91 < np.mean(held) < 0.99


def test_too_few_or_equal_scores_have_no_correlation():
    assert np.isnan(correlation(np.arange(5.0), np.arange(5.0)).value)
    assert np.isnan(correlation(np.arange(20.0), np.ones(20)).value)


def test_two_benchmarks_that_oppose_each_other_are_a_trade_off():
    ability, lean = NUMBERS.normal(size=(2, 200))
    scores = np.stack([50 + 8 * ability, 60 + 8 * ability, 40 + 3 * ability + 6 * lean, 45 + 3 * ability - 6 * lean], 1)
    found = pairs(models(scores), BENCHMARKS)
    assert {found[0].first.name, found[0].second.name} == {"MMLU", "TruthfulQA"}
    assert found[0].leaders.falls and found[0].by_others.falls
    assert found[0].leaders.models == found[0].by_others.models == 40


def test_a_trade_off_that_the_choice_of_leaders_makes_is_not_there_among_leaders_by_the_others():
    scores = 50 + 8 * NUMBERS.normal(size=(2000, 4))
    found = pairs(models(scores), BENCHMARKS)
    assert np.mean([pair.leaders.value for pair in found]) < -0.2
    assert abs(np.mean([pair.by_others.value for pair in found])) < 0.15


@given(
    st.lists(
        st.tuples(st.one_of(st.none(), st.integers(1, 5)), st.integers(0, 20)),
        min_size=1,
        max_size=25,
    )
)
def test_the_front_has_the_models_that_none_of_their_size_or_smaller_beats(found):
    of = models(np.array([[average] * 4 for _, average in found], float), [size for size, _ in found])
    sized = [(each.entry.parameters.number, each.average) for each in of if each.entry.parameters.number]
    best = {
        (size, average)
        for size, average in sized
        if not any((other <= size and more > average) or (other < size and more >= average) for other, more in sized)
    }
    front = [(each.entry.parameters.number, each.average) for each in pareto_front(of)]
    assert front == sorted(best)


def test_scores_are_spread_from_1_to_5_over_the_leaders():
    leaders = np.array([[60.0, 5.0], [70.0, 5.0], [80.0, 5.0]])
    assert spread_out(leaders, leaders).tolist() == [[1, 5], [3, 5], [5, 5]]


def test_a_difference_of_medians_has_its_interval():
    change, low, high = difference_of_medians(np.arange(50.0), np.arange(50.0) + 10)
    assert change == 10
    assert low < 10 < high
