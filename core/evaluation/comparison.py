"""Two scored models held against each other, where their scores were come by in the same way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.evaluation.paired import compare_samples
from core.evaluation.score_intervals import with_ties


@dataclass(frozen=True)
class Scored:
    """A model that was scored: directory of lm-eval's samples, and of each task the settings of its fingerprint."""

    model: str
    samples: Path
    settings: Mapping[str, Mapping[str, Any]]


def compare_scored(
    first: Scored,
    second: Scored,
    seed: int,
    passage_of: Callable[[str], str | None] = lambda task: None,
    force: bool = False,
) -> dict[str, Any]:
    """How much better the second is, on the same questions of every task that both were scored on.

    A task whose settings differ (few-shot examples, template, version, number format, batches ...) is compared only by
    force. passage_of: see `compare_samples`. Returns `models`, `differences` (rows with task, see `PairedDifference`,
    p_adjusted and tie), and `refused`: of each such task the settings that differ, each with both values.
    """
    refused: dict[str, dict[str, Any]] = {}
    rows = []
    for task, settings in first.settings.items():
        if task not in second.settings:
            continue
        other = second.settings[task]
        differ = {name: [settings.get(name), other.get(name)] for name in {**settings, **other}}
        differ = {name: values for name, values in differ.items() if values[0] != values[1]}
        if differ and not force:
            refused[task] = differ
            continue
        one, another = first.samples / f"{task}.jsonl", second.samples / f"{task}.jsonl"
        rows += [{"task": task, **row} for row in compare_samples(one, another, seed, passage_of(task))]
    return {"models": [first.model, second.model], "differences": with_ties(rows), "refused": refused}


def told_refusals(refused: Mapping[str, Mapping[str, Any]]) -> str:
    """What differs, in one line, of tasks that are not compared."""
    return "; ".join(
        f"{task}: {', '.join(f'{name} {one} and {other}' for name, (one, other) in differ.items())}"
        for task, differ in refused.items()
    )
