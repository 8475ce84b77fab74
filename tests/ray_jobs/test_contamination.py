"""What of a run's questions its training has seen: a run as its stages leave it, with planted leaks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.artifacts.stage import Stage
from core.documents.table import DOCUMENTS
from core.errors import DataError, RecipeError, ResourceError
from core.models.create import create_model
from core.models.options import ModelConfig
from core.recipe.resolve import load_recipe
from core.tokens.samples import SAMPLES
from core.tokens.shards import shard_path, write_rows
from core.tokens.tokenizer import train_tokenizer
from ray_jobs.contamination import Asked, examine
from ray_jobs.contamination_table import print_contamination
from ray_jobs.job import Job
from ray_jobs.progress import Reporter
from tests.ray_jobs.conftest import raycipe
from tests.tokens.conftest import text_documents

SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
RECIPE = {
    "name": "leaky",
    "model": {"config": SIZES, "tokenizer": {"train": {"vocabulary": 300}}},
    "data": {
        "sources": {
            "web": {"files": "web.jsonl", "fields": {"text": "text"}},
            "chat": {"files": "chat.jsonl", "fields": {"messages": "messages"}},
        }
    },
    "train": {
        "pretrain": {"data": {"sources": ["web"], "sequence_length": 64, "validation": 1}, "max_steps": 1},
        "sft": {"data": {"sources": ["chat"], "sequence_length": 64}, "max_steps": 1},
    },
    "evaluate": {"tasks": ["arc_local"], "models": ["pretrain", "sft"]},
    "resources": {"device": "cpu"},
}
MODELS = ("pretrain", "sft")
THINGS = ["river", "engine", "magnet", "planet", "forest", "glacier", "circuit", "muscle", "mineral", "comet"]
IN_WEB, IN_CHAT, PARAPHRASED, HELD_OUT, TOO_SHORT = {0, 1}, {2, 3}, {4}, {5}, {9}
DIRTY = IN_WEB | IN_CHAT


def question(number: int) -> str:
    if number in TOO_SHORT:
        return f"What is a {THINGS[number]}?"
    return f"Which of these best tells how a {THINGS[number]} changes number {number} over many years of slow work?"


def sample(number: int, right: bool) -> dict[str, Any]:
    choices = [f"by {THINGS[number]} heat", "by cold"]
    return {
        "doc_id": number,
        "doc": {"query": question(number), "choices": choices, "gold": 0},
        "target": 0,
        "arguments": [[f"{question(number)}\nAnswer:", f" {choice}"] for choice in choices],
        "filter": "none",
        "metrics": ["acc"],
        "acc": float(right),
    }


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_documents(run_dir: Path, source: str, rows: list[dict[str, Any]]) -> None:
    path = run_dir / "curate" / "documents" / source / "part-00000.parquet"
    path.parent.mkdir(parents=True)
    rows = [{"id": f"{source}:{number}", "source": source, **row} for number, row in enumerate(rows)]
    pq.write_table(pa.Table.from_pylist(rows, DOCUMENTS), path)


def finish(run_dir: Path, name: str, recipe: Any = None) -> None:
    Stage.open(run_dir, name, recipe=recipe, seed=0, code="c").finish({})


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A run whose models answer what they have seen, and half of the rest: sft what both phases saw."""
    recipe = tmp_path / "leaky.yaml"
    recipe.write_text(json.dumps(RECIPE))
    run_dir = tmp_path / "runs" / "leaky"
    web = [f"Quiz. {question(number).upper()} Think first." for number in sorted(IN_WEB)]
    web += [f"Tell how any {THINGS[number]} changes, which takes its years." for number in sorted(PARAPHRASED)]
    web += [question(number) for number in sorted(HELD_OUT)]
    write_documents(run_dir, "web", [{"text": text} for text in [*web, "Nothing at all."]])
    turns = [
        [{"role": "user", "content": question(number)}, {"role": "assistant", "content": "by heat"}]
        for number in sorted(IN_CHAT)
    ]
    write_documents(run_dir, "chat", [{"messages": each} for each in turns])
    finish(run_dir, "curate")
    held_out = {"document": "web:3", "input_ids": [1, 2], "loss_mask": [0, 2], "target_tokens": 2}
    for phase, rows in (("pretrain", [held_out]), ("sft", [])):
        table = pa.Table.from_pylist(rows, SAMPLES)
        write_rows(table, shard_path(run_dir / "tokenize" / phase, "validation", 0), 64, True)
    finish(run_dir, "tokenize")
    tokenizer = train_tokenizer(lambda: [text_documents([question(number) for number in range(10)])], 300, 10_000)
    for seed, model in enumerate(MODELS):
        directory = run_dir / "train" / model / "model"
        create_model(ModelConfig(**SIZES), tokenizer, seed).save_pretrained(directory)
        tokenizer.save_pretrained(directory)
        finish(run_dir, f"train/{model}", {"phase": RECIPE["train"][model]})
    for model, knows in zip(MODELS, (IN_WEB, DIRTY), strict=True):
        rows = [sample(number, number in knows or number % 2 == 0) for number in range(10)]
        write_lines(run_dir / "evaluate" / "samples" / model / "arc_local.jsonl", rows)
    scores = [{"model": model, "task": "arc_local", "metric": "acc"} for model in MODELS]
    (run_dir / "evaluate" / "scores.json").write_text(json.dumps({"models": MODELS, "scores": scores}))
    finish(run_dir, "evaluate")
    return Job(load_recipe(str(recipe)), run_dir, None, Reporter())  # type: ignore[arg-type]


def seen_items(job: Job) -> dict[int, dict[str, Any]]:
    lines = (job.run_dir / "contamination" / "items.jsonl").read_text().splitlines()
    return {row["doc_id"]: row for row in map(json.loads, lines)}


