"""Few-shot scoring: every instance once, the same after a kill, and what is drawn by the scores."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from core.errors import DataError, ResourceError
from core.instructions.answer_scores import SCORED, answer_score
from core.instructions.few_shot import few_shot_prompt, prediction
from core.instructions.natural_instructions import read_task, task_files
from core.recipe.problems import InvalidRecipe
from core.recipe.resolve import load_recipe
from ray_jobs import infer as job
from ray_jobs.curate import curate
from ray_jobs.infer import Piece, Scoring, check_inference, infer, scored_sources
from ray_jobs.inference.vllm_backend import Collected, processor_config, rows_of
from ray_jobs.job import Job
from ray_jobs.progress import Reporter
from ray_jobs.session import RaySession
from tests.instructions.made_tasks import write_task
from tests.ray_jobs.conftest import environment, raycipe

RECIPE: dict[str, Any] = {
    "name": "scored",
    "model": {
        "config": {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 512,
            "initializer_range": 0.2,
        },
        "tokenizer": {"train": {"vocabulary": 400}},
    },
    "data": {
        "sources": {"ni": {"natural_instructions": {"directory": "tasks"}}},
        "steps": [{"sample_by_score": {"exact_match": {"total": 7}, "generation": {"total": 9}}}],
    },
    "infer": {"max_new_tokens": 6, "batch_size": 4},
    "train": {"sft": {"data": {"sources": ["ni"], "sequence_length": 256}, "max_steps": 1}},
    "resources": {"device": "cpu"},
}


def instances(task: str, count: int, long: bool = False) -> list[dict[str, Any]]:
    answer = "the number {} is what was asked for here" if long else "{}"
    return [
        {"id": f"{task}-{n}", "input": f"What is {n} plus {n}?", "output": [answer.format(2 * n % 5)]}
        for n in range(count)
    ]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe and its tasks: two that are scored by exact match, one by ROUGE-L, one that no model can read whole."""
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    write_task(tasks, "task1_short", Instances=instances("task1", 30))
    write_task(tasks, "task2_short", Instances=instances("task2", 13))
    write_task(tasks, "task3_long", Instances=instances("task3", 20, long=True))
    huge = [{"id": "task4-0", "input": "word " * 2000, "output": ["yes"]}]
    write_task(tasks, "task4_huge", Instances=huge)
    return write(tmp_path)


def write(directory: Path, **changes: Any) -> Path:
    path = directory / "scored.yaml"
    with path.open("w") as file:
        YAML(typ="safe").dump({**RECIPE, **changes}, file)
    return path


class Told(Reporter):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def opened(recipe: Path, session: Any = None, name: str = "run") -> Job:
    return Job(load_recipe(str(recipe)), recipe.parent / name, session, Told())


class Here(RaySession):
    """No Ray: the work is done in this process."""

    def require(self) -> dict[str, float]:
        return {"CPU": 2.0}


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """`each` and `each_prepared` work here, as they do without a session."""
    for name in ("each", "each_prepared"):
        original = getattr(job, name)
        monkeypatch.setattr(job, name, lambda session, *rest, original=original: original(None, *rest))


def scores(run: Path) -> list[dict[str, Any]]:
    return pq.read_table(run / "infer/scores/ni.parquet").cast(SCORED).to_pylist()


def test_every_instance_is_scored_once_as_if_it_were_asked_alone(recipe: Path, in_process: None) -> None:
    done = opened(recipe, Here())
    summary = infer(done)
    rows = scores(done.run_dir)
    tasks = [read_task(path) for path in task_files(recipe.parent / "tasks")]
    assert [row["id"] for row in rows] == [each.id for task in tasks for each in task.instances]
    assert Counter(row["scoring"] for row in rows) == {"exact_match": 44, "generation": 20}
    assert summary["ni"]["instances"] == 64

    worker = job._Worker(_scoring(done), "cpu", 1)
    asked = {each.id: (task, each) for task in tasks for each in task.instances}
    for row in rows[:5] + rows[-21:-15]:
        task, instance = asked[row["id"]]
        prompt = few_shot_prompt(task, instance, 4)
        text = _alone(worker, prompt)
        assert row["prediction"] == prediction(text)
        assert row["score"] == answer_score(row["scoring"], prediction(text), [o.strip() for o in instance.outputs])
    [huge] = [row for row in rows if row["task"] == "task4_huge"]
    assert (huge["prediction"], huge["score"]) == (None, None)


