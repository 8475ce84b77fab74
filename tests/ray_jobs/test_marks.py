"""Scores are marked where a model was trained on the task's own training data; phases start where the recipe says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.recipe.problems import InvalidRecipe
from core.recipe.resolve import load_recipe
from ray_jobs.curate import curate
from ray_jobs.evaluate import trained_tasks
from ray_jobs.job import Job
from ray_jobs.progress import Reporter

MODEL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}


def written(directory: Path, **changes: Any) -> Path:
    (directory / "train.jsonl").write_text('{"question": "What is 1 + 1?", "answer": "1 + 1 = 2\\n#### 2"}\n')
    (directory / "plain.jsonl").write_text(json.dumps({"text": "Nothing of a benchmark."}) + "\n")
    recipe = {
        "name": "marked",
        "model": {"config": MODEL, "tokenizer": {"train": {"vocabulary": 300}}},
        "data": {
            "sources": {
                "plain": {"files": "plain.jsonl", "fields": {"text": "text"}},
                "gsm8k": {"files": "train.jsonl", "capability_data": {"benchmark": "gsm8k"}},
            }
        },
        "train": {
            "pretrain": {"data": {"sources": ["plain"], "sequence_length": 64}, "max_steps": 1},
            "capability": {"data": {"sources": ["gsm8k"], "sequence_length": 64}, "max_steps": 1},
            "after": {"data": {"sources": ["plain"], "sequence_length": 64}, "max_steps": 1},
            "aside": {"data": {"sources": ["plain"], "sequence_length": 64}, "max_steps": 1, "starts_from": "pretrain"},
        },
        **changes,
    }
    path = directory / "marked.yaml"
    path.write_text(json.dumps(recipe))  # JSON is YAML, and keeps the phases in their order
    return path


def marks(directory: Path, **changes: Any) -> dict[str, bool]:
    job = Job(load_recipe(str(written(directory, **changes))), directory / "run", None, Reporter())  # type: ignore[arg-type]
    curate(job)
    return {model: "gsm8k" in trained_tasks(job, model) for model in ("base", *job.recipe.train)}


def test_a_model_is_marked_from_the_phase_on_that_saw_the_benchmark(tmp_path: Path) -> None:
    assert marks(tmp_path) == {"base": False, "pretrain": False, "capability": True, "after": True, "aside": False}


def test_what_curation_leaves_nothing_of_marks_nothing(tmp_path: Path) -> None:
    recipe = json.loads(written(tmp_path).read_text())
    data = {**recipe["data"], "steps": [{"length": {"sources": ["gsm8k"], "min_words": 100}}]}
    assert not any(marks(tmp_path, data=data).values())


@pytest.mark.parametrize(("place", "problem"), [("after", "found 'aside'"), ("capability", "found 'nowhere'")])
def test_a_phase_cannot_start_from_one_that_comes_later_or_is_not_there(
    tmp_path: Path, place: str, problem: str
) -> None:
    train = json.loads(written(tmp_path).read_text())["train"]
    train[place]["starts_from"] = problem.split("'")[1]
    with pytest.raises(InvalidRecipe, match=f"train.{place}.starts_from: {problem}; expected one of base, pretrain"):
        load_recipe(str(written(tmp_path, train=train)))
