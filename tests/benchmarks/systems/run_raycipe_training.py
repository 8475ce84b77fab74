"""raycipe: a phase of training on token rows by `core.training`, in this process and without Ray."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.models.create import load_model
from core.tokens.shards import TokenRows
from core.training.batches import collate
from core.training.engine import World
from core.training.objectives import make_objective
from core.training.options import Phase
from core.training.trainer import Run
from tests.benchmarks.instructions import SEED
from tests.benchmarks.systems.training_clock import Clock
from tests.benchmarks.training_material import PADDING, made, phase


def main(settings: str, answer: str) -> None:
    Path(answer).write_text(json.dumps(train(**json.loads(settings))))


def train(
    model: str, rows: str, batch: int, threads: int, steps: int | None = None, everywhere: bool = False
) -> dict[str, Any]:
    """batch: rows in a step; steps: none: an epoch; everywhere: the output layer also runs where nothing is learned."""
    torch.set_num_threads(threads)
    found, options = TokenRows([Path(rows)]), phase(batch, steps)
    loaded = load_model(model)
    # A factor on the logits is what makes `token_losses` take them from the model itself; a Mistral has none.
    loaded.config.logit_scale = float(everywhere)
    before = loss_of(loaded, found, options)
    clock = Clock()
    with tempfile.TemporaryDirectory() as directory:
        Run(loaded, found, None, options, World(), SEED, PADDING, Path(directory), "benchmark").train()
    return clock.answer(*made(found, options)) | {"loss": [before, loss_of(loaded, found, options)]}


def loss_of(model: Any, rows: TokenRows, options: Phase) -> float:
    """The mean loss of the target tokens."""
    objective = make_objective(model, options).eval()
    numbers = np.arange(len(rows))
    with torch.no_grad():
        sums = [objective(collate([rows[int(number)]], PADDING)).item() for number in numbers]
    return float(sum(sums) / objective.weight(rows, numbers))


if __name__ == "__main__":
    main(*sys.argv[1:3])
