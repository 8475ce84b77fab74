"""Instruction data for benchmarks: real dialogues from local files, and lengths drawn at any number."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from core.documents.table import DOCUMENTS

SEED = 42


def dialogues(data: Path) -> dict[str, pa.Table]:
    """DOCUMENTS of GSM8K, Natural Instructions and the two instruction sets below `data`, by the set's name."""
    sets = {
        "gsm8k": ((row["question"], row["answer"]) for row in _lines(data / "gsm8k" / "train.jsonl.gz")),
        "natural instructions": _natural_instructions(data / "ni" / "tasks"),
        "instruct": _instruct(data / "instruct"),
    }
    return {name: _documents(name, list(pairs)) for name, pairs in sets.items()}


def log_normal_lengths(count: int, longest: int) -> NDArray[np.int64]:
    """int64[count]: tokens of instruction samples, median 200, cut at `longest`."""
    drawn = np.random.default_rng(SEED).lognormal(5.3, 0.8, count)
    return np.clip(drawn.astype(np.int64), 8, longest)


def _natural_instructions(directory: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(directory.glob("*.json.gz")):
        task = json.loads(gzip.decompress(path.read_bytes()))
        definition = "\n".join(task["Definition"])
        for instance in task["Instances"]:
            yield f"{definition}\n\n{instance['input']}", instance["output"][0]


def _instruct(directory: Path) -> Iterator[tuple[str, str]]:
    for row in _lines(directory / "dolly_hhrlhf_train_small.jsonl.gz"):
        yield row["prompt"], row["response"]
    for row in _lines(directory / "alpaca_seed_tasks.jsonl.gz"):
        for instance in row["instances"]:
            yield f"{row['instruction']}\n\n{instance['input']}".strip(), instance["output"]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt") as file:
        yield from map(json.loads, file)


def _documents(name: str, pairs: list[tuple[str, str]]) -> pa.Table:
    rows = [
        {
            "id": f"{name}:{number}",
            "source": name,
            "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}],
        }
        for number, (question, answer) in enumerate(pairs)
    ]
    return pa.Table.from_pylist(rows, DOCUMENTS)
