"""Win rates of models over many scenarios, and the score of the NeurIPS 2023 LLM Efficiency Challenge made of them.

Two rules for the win rate of a model on a metric, of N models of which it beats b and k, itself among them, are equal:
challenge, (b + 1/k) / N, and helm, (b + (k - 1)/2) / (N - 1) (Liang et al. 2022, https://arxiv.org/abs/2211.09110).
The rest is the challenge's, whatever the rule: a scenario's rate is the mean over its metrics, a stage's score the
geometric mean over its scenarios, the final score a third of the open stage's and two thirds of the closed one's.
Nothing is rounded on the way.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from core.errors import DataError
from core.evaluation.bias import BIAS
from core.evaluation.suites import SUITES, Line

COLUMNS = ("model", "stage", "scenario", "metric", "higher_is_better", "value")
KEYS = ("stage", "scenario", "metric")  # of what models are compared by
OWN_METRICS = {"exact_match": "EM", "rouge2": "ROUGE-2"}  # HELM's names
BIAS_METRICS = {"associations": "Stereotypes", "representation": "Representation"}
STAGES = ("open", "closed")
WEIGHTS = {"open": 1 / 3, "closed": 2 / 3}
MISSING = {True: 0.0, False: 1000.0}  # what stands for an empty value, by higher_is_better
Rule = Literal["challenge", "helm"]
Row = tuple[str, Mapping[Any, Any]]  # where it stands, and its values by column


@dataclass(frozen=True)
class Metric:
    """What models are compared by, and what each has; None where it has nothing."""

    stage: str
    scenario: str
    name: str
    higher_is_better: bool
    values: Mapping[str, float | None]  # by model; a model may be missing


@dataclass(frozen=True)
class Standing:
    """A model's scores, from 0 to 1."""

    model: str
    win_rates: Mapping[str, Mapping[str, float]]  # by stage and scenario
    scores: Mapping[str, float]  # by stage
    final: float | None  # None where a stage is missing


def challenge_win_rates(values: Sequence[float]) -> list[float]:
    """Of values where more is better: (strictly beaten + 1 / so many are equal, itself included) / all."""
    return [(sum(other < value for other in values) + 1 / values.count(value)) / len(values) for value in values]


def helm_win_rates(values: Sequence[float]) -> list[float]:
    """Of two values or more where more is better: (strictly beaten + half of the others that are equal) / others."""
    return [
        (sum(other < value for other in values) + (values.count(value) - 1) / 2) / (len(values) - 1) for value in values
    ]


RULES: dict[Rule, Callable[[Sequence[float]], list[float]]] = {
    "challenge": challenge_win_rates,
    "helm": helm_win_rates,
}


def read_metrics(path: Path) -> list[Metric]:
    """The metrics of a CSV file. Raises as `read_rows` and `metrics_of`."""
    return metrics_of(read_rows(path))


def metrics_of(rows: Iterable[Row]) -> list[Metric]:
    """What models are compared by, from rows of any tables together.

    Raises DataError, with the row's place, for a text where a number, a stage or true or false was expected, two values
    of one model, and a metric that is said to be better both ways.
    """
    found: dict[tuple[str, str, str], Metric] = {}
    for place, row in rows:
        _take(row, found, place)
    return list(found.values())


