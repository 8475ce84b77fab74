"""How scorers are spread over GPUs, by what Ray tells of a cluster: what can be known without one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from core.errors import ResourceError
from core.evaluation.scorer import devices_for, weight_bytes
from core.models.create import create_model
from core.models.options import ModelConfig
from core.recipe.resolve import load_recipe
from core.tokens.tokenizer import train_tokenizer
from ray_jobs import scorers
from ray_jobs.evaluate import check_evaluation, scorer_devices
from ray_jobs.job import Job
from ray_jobs.progress import Reporter
from ray_jobs.sweep_check import check_sweep
from tests.tokens.conftest import TEXTS, text_documents

GIB = 2**30


class Nodes:
    """A Ray of nodes with these resources."""

    def __init__(self, *nodes: dict[str, float]) -> None:
        self._nodes = list(nodes)

    def nodes(self) -> list[dict[str, float]]:
        return self._nodes

    def require(self) -> dict[str, float]:
        names = {name for node in self._nodes for name in node}
        return {name: sum(node.get(name, 0) for node in self._nodes) for name in names}


def cluster(monkeypatch: pytest.MonkeyPatch, *nodes: dict[str, float], gib: float = 80) -> Any:
    """A session of a cluster whose GPUs have so much memory."""
    session = Nodes(*nodes)
    monkeypatch.setattr(scorers, "_memory_of_a_gpu", lambda session: int(gib * GIB))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return session


def job(session: Any, directory: Path, *overrides: str) -> Job:
    resolved = load_recipe("smaug-72b", None, list(overrides))
    (directory / "recipe.yaml").write_text(resolved.as_yaml())
    return Job(resolved, directory, session, Reporter())


@pytest.mark.parametrize(
    ("weights", "gib", "devices"),
    [(2 * 7.24e9, 24, 1), (2 * 13e9, 24, 2), (2 * 72.3e9, 80, 4), (2 * 72.3e9, 141, 2), (1, 8, 1)],
)
def test_a_model_is_spread_over_as_many_gpus_as_its_weights_need(weights, gib, devices):
    assert devices_for(weights, gib * GIB) == devices


def test_no_gpu_is_asked_for_its_memory_for_a_model_that_any_has_room_for():
    assert scorers.devices_of(None, 2 * 1.1e9) == 1  # type: ignore[arg-type]


def test_scorers_are_counted_node_by_node(monkeypatch):
    session = cluster(monkeypatch, {"GPU": 8, "CPU": 4}, {"GPU": 2, "CPU": 64}, {"CPU": 8})
    assert scorers.scorer_room(session, 1, "it") == 4 + 2  # no more than the CPUs of a node
    assert scorers.scorer_room(session, 3, "it") == 2
    with pytest.raises(ResourceError, match=r"needs 9 GPUs and a CPU on one node, .*GPUs: 8"):
        scorers.scorer_room(session, 9, "it")


def test_the_bytes_of_weights_are_told_by_their_files(tmp_path):
    tokenizer = train_tokenizer(lambda: [text_documents(TEXTS)], 400, 10_000)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = create_model(ModelConfig(**sizes), tokenizer, seed=1)
    model.save_pretrained(tmp_path)
    numbers = sum(parameter.numel() for parameter in model.parameters())
    assert weight_bytes(tmp_path, 2) == 2 * numbers
    assert weight_bytes(tmp_path) == (tmp_path / "model.safetensors").stat().st_size > 4 * numbers
    shutil.copy(tmp_path / "model.safetensors", tmp_path / "consolidated.safetensors")  # as in Mistral's directories
    assert weight_bytes(tmp_path, 2) == 2 * numbers
    (tmp_path / "model.safetensors").write_bytes(b"\x04\0\0\0\0\0\0\0torn")
    with pytest.raises(ResourceError, match=r"model\.safetensors: not a whole file of weights"):
        weight_bytes(tmp_path, 2)


def test_a_model_that_no_node_can_score_is_found_before_anything_starts(monkeypatch, tmp_path):
    narrow = cluster(monkeypatch, {"GPU": 2, "CPU": 16}, {"GPU": 2, "CPU": 16})
    with pytest.raises(ResourceError, match="smaug-72b's model: to be scored it needs 4 GPUs"):
        check_evaluation(job(narrow, tmp_path))
    wide = cluster(monkeypatch, {"GPU": 8, "CPU": 16})
    check_evaluation(job(wide, tmp_path))
    assert scorer_devices(job(wide, tmp_path)) == 4
    assert scorer_devices(job(wide, tmp_path, "evaluate.exact=true")) == 8  # as exported, in fp32
    assert scorer_devices(job(cluster(monkeypatch, {"GPU": 8, "CPU": 16}, gib=192), tmp_path)) == 1
    assert scorer_devices(job(cluster(monkeypatch, {"CPU": 16}), tmp_path, "resources.device=auto")) == 1


def test_a_trial_with_too_few_gpus_to_score_its_model_is_found_before_anything_starts(monkeypatch, tmp_path):
    node = {"GPU": 8, "CPU": 64}
    with pytest.raises(ResourceError, match=r"its model needs 4 to be scored; take resources\.workers=4 or more"):
        check_sweep(job(cluster(monkeypatch, node), tmp_path, "resources.workers=2"))
    assert check_sweep(job(cluster(monkeypatch, node), tmp_path)).scorer_devices == 4
