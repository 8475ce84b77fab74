"""A key of a phase has an effect, or is shown to have none where none is meant."""

from __future__ import annotations

import numpy as np
import orjson
import pytest
import torch

from tests.training.test_trainer import losses

STEPS = {"max_steps": 6}


def curve(material, directory, **options) -> list[float]:
    material.run(directory, STEPS | options).train()
    return losses(directory)


@pytest.fixture(scope="module")
def usual(material, tmp_path_factory) -> list[float]:
    return curve(material, tmp_path_factory.mktemp("usual"))


@pytest.mark.parametrize(
    "option",
    [
        {"learning_rate": 2e-3},
        {"schedule": "constant"},
        {"min_learning_rate_ratio": 0.9},
        {"warmup_steps": 3},
        {"warmup_ratio": 0.5},
        {"weight_decay": 0.5, "learning_rate": 1e-2},
        {"beta1": 0.5},
        {"beta2": 0.5},
        {"epsilon": 1e-2},
        {"max_gradient_norm": 0.01, "epsilon": 1e-3},
        {"max_gradient_norm": 0},
        {"global_batch_size": 4},
        {"precision": "bf16"},
    ],
    ids=str,
)
def test_the_option_changes_what_is_learned(material, tmp_path, usual, option):
    changed = curve(material, tmp_path, **option)
    assert len(changed) == len(usual)
    assert changed != usual
    if "global_batch_size" not in option:
        np.testing.assert_allclose(changed[0], usual[0], rtol=2e-2)  # the first loss is before any update


def test_gradient_checkpointing_changes_nothing_but_memory(material, tmp_path, usual):
    model = material.model()
    material.run(tmp_path, STEPS | {"gradient_checkpointing": True}, model).train()
    assert model.is_gradient_checkpointing
    np.testing.assert_allclose(losses(tmp_path), usual, rtol=1e-5)


def test_logging_validation_and_checkpoints_come_when_asked(material, tmp_path):
    saved = []

    def keep(progress, directory):
        saved.append(progress.step)

    options = {"max_steps": 7, "log_every_steps": 3, "validate_every_steps": 2, "checkpoints": {"every_steps": 4}}
    material.run(tmp_path, options, on_checkpoint=keep).train()
    lines = [orjson.loads(line) for line in (tmp_path / "log.jsonl").read_bytes().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [3, 6, 7]
    assert [line["step"] for line in lines if "validation_loss" in line] == [2, 4, 6, 7]
    assert saved == [4, 7]


def test_without_a_number_a_checkpoint_comes_at_each_epochs_end(material, tmp_path):
    saved = []
    run = material.run(tmp_path, {"epochs": 2}, on_checkpoint=lambda progress, _: saved.append(progress.epoch))
    run.train()
    assert len(saved) == 2
    assert saved[0] == pytest.approx(1.0, abs=8 / len(material.rows))
    assert saved[1] == 2.0


def test_adapters_train_what_the_recipe_names(material):
    from core.models.adapters import add_adapters
    from core.models.options import Lora

    lora = Lora(rank=3, alpha=6, dropout=0.25, target_modules=["q_proj"], train_embeddings=True)
    model = add_adapters(material.model(), lora, seed=1)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name.split(".")[-4] if "lora" in name else "embedding" for name in trained} == {"q_proj", "embedding"}
    layer = model.get_base_model().model.layers[0].self_attn.q_proj
    assert (layer.lora_A["default"].out_features, layer.scaling["default"]) == (3, 2.0)
    assert layer.lora_dropout["default"].p == 0.25
    torch.testing.assert_close(layer.lora_B["default"].weight, torch.zeros_like(layer.lora_B["default"].weight))
