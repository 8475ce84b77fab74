from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import torch
from torch.nn.functional import cross_entropy

from core.errors import DataError, RecipeError
from core.training.batches import IGNORED, collate
from core.training.checkpoints import FORMAT, STATE, newest_valid, step_directory, write_part
from core.training.data_parallel import DataParallel
from core.training.engine import Piece, World
from core.training.log import LOG, SAMPLES, SampleLog, TrainingLog
from core.training.order import make_sampler
from core.training.schedule import learning_rate
from tests.training.conftest import Material, phase
from tests.training.two_workers import run_workers


def losses(directory) -> list[float]:
    lines = [orjson.loads(line) for line in (directory / LOG).read_bytes().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def samples(directory: Path) -> list[dict[str, Any]]:
    """What was trained on, of one worker after another."""
    lines = (line for path in sorted(directory.glob(f"{SAMPLES}/*")) for line in path.read_bytes().splitlines())
    return [orjson.loads(line) for line in lines]


def plain_loop(material, options) -> tuple[list[float], torch.nn.Module]:
    """Training as one would write it on a blackboard: whole logits, mean over the batch's targets, torch's AdamW."""
    model = material.model()
    sampler = make_sampler(len(material.rows), options, 3)
    decayed = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    others = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    groups = [{"params": decayed, "weight_decay": options.weight_decay}, {"params": others, "weight_decay": 0.0}]
    adamw = torch.optim.AdamW(groups, betas=(options.beta1, options.beta2), eps=options.epsilon)
    curve = []
    for step in range(sampler.steps):
        batch = collate([material.rows[int(index)] for index in sampler.batch(step)], padding=1)
        logits = model(input_ids=batch.input_ids, position_ids=batch.position_ids, use_cache=False).logits
        loss = cross_entropy(logits[:, :-1].flatten(0, 1), batch.targets[:, 1:].flatten(), ignore_index=IGNORED)
        adamw.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), options.max_gradient_norm)
        for group in adamw.param_groups:
            group["lr"] = learning_rate(step, sampler.steps, options)
        adamw.step()
        curve.append(float(loss))
    return curve, model


CURVE = {"max_steps": 200, "weight_decay": 0.1, "warmup_steps": 10, "epochs": None}
SHARED_OUT = [(1, 4), (1, 1), (1, 8), (2, 4), (2, 1)]  # workers, rows of a micro-batch, of 8 rows in a step


@pytest.fixture(scope="module")
def plain_curve(material) -> list[float]:
    return plain_loop(material, phase(**CURVE))[0]


def curve_of(world: World, material: Material, directory: Path, micro_batch_size: int) -> list[float]:
    run = material.run(directory, {**CURVE, "micro_batch_size": micro_batch_size})
    replace(run, world=world).train()
    return losses(directory) if world.rank == 0 else []


@pytest.mark.parametrize(("workers", "micro_batch_size"), SHARED_OUT)
def test_the_loss_curve_is_that_of_a_plain_loop_for_200_steps(
    material, plain_curve, tmp_path, workers, micro_batch_size
):
    ours = run_workers(curve_of, material, tmp_path, micro_batch_size, workers=workers)[0]
    assert len(ours) == 200
    assert ours[-1] < 0.6 * ours[0]
    np.testing.assert_allclose(ours, plain_curve, rtol=3e-6)  # the largest measured: 3.1e-7, from the order of sums


class Killed(Exception):
    """What a kill looks like to the loop."""


def train_until_killed(monkeypatch, run, kill: int | None):
    """Trains, dying before step `kill` (0-based)."""
    real = DataParallel.step
    done = 0

    def dying(engine, figures, rate):
        nonlocal done
        if kill is not None and done == kill:
            raise Killed
        done += 1
        return real(engine, figures, rate)

    with monkeypatch.context() as patch:
        patch.setattr(DataParallel, "step", dying)
        if kill is None:
            return run.train()
        with pytest.raises(Killed):
            run.train()
    return None