def test_leaks_are_found_word_for_word_in_the_phase_that_learned_them_and_nothing_else(job: Job) -> None:
    found = examine(job, Asked())
    [task] = found["tasks"]
    assert task == {
        "task": "arc_local",
        "items": 10,
        "too_short": len(TOO_SHORT),
        "clean": 10 - len(DIRTY) - len(TOO_SHORT),
        "dirty": len(DIRTY),
        "dirty_by_phase": {"pretrain": len(IN_WEB), "sft": len(IN_CHAT)},
    }
    assert found["documents"] == {"pretrain": 4, "sft": 2}  # without the one held out
    items = seen_items(job)
    assert {number for number, row in items.items() if row["seen"] >= 0.8} == DIRTY
    assert [items[number]["document"] for number in sorted(DIRTY)] == ["web:0", "web:1", "chat:0", "chat:1"]


def test_scores_are_told_of_all_clean_and_dirty_questions_of_each_model(job: Job) -> None:
    scores = {row["model"]: row for row in examine(job, Asked())["scores"]}
    clean = [number for number in range(10) if number not in DIRTY | TOO_SHORT]
    assert scores["sft"]["dirty"]["value"] == 1.0
    assert scores["pretrain"]["dirty"]["value"] == 0.75
    for model in MODELS:
        assert scores[model]["clean"]["value"] == pytest.approx(3 / 5)
        assert scores[model]["clean"]["items"] == len(clean)
        assert scores[model]["clean"]["low"] < 3 / 5 < scores[model]["clean"]["high"]
    assert scores["sft"]["all"]["value"] == pytest.approx(7 / 10)


def test_it_is_found_once_and_again_when_what_was_trained_on_changes(job: Job, capfd: Any) -> None:
    first = examine(job, Asked())
    assert examine(job, Asked()) == first
    assert "found earlier" in capfd.readouterr().err
    assert not (job.run_dir / "contamination" / ".work").exists()
    assert json.loads((job.run_dir / "contamination" / "contamination.json").read_text()) == first
    documents = job.run_dir / "curate" / "documents" / "chat" / "part-00000.parquet"
    pq.write_table(pq.read_table(documents).slice(1), documents)
    (job.run_dir / "curate" / "manifest.json").unlink()
    finish(job.run_dir, "curate")
    curated = json.loads((job.run_dir / "curate" / "manifest.json").read_text())
    (job.run_dir / "curate" / "manifest.json").write_text(json.dumps({**curated, "fingerprint": "another"}))
    assert examine(job, Asked())["tasks"][0]["dirty"] == len(DIRTY) - 1


def test_both_tests_judge_each_model_on_each_task(job: Job, capsys: Any) -> None:
    reference = str(job.run_dir / "train" / "pretrain" / "model")
    found = examine(job, Asked(min_k=20, neighbours=reference))
    assert found["min_k"]["k"] == 20
    for row in found["min_k"]["rows"]:
        assert row["all"] < 0
        assert 0 <= row["auc"] <= 1
    assert found["min_k"]["rows"][0]["all"] != found["min_k"]["rows"][1]["all"]
    assert [(row["model"], row["task"]) for row in found["neighbours"]["rows"]] == [(m, "arc_local") for m in MODELS]
    for row in found["neighbours"]["rows"]:
        assert row["examples"] == 10
        assert 0 <= row["score"] <= 1
        assert row["flagged"] == (row["score"] > 0.85)
    print_contamination(found)
    printed = capsys.readouterr().out
    assert "Min-20% Prob" in printed
    assert "neighbour test" in printed


def test_a_reference_model_that_cannot_be_had_is_named(job: Job) -> None:
    with pytest.raises(ResourceError, match="model nobody/nothing"):
        examine(job, Asked(neighbours="nobody/nothing"))


def test_what_is_missing_is_told_with_the_command_that_makes_it(job: Job) -> None:
    (job.run_dir / "evaluate" / "samples" / "sft" / "arc_local.jsonl").unlink()
    with pytest.raises(DataError, match=r"arc_local.jsonl: no such file; .*raycipe evaluate leaky"):
        examine(job, Asked())
    (job.run_dir / "evaluate" / "manifest.json").unlink()
    with pytest.raises(DataError, match="not finished; do `raycipe evaluate leaky` first"):
        examine(job, Asked())
    with pytest.raises(RecipeError, match="--min-k: found 120"):
        Asked(min_k=120)


def test_the_command_without_scores_ends_with_2(job: Job) -> None:
    (job.run_dir / "evaluate" / "manifest.json").unlink()
    runs = ["--runs-dir", job.run_dir.parent]
    answer = raycipe("contamination", job.resolved.tree.path, *runs)
    assert answer.code == 2
    assert "raycipe evaluate leaky" in answer.err
    assert raycipe("contamination", job.resolved.tree.path, *runs, "--run-name", "other").code == 2
    assert raycipe("contamination", job.resolved.tree.path, *runs, "--min-k", 0).code == 2


@pytest.mark.ray
def test_the_command_prints_a_table_or_json(job: Job, ray_cluster: str) -> None:
    where = ["--runs-dir", job.run_dir.parent, "--address", ray_cluster]
    told = raycipe("contamination", job.resolved.tree.path, *where)
    assert told.code == 0, told.err
    [row] = [line.split() for line in told.out.splitlines() if "sft" in line and "arc_local" in line]
    assert row == ["arc_local", "10", "1", "5", "4", "sft", "acc", "0.700", "0.600", "1.000"]
    answer = json.loads(raycipe("contamination", job.resolved.tree.path, *where, "--json").out)
    assert answer["run"] == str(job.run_dir)
    assert answer["tasks"][0]["dirty"] == 4
