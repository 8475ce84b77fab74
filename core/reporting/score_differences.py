"""Differences between the untrained and the trained model, held against their errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from core.reporting.run_files import Score, Scores
from core.reporting.score_charts import measure

NOISE = 2.0  # combined standard errors: a smaller difference is not told from none (about 95 %)


@dataclass(frozen=True)
class Difference:
    """One measure of the first and of the last model.

    value: last - first. error: of the difference, the root of the sum of the squared standard errors (the two
    samples are taken as independent, which is cautious where both models answered the same questions).
    """

    name: str
    first: Score
    last: Score
    value: float
    error: float | None

    @property
    def verdict(self) -> str:
        """ "better", "worse", "within noise", or "no error known"."""
        if self.error is None or not math.isfinite(self.value):
            return "no error known"
        if abs(self.value) < NOISE * self.error or self.value == 0:
            return "within noise"
        rises = self.value > 0
        return "better" if rises == (self.first.higher_is_better is not False) else "worse"


def differences(scores: Scores) -> list[Difference]:
    """Of every measure that both the first and the last of `scores.models` have."""
    if len(scores.models) < 2:
        return []
    first, last = (
        {measure(score): score for score in scores.scores if score.model == model}
        for model in (scores.models[0], scores.models[-1])
    )
    return [_difference(name, first[name], last[name]) for name in first if name in last]


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


def _difference(name: str, first: Score, last: Score) -> Difference:
    known = first.stderr is not None and last.stderr is not None
    error = math.hypot(first.stderr or 0, last.stderr or 0) if known else None
    return Difference(name, first, last, last.value - first.value, error)
