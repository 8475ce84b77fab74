"""What a page quotes: a few dropped documents and cut passages of every kind, and a few questions with answers.

Nothing is picked by hand or by chance: examples are spread evenly over all there are, documents and passages in
the order they were read, questions in the order of their ids.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import DataError
from core.reporting.chosen_rows import Key, chosen_rows
from core.reporting.chosen_rows import evenly as evenly  # learning curves are thinned by it too
from core.reporting.written_files import read_lines


@dataclass(frozen=True)
class Dropped:
    """One document that curation dropped. text: messages and pairs with a line naming each part."""

    id: str
    source: str
    evidence: str | None
    meta: str | None
    text: str


@dataclass(frozen=True)
class CutPassage:
    """A part of a document that was kept. begin, end: in bytes of its text, as the step found it.
    text: None where it was replaced."""

    id: str
    source: str
    evidence: str | None
    begin: int
    end: int
    text: str | None


@dataclass(frozen=True)
class Answer:
    """text: what the model wrote, or the choice it found likeliest; taken_as: what was scored, where that differs.
    score: the first metric's value on this question."""

    text: str
    taken_as: str | None
    score: float | None


@dataclass(frozen=True)
class Question:
    """prompt: as the model saw it; choices: none where the model writes freely."""

    id: str
    prompt: str
    choices: list[str]
    expected: str
    metric: str
    answers: dict[str, Answer]  # by model


def dropped_examples(directory: Path, per_reason: int) -> dict[Key, list[Dropped]]:
    """Documents from `directory`/*.parquet by (step, reason), at most `per_reason` of each.

    Raises DataError naming a file that cannot be read.
    """
    names = ("id", "source", "evidence", "meta")
    return {
        key: [
            Dropped(**{name: _part(directory, row, name) for name in names}, text=_text(directory, row)) for row in rows
        ]
        for key, rows in chosen_rows(directory, per_reason).items()
    }


def cut_examples(directory: Path, per_reason: int) -> dict[Key, list[CutPassage]]:
    """Passages from `directory`/*.parquet by (step, reason), at most `per_reason` of each.

    Raises DataError naming a file that cannot be read.
    """
    names = [each.name for each in fields(CutPassage)]
    return {
        key: [CutPassage(**{name: _part(directory, row, name) for name in names}) for row in rows]
        for key, rows in chosen_rows(directory, per_reason).items()
    }


def questions(directory: Path, models: Sequence[str], per_task: int) -> dict[str, list[Question]]:
    """Questions by task from `directory`/<model>/<task>.jsonl, lm-eval's samples, with each model's answer.

    Raises DataError naming file and line of a sample that is broken.
    """
    tasks = sorted({path.stem for model in models for path in (directory / model).glob("*.jsonl")})
    asked = {}
    for task in tasks if per_task else ():
        samples = {model: _samples(directory / model / f"{task}.jsonl") for model in models}
        ids = sorted({key for of_model in samples.values() for key in of_model}, key=lambda key: (len(key), key))
        asked[task] = [
            _question(ids[n], {model: found[ids[n]] for model, found in samples.items() if ids[n] in found})
            for n in evenly(len(ids), per_task)
        ]
    return asked


def _text(directory: Path, row: dict[str, Any]) -> str:
    if _part(directory, row, "text") is not None:
        return str(row["text"])
    parts = [(turn["role"], turn["content"]) for turn in _part(directory, row, "messages") or ()]
    parts += [(name, row[name]) for name in ("prompt", "chosen", "rejected") if _part(directory, row, name) is not None]
    return "\n\n".join(f"{role}:\n{content}" for role, content in parts)


def _part(directory: Path, row: dict[str, Any], name: str) -> Any:
    if name not in row:
        raise DataError(f"{directory}: its files have no column {name!r}. Run `raycipe curate` again.")
    return row[name]


def _samples(path: Path) -> dict[str, dict[str, Any]]:
    """By document id; of several filters' lines the first."""
    samples: dict[str, dict[str, Any]] = {}
    for place, line in read_lines(path):
        if not isinstance(line, dict) or not line.keys() >= {"doc_id", "target", "arguments", "filtered_resps"}:
            raise DataError(f"{place}: not a sample of lm-eval: it has no doc_id, target, arguments, filtered_resps.")
        samples.setdefault(str(line["doc_id"]), line)
    return samples


def _question(key: str, samples: dict[str, dict[str, Any]]) -> Question:
    first = next(iter(samples.values()))
    arguments = _arguments(first)
    choices = [_string(argument[-1]).strip() for argument in arguments] if _likelihoods(first) else []
    if len(set(choices)) < len(choices):  # the choice stands in the context, as WinoGrande has it
        choices = [_string(argument[0]).strip() for argument in arguments]
    target = _string(first["target"])
    expected = choices[int(target)] if target.isdecimal() and int(target) < len(choices) else target
    return Question(
        id=key,
        prompt=_string(arguments[0][0]) if arguments and arguments[0] else "",
        choices=choices,
        expected=target if target in choices else expected,
        metric=next(iter(first.get("metrics") or ()), ""),
        answers={model: _answer(sample, choices) for model, sample in samples.items()},
    )


def _answer(sample: dict[str, Any], choices: list[str]) -> Answer:
    metric = next(iter(sample.get("metrics") or ()), "")
    value = sample.get(metric)
    score = float(value) if isinstance(value, int | float) else None
    likelihoods = _likelihoods(sample)
    if choices and len(likelihoods) == len(choices):
        return Answer(choices[int(np.argmax(likelihoods))], None, score)
    scored = _string(_innermost(sample["filtered_resps"]))
    written = _string(_innermost(sample.get("resps", scored)))
    return Answer(written, scored if scored.strip() != written.strip() else None, score)


def _likelihoods(sample: dict[str, Any]) -> list[float]:
    """One log-likelihood per choice; none where the model wrote freely."""
    responses = sample["filtered_resps"]
    pairs = isinstance(responses, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in responses)
    try:
        return [float(pair[0]) for pair in responses] if pairs else []
    except (TypeError, ValueError):
        return []


def _arguments(sample: dict[str, Any]) -> list[list[Any]]:
    """[[context, continuation], ...], also from the form {"gen_args_0": {"arg_0": ...}} of saved samples."""
    arguments = sample["arguments"]
    if isinstance(arguments, dict):
        arguments = [list(each.values()) for each in arguments.values() if isinstance(each, dict)]
    return [list(each) for each in arguments if isinstance(each, list)] if isinstance(arguments, list) else []


def _innermost(value: Any) -> Any:
    while isinstance(value, list) and value:
        value = value[0]
    return value


def _string(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
