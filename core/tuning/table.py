"""The table of a sweep: a row for each trial, which one is best, and which are not told from it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from core.artifacts.atomic import write_bytes
from core.evaluation.paired import compare_samples
from core.tuning.objective import Objective
from core.tuning.trials import Trial

SAMPLES = "samples"  # of a trial: the questions and answers of its last score, by task
NOISE = 1.96  # standard errors: a smaller difference from the best counts as none (95 %)
TIMES = ("seconds", "device_hours")  # columns that depend on the machine


def sweep_rows(trials: Sequence[Trial], objective: Objective, seed: int) -> list[dict[str, Any]]:
    """A row for each trial, by number.

    best: the best score of those that went to their end, of equal ones the first; tie: whether another of them is not
    told from it, by the error of the difference on the same questions; pareto: whether none is better in score and
    device-hours both.
    """
    ended = [trial for trial in trials if trial.status == "finished" and trial.score is not None]
    best = best_trial(ended, objective)
    return [
        {
            "trial": trial.number,
            "status": trial.status,
            "values": trial.last.values if trial.last else trial.values,
            "score": trial.score,
            "stderr": trial.last.stderr if trial.last else None,
            "validation_loss": trial.last.validation_loss if trial.last else None,
            "share": trial.last.budget / trial.last.whole if trial.last else 0.0,
            "steps": trial.last.step if trial.last else 0,
            "tokens": trial.last.tokens if trial.last else 0,
            "seconds": trial.last.seconds if trial.last else 0.0,
            "device_hours": trial.last.device_hours if trial.last else 0.0,
            "best": trial is best,
            "tie": trial in ended and trial is not best and best is not None and _is_tie(trial, best, objective, seed),
            "pareto": trial in ended and not any(_dominates(other, trial, objective) for other in ended),
            "error": trial.error,
        }
        for trial in trials
    ]


def best_trial(trials: Sequence[Trial], objective: Objective) -> Trial | None:
    """The one with the best score of those that have one, of equal ones the first; None where none has."""
    scored = [trial for trial in trials if trial.score is not None and math.isfinite(trial.score)]
    sign = 1 if objective.higher_is_better else -1
    return max(scored, key=lambda trial: (sign * (trial.score or 0.0), -trial.number), default=None)


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """A line for each trial, with a column for each key of the space; what is no number or text is JSON."""
    keys = list(rows[0]["values"]) if rows else []
    sink = io.StringIO()
    fields = [name for name in rows[0] if name != "values"] if rows else []
    columns = [*fields[:2], *keys, *fields[2:]]
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        flat = {**{name: row[name] for name in fields}, **row["values"]}
        writer.writerow([_cell(flat[column]) for column in columns])
    write_bytes(path, sink.getvalue().encode())


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return orjson.dumps(value).decode()
    return value


def _is_tie(trial: Trial, best: Trial, objective: Objective, seed: int) -> bool:
    """Whether the two are not told apart."""
    difference, squares = 0.0, 0.0
    if not objective.parts:  # a loss without an error
        return trial.score == best.score
    for (task, metric), weight in objective.parts.items():
        first, second = (each.directory / SAMPLES / f"{task}.jsonl" for each in (best, trial))
        found = {row["metric"]: row for row in compare_samples(first, second, seed)}.get(metric)
        if found is None or found["stderr"] is None:
            return False
        difference += weight * found["difference"]
        squares += (weight * found["stderr"]) ** 2
    return abs(difference) <= NOISE * math.sqrt(squares)


def _dominates(one: Trial, other: Trial, objective: Objective) -> bool:
    assert one.last is not None and other.last is not None
    assert one.last.score is not None and other.last.score is not None
    cost, other_cost = one.last.device_hours, other.last.device_hours
    if one.last.score == other.last.score:
        return cost < other_cost
    return objective.better(one.last.score, other.last.score) and cost <= other_cost
