"""The difference between two models that answered the same questions, with its confidence interval."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import ArrayLike, NDArray

from core.artifacts.seeds import generator
from core.errors import DataError
from core.evaluation.statistics import cluster_sums, clustered_stderr, mcnemar

RESAMPLES = 10_000
CHUNK = 1 << 24  # drawn places held at once
LEVEL = 0.95


@dataclass(frozen=True)
class PairedDifference:
    """second - first, over the questions that both answered."""

    difference: float
    stderr: float | None  # of the mean of the differences; None with fewer than two questions
    low: float | None  # 95 % interval, percentile bootstrap over questions, or over their clusters
    high: float | None
    samples: int
    p_value: float | None  # of no difference: McNemar's where questions are right or wrong, else by the error


def paired_difference(
    first: NDArray[np.float64], second: NDArray[np.float64], seed: int, clusters: Sequence[Hashable] | None = None
) -> PairedDifference:
    """Of the mean scores of two models; float64[questions] each, in the same order.

    What is hard for both cancels out, so that the interval is narrower than from the two errors alone. Percentile
    bootstrap of the mean difference (Efron & Tibshirani 1993, chapter 13), 10,000 resamples. clusters: of each
    question the passage, or whatever it shares with others: these are drawn whole then. Raises ValueError where the
    two have different numbers of questions.
    """
    if len(first) != len(second):
        raise ValueError(f"found {len(first)} and {len(second)} questions; a paired difference needs the same ones")
    gained = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    count = len(gained)
    mean = float(gained.mean()) if count else math.nan
    drawn = gained
    if clusters is not None and len(set(clusters)) < count:
        sums, _ = cluster_sums(gained, clusters)
        drawn = mean + sums * len(sums) / count  # whose mean over clusters is the mean over questions
        error = clustered_stderr(gained, clusters)
    else:
        clusters = None
        error = float(gained.std(ddof=1) / math.sqrt(count)) if count > 1 else math.nan
    if len(drawn) < 2:
        return PairedDifference(mean, None, None, None, count, None)
    means = _resampled_means(drawn, generator(seed, "paired bootstrap"))
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    counted = clusters is None and is_right_or_wrong(first) and is_right_or_wrong(second)
    p_value = mcnemar(first, second) if counted else _two_sided(mean, error)
    return PairedDifference(mean, error, float(low), float(high), count, p_value)


def _two_sided(mean: float, error: float) -> float:
    """The p-value of a mean being 0, by the normal distribution."""
    return math.erfc(abs(mean) / error / math.sqrt(2)) if error else float(mean == 0)


def is_right_or_wrong(values: ArrayLike) -> bool:
    """Whether every value is 0 or 1."""
    return bool(np.isin(np.asarray(values), (0, 1)).all())


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


def compare_samples(first: Path, second: Path, seed: int, cluster_by: str | None = None) -> list[dict[str, Any]]:
    """Paired differences of two models' lm-eval samples of a task (JSON lines), a row for each metric and filter.

    Only metrics that are a number for each question; questions are matched by `doc_id`. cluster_by: the field of a
    document that questions with a common passage share.
    """
    found = [question_scores(path) for path in (first, second)]
    clusters = question_clusters(first, cluster_by) if cluster_by else None
    rows = []
    for key in [key for key in found[0] if key in found[1]]:
        one, other = found[0][key], found[1][key]
        both = sorted(one.keys() & other.keys())
        first_scores, second_scores = (np.array([of[question] for question in both], float) for of in (one, other))
        shared = [clusters[question] for question in both] if clusters else None
        found_difference = paired_difference(first_scores, second_scores, seed, shared)
        rows.append({"metric": key[0], "filter": key[1], **asdict(found_difference)})
    return rows


def question_clusters(path: Path, field: str) -> dict[int, Hashable]:
    """What each question of lm-eval's samples shares with others. Raises DataError where there is no such field."""
    found: dict[int, Hashable] = {}
    with path.open("rb") as lines:
        for sample in map(orjson.loads, lines):
            if field not in sample["doc"]:
                known = ", ".join(sample["doc"])
                raise DataError(f"evaluate.clusters.{path.stem}: its documents have no '{field}', but {known}")
            found[sample["doc_id"]] = str(sample["doc"][field])
    return found


def question_scores(path: Path) -> dict[tuple[str, str], dict[int, float]]:
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
