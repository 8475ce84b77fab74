"""Training on Ray Train: every method trains, the same on any number of workers."""

from __future__ import annotations

import shutil
from pathlib import Path

import orjson
import pytest
import torch
from safetensors.torch import load_file

from tests.ray_jobs.conftest import raycipe

pytestmark = pytest.mark.ray


def losses(phase: Path) -> list[tuple[int, float]]:
    lines = [orjson.loads(line) for line in (phase / "log.jsonl").read_bytes().splitlines()]
    return [(line["step"], line["loss"]) for line in lines if "loss" in line]


def weights(phase: Path) -> dict[str, torch.Tensor]:
    return load_file(phase / "model" / "model.safetensors")


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


def test_two_workers_learn_what_one_learns(undisturbed, tmp_path, small, ray_cluster):
    run = prepared(undisturbed, tmp_path)
    one_worker = ("resources.workers=1", "train.sft=null")
    answer = raycipe("train", small, *one_worker, "--runs-dir", tmp_path / "runs", "--address", ray_cluster)
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
