"""A training loop as one writes it with PyTorch and Transformers: whole logits, and the model's own loss."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from core.tokens.shards import TokenRows
from core.training.batches import collate
from core.training.order import make_sampler
from tests.benchmarks.instructions import SEED
from tests.benchmarks.systems.training_clock import Clock
from tests.benchmarks.training_material import PADDING, made, phase


def main(settings: str, answer: str) -> None:
    Path(answer).write_text(json.dumps(train(**json.loads(settings))))


def train(model: str, rows: str, batch: int, threads: int, steps: int | None = None) -> dict[str, Any]:
    """batch: rows in a step; steps: none: an epoch."""
    torch.set_num_threads(threads)
    found, options = TokenRows([Path(rows)]), phase(batch, steps)
    sampler = make_sampler(len(found), options, SEED)
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    before = loss_of(loaded, found)
    clock = Clock()
    loaded.train()
    adamw = torch.optim.AdamW(loaded.parameters(), lr=options.learning_rate, weight_decay=0.0)
    for step in range(sampler.steps):
        loss = loaded(**inputs_of(found, sampler.batch(step).tolist())).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(loaded.parameters(), options.max_gradient_norm)
        adamw.step()
        adamw.zero_grad()
    return clock.answer(*made(found, options)) | {"loss": [before, loss_of(loaded, found)]}


def inputs_of(rows: TokenRows, numbers: list[int]) -> dict[str, Any]:
    """Rows of one sample with a mask of what is padding; packed rows with their positions."""
    batch = collate([rows[number] for number in numbers], PADDING)
    inputs = {"input_ids": batch.input_ids, "labels": batch.targets, "use_cache": False}
    if rows.samples.max() == 1:
        return inputs | {"attention_mask": (batch.samples < batch.sample_count).long()}
    return inputs | {"position_ids": batch.position_ids}


def loss_of(model: Any, rows: TokenRows) -> float:
    """The mean loss of the target tokens."""
    model.eval()
    with torch.no_grad():
        means = [model(**inputs_of(rows, [number])).loss.item() for number in range(len(rows))]
    return float(np.average(means, weights=rows.target_tokens))


if __name__ == "__main__":
    main(*sys.argv[1:3])
