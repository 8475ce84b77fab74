"""`curate` of instructions in this process, without a Ray: steps that look at a part of each document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from core.documents import reading
from core.documents.table import content
from core.recipe.resolve import load_recipe
from ray_jobs.curate import curate
from ray_jobs.job import Job
from ray_jobs.progress import Reporter

ASKED = {"instruction": "ask", "input": "with", "output": "answer", "instruction_role": "system", "meta": ["kind"]}


def curated(tmp_path: Path, sources: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]], steps: list[Any]) -> Path:
    """Curates sources (name: fields and rows) by steps; the stage's directory."""
    declared = {}
    for name, (fields, rows) in sources.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        declared[name] = {"files": f"{name}.jsonl", "fields": fields}
    config = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    recipe = {
        "name": "test",
        "model": {"config": config, "tokenizer": {"train": {"vocabulary": 300}}},
        "data": {"sources": declared, "steps": steps},
        "train": {"sft": {"data": {"sources": list(sources), "sequence_length": 64}, "max_steps": 1}},
    }
    with (tmp_path / "test.yaml").open("w") as file:
        YAML(typ="safe").dump(recipe, file)
    curate(Job(load_recipe(str(tmp_path / "test.yaml")), tmp_path / "run", None, Reporter()))  # type: ignore[arg-type]
    return tmp_path / "run" / "curate"


def rows_of(directory: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(directory.rglob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def asked(instruction: str, given: str, answer: str, kind: str = "human") -> dict[str, str]:
    return {"ask": instruction, "with": given, "answer": answer, "kind": kind}


@pytest.mark.parametrize("shard_bytes", [1 << 26, 100])
def test_inputs_alone_are_compared_and_what_has_none_is_no_duplicate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shard_bytes: int
) -> None:
    monkeypatch.setattr(reading, "SHARD_BYTES", shard_bytes)
    texts = [{"text": "the same input"}, {"text": "the same text"}, {"text": "the same text"}]
    tasks = [
        asked("Name the animal.", "a cat", "cat"),
        asked("Name the colour.", "the same input", "none"),
        asked("Name the animal.", "the same input", "none"),
        asked("Name the animal.", "a dog", "cat"),
    ]
    more = [asked("Say it.", "a dog", "dog"), asked("Name the animal.", "a hen", "hen")]
    sources = {"a": ({"text": "text"}, texts), "b": (ASKED, tasks), "c": (ASKED, more)}
    stage = curated(tmp_path, sources, [{"exact_dedup": {"part": "user"}}])
    assert {row["id"]: row["evidence"] for row in rows_of(stage / "dropped")} == {
        "b:0:2": "b:0:1",
        "c:0:0": "b:0:3",
    }
    assert len(rows_of(stage / "documents" / "a")) == 3
    found = orjson.loads((stage / "duplicates/exact_dedup.json").read_bytes())
    assert found["removed"] == 2 and found["matrix"] == [[0, 0, 0], [0, 1, 0], [0, 1, 0]]


def test_every_document_is_accounted_for_by_value_phrase_length_and_case(tmp_path: Path) -> None:
    rows = [asked("", f"How MUCH İs {number} and one?", f"{number}+1") for number in range(200)]
    rows += [
        asked("", "How much is one and one?", "print(1 + 1)"),
        asked("", "How much now?", "2"),
        asked("", "How much is two and one?", "3", "model"),
    ]
    steps = [
        {"metadata": {"key": "kind", "allow": ["human"]}},
        {"phrases": {"part": "assistant", "deny": ["print("]}},
        {"length": {"part": "user", "words": "spaces", "min_words": 5}},
        {"lower_case": {"probability": 0.3}},
    ]
    stage = curated(tmp_path, {"a": (ASKED, rows)}, steps)
    dropped = {row["id"]: (row["step"], row["reason"], row["evidence"]) for row in rows_of(stage / "dropped")}
    assert dropped == {
        "a:0:200": ("phrases", "denied_phrase", "print("),
        "a:0:201": ("length", "too_few_words", "3 words"),
        "a:0:202": ("metadata", "metadata_not_allowed", "kind: model"),
    }
    kept = rows_of(stage / "documents" / "a")
    lowered = [row for row in kept if row["messages"][0]["content"].startswith("how much")]
    assert len(kept) == 200 and 40 < len(lowered) < 80
    labels = orjson.loads((stage / "statistics.json").read_bytes())["labels"]
    assert labels == {"lower_case": {"a": {"lower_cased": len(lowered)}}}
    account = orjson.loads((stage / "ledger.json").read_bytes())["sources"]["a"]
    written = content(pq.read_table(stage / "documents" / "a")).to_pylist()
    assert account["kept"]["documents"] == 200
    assert account["kept"]["bytes"] == sum(len(text.encode()) for text in written)
