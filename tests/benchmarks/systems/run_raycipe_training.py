"""raycipe: a phase of training on token rows by `core.training`, in this process and without Ray."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch

from core.models.create import load_model
from core.tokens.options import PhaseData
from core.tokens.shards import TokenRows
from core.training.batches import collate
from core.training.engine import World
from core.training.log import LOG
from core.training.objectives import make_objective
from core.training.options import Phase
from core.training.trainer import Run
from tests.benchmarks.training_material import PADDING, SEED, WARM_UP, phase, resident_mb


def main(settings: str, answer: str) -> None:
    Path(answer).write_text(json.dumps(train(**json.loads(settings))))


def train(model: str, rows: str, batch: int, threads: int, everywhere: bool = False) -> dict[str, Any]:
    """batch: rows in a step; everywhere: the output layer also runs where nothing is learned."""
    torch.set_num_threads(threads)
    found = TokenRows([Path(rows)])
    options = Phase(data=PhaseData(sources=["gsm8k"]), log_every_steps=WARM_UP, **phase(batch))
    loaded = load_model(model)
    # A factor on the logits is what makes `token_losses` take them from the model itself; a Mistral has none.
    loaded.config.logit_scale = float(everywhere)
    before = loss_of(loaded, found, options)
    start_mb = resident_mb()
    with tempfile.TemporaryDirectory() as directory:
        run = Run(loaded, found, None, options, World(), SEED, PADDING, Path(directory), "benchmark")
        run.train()
        lines = [orjson.loads(line) for line in (Path(directory) / LOG).read_bytes().splitlines()]
    marks = [[line["step"], line["tokens"], line["target_tokens"], line["seconds"]] for line in lines]
    return {"marks": marks, "start_mb": start_mb, "loss": [before, loss_of(loaded, found, options)]}


def loss_of(model: Any, rows: TokenRows, options: Phase) -> float:
    """The mean loss of the target tokens."""
    objective = make_objective(model, options)
    numbers = np.arange(len(rows))
    with torch.no_grad():
        sums = [objective(collate([rows[int(number)]], PADDING)).item() for number in numbers]
    return sum(sums) / objective.weight(rows, numbers)


if __name__ == "__main__":
    main(*sys.argv[1:3])
