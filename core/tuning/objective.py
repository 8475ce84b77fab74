"""What a sweep looks for: a score made of lm-eval's metrics, and which way is better."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import RecipeError
from core.evaluation.options import Evaluate
from core.evaluation.task_definitions import setting
from core.evaluation.task_files import TaskFile

VALIDATION_LOSS = "validation_loss"
LOWER_IS_BETTER = {"perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte", "brier_score", "ter", "wer"}
BY_OUTPUT = {  # lm-eval's own metrics where a task names none
    "multiple_choice": ["acc", "acc_norm"],
    "generate_until": ["exact_match"],
    "loglikelihood": ["perplexity", "acc"],
    "loglikelihood_rolling": ["word_perplexity", "byte_perplexity", "bits_per_byte"],
}
Metrics = dict[str, bool]  # of a task, in its order: whether higher is better


@dataclass(frozen=True)
class Score:
    """value: of the objective; stderr: its standard error where every part has one."""

    value: float
    stderr: float | None


@dataclass(frozen=True)
class Objective:
    """parts: (task, metric) with its weight, which add up to 1; empty for the validation loss."""

    parts: dict[tuple[str, str], float]
    higher_is_better: bool

    @property
    def tasks(self) -> list[str]:
        """The tasks that must be scored for it."""
        return list(dict.fromkeys(task for task, _ in self.parts))

    def score(self, rows: Sequence[Mapping[str, Any]]) -> Score:
        """Of rows as the evaluation writes them; of several filters of a metric the last counts."""
        found = {(row["task"], row["metric"]): row for row in rows}
        value = sum(weight * found[part]["value"] for part, weight in self.parts.items())
        errors = [(weight, found[part]["stderr"]) for part, weight in self.parts.items()]
        known = all(error is not None for _, error in errors)
        return Score(value, math.hypot(*(weight * error for weight, error in errors)) if known else None)

    def better(self, one: float, other: float) -> bool:
        """Whether the one is better than the other."""
        return one > other if self.higher_is_better else one < other


def make_objective(
    wanted: str | Mapping[str, float], evaluate: Evaluate | None, tasks: Mapping[str, Sequence[TaskFile]]
) -> Objective:
    """The objective of a recipe. tasks: what each name in evaluate.tasks stands for, a group for several.

    Raises RecipeError for a task or metric that the evaluation does not give, with the nearest, for weights that are
    not positive, and for metrics of which some are better high and others low.
    """
    if wanted == VALIDATION_LOSS:
        return Objective({}, higher_is_better=False)
    if evaluate is None:
        raise RecipeError("sweep.objective: evaluate.tasks says what is scored, and is not there")
    known = {file.name: metrics_of(file) for files in tasks.values() for file in files}
    members = {name: [file.name for file in files] for name, files in tasks.items()} | {name: [name] for name in known}
    parts: dict[tuple[str, str], float] = {}
    weights = {wanted: 1.0} if isinstance(wanted, str) else dict(wanted)
    for name, weight in weights.items():
        if not weight > 0:
            raise RecipeError(f"sweep.objective.{name}: found {weight}, expected a weight of more than 0")
        chosen = _parts(name, members, known)
        parts |= {part: weight / sum(weights.values()) / len(chosen) for part in chosen}
    directions = {known[task][metric] for task, metric in parts}
    if len(directions) != 1:
        raise RecipeError(f"sweep.objective: of {', '.join(weights)} some are better high and others low")
    return Objective(parts, directions.pop())


def metrics_of(task: TaskFile) -> Metrics:
    """The metrics that a task gives, as its YAML files say."""
    declared = setting(task.path, "metric_list")
    if declared is None:
        output = setting(task.path, "output_type") or "generate_until"
        return {name: name not in LOWER_IS_BETTER for name in BY_OUTPUT[output]}
    names = {str(getattr(each["metric"], "value", each["metric"])): each for each in declared}
    return {name: bool(each.get("higher_is_better", name not in LOWER_IS_BETTER)) for name, each in names.items()}


def _parts(name: str, members: Mapping[str, Sequence[str]], known: Mapping[str, Metrics]) -> list[tuple[str, str]]:
    if name in members:
        return [(task, next(iter(known[task]))) for task in members[name]]
    task, _, metric = name.rpartition(".")
    if task in members and all(metric in known[member] for member in members[task]):
        return [(member, metric) for member in members[task]]
    if task in members:
        metrics = next(known[member] for member in members[task] if metric not in known[member])
        raise RecipeError(f"sweep.objective: {task} gives no metric '{metric}', but {', '.join(metrics)}")
    every = [*members, *(f"{task}.{metric}" for task, of in known.items() for metric in of), VALIDATION_LOSS]
    nearest = difflib.get_close_matches(name, every, n=1)
    hint = f"; did you mean '{nearest[0]}'?" if nearest else f"; there are {', '.join(members)} and {VALIDATION_LOSS}"
    raise RecipeError(f"sweep.objective: no task of evaluate.tasks gives '{name}'{hint}")
