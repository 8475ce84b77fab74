from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from core.errors import DataError
from core.evaluation.paired import compare_samples
from core.evaluation.score_intervals import with_intervals, with_ties
from core.evaluation.statistics import clustered_stderr, wilson_interval


def samples(path: Path, scores: list[float], metric: str = "acc") -> Path:
    """Samples as lm-eval writes them; four questions share a passage."""
    lines = [
        {"doc_id": n, "doc": {"passage": f"p{n // 4}"}, "filter": "none", "metrics": [metric], metric: score}
        for n, score in enumerate(scores)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def row(value: float, metric: str = "acc", stderr: float | None = 0.1) -> dict:
    return {"metric": metric, "filter": "none", "value": value, "stderr": stderr}


def test_accuracies_have_wilsons_interval_and_other_means_one_by_their_error(tmp_path: Path) -> None:
    right = samples(tmp_path / "a.jsonl", [1, 0, 1, 1, 0, 0, 1, 1])
    [found] = with_intervals([row(5 / 8)], right, None)
    assert (found["low"], found["high"]) == wilson_interval(5, 8)
    numbers = samples(tmp_path / "b.jsonl", [0.5, 0.25], "f1")
    [found] = with_intervals([row(0.375, "f1", 0.125)], numbers, None)
    assert (found["low"], found["high"]) == pytest.approx((0.375 - 1.96 * 0.125, 0.375 + 1.96 * 0.125), abs=1e-4)
    [found] = with_intervals([row(0.9, "corpus_bleu", None)], numbers, None)
    assert (found["low"], found["high"]) == (None, None)  # no mean over questions


def test_questions_on_a_passage_count_as_clusters(tmp_path: Path) -> None:
    scores = [1.0] * 4 + [0.0] * 4 + [1.0] * 4
    path = samples(tmp_path / "boolq.jsonl", scores)
    [found] = with_intervals([row(8 / 12)], path, "passage")
    error = clustered_stderr(scores, np.repeat(range(3), 4).tolist())
    assert (found["clusters"], found["clustered_stderr"]) == (3, error)
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * error, abs=1e-4)
    [compared] = compare_samples(path, samples(tmp_path / "other.jsonl", [0.0] * 12), 0, "passage")
    assert compared["stderr"] == pytest.approx(error)
    with pytest.raises(DataError, match=r"evaluate\.clusters\.boolq: its documents have no 'story', but passage"):
        with_intervals([row(8 / 12)], path, "story")


def test_what_is_significant_alone_may_be_a_tie_among_many() -> None:
    alone = with_ties([{"p_value": 0.03}])
    assert (alone[0]["p_adjusted"], alone[0]["tie"]) == (0.03, False)
    many = with_ties([{"p_value": 0.03}, {"p_value": 0.001}, {"p_value": 0.6}, {"p_value": None}])
    assert [each["tie"] for each in many] == [True, False, True, True]
    assert many[0]["p_adjusted"] == pytest.approx(0.06)
    assert many[3]["p_adjusted"] is None
