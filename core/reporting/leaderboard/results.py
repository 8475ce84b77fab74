"""Scores that were measured, not listed: lm-eval's result files, and the evaluations of our own runs."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import Field

from core.errors import DataError
from core.reporting.leaderboard.entries import Benchmark, Entry, Parameters, Source
from core.reporting.leaderboard.parameters import named_size
from core.reporting.run_files import Scores
from core.reporting.written_files import Written, read_optional, shaped

# Task, examples and metric by which the Open LLM Leaderboard measures, and its name for them: only these are the same
# benchmark as in a snapshot.
LISTED_AS = {
    ("arc_challenge", 25, "acc_norm"): "ARC",
    ("hellaswag", 10, "acc_norm"): "HellaSwag",
    ("mmlu", 5, "acc"): "MMLU",
    ("truthfulqa_mc2", 0, "acc"): "TruthfulQA",
    ("winogrande", 5, "acc"): "WinoGrande",
    ("gsm8k", 5, "exact_match"): "GSM8K",
}
# Of a task's metrics the first that it has.
METRICS = ("acc_norm", "acc", "exact_match", "pass@1", "pass_at_1", "mc2", "f1", "mcc", "em", "bleu", "rougeL")
FILTERS = ("strict-match", "none")
_DATE = re.compile(r"results_(\d{4}-\d{2}-\d{2})")


class LmEvalConfig(Written):
    model_num_parameters: int | None = None
    model_args: str | dict[str, Any] | None = None


class LmEvalResults(Written):
    """results_*.json of lm-eval 0.4"""

    results: dict[str, dict[str, Any]]
    group_subtasks: dict[str, list[str]] = Field(default_factory=dict)
    shots: dict[str, int | None] = Field(default_factory=dict, alias="n-shot")
    higher_is_better: dict[str, dict[str, bool | None]] = Field(default_factory=dict)
    config: LmEvalConfig = LmEvalConfig()
    model_name: str | None = None
    date: float | None = None


class _Manifest(Written):
    finished: str
    recipe: dict[str, Any] = Field(default_factory=dict)


class _Trained(Written):
    parameters: int


class _Dirty(Written):
    task: str
    items: int
    dirty: int


class _Contamination(Written):
    tasks: list[_Dirty]


@dataclass(frozen=True)
class _Measured:
    """A model's value on a task by a metric, from 0 to 1."""

    task: str
    metric: str
    filter: str
    value: float
    shots: int | None
    higher_is_better: bool


def read_lm_eval(path: Path, content: Any) -> Source:
    """A model's results: of each task, and of a group in place of its tasks, the one metric that stands for it.

    Raises DataError naming file and key for what does not fit.
    """
    found = shaped(content, LmEvalResults, str(path))
    by_task = {task: _measures(found, task) for task in found.results}
    inside = {task for group, tasks in found.group_subtasks.items() if by_task.get(group) for task in tasks}
    measured = [each for task, of in by_task.items() if task not in inside for each in of]
    model = found.model_name or _pretrained(found.config.model_args)
    if not model:
        raise DataError(f"{path}: model_name: no such key; expected the name of the model")
    scores, notes = _scores(str(path), model, measured)
    size = found.config.model_num_parameters
    entry = Entry(_lm_eval_date(path, found), model, scores, f"{path}:1", listed=False, parameters=_known(model, size))
    return Source("lm-eval", path, [entry], notes=notes)


def read_run(path: Path, content: Any) -> Source:
    """evaluate/scores.json of a run: its models as RUN/MODEL, with what the run's other files tell of them.

    The date is that of the stage's manifest beside it, else the file's own. Raises DataError naming file and key.
    """
    found = shaped(content, Scores, str(path))
    run_dir = path.absolute().parent.parent
    manifest = read_optional(path.parent / "manifest.json", _Manifest)
    modified = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC).isoformat()
    date = _iso_date(path.parent / "manifest.json", manifest.finished if manifest else modified)
    few_shot = manifest.recipe.get("few_shot") if manifest else None
    contamination = read_optional(run_dir / "contamination" / "contamination.json", _Contamination)
    dirty = {each.task: each for each in contamination.tasks if each.dirty} if contamination else {}
    entries, notes = [], []
    for model in found.models:
        rows = [score for score in found.scores if score.model == model]
        shots = {row.task: few_shot if few_shot is not None else _task_shots(path.parent, row.task) for row in rows}
        measured = [
            _Measured(row.task, row.metric, row.filter, row.value, shots[row.task], row.higher_is_better is not False)
            for row in rows
        ]
        name = f"{run_dir.name}/{model}"
        scores, odd = _scores(str(path), name, measured)
        trained = read_optional(run_dir / "train" / model / "summary.json", _Trained)
        flags = [f"trained on {row.task}'s own training data" for row in rows if row.trained_on]
        flags += [
            f"{dirty[task].dirty} of {dirty[task].items} items of {task} seen in training"
            for task in dict.fromkeys(row.task for row in rows)
            if task in dirty
        ]
        size = _known(name, trained.parameters if trained else None)
        told = tuple(dict.fromkeys(flags))
        entries.append(Entry(date, name, scores, f"{path}:1", listed=False, parameters=size, flags=told))
        notes += odd
    return Source("run", path, entries, notes=notes)