@pytest.mark.parametrize("kills", [[3], [5, 3], [4, 1, 7]])
@pytest.mark.parametrize(
    "method",
    [
        {},
        {"method": "lora", "lora": {"rank": 4, "dropout": 0.1}, "neftune_alpha": 5.0},
        {"optimizer": "adamw_8bit"},
        {"optimizer": "paged_adamw_32bit", "gradient_checkpointing": True},
    ],
    ids=["full", "lora", "8bit", "paged"],
)
def test_a_killed_run_resumes_to_the_same_losses_and_weights(material, tmp_path, monkeypatch, kills, method):
    settings = {"max_steps": 14, "checkpoints": {"every_steps": 3}, "epochs": None, **method}
    undisturbed = material.run(tmp_path / "a", settings, material.adapted(settings))
    calm = undisturbed.train()
    for kill in [*kills, None]:
        run = material.run(tmp_path / "b", settings, material.adapted(settings))
        trained = train_until_killed(monkeypatch, run, kill)
    assert losses(tmp_path / "a") == losses(tmp_path / "b")
    assert not trained.summary["refused_checkpoints"]
    assert len(kills) - 1 <= trained.summary["restarts"] <= len(kills)  # a second kill may come before a checkpoint
    for (name, one), (_, other) in zip(calm.engine.weights(), trained.engine.weights(), strict=True):
        assert torch.equal(one, other), name


def test_a_broken_checkpoint_is_named_and_the_one_before_it_used(material, tmp_path):
    run = material.run(tmp_path, {"max_steps": 9, "checkpoints": {"every_steps": 2, "keep": 9}})
    run.train()
    found, refused = newest_valid(tmp_path / "checkpoints", "f", World())
    assert (found.name, refused) == ("step-00000009", [])
    weights = found / "rank-00000.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    state = tmp_path / "checkpoints" / "step-00000008" / "state.json"
    state.write_bytes(state.read_bytes()[:-40])
    old = tmp_path / "checkpoints" / "step-00000006" / "state.json"
    old.write_bytes(old.read_bytes().replace(b'"format": 2', b'"format": 1'))
    found, refused = newest_valid(tmp_path / "checkpoints", "f", World())
    assert found.name == "step-00000004"
    assert "step-00000009/rank-00000.safetensors: is not what was written" in refused[0]
    assert "step-00000008: not a whole checkpoint" in refused[1]
    assert "step-00000006: a checkpoint in format 1, and this version reads 2" in refused[2]
    trained = run.train()
    assert len(trained.summary["refused_checkpoints"]) == 3
    found, refused = newest_valid(tmp_path / "checkpoints", "of another recipe", World())
    assert found is None
    assert "another recipe" in refused[0]


def newest_seen(world: World, directory: Path) -> str | None:
    """The name of the checkpoint that a worker goes on from, each looking into a directory of its own."""
    found, _ = newest_valid(directory / f"seen-by-{world.rank}", "f", world)
    return found.name if found else None


@pytest.mark.parametrize("behind", [0, 1])
def test_workers_agree_on_a_checkpoint_where_the_file_system_shows_one_of_them_fewer(tmp_path, behind):
    for rank in range(2):
        for step in (6, 12) if rank != behind else (6,):
            at = step_directory(tmp_path / f"seen-by-{rank}", step)
            at.mkdir(parents=True)
            for part in range(2):
                write_part(at, part, [Piece("w/weight", 0, torch.zeros(3))])
            state = {"format": FORMAT, "fingerprint": "f", "step": step, "world_size": 2, "progress": {}}
            (at / STATE).write_bytes(orjson.dumps(state))
    assert run_workers(newest_seen, tmp_path) == ["step-00000006"] * 2


def test_a_refused_checkpoint_does_not_push_out_those_that_hold(material, tmp_path, monkeypatch):
    settings = {"max_steps": 9, "checkpoints": {"every_steps": 3, "keep": 1}, "epochs": None}
    run = material.run(tmp_path, settings)
    run.train()
    (last,) = (tmp_path / "checkpoints").glob("step-*")
    (last / "rank-00000.safetensors").write_bytes(b"broken")
    train_until_killed(monkeypatch, material.run(tmp_path, settings), 5)
    found, refused = newest_valid(tmp_path / "checkpoints", "f", World())
    assert found is not None
    assert (found.name, refused) == ("step-00000003", [])