def run_rows(run: str, suites: Iterable[Mapping[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """The rows of a run's models, which are called RUN:MODEL, from its suites' lines (`suite_scores`).

    Metrics are those that the challenge had of a line, by HELM's names. Beside COLUMNS each row has the fingerprint of
    how it was scored. Raises DataError for a run with no suite of the challenge's.
    """
    found = []
    for score in suites:
        suite = SUITES[score["suite"]]
        if suite.stage is None or score["line"] is None:
            continue
        line = suite.lines[score["line"]]
        metric = _helms_name(score["metric"], line)
        if metric is None:
            continue
        row = {
            "model": f"{run}:{score['model']}",
            "stage": suite.stage,
            "scenario": line.scenario or score["line"],
            "metric": f"{score['line']} {metric}" if line.scenario else metric,
            "higher_is_better": str(score["higher_is_better"]).lower(),
            "value": repr(score["value"]),
            "fingerprint": score.get("fingerprint"),
        }
        found.append((f"{run}: {score['suite']}", row))
    if not found:
        staged = " or ".join(name for name, suite in SUITES.items() if suite.stage is not None)
        raise DataError(f"{run}: was not scored on {staged}, of which the challenge's score is made")
    return found


def _helms_name(metric: str, line: Line) -> str | None:
    """What HELM calls a metric of a line; None for one that the challenge did not have of it."""
    if metric == line.metric:
        return OWN_METRICS[metric]
    if line.perturbed and metric.endswith((" (robustness)", " (fairness)")):
        return f"{OWN_METRICS[line.metric]} ({metric.rpartition('(')[2].rstrip(')').capitalize()})"
    if line.bias and metric.startswith(BIAS):
        kind, group, *target = metric.removeprefix(BIAS).split()
        if target in ([], ["profession"]):
            return f"{BIAS_METRICS[kind]} ({group})"
    return None


def lacking(tables: Mapping[str, Iterable[Row]]) -> dict[str, list[str]]:
    """Of each table what it has of no model and another table has: stage, scenario and metric."""
    had = {
        name: {", ".join((row[column] or "").strip() for column in KEYS) for _, row in rows}
        for name, rows in tables.items()
    }
    every = set().union(*had.values())
    return {name: sorted(every - own) for name, own in had.items() if every - own}


def asked_differently(rows: Iterable[Row]) -> str | None:
    """What models were not asked in the same way, as far as their rows have fingerprints; None where all were."""
    first: dict[tuple[str, str], tuple[str, str]] = {}
    for _, row in rows:
        if (known := row.get("fingerprint")) is not None:
            model, other = first.setdefault((row["scenario"], row["metric"]), (row["model"], known))
            if other != known:
                return f"{model} and {row['model']} on {row['scenario']}, {row['metric']}"
    return None


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a CSV file with COLUMNS, in any order of columns and rows, each with its place.

    Raises DataError, with the line, for what is no such file, a missing column, and more fields than columns.
    """
    empty = True
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, skipinitialspace=True, strict=True)
            header = [name.strip() for name in rows.fieldnames or ()]
            rows.fieldnames = header
            for name in COLUMNS:
                if header.count(name) != 1:
                    said = "no column" if name not in header else f"{header.count(name)} columns"
                    raise DataError(f"{path}:1: {said} {name}; expected {', '.join(COLUMNS)}")
            try:
                for row in rows:
                    empty = False
                    yield f"{path}:{rows.line_num}", row
            except csv.Error as error:
                raise DataError(f"{path}: below line {rows.line_num}: not CSV ({error})") from error
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV in UTF-8 ({error})") from error
    if empty:
        raise DataError(f"{path}: no rows below the header")


def _take(row: Mapping[Any, Any], found: dict[tuple[str, str, str], Metric], place: str) -> None:
    if more := row.get(None):
        raise DataError(f"{place}: more fields than the header has: {', '.join(more)}; texts with a comma are quoted")
    model, stage, scenario, name, direction, told = ((row[column] or "").strip() for column in COLUMNS)
    for column, text in (("model", model), ("scenario", scenario), ("metric", name)):
        if not text:
            raise DataError(f"{place}: {column} is empty")
    if stage not in STAGES:
        raise DataError(f"{place}: stage is '{stage}'; expected open or closed")
    if direction.lower() not in ("true", "false"):
        raise DataError(f"{place}: higher_is_better is '{direction}'; expected true or false")
    try:
        value = float(told) if told else None
    except ValueError:
        value = math.nan
    if value is not None and not math.isfinite(value):
        raise DataError(f"{place}: value is '{told}'; expected a number, or nothing")
    higher = direction.lower() == "true"
    metric = found.setdefault((stage, scenario, name), Metric(stage, scenario, name, higher, {}))
    if metric.higher_is_better != higher:
        raise DataError(f"{place}: higher_is_better is {direction}, and an earlier row of {scenario}, {name} says not")
    if model in metric.values:
        raise DataError(f"{place}: a second value of {model} for {stage}, {scenario}, {name}")
    metric.values[model] = value  # type: ignore[index]


def standings(metrics: Sequence[Metric], rule: Rule = "challenge") -> list[Standing]:
    """Every model's scores, the best first. Where a model has no value 0 stands, or 1000 where less is better, so that
    all without a value are equal; it is the challenge's rule, and the worst only where values lie between the two.

    Raises DataError for the rule helm and less than two models.
    """
    models = list(dict.fromkeys(model for metric in metrics for model in metric.values))
    if rule == "helm" and len(models) < 2:
        raise DataError("the rule helm compares models: expected two or more, found one")
    rates: dict[str, dict[str, dict[str, list[float]]]] = {model: {} for model in models}
    for metric in metrics:
        values = [_better_if_more(metric, model) for model in models]
        for model, rate in zip(models, RULES[rule](values), strict=True):
            rates[model].setdefault(metric.stage, {}).setdefault(metric.scenario, []).append(rate)
    found = [_standing(model, stages) for model, stages in rates.items()]
    return sorted(found, key=lambda each: (-_key(each), each.model))


def _better_if_more(metric: Metric, model: str) -> float:
    value = metric.values.get(model)
    value = MISSING[metric.higher_is_better] if value is None else value
    return value if metric.higher_is_better else -value


def _standing(model: str, rates: Mapping[str, Mapping[str, Sequence[float]]]) -> Standing:
    win_rates = {
        stage: {scenario: fmean(found) for scenario, found in rates[stage].items()}
        for stage in STAGES
        if stage in rates
    }
    scores = {stage: stage_score(list(found.values())) for stage, found in win_rates.items()}
    return Standing(model, win_rates, scores, final_score(scores))


def stage_score(win_rates: Sequence[float]) -> float:
    """The geometric mean of scenarios' win rates; the least positive number stands for 0."""
    return math.exp(fmean(math.log(rate or math.ulp(0.0)) for rate in win_rates))


def final_score(scores: Mapping[str, float]) -> float | None:
    """Of the stages' scores; None where one is missing."""
    return sum(WEIGHTS[stage] * scores[stage] for stage in STAGES) if scores.keys() >= WEIGHTS.keys() else None


def ranks(found: Sequence[Standing]) -> list[int]:
    """The place of each, from 1; those with equal scores share one."""
    keys = [_key(standing) for standing in found]
    return [1 + sum(other > key for other in keys) for key in keys]


def _key(standing: Standing) -> float:
    return standing.final if standing.final is not None else sum(standing.scores.values())
