"""Preference pairs, noise, and losses in parts, against what one would write on a blackboard."""

from __future__ import annotations

import numpy as np
import orjson
import pytest
import torch
from torch.nn.functional import logsigmoid

from core.tokens.options import PhaseData
from core.tokens.samples import make_samples
from core.tokens.shards import TokenRows, write_rows
from core.training import losses
from core.training.batches import IGNORED, collate, without_targets
from core.training.engine import World
from core.training.losses import causal_lm_loss, neftune_noise, sample_logps
from core.training.order import make_sampler, micro_batches
from core.training.reference import ReferenceLogps, compute_reference
from core.training.schedule import learning_rate
from core.training.trainer import Run
from tests.tokens.conftest import pairs
from tests.training.conftest import phase

PREFERENCE = {"preference": {"beta": 0.3, "dpop_lambda": 50.0}}


@pytest.fixture(scope="module")
def paired(material, tmp_path_factory) -> tuple[TokenRows, TokenRows]:
    """Rows of preference pairs, for training and validation."""
    random = np.random.default_rng(0)
    words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta"]
    found = []
    for _ in range(90):
        chosen = [words[index] for index in random.integers(0, 6, 4)]
        found.append(("Reverse: " + " ".join(chosen), " ".join(reversed(chosen)), " ".join(chosen)))
    documents = pairs(found)
    directory = tmp_path_factory.mktemp("pairs")
    data = PhaseData(sources=["d"], sequence_length=64)
    rows = []
    for name, part in (("train", documents.slice(0, 80)), ("validation", documents.slice(80))):
        samples, _ = make_samples(part, material.tokenizer, data)
        path = directory / f"{name}-00000.arrow"
        write_rows(samples, path, 64, packing=True, samples_per_unit=2)
        rows.append(TokenRows([path]))
    return rows[0], rows[1]


def preference_run(material, paired, directory, **options) -> Run:
    directory.mkdir(parents=True, exist_ok=True)
    settings = {"max_steps": 6, "global_batch_size": 4, "micro_batch_size": 2, **PREFERENCE, **options}
    return Run(
        model=material.adapted(settings),
        rows=paired[0],
        validation=paired[1],
        options=phase(**settings),
        world=World(),
        seed=3,
        padding=material.tokenizer.pad_token_id,
        directory=directory,
        fingerprint="f",
    )


def blackboard_logps(model, rows, padding: int) -> list[float]:
    """log p of each sample's targets: each sample alone, whole logits."""
    found = []
    for number in range(len(rows)):
        row, at = rows[number], 0
        learned = np.zeros(len(row.input_ids), bool)
        for start, end in row.loss_mask.reshape(-1, 2):
            learned[start:end] = True
        for length in row.sequence_lengths:
            ids = torch.tensor(row.input_ids[at : at + length])[None].long()
            logps = model(input_ids=ids, use_cache=False).logits.log_softmax(-1)[0, :-1]
            each = logps.gather(1, ids[0, 1:, None])[:, 0]
            found.append(float(each[torch.tensor(learned[at + 1 : at + length])].sum()))
            at += length
    return found


def test_a_packed_samples_log_probability_is_its_own(material, paired):
    rows, model = paired[0], material.model().eval()
    batch = collate([rows[number] for number in range(len(rows))], material.tokenizer.pad_token_id)
    with torch.no_grad():
        packed = sample_logps(model, batch)
        alone = blackboard_logps(model, rows, material.tokenizer.pad_token_id)
    np.testing.assert_allclose(packed.numpy(), alone, rtol=1e-5)
    assert batch.sample_count == len(alone) == rows.samples.sum()


def test_the_reference_is_computed_once_and_in_pieces(material, paired, tmp_path, monkeypatch):
    monkeypatch.setattr("core.training.reference.ROWS_PER_PIECE", 3)
    rows, model = paired[0], material.model().eval()
    calls = 0

    def forward(batch):
        nonlocal calls
        calls += 1
        return sample_logps(model, batch)

    def compute():
        compute_reference(forward, rows, tmp_path, micro_batch_size=2, padding=1, world=World())
        return ReferenceLogps(tmp_path, rows)

    first = compute()
    once = calls
    (tmp_path / "rows-000000003.safetensors").unlink()
    again = compute()
    assert calls - once == 2  # one piece of three rows, two at a time
    with torch.no_grad():
        expected = blackboard_logps(model, rows, 1)
    found = np.concatenate([again.of(number) for number in range(len(rows))])
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.array_equal(found, np.concatenate([first.of(number) for number in range(len(rows))]))


