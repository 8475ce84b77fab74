"""The 95 % interval of a score, from the questions that it is the mean of."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.evaluation.paired import is_right_or_wrong, question_clusters, question_scores
from core.evaluation.statistics import Z, clustered_stderr, holm, wilson_interval

TIE = 0.05  # adjusted p-value from which on two models count as equal
PASSAGES = {  # of lm-eval's tasks: what their questions share
    "boolq": "passage",
    "drop": "passage",
    "multirc": "paragraph",
    "race": "article",
    "record": "passage",
    "squadv2": "context",
}


def passage_of(clusters: Mapping[str, str], task: str) -> str | None:
    """The field of a task's documents that questions on a common passage share; None where they share nothing.

    clusters: what a recipe says of it, by task.
    """
    return clusters.get(task, PASSAGES.get(re.sub(r"_\d+shot$", "", task)))


def with_intervals(rows: Iterable[dict[str, Any]], samples: Path, cluster_by: str | None) -> list[dict[str, Any]]:
    """Adds low and high to the rows of a model and task, and clusters and clustered_stderr where questions share one.

    samples: lm-eval's, as JSON lines. Wilson's interval where every question is right or wrong, else value ± 1.96
    errors; clustered errors where questions share a cluster. None where a score is no mean over its questions.
    """
    scores = question_scores(samples)
    clusters = question_clusters(samples, cluster_by) if cluster_by else None
    found = []
    for row in rows:
        of = scores.get((row["metric"], row["filter"]), {})
        values = np.array(list(of.values()))
        low, high, more = None, None, {}
        if len(values) and math.isclose(float(values.mean()), row["value"], abs_tol=1e-9):
            shared = [clusters[question] for question in of] if clusters else []
            error = row["stderr"]
            if shared and len(set(shared)) < len(shared):
                error = clustered_stderr(values, shared)
                more = {"clusters": len(set(shared)), "clustered_stderr": error}
            low, high = mean_interval(values, row["value"], error, independent=not more)
        found.append({**row, "low": low, "high": high, **more})
    return found


def mean_interval(
    values: NDArray[np.float64], mean: float, error: float | None, independent: bool = True
) -> tuple[float | None, float | None]:
    """The 95 % interval of a mean over questions: Wilson's where each is right or wrong, else mean ± 1.96 errors.

    independent: whether no two questions share a cluster. None twice where neither can be had.
    """
    if independent and is_right_or_wrong(values):
        return wilson_interval(int(values.sum()), len(values))
    if error is not None and math.isfinite(error):
        return mean - Z * error, mean + Z * error
    return None, None


def with_ties(differences: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Adds p_adjusted, by Holm over all of them, and tie: whether a difference is not told from none."""
    known = [number for number, row in enumerate(differences) if row["p_value"] is not None]
    adjusted = dict(zip(known, holm([differences[number]["p_value"] for number in known]), strict=True))
    return [
        {**row, "p_adjusted": adjusted.get(number), "tie": adjusted.get(number, 1.0) >= TIE}
        for number, row in enumerate(differences)
    ]
