"""How benchmarks go together, and with a model's size, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from core.reporting.leaderboard.board import Ranked, distinct
from core.reporting.leaderboard.entries import Benchmark

LEADERS = 40  # the leading models, as in the report's own radar chart
FEWEST = 8  # models: of fewer nothing is told
Z = 1.959964  # of a 95 % interval
RESAMPLES, SEED = 2000, 0
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation with its 95 % interval, over `models` models; nan where there are too few."""

    value: float
    low: float
    high: float
    models: int

    @property
    def falls(self) -> bool:
        """Whether the two move against each other: the whole interval is below 0."""
        return self.high < 0


@dataclass(frozen=True)
class Pair:
    """Two benchmarks among the leading models, among those that lead on the other benchmarks, and among all.

    Leaders by the average are chosen by the two scores themselves, which by itself makes one fall where the other
    rises (collider bias): a model that is low on both does not lead. A choice by the other benchmarks does not.
    """

    first: Benchmark
    second: Benchmark
    leaders: Correlation
    by_others: Correlation
    all: Correlation


def correlation(first: Numbers, second: Numbers) -> Correlation:
    """Spearman's ρ of two columns; its interval by Fisher's z, with the error of Bonett and Wright (2000)."""
    if len(first) < FEWEST or np.ptp(first) == 0 or np.ptp(second) == 0:
        return Correlation(np.nan, np.nan, np.nan, len(first))
    value = float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])
    if abs(value) > 1 - 1e-12:
        return Correlation(value, value, value, len(first))
    half = Z * np.sqrt((1 + value**2 / 2) / (len(first) - 3))
    low, high = np.tanh(np.arctanh(value) + np.array([-half, half]))
    return Correlation(value, float(low), float(high), len(first))


def pairs(of: Sequence[Ranked], benchmarks: Sequence[Benchmark]) -> list[Pair]:
    """Every two benchmarks, most opposed among the leaders first; models with the same scores count once."""
    models = distinct(of)
    scores = {name: np.array([float(each.entry.scores[name]) for each in models]) for name in benchmarks}
    found = []
    for one, other in combinations(benchmarks, 2):
        rest = [scores[name] for name in benchmarks if name not in (one, other)]
        order = np.argsort(-np.mean(rest, axis=0), kind="stable") if rest else np.arange(0)
        among = [
            correlation(scores[one][chosen], scores[other][chosen])
            for chosen in (np.arange(len(models))[:LEADERS], order[:LEADERS], np.arange(len(models)))
        ]
        found.append(Pair(one, other, *among))
    return sorted(found, key=lambda pair: (np.isnan(pair.leaders.value), pair.leaders.value))


def pareto_front(of: Sequence[Ranked]) -> list[Ranked]:
    """Models of known size, and not flagged, that no smaller or equal one beats or equals, by size."""
    front: list[Ranked] = []
    sized = [each for each in of if each.entry.parameters.number and not each.entry.flags]
    for each in sorted(sized, key=lambda each: (each.entry.parameters.number or 0, -each.average)):
        if not front or each.average > front[-1].average:
            front.append(each)
    return front


def spread_out(values: Numbers, reference: Numbers, low: float = 1, high: float = 5) -> Numbers:
    """Columns scaled so that the reference's lowest becomes `low` and its highest `high`; all equal: `high`."""
    bottom, top = reference.min(0), reference.max(0)
    width = np.where(top > bottom, top - bottom, 1)
    return np.where(top > bottom, low + (high - low) * (values - bottom) / width, high)


def difference_of_medians(first: Numbers, second: Numbers) -> tuple[float, float, float]:
    """The second's median less the first's, with its 95 % interval by percentile bootstrap."""
    random = np.random.default_rng(SEED)
    medians = [np.median(random.choice(of, (RESAMPLES, len(of))), axis=1) for of in (first, second)]
    low, high = np.quantile(medians[1] - medians[0], [0.025, 0.975])
    return float(np.median(second) - np.median(first)), float(low), float(high)
