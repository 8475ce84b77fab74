"""How sure a score and a difference are: intervals, tests, and many of them at once."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Z = 1.959963984540054  # of a 95 % interval


def wilson_interval(right: int, questions: int) -> tuple[float, float]:
    """The 95 % score interval of an accuracy (Wilson 1927).

    Raises ValueError unless 0 <= right <= questions and there is a question.
    """
    if not 0 <= right <= questions or not questions:
        raise ValueError(f"{right} right answers of {questions} questions have no interval")
    rate, share = right / questions, Z**2 / questions
    middle = (rate + share / 2) / (1 + share)
    half = Z * math.sqrt(rate * (1 - rate) / questions + share / (4 * questions)) / (1 + share)
    return (0.0 if right == 0 else middle - half), (1.0 if right == questions else middle + half)


def clustered_stderr(values: ArrayLike, clusters: Sequence[Hashable]) -> float:
    """The standard error of a mean whose values come in clusters, e.g. questions on one passage.

    values: float[questions]. Liang & Zeger 1986 as in Miller 2024, https://arxiv.org/abs/2411.00640, section 2.2, with
    the factor G / (G - 1) for G clusters: with each value in a cluster of its own it is the usual error. NaN with less
    than two clusters.
    """
    sums, count = cluster_sums(values, clusters)
    groups = len(sums)
    if groups < 2:
        return math.nan
    return float(math.sqrt(groups / (groups - 1) * np.square(sums).sum()) / count)


def cluster_sums(values: ArrayLike, clusters: Sequence[Hashable]) -> tuple[NDArray[np.float64], int]:
    """Of each cluster, in the order of their first values, the sum of what its values are above the mean; and how many
    values there are."""
    found = np.asarray(values, np.float64)
    numbers: dict[Hashable, int] = {}
    places = [numbers.setdefault(cluster, len(numbers)) for cluster in clusters]
    if len(places) != len(found):
        raise ValueError(f"found {len(found)} values and {len(places)} clusters, expected one each")
    sums: NDArray[np.float64] = np.bincount(places, found - found.mean(), minlength=len(numbers)).astype(np.float64)
    return sums, len(found)


def mcnemar(first: ArrayLike, second: ArrayLike) -> float:
    """The two-sided p-value of two models' right and wrong answers to the same questions being equally often right.

    bool[questions] each. Exact, by the binomial distribution of the questions that one alone has right (McNemar 1947).
    """
    one, other = np.asarray(first, bool), np.asarray(second, bool)
    lost, won = int((one & ~other).sum()), int((other & ~one).sum())
    return _sign_test(lost, won)


def _sign_test(lost: int, won: int) -> float:
    from scipy.stats import binomtest

    return float(binomtest(won, lost + won).pvalue) if lost + won else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values of many tests, so adjusted that any being below .05 by chance has a probability of .05 (Holm 1979)."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted
