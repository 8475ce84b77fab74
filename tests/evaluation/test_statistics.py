from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from core.evaluation.statistics import clustered_stderr, holm, mcnemar, wilson_interval


@pytest.mark.parametrize(("right", "questions"), [(0, 10), (3, 10), (10, 10), (412, 1000), (1, 1)])
def test_the_interval_is_scipys(right: int, questions: int) -> None:
    expected = stats.binomtest(right, questions).proportion_ci(method="wilson")
    assert wilson_interval(right, questions) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_interval_of_three_of_ten_is_the_one_of_textbooks() -> None:
    assert wilson_interval(3, 10) == pytest.approx((0.1078, 0.6032), abs=5e-5)
    with pytest.raises(ValueError, match="3 right answers of 0 questions"):
        wilson_interval(3, 0)


@given(st.lists(st.floats(-9, 9), min_size=2, max_size=30))
def test_values_in_clusters_of_their_own_have_the_usual_error(values: list[float]) -> None:
    assert clustered_stderr(values, range(len(values))) == pytest.approx(stats.sem(values), abs=1e-9)


def test_questions_that_rise_and_fall_together_count_as_one() -> None:
    passages = np.repeat(np.random.default_rng(0).integers(0, 2, 50).astype(float), 8)
    error = clustered_stderr(passages, np.repeat(np.arange(50), 8).tolist())
    assert error == pytest.approx(stats.sem(passages[::8]))
    assert math.isnan(clustered_stderr([1, 0, 1], ["a", "a", "a"]))
    with pytest.raises(ValueError, match="found 2 values and 1 clusters"):
        clustered_stderr([1, 0], ["a"])


def test_two_clusters_by_hand() -> None:
    # mean 0.5; the clusters' sums of deviations are +1 and -1: sqrt(2 / 1 * (1 + 1)) / 4
    assert clustered_stderr([1, 1, 0, 0], ["a", "a", "b", "b"]) == pytest.approx(0.5)


def test_mcnemar_by_hand() -> None:
    first = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    second = [1, 1, 1, 0, 1, 1, 1, 1, 1, 1]  # one lost, six won: 2 * (1 + 7) / 2^7
    assert mcnemar(first, second) == pytest.approx(2 * 8 / 128)
    assert mcnemar(first, first) == 1.0


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_adjusted_values_keep_the_order_and_are_never_smaller(values: list[float]) -> None:
    adjusted = holm(values)
    assert all(one >= other for one, other in zip(adjusted, values, strict=True))
    order = np.argsort(values, kind="stable")
    assert np.all(np.diff(np.array(adjusted)[order]) >= 0)
