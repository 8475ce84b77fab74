"""Differences between two models, held against their errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from core.reporting.run_files import PairedScore, Score, Scores
from core.reporting.score_charts import measure

NOISE = 2.0  # combined standard errors: a smaller difference is not told from none (about 95 %)


@dataclass(frozen=True)
class Difference:
    """One measure of the first and of the last model.

    value: last - first. error: of the difference: that of the paired differences where the same questions were
    compared, else the root of the sum of the squared standard errors. low, high: the 95 % interval where it is known.
    tie: whether it is not told from none, its p-value being adjusted for how many there are.
    """

    name: str
    first: Score
    last: Score
    value: float
    error: float | None
    low: float | None = None
    high: float | None = None
    tie: bool | None = None

    @property
    def verdict(self) -> str:
        """ "better", "worse", "within noise", or "no error known"."""
        if self.error is None or not math.isfinite(self.value):
            return "no error known"
        if self.tie is not None:
            noise = self.tie
        elif self.low is not None and self.high is not None:
            noise = self.low <= 0 <= self.high
        else:
            noise = abs(self.value) < NOISE * self.error
        if noise or self.value == 0:
            return "within noise"
        rises = self.value > 0
        return "better" if rises == (self.first.higher_is_better is not False) else "worse"


def compared(scores: Scores) -> tuple[str, str]:
    """The two models whose difference is told: those of the comparison, else the first and the last."""
    if scores.comparison is not None:
        first, last = scores.comparison.models
        return first, last
    return scores.models[0], scores.models[-1]


def differences(scores: Scores) -> list[Difference]:
    """Of every measure that both models which are compared have."""
    if len(scores.models) < 2:
        return []
    first, last = (
        {measure(score): score for score in scores.scores if score.model == model} for model in compared(scores)
    )
    paired = {measure(each): each for each in (scores.comparison.differences if scores.comparison else [])}
    return [_difference(name, first[name], last[name], paired.get(name)) for name in first if name in last]


def headline(found: Sequence[Difference]) -> tuple[str, float, float, float | None] | None:
    """What stands for all tasks: name, first, last, and the error of their difference.

    With one task its first measure; with several the mean of each task's first measure, of those in 0 ... 1 where
    higher is better. None where there is none.
    """
    by_task: dict[str, Difference] = {}
    for each in found:
        usable = in_unit(each.first) and in_unit(each.last) and each.first.higher_is_better is not False
        if usable:
            by_task.setdefault(each.first.task, each)
    chosen = list(by_task.values())
    if not chosen:
        return None
    name = chosen[0].name if len(chosen) == 1 else f"the mean of {len(chosen)} tasks"
    first = sum(each.first.value for each in chosen) / len(chosen)
    last = sum(each.last.value for each in chosen) / len(chosen)
    errors = [each.error for each in chosen if each.error is not None]
    return name, first, last, math.hypot(*errors) / len(chosen) if len(errors) == len(chosen) else None


def in_unit(score: Score) -> bool:
    """Whether a score can stand on an axis from 0 to 1."""
    return 0 <= score.value <= 1


def _difference(name: str, first: Score, last: Score, paired: PairedScore | None) -> Difference:
    value = last.value - first.value
    if paired is not None and math.isclose(paired.difference, value, abs_tol=1e-6):  # the metric is their plain mean
        return Difference(name, first, last, value, paired.stderr, paired.low, paired.high, paired.tie)
    known = first.stderr is not None and last.stderr is not None
    error = math.hypot(first.stderr or 0, last.stderr or 0) if known else None
    return Difference(name, first, last, value, error)
