"""Scores do not depend on who computed them, nor on how often they were stopped."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.evaluation.scorer import LocalScorers
from core.models.create import create_model
from core.models.options import ModelConfig
from core.tokens.tokenizer import train_tokenizer
from ray_jobs.scorers import RayScorers
from ray_jobs.session import RaySession
from tests.evaluation.chat_server import ChatServer, completion
from tests.evaluation.made_tasks import evaluated, made_options, made_rows
from tests.ray_jobs.conftest import raycipe
from tests.tokens.conftest import text_documents

TASKS = ["choice_few_shot", "choice_random_shots", "answer", "rolling"]


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("model")
    tokenizer = train_tokenizer(lambda: [text_documents([row["text"] for row in made_rows(20, 0)])], 400, 10_000)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    create_model(ModelConfig(**sizes), tokenizer, seed=1).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def session() -> Iterator[RaySession]:
    session = RaySession()
    session.require()
    yield session
    session.close()


def on_ray(session: RaySession, workers: int, model_dir: Path, directory: Path, **more) -> tuple:
    scorers = RayScorers(session, workers, gpu=False)
    try:
        options = made_options(directory, TASKS, batch_tokens=400, batch_size=2, **more)
        return evaluated(model_dir, options, directory, scorers=scorers, answers=directory / f"answers of {workers}")
    finally:
        scorers.close()


@pytest.mark.ray
@pytest.mark.parametrize("exact", [False, True])
def test_any_number_of_scorers_gives_the_same_bytes(session, model_dir, tmp_path, exact):
    found = []
    for workers in (1, 2):
        found.append((on_ray(session, workers, model_dir, tmp_path, exact=exact), files(tmp_path / "samples")))
    options = made_options(tmp_path, TASKS, batch_tokens=400, batch_size=2, exact=exact)
    alone = evaluated(model_dir, options, tmp_path, scorers=LocalScorers(), answers=tmp_path / "alone")
    found.append((alone, files(tmp_path / "samples")))
    assert found[0] == found[1] == found[2]
    assert len(files(tmp_path / "answers of 1")) > 10  # chunks
    assert files(tmp_path / "answers of 1") == files(tmp_path / "answers of 2") == files(tmp_path / "alone")


def files(directory: Path) -> dict[str, bytes]:
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*.json*")}


@pytest.mark.ray
def test_a_killed_scorer_is_replaced_and_its_requests_are_asked_again(session, model_dir, tmp_path):
    import ray

    expected = on_ray(session, 1, model_dir, tmp_path)
    scorers = RayScorers(session, 2, gpu=False)
    killed = []

    def kill() -> None:
        while not killed:
            time.sleep(0.02)
            if scorers._actors and (tmp_path / "disturbed").exists():
                ray.kill(scorers._actors[0], no_restart=False)
                killed.append(True)

    killer = threading.Thread(target=kill)
    killer.start()
    options = made_options(tmp_path, TASKS, batch_tokens=400, batch_size=2)
    found = evaluated(model_dir, options, tmp_path, scorers=scorers, answers=tmp_path / "disturbed")
    killed.append(False)
    killer.join()
    scorers.close()
    assert killed[0]
    assert found == expected


def test_a_stopped_evaluation_asks_only_for_what_is_missing(model_dir, tmp_path):
    class Stopped(LocalScorers):
        def __init__(self, most: int) -> None:
            super().__init__()
            self.most, self.asked = most, 0

        def score(self, model, chunks):
            for each in super().score(model, chunks):
                if self.asked == self.most:
                    raise KeyboardInterrupt
                self.asked += 1
                yield each

    options = made_options(tmp_path, TASKS, batch_tokens=400)
    whole = Stopped(10_000)
    expected = evaluated(model_dir, options, tmp_path, scorers=whole, answers=tmp_path / "whole")
    half = whole.asked // 2
    with pytest.raises(KeyboardInterrupt):
        evaluated(model_dir, options, tmp_path, scorers=Stopped(half), answers=tmp_path / "again")
    rest = Stopped(10_000)
    assert evaluated(model_dir, options, tmp_path, scorers=rest, answers=tmp_path / "again") == expected
    assert rest.asked == whole.asked - half


@pytest.mark.ray
def test_a_recipe_is_scored_with_perturbations_bias_and_a_judge_and_its_models_are_compared(small, tmp_path):
    runs = tmp_path / "runs"
    made_options(tmp_path, ["choice", "answer_alone"])
    for name in ("question.jsonl", "judge_prompts.jsonl"):
        (tmp_path / name).write_text(MT_BENCH[name])
    evaluate = {
        "tasks": ["choice", "answer_alone"],
        "task_files": ["choice.yaml", "answer_alone.yaml"],
        "data": {task: {"train": "train.jsonl", "test": "test.jsonl"} for task in ("choice", "answer_alone")},
        "perturb": {"choice": {"question": ["question"], "answers": ["choices"]}},
        "bias": ["answer_alone"],
        "limit": 10,
    }
    with ChatServer(lambda number, body: completion(f"Rating: [[{1 + number % 10}]]")) as server:
        judge = {"data": ".", "judge_url": server.url, "judge_model": "judge", "max_new_tokens": 8}
        text = small.read_text().split("evaluate:")[0]
        options = json.dumps(evaluate | {"mt_bench": judge})
        small.write_text(f"{text}evaluate: {options}\nresources: {{workers: 1, device: cpu}}\n")
        answer = raycipe("evaluate", small, "--runs-dir", runs, "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)["evaluate"]
    metrics = {(row["task"], row["metric"]) for row in found["scores"] if row["model"] == "sft"}
    assert {("choice", "acc"), ("choice", "acc (robustness)"), ("choice", "acc (fairness)")} <= metrics
    assert ("mt_bench", "rating") in metrics
    values = {(row["model"], row["metric"]): row["value"] for row in found["scores"] if row["task"] == "choice"}
    assert values["sft", "acc (robustness)"] <= values["sft", "acc"]
    assert {row["task"] for row in found["comparison"]["differences"]} == {"choice", "answer_alone", "mt_bench"}
    assert found["comparison"]["refused"] == {}
    report = raycipe("report", small, "--runs-dir", runs)
    assert report.code == 0, report.err

    compared = raycipe("compare", "small:base", "small", "--runs-dir", runs, "--json")
    assert compared.code == 0, compared.err
    assert json.loads(compared.out)["differences"] == found["comparison"]["differences"]
    path = runs / "small" / "evaluate" / "scores.json"
    changed = json.loads(path.read_text())
    changed["settings"]["base"]["choice"]["few_shot"] = 5
    path.write_text(json.dumps(changed))
    refused = raycipe("compare", "small:base", "small", "--runs-dir", runs)
    assert refused.code == 2
    assert "choice: few_shot 5 and 0" in refused.err.replace("\n", " ")
    assert raycipe("compare", "small:base", "small", "--runs-dir", runs, "--force").code == 0


MT_BENCH = {
    "question.jsonl": '{"question_id": 1, "category": "writing", "turns": ["Write of rivers.", "Now of stones."]}\n',
    "judge_prompts.jsonl": "".join(
        json.dumps(
            {
                "name": name,
                "type": "single",
                "system_prompt": "You rate.",
                "prompt_template": "".join(f"{{{field}}} " for field in fields),
                "output_format": "[[rating]]",
            }
        )
        + "\n"
        for name, fields in (
            ("single-v1", ("question", "answer")),
            ("single-v1-multi-turn", ("question_1", "answer_1", "question_2", "answer_2")),
            ("single-math-v1", ("question", "ref_answer_1", "answer")),
            (
                "single-math-v1-multi-turn",
                ("question_1", "ref_answer_1", "answer_1", "question_2", "ref_answer_2", "answer_2"),
            ),
        )
    ),
}
