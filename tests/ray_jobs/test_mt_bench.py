"""MT-Bench from a model and a judge to scores: servers that generate, and FastChat's own files."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.artifacts.fingerprint import fingerprint
from core.errors import DataError, RecipeError
from core.evaluation.mt_bench.benchmark import read_benchmark
from core.evaluation.mt_bench.endpoint import Endpoint
from core.evaluation.mt_bench.options import MtBench
from ray_jobs.mt_bench import Grading, judge_models, mt_bench
from ray_jobs.progress import Reporter
from tests.evaluation.chat_server import (
    ChatServer,
    Reply,
    chat_tokenizer,
    completion,
    generating,
    judging_model,
    random_model,
    save,
)
from tests.ray_jobs.conftest import environment, raycipe

CATEGORIES = ("writing", "math", "humanities")
RATED = completion("Rating: [[4]]", prompt_tokens=1000, completion_tokens=10)
SHORT = ("--max-new-tokens", 8, "--judge-max-tokens", 16, "--batch-size", 2)


@pytest.fixture(scope="module")
def data(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published question of each of CATEGORIES, with the published prompts and references."""
    published, directory = shared_data / "mt_bench", tmp_path_factory.mktemp("mt_bench")
    shutil.copytree(published / "reference_answer", directory / "reference_answer")
    shutil.copy(published / "judge_prompts.jsonl", directory)
    rows = {}
    for line in (published / "question.jsonl").read_text().splitlines():
        rows.setdefault(json.loads(line)["category"], line)
    (directory / "question.jsonl").write_text("".join(f"{rows[name]}\n" for name in CATEGORIES))
    return directory


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of a model that says anything at all."""
    tokenizer = chat_tokenizer()
    return save(random_model(tokenizer), tokenizer, tmp_path_factory.mktemp("models") / "mine")


@pytest.fixture(scope="module")
def judge_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = chat_tokenizer()
    return save(judging_model(tokenizer), tokenizer, tmp_path_factory.mktemp("models") / "judge")


@pytest.fixture
def judge_server() -> Iterator[ChatServer]:
    """Generates each judgment."""
    tokenizer = chat_tokenizer()
    with ChatServer(generating(judging_model(tokenizer), tokenizer)) as server:
        yield server


@pytest.mark.ray
def test_a_model_here_is_judged_by_a_server_and_nothing_is_asked_twice(
    ray_cluster, judge_server, model, data, tmp_path
):
    asked = ["mt-bench", model, "--data", data, "--judge-url", judge_server.url, "--judge-model", "judge", *SHORT]
    asked += ["--out", tmp_path, "--prompt-price", 10, "--completion-price", 1000, "--address", ray_cluster]
    first = raycipe(*asked, "--json", OPENAI_API_KEY="s3cret-key")
    assert first.code == 0, first.err
    result = json.loads(first.out)
    assert (result["score"], result["rated"], result["unrated"], result["judged_now"]) == (7, 6, 0, 6)
    assert [(each["category"], each["score"]) for each in result["categories"]] == [(name, 7) for name in CATEGORIES]
    assert [each["rated"] for each in result["turns"]] == [3, 3]
    spent = result["cost"]
    assert spent["completion_tokens"] == 6 * 4  # [[ 7 ]] and the end
    assert spent["money"] == pytest.approx(spent["prompt_tokens"] * 1e-5 + 6 * 4 * 1e-3)
    asked_of_judge = [request for request in judge_server.requests if request["max_tokens"] == 16]
    assert json.loads((tmp_path / "mt_bench.json").read_text()) == result
    answers = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    for answer in answers:
        for turn in answer["choices"][0]["turns"]:
            assert any(turn in request["messages"][-1]["content"] for request in asked_of_judge)
    assert {headers["Authorization"] for headers in judge_server.headers} == {"Bearer s3cret-key"}
    written = "".join(path.read_text() for path in tmp_path.iterdir())
    assert "s3cret" not in first.out + first.err + written

    count = len(judge_server.requests)
    again = raycipe(*asked)
    assert again.code == 0, again.err
    assert len(judge_server.requests) == count
    rows = {line.split()[0]: line.split()[1:] for line in again.out.splitlines() if line.strip()}
    assert rows["all"] == ["7.00", "±", "0.00"] * 3
    assert rows["math"] == ["7.00"] * 3  # one question has no error


def test_a_model_behind_an_endpoint_is_judged_too(data, tmp_path):
    def respond(number: int, body: dict[str, Any]) -> Reply:
        if body["model"] == "mine":
            return completion(f"Answer {number}.", prompt_tokens=20, completion_tokens=5)
        return completion("I like it." if "Answer 1" in body["messages"][-1]["content"] else "So: [[3]]")

    with ChatServer(respond) as server:
        answer = raycipe(
            "mt-bench", "mine", "--model-url", server.url, "--data", data, "--judge-url", server.url,
            "--judge-model", "judge", "--out", tmp_path,
        )  # fmt: skip
        assert answer.code == 0, answer.err
    result = json.loads((tmp_path / "mt_bench.json").read_text())
    assert result["answers"] == {"cut_off": 0, "no_room": 0, "prompt_tokens": 120, "completion_tokens": 30}
    assert result["unrated"] > 0
    assert result["score"] == 3  # of the rated ones
    assert result["cost"]["not_counted"] == 6
    assert f"{result['unrated']} answers without a rating, in no mean" in answer.out


def grading(url: str, data: Path, **settings: Any) -> Grading:
    options = MtBench(data=str(data), judge_url=url, judge_model="judge", judge_key_variable="NO_KEY", **settings)
    return Grading(read_benchmark(data), options, 42, None, Reporter(), use_gpu=False)


def test_a_killed_command_goes_on_to_the_same_result(data, tmp_path):
    def respond(number: int, body: dict[str, Any]) -> Reply:
        said = completion("Fine.") if body["model"] == "mine" else RATED
        return Reply(said.body, seconds=0.05 if body["model"] == "mine" else 0.3)

    with ChatServer(respond) as server:
        command = ["mt-bench", "mine", "--model-url", server.url, "--data", data, "--judge-url", server.url]
        command += ["--judge-model", "judge", "--concurrency", "1", "--json"]
        whole = json.loads(raycipe(*command, "--out", tmp_path / "whole").out)
        count = len(server.requests)
        process = subprocess.Popen(
            [sys.executable, "-m", "ray_jobs.cli", *map(str, command), "--out", str(tmp_path / "killed")],
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        judgments = tmp_path / "killed" / "judgments.jsonl"
        while not judgments.exists() or judgments.read_bytes().count(b"\n") < 2:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept = judgments.read_bytes().count(b"\n")
        before = len(server.requests)
        resumed = json.loads(raycipe(*command, "--out", tmp_path / "killed").out)
        assert len(server.requests) - before == 6 - kept
    assert count == 1 + 6 + 6  # the judge's word, answers, judgments
    assert resumed == {**whole, "judged_now": 6 - kept}


def test_a_judge_that_is_not_there_is_told_before_anything_is_answered(data, tmp_path):
    with ChatServer(lambda number, body: Reply("overloaded", 503)) as server:
        answer = raycipe(
            "mt-bench", "mine", "--model-url", server.url, "--data", data, "--judge-url", server.url,
            "--judge-model", "judge", "--out", tmp_path, "--retries", 1, "--json",
        )  # fmt: skip
        assert [request["model"] for request in server.requests] == ["judge"] * 2
    assert answer.code == 3
    assert json.loads(answer.out)["error"].startswith(f"{server.url}: judge answered 503 in 2 tries (overloaded)")
    assert not (tmp_path / "answers.jsonl").exists()


def test_wrong_arguments_are_told_all_at_once(data, tmp_path):
    answer = raycipe(
        "mt-bench", "mine", "--data", data, "--judge-model", "judge", "--judge-url", "https://me:password@host/v1",
        "--retries", -1,
    )  # fmt: skip
    assert answer.code == 2
    assert answer.err.startswith("error: --judge-url: found 'https://me:password@host/v1'")
    assert "\n--retries: found -1" in answer.err

    settings = {"data": "nowhere", "judge_url": "http://host/v1", "judge_model": "judge"}
    with pytest.raises(RecipeError, match="--model-url: found 'ftp://host'"):
        mt_bench("mine", "ftp://host", "NO_KEY", settings, tmp_path, 42, None, False)
    with pytest.raises(DataError, match=r"nowhere/question.jsonl: cannot be read"):
        mt_bench("mine", None, "NO_KEY", settings, tmp_path, 42, None, False)


def test_models_of_a_run_get_rows_of_scores_and_samples(model, data, tmp_path):
    with ChatServer(lambda number, body: RATED) as server:
        of = grading(server.url, data, max_new_tokens=4, batch_size=2)
        rows = judge_models(of, {"base": model, "sft": model}, tmp_path / "kept", tmp_path / "samples")
    assert [(row["model"], row["task"], row["metric"], row["value"], row["samples"]) for row in rows] == [
        (name, "mt_bench", metric, 4, samples)
        for name in ("base", "sft")
        for metric, samples in (("rating", 6), ("rating_turn_1", 3), ("rating_turn_2", 3))
    ]
    assert {row["fingerprint"] for row in rows} == {fingerprint(of.settings())}
    assert of.settings() == grading(server.url, data, max_new_tokens=4, concurrency=1).settings()
    assert of.settings() != grading(server.url, data, max_new_tokens=5).settings()
    lines = (tmp_path / "samples" / "sft" / "mt_bench.jsonl").read_text().splitlines()
    assert [json.loads(line)["doc"]["category"] for line in lines] == list(CATEGORIES)


def test_a_judge_that_rates_nothing_gives_a_run_no_score(model, data, tmp_path):
    with ChatServer(lambda number, body: completion("Lovely weather.")) as server:
        of = grading(server.url, data, max_new_tokens=4)
        with pytest.raises(DataError, match="rated none of 6 answers of base"):
            judge_models(of, {"base": model}, tmp_path / "kept", tmp_path / "samples")


@contextlib.contextmanager
def transformers_serve(model: Path) -> Iterator[str]:
    """The address of transformers' own server of a model directory."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "transformers.cli.transformers", "serve", "--port", str(port), "--device", "cpu"],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while server.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.1)
        yield f"http://localhost:{port}/v1"
    finally:
        server.terminate()
        server.wait()


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("fastapi", "uvicorn", "openai")),
    reason="transformers serve needs transformers[serving]",
)
def test_transformers_serve_can_be_the_judge_and_hold_the_model(model, judge_dir, data, tmp_path):
    with transformers_serve(judge_dir) as url:
        options = MtBench(
            data=str(data), judge_url=url, judge_model=str(judge_dir), judge_max_tokens=16, max_new_tokens=8
        )
        of = Grading(read_benchmark(data), options, 42, None, Reporter())
        result, *_ = of.grade(Endpoint(url, str(model), "NO_KEY"), "mine", tmp_path)
    assert (result["score"], result["rated"]) == (7, 6)
    assert result["cost"]["completion_tokens"] == 6 * 4
    assert result["answers"]["cut_off"] == 6
