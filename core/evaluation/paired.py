"""The difference between two models that answered the same questions, with its confidence interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from core.artifacts.seeds import generator

RESAMPLES = 10_000
CHUNK = 1 << 24  # drawn places held at once
LEVEL = 0.95


@dataclass(frozen=True)
class PairedDifference:
    """second - first, over the questions that both answered."""

    difference: float
    stderr: float | None  # of the mean of the differences; None with fewer than two questions
    low: float | None  # 95 % interval, percentile bootstrap over questions
    high: float | None
    samples: int


def paired_difference(first: NDArray[np.float64], second: NDArray[np.float64], seed: int) -> PairedDifference:
    """Of the mean scores of two models; float64[questions] each, in the same order.

    What is hard for both cancels out, so that the interval is narrower than from the two errors alone. Percentile
    bootstrap of the mean difference (Efron & Tibshirani 1993, chapter 13), 10,000 resamples. Raises ValueError where
    the two have different numbers of questions.
    """
    if len(first) != len(second):
        raise ValueError(f"found {len(first)} and {len(second)} questions; a paired difference needs the same ones")
    gained = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    count = len(gained)
    mean = float(gained.mean()) if count else math.nan
    if count < 2:
        return PairedDifference(mean, None, None, None, count)
    means = _resampled_means(gained, generator(seed, "paired bootstrap"))
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    error = float(gained.std(ddof=1) / math.sqrt(count))
    return PairedDifference(mean, error, float(low), float(high), count)


def _resampled_means(values: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """The mean of each resample; by counts of the distinct values, of which accuracies have three."""
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) <= 64:
        drawn = rng.multinomial(len(values), counts / len(values), size=RESAMPLES)
        return np.asarray(drawn @ distinct / len(values))
    rows = max(1, CHUNK // len(values))
    return np.concatenate(
        [
            values[rng.integers(0, len(values), (min(rows, RESAMPLES - begin), len(values)))].mean(axis=1)
            for begin in range(0, RESAMPLES, rows)
        ]
    )


def compare_samples(first: Path, second: Path, seed: int) -> list[dict[str, Any]]:
    """Paired differences of two models' lm-eval samples of a task (JSON lines), a row for each metric and filter.

    Only metrics that are a number for each question; questions are matched by `doc_id`.
    """
    found = [_values(path) for path in (first, second)]
    rows = []
    for key in [key for key in found[0] if key in found[1]]:
        one, other = found[0][key], found[1][key]
        both = sorted(one.keys() & other.keys())
        first_scores, second_scores = (np.array([of[question] for question in both], float) for of in (one, other))
        found_difference = paired_difference(first_scores, second_scores, seed)
        rows.append({"metric": key[0], "filter": key[1], **asdict(found_difference)})
    return rows


def _values(path: Path) -> dict[tuple[str, str], dict[int, float]]:
    """Each metric and filter's score of each question."""
    found: dict[tuple[str, str], dict[int, float]] = {}
    with path.open("rb") as lines:
        for sample in map(orjson.loads, lines):
            for metric, value in _numbers(sample, sample.get("metrics", ())):
                found.setdefault((metric, sample.get("filter", "none")), {})[sample["doc_id"]] = value
    return found


def _numbers(sample: Mapping[str, Any], metrics: Iterable[str]) -> Iterable[tuple[str, float]]:
    for metric in metrics:
        value = sample.get(metric)
        if isinstance(value, int | float) and math.isfinite(value):
            yield metric, float(value)
