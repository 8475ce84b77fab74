"""Data that nobody here made: every row is read and accounted for."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.documents.conftest import Read


def rows(path: Path) -> list[Any]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        if path.name.endswith(".jsonl.gz"):
            return [json.loads(line) for line in file]
        if path.name.endswith(".json.gz"):
            return list(json.load(file)["examples"])
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


SETS: dict[str, tuple[str, dict[str, Any], int]] = {
    "gsm8k": ("gsm8k/train.jsonl.gz", {"fields": {"instruction": "question", "output": "answer"}}, 7473),
    "alpaca seed tasks": (
        "instruct/alpaca_seed_tasks.jsonl.gz",
        {
            "fields": {
                "instruction": "instruction",
                "input": "instances.0.input",
                "output": "instances.0.output",
                "id": "id",
            }
        },
        175,
    ),
    "dolly": (
        "instruct/dolly_hhrlhf_train_small.jsonl.gz",
        {"fields": {"instruction": "prompt", "output": "response"}},
        1000,
    ),
    "bbh": (
        "bbh/*.json.gz",
        {"records": "examples", "fields": {"instruction": "input", "output": "target"}},
        4750,
    ),
    "openbookqa": (
        "openbookqa/Main_*.tsv.gz",
        {"fields": {"instruction": "Complete Question", "output": "Answer Key", "id": "ID"}},
        5957,
    ),
    "hellaswag": (
        "hellaswag/hellaswag_val_1000.jsonl.gz",
        {"fields": {"prompt": "ctx", "chosen": "endings.0", "rejected": "endings.1", "meta": ["ind", "label"]}},
        1000,
    ),
}


@pytest.mark.parametrize("name", SETS)
def test_every_row_is_read(shared_data: Path, read: Read, name: str) -> None:
    pattern, declared, count = SETS[name]
    files = sorted(shared_data.glob(pattern))
    wanted = [row for path in files for row in rows(path)]
    documents, rejected = read(files=str(shared_data / pattern), **declared)
    assert (documents.num_rows, rejected.num_rows) == (len(wanted), 0)
    assert documents.num_rows == count
    fields = declared["fields"]
    if "prompt" in fields:
        assert documents["prompt"].to_pylist() == [row["ctx"] for row in wanted]
        assert documents["rejected"].to_pylist() == [row["endings"][1] for row in wanted]
        return
    dialogues = documents["messages"].to_pylist()
    if "input" in fields:
        inputs = [row["instances"][0]["input"] for row in wanted]
        asked = [
            f"{row['instruction']}\n\n{more}" if more else row["instruction"]
            for row, more in zip(wanted, inputs, strict=True)
        ]
        answers = [row["instances"][0]["output"] for row in wanted]
    else:
        asked = [row[fields["instruction"]] for row in wanted]
        answers = [row[fields["output"]] for row in wanted]
    assert [[message["content"] for message in dialogue] for dialogue in dialogues] == [
        [question, answer] for question, answer in zip(asked, answers, strict=True)
    ]
    ids = documents["id"].to_pylist()
    assert len(set(ids)) == len(ids)


def test_every_row_that_does_not_fit_is_listed(shared_data: Path, read: Read) -> None:
    path = str(shared_data / "gsm8k" / "train.jsonl.gz")
    fields = {"instruction": "question", "output": "solution"}
    documents, rejected = read(files=path, fields=fields, on_error="skip")
    assert (documents.num_rows, rejected.num_rows) == (0, 7473)
    assert set(rejected["reason"].to_pylist()) == {"missing_field"}
