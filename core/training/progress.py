"""Where training stands: what a checkpoint keeps beside weights and optimiser state, and what falls due when."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from core.tokens.sampler import Sampler
from core.training.health import LossWatch
from core.training.options import Checkpoints
from core.training.throughput import Work


@dataclass
class Progress:
    """All of it is in a checkpoint."""

    step: int = 0  # optimiser steps done
    epoch: float = 0.0  # passes over the rows done
    updates: int = 0  # steps that changed the weights
    skipped_steps: int = 0  # steps left out because something was not finite
    spikes: int = 0  # steps whose loss stood out
    restarts: int = 0  # from a checkpoint, and gone on from to a later one
    seconds: float = 0.0  # of training, validation and checkpoints included; what a resume does again counts once
    sums: list[float] = field(default_factory=list)  # of the figures since the last log line ...
    weight: int = 0  # ... and of how many target tokens or pairs they are
    first: dict[str, float] | None = None  # figures of the first log line
    last: dict[str, float] | None = None  # ... and of the last
    best_validation_loss: float | None = None
    best_step: int | None = None
    usual: LossWatch = field(default_factory=LossWatch)
    work: Work = field(default_factory=Work)

    @classmethod
    def restored(cls, saved: dict[str, Any]) -> Progress:
        """As a checkpoint has it."""
        return cls(**{**saved, "usual": LossWatch(**saved["usual"]), "work": Work(**saved["work"])})

    def add(self, figures: Sequence[float], weight: int) -> None:
        """Takes in the sums of a step's figures."""
        sums = self.sums or [0.0] * len(figures)
        self.sums = [one + more for one, more in zip(sums, figures, strict=True)]
        self.weight += weight

    def take_means(self) -> list[float] | None:
        """The figures' means since the last call; None where every step since then was skipped."""
        if not self.weight:
            return None
        means = [total / self.weight for total in self.sums]
        self.sums, self.weight = [], 0
        return means

    def validated(self, loss: float) -> None:
        """Notes a validation loss if it is the lowest."""
        if math.isfinite(loss) and (self.best_validation_loss is None or loss < self.best_validation_loss):
            self.best_validation_loss, self.best_step = loss, self.step


def checkpoint_due(checkpoints: Checkpoints, sampler: Sampler, step: int) -> bool:
    """Whether a checkpoint is written after so many steps, whatever the time."""
    if step == sampler.steps:
        return True
    if checkpoints.every_steps is not None:
        return step % checkpoints.every_steps == 0
    epochs = checkpoints.every_epochs or (1 if checkpoints.every_minutes is None else math.inf)
    return math.floor(sampler.epoch(step) / epochs) > math.floor(sampler.epoch(step - 1) / epochs)