def _scoring(done: Job) -> Scoring:
    assert done.recipe.infer is not None
    return Scoring(done.recipe, done.recipe.infer, scored_sources(done.recipe), done.run_dir / "infer")


def _alone(worker: Any, prompt: str) -> str:
    import torch

    ids = torch.tensor([worker.tokenizer(prompt)["input_ids"]])
    written = worker.model.generate(
        ids, max_new_tokens=6, do_sample=False, pad_token_id=worker.tokenizer.pad_token_id, attention_mask=ids * 0 + 1
    )
    return worker.tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True)


def test_scores_decide_what_is_drawn_and_every_instance_is_accounted_for(recipe: Path, in_process: None) -> None:
    done = opened(recipe, Here())
    infer(done)
    ledger = curate(Job(done.resolved, done.run_dir, None, done.reporter))["sources"]["ni"]  # type: ignore[arg-type]
    table = orjson.loads((done.run_dir / "curate/sampling/sample_by_score.json").read_bytes())
    kept = pq.read_table(done.run_dir / "curate/documents/ni")["id"].to_pylist()
    dropped = [r for path in (done.run_dir / "curate/dropped").iterdir() for r in pq.read_table(path).to_pylist()]
    assert ledger["read"]["documents"] == 64 == len(kept) + len(dropped)
    by_id = {row["id"]: row for row in scores(done.run_dir)}
    drawn = Counter(by_id[name]["scoring"] for name in kept)
    assert drawn["exact_match"] == 7
    assert 0 < drawn["generation"] <= 9
    assert table["chosen"] == len(kept) == sum(task["chosen"] for task in table["tasks"])
    assert sum(table["left_out"].values()) == len(dropped)
    assert table["left_out"] == Counter(row["reason"] for row in dropped)
    assert all(row["evidence"].startswith("score ") for row in dropped)
    assert all(by_id[row["id"]]["score"] is None for row in dropped if row["reason"] == "not_scored")


def test_scores_of_another_file_are_taken_and_a_wrong_file_is_named(recipe: Path, in_process: None) -> None:
    done = opened(recipe, Here())
    infer(done)
    shutil.copy(done.run_dir / "infer/scores/ni.parquet", recipe.parent / "given.parquet")
    first = curate(Job(done.resolved, done.run_dir, None, done.reporter))  # type: ignore[arg-type]
    step = {"sample_by_score": {**RECIPE["data"]["steps"][0]["sample_by_score"], "scores": "given.parquet"}}
    given = write(recipe.parent, data={**RECIPE["data"], "steps": [step]}, infer=None)
    assert curate(opened(given, name="given")) == first
    pq.write_table(
        pq.read_table(recipe.parent / "given.parquet").drop_columns(["golds"]), recipe.parent / "given.parquet"
    )
    with pytest.raises(DataError, match=r"sample_by_score.scores: .*given\.parquet: no scores can be read there"):
        curate(opened(given, name="broken"))


def test_what_cannot_be_scored_or_drawn_is_a_problem_of_the_recipe(tmp_path: Path) -> None:
    def problems(**changes: Any) -> str:
        with pytest.raises(InvalidRecipe) as caught:
            load_recipe(str(write(tmp_path, **changes)))
        return str(caught.value)

    assert "found no scores; expected infer: {} in the recipe" in problems(infer=None)
    assert "infer.sources: found unknown source 'nj'" in problems(infer={"sources": ["nj"]})
    texts = {"sources": {"ni": {"files": "a.jsonl", "fields": {"text": "text"}}}}
    assert "no source of natural_instructions" in problems(data={**RECIPE["data"], **texts})


