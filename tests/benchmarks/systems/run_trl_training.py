"""TRL: SFTTrainer on token ids with labels, by its defaults or otherwise."""

from __future__ import annotations

import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import datasets
import torch
from training_clock import Clock
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

IGNORED = -100


class Counting(SFTTrainer):
    """Counts what its steps are given."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.tokens: list[int] = []
        self.targets: list[int] = []

    def training_step(self, model: Any, inputs: dict[str, Any], *rest: Any, **named: Any) -> torch.Tensor:
        mask = inputs.get("attention_mask")
        self.tokens.append(inputs["input_ids"].numel() if mask is None else int(mask.sum()))
        self.targets.append(targets_of(inputs))
        return super().training_step(model, inputs, *rest, **named)


def main(settings: str, answer: str) -> None:
    Path(answer).write_text(json.dumps(train(**json.loads(settings))))


def train(model: str, samples: str, batch: int, threads: int, settings: dict[str, Any]) -> dict[str, Any]:
    """batch: samples, or packed rows, in a step; settings: of SFTConfig."""
    torch.set_num_threads(threads)
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as directory:
        trainer = Counting(
            model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
            args=SFTConfig(output_dir=directory, per_device_train_batch_size=batch, **settings),
            train_dataset=datasets.Dataset.from_file(samples),
            processing_class=AutoTokenizer.from_pretrained(model),
        )
        before = loss_of(trainer)
        clock = Clock()
        trainer.train()
        after = loss_of(trainer)
    return clock.answer(trainer.tokens, trainer.targets) | {"loss": [before, after], "version": version("trl")}


def loss_of(trainer: Counting) -> float:
    """The mean loss of the target tokens, as the trainer collates and computes it."""
    total, targets = 0.0, 0
    trainer.model.eval()
    with torch.no_grad():
        for inputs in trainer.get_train_dataloader():
            here = targets_of(inputs)
            total += float(trainer.compute_loss(trainer.model, inputs)) * here
            targets += here
    return total / targets


def targets_of(inputs: dict[str, Any]) -> int:
    return int((inputs["labels"][:, 1:] != IGNORED).sum())


if __name__ == "__main__":
    main(*sys.argv[1:3])