def test_a_loss_that_is_not_finite_stops_with_step_and_documents(material, tmp_path):
    model = material.model()
    with torch.no_grad():
        model.model.norm.weight[0] = math.nan
    with pytest.raises(RecipeError, match=r"step 1: the loss is nan .*documents d:\d+") as caught:
        material.run(tmp_path, {"max_steps": 2, "log_sample_ids": True}, model).train()
    (line,) = samples(tmp_path)
    assert f"documents {', '.join(line['documents'][:5])} and {len(line['documents']) - 5} more" in str(caught.value)


def test_what_was_logged_beyond_the_checkpoint_is_cut_off(tmp_path):
    log = TrainingLog(tmp_path, 0)
    for step in range(1, 6):
        log.write({"step": step, "loss": 1.0})
    log.close()
    with (tmp_path / LOG).open("ab") as file:
        file.write(b'{"step": 6, "lo')
    TrainingLog(tmp_path, 3).close()
    assert losses(tmp_path) == [1.0, 1.0, 1.0]


def test_what_each_step_was_trained_on_is_written_on_demand_once_whatever_was_killed(material, tmp_path, monkeypatch):
    settings = {"max_steps": 14, "checkpoints": {"every_steps": 3}, "micro_batch_size": 4, "log_sample_ids": True}
    for kill in (5, 6, None):
        train_until_killed(monkeypatch, material.run(tmp_path, settings), kill)
    sampler = make_sampler(len(material.rows), phase(**settings), 3)
    expected = [[int(row) for row in sampler.batch(step)] for step in range(14)]
    lines = samples(tmp_path)
    assert [(line["step"], line["rank"], line["rows"]) for line in lines] == [
        (step, 0, rows) for step, rows in enumerate(expected, 1)
    ]
    for line in lines:
        assert line["documents"] == [name for row in line["rows"] for name in material.rows.documents(row)]
    material.run(tmp_path / "silent", {"max_steps": 1}).train()
    assert samples(tmp_path / "silent") == []


def test_sample_ids_of_workers_that_are_no_more_are_cut_off_too(tmp_path):
    for rank in range(3):
        log = SampleLog(tmp_path, 0, World(rank, 3))
        for step in range(1, 5):
            log.write(step, [3 * step + rank], [f"d:{step}"])
        log.close()
    for rank in range(2):
        SampleLog(tmp_path, 2, World(rank, 2)).close()
    assert [(line["step"], line["rank"]) for line in samples(tmp_path)] == [(s, r) for r in range(3) for s in (1, 2)]


def test_validation_loss_is_the_mean_over_its_target_tokens(material, tmp_path):
    run = material.run(tmp_path, {"max_steps": 3, "micro_batch_size": 2})
    progress = run.train().progress
    whole = collate([material.validation[index] for index in range(len(material.validation))], padding=1)
    logits = run.model(input_ids=whole.input_ids, position_ids=whole.position_ids, use_cache=False).logits
    expected = cross_entropy(logits[:, :-1].flatten(0, 1), whole.targets[:, 1:].flatten(), ignore_index=IGNORED)
    line = orjson.loads((tmp_path / LOG).read_bytes().splitlines()[-1])
    assert line["validation_loss"] == pytest.approx(float(expected), rel=1e-5)
    assert progress.best_step == 3


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_schedules_warm_up_to_the_peak_and_end_at_the_floor(schedule):
    options = phase(learning_rate=1.0, schedule=schedule, warmup_ratio=0.1, min_learning_rate_ratio=0.1)
    rates = [learning_rate(step, 100, options) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == rates[10] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(1.0 if schedule == "constant" else 0.1)
    assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(rates[10:]))


def test_a_checkpoint_of_another_model_is_refused(material, tmp_path):
    material.run(tmp_path, {"max_steps": 1}).train()
    with pytest.raises(DataError, match=r"weights of another model \(model.layers.2"):
        material.run(tmp_path, {"max_steps": 2}, material.model(num_hidden_layers=3)).train()
