"""Training on Ray Train: killed at any moment it ends as if nothing had happened; every method trains."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import orjson
import psutil
import pytest
import torch
from safetensors.torch import load_file

from tests.ray_jobs.conftest import environment, raycipe

pytestmark = pytest.mark.ray


def losses(phase: Path) -> list[tuple[int, float]]:
    lines = [orjson.loads(line) for line in (phase / "log.jsonl").read_bytes().splitlines()]
    return [(line["step"], line["loss"]) for line in lines if "loss" in line]


def weights(phase: Path) -> dict[str, torch.Tensor]:
    return load_file(phase / "model" / "model.safetensors")


def assert_same(one: Path, other: Path) -> None:
    assert losses(one) == losses(other)
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, ray_cluster) -> Path:
    """A run of the small recipe that nobody disturbed; its directory and recipe."""
    from tests.ray_jobs.conftest import SMALL

    directory = tmp_path_factory.mktemp("undisturbed")
    (directory / "small.yaml").write_text(SMALL)
    answer = raycipe("train", directory / "small.yaml", "--runs-dir", directory, "--address", ray_cluster)
    assert answer.code == 0, answer.err
    return directory / "small"


def prepared(undisturbed: Path, tmp_path: Path) -> Path:
    """A run directory whose data are ready and whose training has not begun."""
    run = tmp_path / "runs" / "small"
    run.mkdir(parents=True)
    for stage in ("curate", "tokenize"):
        shutil.copytree(undisturbed / stage, run / stage)
    return run


def start(tmp_path: Path, recipe: Path, ray_cluster: str | None, *overrides: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ray_jobs.train", str(recipe), *overrides, "--runs-dir", str(tmp_path / "runs")]
    command += ["--address", ray_cluster] if ray_cluster else []
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())


def wait_for_step(log: Path, step: int, process: subprocess.Popen[str]) -> None:
    from core.training.log import latest

    for _ in range(1200):
        line = latest(log)
        if line and line["step"] >= step:
            return
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.1)
    raise AssertionError(f"step {step} was not reached")


def workers() -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any("RayTrainWorker" in part for part in process.info["cmdline"] or []):
            found.append(process)
    return found


SLOW = ("train.pretrain.max_steps=60", "train.pretrain.checkpoints.every_steps=7")


def test_killed_workers_and_driver_resume_to_the_same_losses_and_weights(undisturbed, tmp_path, small, ray_cluster):
    calm = prepared(undisturbed, tmp_path / "calm")
    answer = raycipe("train", small, *SLOW, "--runs-dir", calm.parent, "--address", ray_cluster)
    assert answer.code == 0, answer.err

    run = prepared(undisturbed, tmp_path)
    log = run / "train/pretrain/log.jsonl"
    process = start(tmp_path, small, ray_cluster, *SLOW)
    wait_for_step(log, 9, process)
    workers()[0].kill()  # Ray Train begins again from the last checkpoint by itself
    time.sleep(3)
    wait_for_step(log, 25, process)
    process.kill()  # the driver: the same command goes on
    process.wait()
    done = raycipe("train", small, *SLOW, "--runs-dir", tmp_path / "runs", "--address", ray_cluster)
    assert done.code == 0, done.err
    for phase in ("pretrain", "sft"):
        assert_same(calm / "train" / phase, run / "train" / phase)
    again = raycipe("train", small, *SLOW, "--runs-dir", tmp_path / "runs")
    assert "train pretrain: finished earlier" in again.err
    assert "train sft: finished earlier" in again.err


def test_two_workers_learn_what_one_learns(undisturbed, tmp_path, small, ray_cluster):
    run = prepared(undisturbed, tmp_path)
    answer = raycipe("train", small, "resources.workers=1", "--runs-dir", tmp_path / "runs", "--address", ray_cluster)
    assert answer.code == 0, answer.err
    one, two = losses(run / "train/pretrain"), losses(undisturbed / "train/pretrain")
    assert [step for step, _ in one] == [step for step, _ in two] == list(range(1, 21))
    for (_, single), (_, double) in zip(one, two, strict=True):
        assert single == pytest.approx(double, rel=1e-4)


def test_lora_trains_little_and_merges_into_the_whole_model(undisturbed):
    import transformers

    phase = undisturbed / "train/sft"
    summary = orjson.loads((phase / "summary.json").read_bytes())
    assert summary["method"] == "lora"
    assert summary["trainable_parameters"] < 0.5 * summary["parameters"]
    assert (phase / "adapter/adapter_model.safetensors").exists()
    before, after = weights(undisturbed / "train/pretrain"), weights(phase)
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.split(".")[-2].endswith("_proj") for name in changed)
    tokenizer = transformers.AutoTokenizer.from_pretrained(phase / "model")
    model = transformers.AutoModelForCausalLM.from_pretrained(phase / "model")
    question = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi."}], add_generation_prompt=True, return_tensors="pt"
    )
    assert model.generate(**question, max_new_tokens=3).shape[1] > question["input_ids"].shape[1]


def test_qlora_trains_over_four_bit_weights(undisturbed, tmp_path, small, ray_cluster):
    pytest.importorskip("bitsandbytes")
    run = prepared(undisturbed, tmp_path)
    shutil.copytree(undisturbed / "train", run / "train")
    answer = raycipe(
        "train", small, "train.sft.method=qlora", "--runs-dir", tmp_path / "runs", "--address", ray_cluster
    )
    assert answer.code == 0, answer.err
    assert "train pretrain: finished earlier" in answer.err
    quantised, plain = losses(run / "train/sft"), losses(undisturbed / "train/sft")
    assert len(quantised) == 10
    assert quantised[0][1] == pytest.approx(plain[0][1], rel=0.02)
    assert quantised[0][1] != plain[0][1]
    assert quantised[-1][1] < quantised[0][1]


def test_a_loss_that_explodes_ends_the_command_with_2_and_keeps_the_checkpoint(
    undisturbed, tmp_path, small, ray_cluster
):
    run = prepared(undisturbed, tmp_path)
    answer = raycipe(
        "train", small, "train.pretrain.learning_rate=1e30", "--runs-dir", tmp_path / "runs", "--address", ray_cluster
    )
    assert answer.code == 2, answer.err
    assert "Traceback" not in answer.err
    assert "train.pretrain: step" in answer.err
    assert "Try a lower learning_rate" in answer.err
    assert not (run / "train/pretrain/manifest.json").exists()
