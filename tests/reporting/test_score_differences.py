from __future__ import annotations

import math

import pytest

from core.reporting.run_files import Score, Scores
from core.reporting.score_differences import differences, headline


def scores(*pairs: tuple[float, float | None], higher: bool = True) -> Scores:
    """Scores of base and sft on the same measure of one task for each two pairs (value, standard error)."""
    return Scores(
        models=["base", "sft"],
        scores=[
            Score(
                model=("base", "sft")[n % 2],
                task=f"task{n // 2}",
                metric="acc",
                value=value,
                stderr=error,
                samples=100,
                higher_is_better=higher,
            )
            for n, (value, error) in enumerate(pairs)
        ],
    )


@pytest.mark.parametrize(
    ("last", "higher", "verdict"),
    [
        (0.3001, True, "better"),  # 0.1 is two combined errors of 0.05
        (0.2999, True, "within noise"),
        (0.1001, True, "within noise"),
        (0.0999, True, "worse"),
        (0.0999, False, "better"),
        (0.3001, False, "worse"),
    ],
)
def test_a_difference_counts_from_two_combined_errors_on(last: float, higher: bool, verdict: str) -> None:
    (change,) = differences(scores((0.2, 0.03), (last, 0.04), higher=higher))
    assert change.error == pytest.approx(0.05)
    assert change.verdict == verdict


def test_without_an_error_nothing_is_judged() -> None:
    (change,) = differences(scores((0.2, None), (0.9, 0.01)))
    assert (change.error, change.verdict) == (None, "no error known")


def test_equal_scores_without_spread_are_within_noise() -> None:
    (change,) = differences(scores((0.0, 0.0), (0.0, 0.0)))
    assert change.verdict == "within noise"


def test_the_headline_is_the_mean_over_tasks_with_the_error_of_that_mean() -> None:
    overall = headline(differences(scores((0.2, 0.03), (0.6, 0.04), (0.4, 0.0), (0.5, 0.0))))
    assert overall is not None
    name, first, last, error = overall
    assert name == "the mean of 2 tasks"
    assert (first, last, error) == pytest.approx((0.3, 0.55, 0.025))


def test_a_headline_needs_scores_where_higher_is_better_in_the_unit_interval() -> None:
    assert headline(differences(scores((8000.0, 1.0), (200.0, 1.0)))) is None
    assert headline(differences(scores((0.5, 0.1), (0.2, 0.1), higher=False))) is None
    assert headline(differences(scores((math.nan, 0.1), (0.2, 0.1)))) is None


def test_one_model_alone_has_no_difference() -> None:
    assert differences(Scores(models=["base"], scores=[])) == []