def test_dpop_training_is_that_of_a_plain_loop(material, paired, tmp_path):
    run = preference_run(material, paired, tmp_path, log_every_steps=1)
    trained = run.train()
    model = material.model()
    reference = ReferenceLogps(tmp_path / "reference" / "train", paired[0])
    adamw = torch.optim.AdamW(model.parameters(), weight_decay=0.0)
    sampler, expected = make_sampler(len(paired[0]), run.options, run.seed), []
    for step in range(6):
        total = []
        # In micro-batches of the run's size: where policy and reference are equal, the sign of the rounding counts.
        for two in sampler.batch(step).reshape(-1, 2):
            batch = collate([paired[0][int(number)] for number in two], 1)
            start = torch.from_numpy(np.concatenate([reference.of(int(number)) for number in two]))
            ratio = sample_logps(model, batch) - start
            won, lost = ratio[0::2], ratio[1::2]
            total.append(-logsigmoid(0.3 * (won - lost - 50 * (-won).clamp(min=0))))
        loss = torch.cat(total).mean()
        adamw.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), run.options.max_gradient_norm)
        for group in adamw.param_groups:
            group["lr"] = learning_rate(step, sampler.steps, run.options)
        adamw.step()
        expected.append(loss.item())
    lines = [orjson.loads(line) for line in (tmp_path / "log.jsonl").read_bytes().splitlines()]
    logged = [line for line in lines if "loss" in line]
    np.testing.assert_allclose([line["loss"] for line in logged], expected, rtol=1e-4)
    assert logged[0]["loss"] == pytest.approx(np.log(2), rel=1e-5)
    assert logged[0]["reward_margin"] == pytest.approx(0, abs=1e-5)
    last = logged[-1]
    assert last["reward_margin"] == pytest.approx(last["reward_chosen"] - last["reward_rejected"])
    assert 0 <= last["reward_accuracy"] <= 1
    assert last["chosen_logps"] < 0
    assert trained.summary["preference"]["last"]["reward_margin"] == last["reward_margin"]
    validation = next(line for line in lines if "validation_loss" in line)
    assert {"validation_reward_accuracy", "validation_chosen_logps"} <= set(validation)


@pytest.mark.parametrize("method", [{}, {"method": "lora", "lora": {"rank": 4, "dropout": 0.1}}], ids=["full", "lora"])
def test_killed_dpop_resumes_to_the_same_weights(material, paired, tmp_path, monkeypatch, method):
    from tests.training.test_trainer import losses as logged
    from tests.training.test_trainer import train_until_killed

    settings = {"checkpoints": {"every_steps": 2}, "max_steps": 8, **method}
    calm = preference_run(material, paired, tmp_path / "a", **settings).train()
    for kill in (3, 1, 4, None):
        trained = train_until_killed(monkeypatch, preference_run(material, paired, tmp_path / "b", **settings), kill)
    assert logged(tmp_path / "a") == logged(tmp_path / "b")
    for (name, one), (_, other) in zip(calm.engine.weights(), trained.engine.weights(), strict=True):
        assert torch.equal(one, other), name


def test_a_loss_in_parts_has_the_same_value_and_gradient(material, monkeypatch):
    batch = collate([material.rows[number] for number in range(4)], 1)
    whole, parts = material.model(), material.model()
    causal_lm_loss(whole, batch).backward()
    monkeypatch.setattr(losses, "LOGITS_AT_A_TIME", whole.config.vocab_size * 7)
    causal_lm_loss(parts, batch).backward()
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)


def test_neftune_noise_is_within_its_bound_for_each_sample_and_off_in_validation(material, tmp_path):
    row = material.rows[0]
    batch = collate([row], 1)
    noise = neftune_noise(torch.zeros(*batch.input_ids.shape, 32), batch, alpha=5.0)[0]
    for number, length in enumerate(row.sequence_lengths):
        own = noise[batch.samples[0] == number]
        bound = 5.0 / np.sqrt(length * 32)
        assert 0.9 * bound < own.abs().max() <= bound
    losses_with, losses_without = (
        material.run(tmp_path / name, {"max_steps": 2, "learning_rate": 1e-9, **more}).train().summary
        for name, more in (("with", {"neftune_alpha": 50.0}), ("without", {}))
    )
    assert losses_with["first_loss"] != pytest.approx(losses_without["first_loss"], rel=1e-4)
    assert losses_with["best_validation_loss"] == pytest.approx(losses_without["best_validation_loss"], rel=1e-4)


def test_a_worker_without_rows_left_adds_nothing(material):
    batch = without_targets(collate([material.rows[0]], 1))
    assert (batch.targets == IGNORED).all()
    model = material.model()
    loss = causal_lm_loss(model, batch)
    loss.backward()
    assert float(loss) == 0
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in model.parameters())


@pytest.mark.parametrize(("rows", "workers", "size"), [(8, 2, 2), (7, 2, 2), (1, 3, 4), (10, 3, 2)])
def test_every_worker_has_as_many_micro_batches_and_every_row_is_in_one(rows, workers, size):
    shared = [micro_batches(range(rows), size, rank, workers) for rank in range(workers)]
    assert len({len(batches) for batches in shared}) == 1
    assert sorted(row for batches in shared for batch in batches for row in batch) == list(range(rows))
    assert all(len(batch) <= size for batches in shared for batch in batches)
