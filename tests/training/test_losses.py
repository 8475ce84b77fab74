from __future__ import annotations

import numpy as np
import pytest
import torch

from core.models.create import create_model
from core.models.options import ModelConfig
from core.tokens.shards import Row
from core.training.batches import IGNORED, collate
from core.training.losses import causal_lm_loss
from tests.training.conftest import TINY

ARCHITECTURES = [
    {"architecture": "llama"},
    {"architecture": "mistral", "sliding_window": 5},
    {"architecture": "qwen2"},
]


def alone(row: Row) -> list[Row]:
    """A packed row's samples, each a row of its own."""
    samples, begin = [], 0
    mask = np.zeros(len(row.input_ids), bool)
    for start, end in row.loss_mask.reshape(-1, 2):
        mask[start:end] = True
    for length in row.sequence_lengths:
        wanted = mask[begin : begin + length]
        spans = np.flatnonzero(np.diff(wanted, prepend=False, append=False)).astype(np.int32)
        samples.append(Row(row.input_ids[begin : begin + length], spans, np.array([length])))
        begin += length
    return samples


@pytest.mark.parametrize("config", ARCHITECTURES, ids=lambda config: config["architecture"])
def test_packed_loss_and_gradients_are_the_sum_of_the_samples_alone(material, config):
    model = create_model(ModelConfig(**(TINY | config)), material.tokenizer, seed=1)
    rows = [material.rows[0], material.rows[1], material.rows[5]]
    assert all(len(row.sequence_lengths) > 1 for row in rows)
    packed = causal_lm_loss(model, collate(rows, padding=1))
    packed.backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    total = 0.0
    for row in rows:
        for sample in alone(row):
            loss = causal_lm_loss(model, collate([sample], padding=1))
            loss.backward()
            total += float(loss)
    assert float(packed) == pytest.approx(total, rel=1e-5)
    for together, parameter in zip(gradients, model.parameters(), strict=True):
        torch.testing.assert_close(together, parameter.grad, rtol=1e-4, atol=1e-5)


def test_the_loss_is_transformers_own_for_a_single_sample(material):
    model = material.model()
    sample = alone(material.rows[0])[0]
    batch = collate([sample], padding=1)
    labels = torch.where(batch.targets == IGNORED, -100, batch.targets)
    stock = model(input_ids=batch.input_ids, labels=labels).loss
    targets = int((batch.targets != IGNORED).sum())
    assert float(causal_lm_loss(model, batch)) / targets == pytest.approx(float(stock), rel=1e-6)


def test_padding_changes_nothing(material):
    model = material.model()
    short, long = alone(material.rows[0])[0], material.rows[1]
    together = float(causal_lm_loss(model, collate([short, long], padding=1)))
    apart = sum(float(causal_lm_loss(model, collate([row], padding=1))) for row in (short, long))
    assert together == pytest.approx(apart, rel=1e-5)
