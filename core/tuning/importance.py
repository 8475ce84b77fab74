"""How much of the difference between trials each parameter explains."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

FEWEST = 4  # trials: with fewer nothing is explained
TREES = 200


def parameter_importance(points: Sequence[Mapping[str, Any]], scores: Sequence[float]) -> dict[str, float]:
    """The share of each key in what a random forest explains of the scores, adding up to 1; the largest first.

    points: the values of each trial; scores: float[trials]. Mean decrease of impurity (Breiman et al. 1984), each
    split at the best of all keys, as Optuna's MeanDecreaseImpurityImportanceEvaluator does. Values that are no numbers
    are told apart only. Empty with fewer than four trials, or where all scores are the same.
    """
    if len(points) < FEWEST or len(set(scores)) < 2:
        return {}
    from sklearn.ensemble import RandomForestRegressor

    columns: list[tuple[str, list[float]]] = []
    for key in points[0]:
        values = [point[key] for point in points]
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            logarithmic = min(values) > 0 and max(values) >= 10 * min(values)
            columns.append((key, [math.log(value) if logarithmic else float(value) for value in values]))
        else:
            kinds = [orjson.dumps(value, option=orjson.OPT_SORT_KEYS) for value in values]
            columns += [(key, [float(kind == each) for kind in kinds]) for each in sorted(set(kinds))]
    forest = RandomForestRegressor(TREES, random_state=0, n_jobs=1)
    forest.fit(np.array([column for _, column in columns]).T, np.array(scores, float))
    found = dict.fromkeys(points[0], 0.0)
    for (key, _), share in zip(columns, forest.feature_importances_, strict=True):
        found[key] += float(share)
    return dict(sorted(found.items(), key=lambda item: -item[1]))
