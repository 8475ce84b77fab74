"""A training loop as one writes it with PyTorch and Transformers: whole logits, and the model's own loss."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from core.tokens.shards import TokenRows
from core.training.batches import IGNORED, collate
from core.training.options import Phase
from core.training.order import make_sampler
from tests.benchmarks.training_material import PADDING, SEED, phase, resident_mb


def main(settings: str, answer: str) -> None:
    Path(answer).write_text(json.dumps(train(**json.loads(settings))))


def train(model: str, rows: str, batch: int, threads: int) -> dict[str, Any]:
    """batch: rows in a step."""
    torch.set_num_threads(threads)
    options = phase(batch)
    found = TokenRows([Path(rows)])
    sampler = make_sampler(len(found), Phase.model_construct(**options), SEED)
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    before = loss_of(loaded, found)
    start_mb = resident_mb()
    loaded.train()
    adamw = torch.optim.AdamW(loaded.parameters(), lr=options["learning_rate"], weight_decay=0.0)
    marks, tokens, targets = [], 0, 0
    began = time.perf_counter()
    for step in range(sampler.steps):
        numbers = sampler.batch(step)
        loss = loaded(**inputs_of(found, numbers.tolist())).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(loaded.parameters(), options["max_gradient_norm"])
        adamw.step()
        adamw.zero_grad()
        loss.item()
        tokens += int(found.lengths[numbers].sum())
        targets += int(found.target_tokens[numbers].sum())
        marks.append([step + 1, tokens, targets, time.perf_counter() - began])
    return {"marks": marks, "start_mb": start_mb, "loss": [before, loss_of(loaded, found)]}


def inputs_of(rows: TokenRows, numbers: list[int]) -> dict[str, Any]:
    """Rows of one sample with a mask of what is padding; packed rows with their positions."""
    batch = collate([rows[number] for number in numbers], PADDING)
    inputs = {"input_ids": batch.input_ids, "labels": batch.targets, "use_cache": False}
    if rows.samples.max() == 1:
        return inputs | {"attention_mask": (batch.samples < batch.sample_count).long()}
    return inputs | {"position_ids": batch.position_ids}


def loss_of(model: Any, rows: TokenRows) -> float:
    """The mean loss of the target tokens."""
    total = 0.0
    model.eval()
    with torch.no_grad():
        for number in range(len(rows)):
            inputs = inputs_of(rows, [number])
            total += model(**inputs).loss.item() * int((inputs["labels"] != IGNORED).sum())
    return total / int(rows.target_tokens.sum())


if __name__ == "__main__":
    main(*sys.argv[1:3])