def test_vllm_is_asked_for_by_name_and_needs_its_package(recipe: Path) -> None:
    wanted = opened(write(recipe.parent, infer={**RECIPE["infer"], "backend": "vllm"}))
    if importlib.util.find_spec("vllm") is None:
        with pytest.raises(ResourceError, match=r"pip install 'raycipe\[vllm\]'"):
            check_inference(wanted)


def test_texts_that_come_back_in_any_order_give_the_scores_of_the_other_backend(recipe: Path, in_process: None) -> None:
    done = opened(recipe, Here())
    infer(done)
    expected = scores(done.run_dir)
    scoring = _scoring(done)
    again = Scoring(scoring.recipe, scoring.options, scoring.sources, done.run_dir / "again")
    shutil.copytree(done.run_dir / "infer/tokenizer", done.run_dir / "again/tokenizer")
    pieces = [Piece("ni", str(path), 0, 30) for path in task_files(recipe.parent / "tasks")]
    answers = {row["id"]: row["prediction"] for row in expected}
    rows = [row for number, piece in enumerate(pieces) for row in rows_of(number, piece, again, 512)]
    assert len(rows) == 63
    assert rows[0]["sampling_params"] == {"temperature": 0.0, "max_tokens": 6, "stop": ["\n\n"]}
    collected = Collected(again, pieces, 512)
    for row in reversed(rows):
        prompts, _ = again.prompts(pieces[row["piece"]], again.tokenizer(), 506)
        collected.take({**row, "generated_text": answers[prompts["id"][row["place"]].as_py()]})
    assert collected.close() == 30  # the piece of which nothing was asked
    found = [row for piece in pieces for row in pq.read_table(piece.result(again.directory)).to_pylist()]
    assert found == expected


def test_rays_own_processor_takes_the_settings(recipe: Path) -> None:
    from ray.data.llm import vLLMEngineProcessorConfig

    model = {"base": "mistralai/Mistral-7B-v0.1", "revision": "main"}
    wanted = opened(write(recipe.parent, model=model))
    settings = vLLMEngineProcessorConfig(**processor_config(_scoring(wanted), 32768, gpus=2))
    assert (settings.model_source, settings.concurrency, settings.batch_size) == (model["base"], 2, 4)
    assert settings.engine_kwargs["max_model_len"] == 32768
    assert not settings.chat_template_stage


@pytest.mark.ray
def test_killed_it_asks_only_what_is_left_and_gives_the_same_scores(recipe: Path, in_process: None) -> None:
    arguments = ["infer", recipe, "--runs-dir", recipe.parent / "runs", "--json"]
    command = [sys.executable, "-m", "ray_jobs.cli", *map(str, arguments)]
    process = subprocess.Popen(
        command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    work = recipe.parent / "runs/scored/infer/.work/ni"
    deadline = time.monotonic() + 120
    while not (done := sorted(work.glob("*.parquet")) if work.exists() else []) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert done
    finished = {path.name: path.stat().st_mtime_ns for path in work.glob("*.parquet")}
    assert len(finished) < 4

    watched: dict[str, int] = {}
    resumed = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    while resumed.poll() is None:
        watched |= {path.name: path.stat().st_mtime_ns for path in _there(work)}
        time.sleep(0.02)
    assert resumed.returncode == 0
    assert {name: watched[name] for name in finished} == finished
    summary = json.loads(resumed.stdout.read())["infer"]  # type: ignore[union-attr]
    assert summary["ni"]["instances"] == 64
    undisturbed = opened(recipe, Here())
    infer(undisturbed)
    assert scores(undisturbed.run_dir) == scores(recipe.parent / "runs/scored")
    assert "infer: finished earlier" in raycipe(*arguments).err


def _there(directory: Path) -> list[Path]:
    try:
        return [path for path in directory.glob("*.parquet") if path.exists()]
    except FileNotFoundError:
        return []