def _scores(place: str, model: str, measured: Sequence[_Measured]) -> tuple[dict[Benchmark, Decimal], list[str]]:
    """Percents by benchmark, and what is left out."""
    scores, notes = {}, []
    for task in dict.fromkeys(each.task for each in measured):
        of = [each for each in measured if each.task == task]
        chosen = _chosen(each for each in of if each.higher_is_better and 0 <= each.value <= 1)
        if chosen is None:
            names = ", ".join(dict.fromkeys(each.metric for each in of))
            notes.append(
                f"{place}: {model}'s {task} is left out: {names} is no share from 0 to 1 of which more is better"
            )
            continue
        name = LISTED_AS.get((task, chosen.shots if chosen.shots is not None else -1, chosen.metric), task)
        scores[Benchmark(name, chosen.shots)] = Decimal(repr(float(chosen.value))) * 100
    return scores, notes


def _chosen(measured: Iterable[_Measured]) -> _Measured | None:
    def order(each: _Measured) -> tuple[bool, int, int]:
        listed = (each.task, each.shots if each.shots is not None else -1, each.metric) in LISTED_AS
        return not listed, _place(METRICS, each.metric), _place(FILTERS, each.filter)

    return min(measured, key=order, default=None)


def _place(names: Sequence[str], name: str) -> int:
    return names.index(name) if name in names else len(names)


def _measures(found: LmEvalResults, task: str) -> list[_Measured]:
    shots = found.shots.get(task, _common_shots(found, task))
    better = found.higher_is_better.get(task, {})
    measures = []
    for key, value in found.results[task].items():
        metric, comma, filter_name = key.partition(",")
        if comma and not metric.endswith("_stderr") and isinstance(value, int | float):
            measures.append(_Measured(task, metric, filter_name, value, shots, better.get(metric) is not False))
    return measures


def _common_shots(found: LmEvalResults, group: str) -> int | None:
    """The examples that all tasks of a group have; None where they differ."""
    inside = found.group_subtasks.get(group, [])
    shots = {found.shots.get(task, _common_shots(found, task)) for task in inside}
    return shots.pop() if len(shots) == 1 else None


def _lm_eval_date(path: Path, found: LmEvalResults) -> datetime.date:
    if told := _DATE.search(path.name):
        return _iso_date(path, told[1])
    if found.date is None:
        raise DataError(
            f"{path}: date: no such key, and no date in the file's name; expected results_2024-01-31T….json"
        )
    try:
        return datetime.datetime.fromtimestamp(found.date, datetime.UTC).date()
    except (ValueError, OverflowError, OSError) as error:
        raise DataError(f"{path}: date: {found.date:g} is no time in seconds ({error})") from error


def _iso_date(path: Path, text: str) -> datetime.date:
    try:
        return datetime.datetime.fromisoformat(text).date()
    except ValueError as error:
        raise DataError(f"{path}:1: the date {text} does not exist ({error})") from error


def _pretrained(arguments: str | Mapping[str, Any] | None) -> str | None:
    """The model in lm-eval's `pretrained=NAME,dtype=…`."""
    if isinstance(arguments, str):
        arguments = dict(part.partition("=")[::2] for part in arguments.split(","))
    name = (arguments or {}).get("pretrained")
    return name if isinstance(name, str) else None


def _known(model: str, given: int | None) -> Parameters:
    if given:
        return Parameters(given, "file")
    named = named_size(model)
    return Parameters(named, "name") if named else Parameters()


def _task_shots(evaluation: Path, task: str) -> int | None:
    """What the task's definition, kept with the scores, says."""
    path = evaluation / "tasks" / f"{task}.yaml"
    if not path.exists():
        return None
    found = re.search(r"^num_fewshot:\s*(\d+)\s*$", path.read_text("utf-8"), re.M)
    return int(found[1]) if found else None
