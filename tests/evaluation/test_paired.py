from __future__ import annotations

import json
import math
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from core.evaluation.paired import compare_samples, paired_difference
from core.evaluation.statistics import mcnemar


def answers(count: int, rate: float, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).random(count) < rate).astype(float)


@pytest.mark.parametrize("kind", ["accuracies", "numbers"])
def test_the_interval_is_scipys_percentile_bootstrap(kind: str) -> None:
    rng = np.random.default_rng(0)
    first = answers(300, 0.5, 1) if kind == "accuracies" else rng.normal(size=300)
    second = answers(300, 0.6, 2) if kind == "accuracies" else first + rng.normal(0.1, 1, size=300)
    found = paired_difference(first, second, seed=3)
    gained = second - first
    expected = stats.bootstrap((gained,), np.mean, n_resamples=20_000, method="percentile", rng=4).confidence_interval
    assert found.difference == pytest.approx(gained.mean())
    assert found.stderr == pytest.approx(stats.sem(gained))
    assert found.low == pytest.approx(expected.low, abs=0.01)
    assert found.high == pytest.approx(expected.high, abs=0.01)


def test_what_both_find_hard_does_not_widen_the_interval() -> None:
    first = answers(400, 0.5, 1)
    second = first.copy()
    second[:20] = 1
    paired = paired_difference(first, second, seed=0)
    assert paired.low is not None and paired.high is not None
    independent = math.hypot(stats.sem(first), stats.sem(second))
    assert paired.low > 0
    assert (paired.high - paired.low) / 2 < independent


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=40))
def test_the_same_answers_differ_by_nothing_and_order_does_not_matter(values: list[float]) -> None:
    scores = np.array(values)
    same = paired_difference(scores, scores, seed=1)
    assert (same.difference, same.stderr, same.low, same.high) == (0, 0, 0, 0)
    order = np.random.default_rng(0).permutation(len(scores))
    other = 1 - scores
    assert astuple(paired_difference(scores, other, 1)) == pytest.approx(
        astuple(paired_difference(scores[order], other[order], 1))
    )


def test_too_few_questions_have_no_interval_and_different_ones_are_refused() -> None:
    assert paired_difference(np.array([0.0]), np.array([1.0]), 0).low is None
    with pytest.raises(ValueError, match="found 2 and 3 questions"):
        paired_difference(np.zeros(2), np.zeros(3), 0)


def test_samples_are_matched_by_question_metric_and_filter(tmp_path: Path) -> None:
    def write(name: str, rows: list[dict[str, object]]) -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    common = {"metrics": ["acc", "text"], "filter": "none", "text": "not a number"}
    first = write("a.jsonl", [{"doc_id": n, "acc": n % 2, **common} for n in range(10)])
    second = write("b.jsonl", [{"doc_id": n, "acc": 1, **common} for n in range(9, -1, -1)])
    [row] = compare_samples(first, second, seed=0)
    assert (row["metric"], row["filter"], row["difference"], row["samples"]) == ("acc", "none", 0.5, 10)


def test_passages_are_drawn_whole_so_that_what_their_questions_share_widens_the_interval() -> None:
    rng = np.random.default_rng(0)
    gained = np.repeat(rng.normal(0.1, 1, 40), 10)
    first, passages = np.zeros(400), np.repeat(np.arange(40), 10).tolist()
    found = paired_difference(first, gained, 1, passages)
    assert found.stderr == pytest.approx(stats.sem(gained[::10]))
    expected = stats.bootstrap((gained[::10],), np.mean, n_resamples=20_000, method="percentile", rng=4)
    assert found.low == pytest.approx(expected.confidence_interval.low, abs=0.01)
    assert found.high == pytest.approx(expected.confidence_interval.high, abs=0.01)
    assert found.p_value == pytest.approx(2 * stats.norm.sf(abs(found.difference) / found.stderr))


def test_right_and_wrong_answers_are_compared_by_mcnemars_test_and_numbers_by_their_error() -> None:
    first, second = answers(200, 0.5, 1), answers(200, 0.6, 2)
    assert paired_difference(first, second, 0).p_value == mcnemar(first, second)
    assert paired_difference(first, second, 0, list(range(200))).p_value == mcnemar(first, second)
    numbers = paired_difference(first + 0.5, second + 0.25, 0)
    assert numbers.stderr is not None
    assert numbers.p_value == pytest.approx(2 * stats.norm.sf(abs(numbers.difference) / numbers.stderr))
