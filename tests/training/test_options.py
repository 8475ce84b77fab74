"""A key of a phase has an effect, or is shown to have none where none is meant."""

from __future__ import annotations

import math
import weakref

import numpy as np
import orjson
import pytest
import torch

from core.errors import ResourceError
from core.tokens.options import PhaseData
from core.training.health import LossWatch, told_without_room
from tests.training.conftest import phase
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
        {"optimizer": "adamw_8bit"},
        {"neftune_alpha": 5.0},
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


def checkpoints(directory) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in (directory / "checkpoints").iterdir())


def test_logging_validation_and_checkpoints_come_when_asked(material, tmp_path):
    told = []
    options = {"max_steps": 7, "log_every_steps": 3, "validate_every_steps": 2, "checkpoints": {"every_steps": 4}}
    material.run(tmp_path, options, on_report=told.append).train()
    lines = [orjson.loads(line) for line in (tmp_path / "log.jsonl").read_bytes().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [3, 6, 7]
    assert [line["step"] for line in lines if "validation_loss" in line] == [2, 4, 6, 7]
    assert [values["step"] for values in told] == [2, 4, 6, 7]
    assert all("validation_loss" in values for values in told)
    assert checkpoints(tmp_path) == [4, 7]


@pytest.mark.parametrize(("every", "count"), [(None, 2), (1.0, 2), (0.5, 4)])
def test_checkpoints_come_each_epoch_or_each_part_of_one(material, tmp_path, every, count):
    kept = {"every_epochs": every, "keep": 9}
    material.run(tmp_path, {"epochs": 2, "checkpoints": kept}).train()
    saved = checkpoints(tmp_path)
    per_epoch = len(material.rows) / 8
    assert len(saved) == count
    for number, step in enumerate(saved, 1):
        assert step == math.ceil(round(number * 2 / count * per_epoch, 6))


@pytest.fixture
def ruined_after_4(monkeypatch) -> None:
    """A learning rate that is right for four steps and ruins the weights from then on."""
    monkeypatch.setattr("core.training.trainer.learning_rate", lambda step, *_: 1e-3 if step < 4 else 10.0)


def test_only_the_latest_checkpoints_and_the_best_are_kept(material, tmp_path, ruined_after_4):
    kept = {"every_steps": 2, "keep": 2, "keep_best": True}
    settings = {
        "max_steps": 12,
        "on_nonfinite": "skip",
        "learning_rate": 0.3,
        "warmup_steps": 6,
        "data": with_validation(),
        "checkpoints": kept,
    }
    trained = material.run(tmp_path, settings).train()
    best = trained.progress.best_step
    assert checkpoints(tmp_path) == sorted({10, 12, best})
    assert best < 10


def test_the_phase_leaves_its_best_weights_where_it_is_told_to(material, tmp_path, ruined_after_4):
    settings = {"max_steps": 12, "on_nonfinite": "skip", "data": with_validation()}
    kept = {"every_steps": 2, "keep": 1, "export": "best"}
    trained = material.run(tmp_path, settings | {"checkpoints": kept}).train()
    best = trained.progress.best_step
    assert best < 12
    from core.training.checkpoints import CheckpointPieces, step_directory

    pieces = CheckpointPieces(step_directory(tmp_path / "checkpoints", best), 1)
    for name, weight in trained.engine.weights():
        assert torch.equal(weight.flatten(), pieces.read(f"{name}/weight", 0, weight.numel())), name


def test_a_checkpoint_comes_when_it_is_time(material, tmp_path):
    kept = {"every_minutes": 1e-9, "keep": 9}
    material.run(tmp_path, {"max_steps": 4, "checkpoints": kept}).train()
    assert checkpoints(tmp_path) == [1, 2, 3, 4]
    lines = [orjson.loads(line) for line in (tmp_path / "log.jsonl").read_bytes().splitlines()]
    assert [line["step"] for line in lines if "validation_loss" in line] == [4]


def test_a_step_that_is_not_finite_is_left_out_and_listed(material, tmp_path, monkeypatch):
    from core.training.data_parallel import DataParallel

    real, at = DataParallel.step, []

    def poisoned(engine, figures, rate):
        at.append(len(at))
        return real(engine, figures * (math.nan if len(at) == 3 else 1), rate)

    monkeypatch.setattr(DataParallel, "step", poisoned)
    trained = material.run(tmp_path, {"max_steps": 6, "on_nonfinite": "skip"}).train()
    assert (trained.summary["skipped_steps"], trained.progress.updates) == (1, 5)
    event = orjson.loads((tmp_path / "events.jsonl").read_bytes())
    assert (event["step"], event["kind"], event["loss"]) == (3, "skipped", None)
    assert event["documents"]
    assert [step for step, _ in logged(tmp_path)] == [1, 2, 4, 5, 6]
    assert all(torch.isfinite(weight).all() for _, weight in trained.engine.weights())


def logged(directory) -> list[tuple[int, float]]:
    lines = [orjson.loads(line) for line in (directory / "log.jsonl").read_bytes().splitlines()]
    return [(line["step"], line["loss"]) for line in lines if "loss" in line]


def with_validation() -> PhaseData:
    return PhaseData(sources=["d"], sequence_length=128, validation=40)


def test_a_loss_that_stands_out_is_a_spike_and_not_the_next_usual():
    random = np.random.default_rng(0)
    watch = LossWatch()
    usual = [watch.is_spike(2 + 0.01 * random.normal()) for _ in range(200)]
    assert not any(usual)
    assert watch.is_spike(2.5)
    assert watch.mean == pytest.approx(2, abs=0.01)
    assert watch.is_spike(2.5)


def test_what_does_not_fit_is_known_before_the_first_step_with_what_would(material, tmp_path, monkeypatch):
    from core.training.data_parallel import DataParallel

    real = DataParallel.forward
    failed: list[weakref.ref[torch.Tensor]] = []

    def small_device(engine, batch):
        assert not any(earlier() is not None for earlier in failed)  # memory of what did not fit is free again
        activations = torch.ones(batch.input_ids.shape)
        if batch.input_ids.shape[0] > 2:
            failed.append(weakref.ref(activations))
            raise torch.OutOfMemoryError("no more")
        return real(engine, batch)

    monkeypatch.setattr(DataParallel, "forward", small_device)
    with pytest.raises(ResourceError, match=r"micro-batch of 8 rows of \d+ tokens .*micro_batch_size=2 does"):
        material.run(tmp_path, {"max_steps": 2, "micro_batch_size": 8}).train()
    assert not logged(tmp_path)
    monkeypatch.setattr(DataParallel, "forward", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("none")))
    with pytest.raises(ResourceError, match="what would help, the cheapest first: gradient_checkpointing=true"):
        material.run(tmp_path, {"max_steps": 2, "micro_batch_size": 8}).train()


def test_weights_that_do_not_fit_are_told_with_what_would():
    with (
        pytest.raises(ResourceError, match=r"state do not fit .*: optimizer=paged_adamw_8bit, zero_stage=3"),
        told_without_room(phase()),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 26.98 GiB")


def test_the_rehearsal_of_the_largest_micro_batch_changes_nothing(material, tmp_path, monkeypatch, usual):
    from core.training.passes import Passes

    monkeypatch.setattr(Passes, "rehearse", lambda self, rows, sampler: None)
    assert curve(material, tmp_path) == usual


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
