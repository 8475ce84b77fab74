"""The learning rate as a pure function of the step: nothing to save, nothing to restore."""

from __future__ import annotations

import math

from core.training.options import Phase


def learning_rate(step: int, steps: int, options: Phase) -> float:
    """The rate of optimiser step `step` (0-based) of `steps`.

    Linear warm-up to the peak, then cosine (Loshchilov & Hutter 2017), linear or none, down to
    `min_learning_rate_ratio` of the peak at the last step.
    """
    warmup = options.warmup_steps if options.warmup_steps is not None else round((options.warmup_ratio or 0) * steps)
    if step < warmup:
        return options.learning_rate * (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - 1 - warmup))
    left = {"cosine": 0.5 * (1 + math.cos(math.pi * progress)), "linear": 1 - progress, "constant": 1.0}
    floor = options.min_learning_rate_ratio
    return options.learning_rate * (floor + (1 - floor) * left[options.schedule])
