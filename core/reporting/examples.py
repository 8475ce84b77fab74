"""What a page quotes: a few dropped documents of every kind, and a few questions with the models' answers.

Nothing is picked by hand or by chance: examples are spread evenly over all there are, in the order of their ids.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import DataError
from core.reporting.run_files import read_lines

KEY = ["step", "reason", "id"]


@dataclass(frozen=True)
class Dropped:
    """One document that curation dropped. text: messages and pairs with a line naming each part."""

    id: str
    source: str
    evidence: str | None
    meta: str | None
    text: str


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


def dropped_examples(directory: Path, per_reason: int) -> dict[tuple[str, str], list[Dropped]]:
    """Documents from `directory`/*.parquet by (step, reason), at most `per_reason` of each.

    Only ids are read of all rows, and whole rows of the row groups that hold a chosen one.
    Raises DataError naming a file that cannot be read.
    """
    files = sorted(directory.glob("*.parquet"))
    keys = [_keys(path, number) for number, path in enumerate(files)]
    if not keys or not per_reason:
        return {}
    index = pa.concat_tables(keys).sort_by([(name, "ascending") for name in (*KEY, "file", "row")])
    starts = _starts(index)
    chosen = [
        start + offset for start, end in pairwise([*starts, len(index)]) for offset in evenly(end - start, per_reason)
    ]
    index = index.take(pa.array(chosen, pa.int64()))
    places = list(zip(index["file"].to_pylist(), index["row"].to_pylist(), strict=True))
    found: dict[tuple[int, int], Dropped] = {}
    for number in sorted({file for file, _ in places}):
        rows = np.array(sorted(row for file, row in places if file == number))
        found |= {(number, int(row)): document for row, document in _documents(files[number], rows)}
    examples: dict[tuple[str, str], list[Dropped]] = {}
    for place, step, reason in zip(places, index["step"].to_pylist(), index["reason"].to_pylist(), strict=True):
        examples.setdefault((step, reason), []).append(found[place])
    return examples


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


def evenly(total: int, wanted: int) -> list[int]:
    """At most `wanted` of the positions 0 ... total - 1, first and last included, evenly spaced."""
    return np.unique(np.linspace(0, total - 1, min(total, wanted)).round().astype(int)).tolist() if total else []


def _starts(index: pa.Table) -> list[int]:
    """Where each step and reason begins in the sorted rows."""
    codes = [index[name].combine_chunks().dictionary_encode().indices.to_numpy() for name in KEY[:2]]
    changes = [np.diff(code, prepend=-1) != 0 for code in codes]
    return np.flatnonzero(changes[0] | changes[1]).tolist()


def _keys(path: Path, number: int) -> pa.Table:
    try:
        table = pq.read_table(path, columns=KEY).select(KEY)
    except (OSError, KeyError, pa.ArrowException) as error:
        raise _broken(path, error) from error
    rows = pa.array(np.arange(len(table)))
    return table.append_column("file", pa.array(np.full(len(table), number))).append_column("row", rows)


def _documents(path: Path, rows: npt.NDArray[np.int64]) -> Iterator[tuple[int, Dropped]]:
    """The documents in the given rows of a file, ascending."""
    try:
        with pq.ParquetFile(path) as file:
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
            starts = np.cumsum([0, *sizes])
            groups = np.searchsorted(starts, rows, side="right") - 1
            for group in np.unique(groups):
                wanted = rows[groups == group]
                table = file.read_row_group(int(group)).take(wanted - starts[group])
                for row, document in zip(wanted, table.to_pylist(), strict=True):
                    names = ("id", "source", "evidence", "meta")
                    yield int(row), Dropped(**{name: document[name] for name in names}, text=_text(document))
    except (OSError, KeyError, UnicodeDecodeError, pa.ArrowException) as error:
        raise _broken(path, error) from error


def _text(document: dict[str, Any]) -> str:
    if document["text"] is not None:
        return str(document["text"])
    parts = [(turn["role"], turn["content"]) for turn in document["messages"] or ()]
    parts += [(part, document[part]) for part in ("prompt", "chosen", "rejected") if document[part] is not None]
    return "\n\n".join(f"{role}:\n{content}" for role, content in parts)


def _broken(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: not readable as a file of dropped documents ({error}). Run `raycipe curate` again.")


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
