"""Birbal's question: what to do with 24 hours of one GPU, fewer instructions and more epochs, or the other way round.

Jindal et al. 2024, https://openreview.net/forum?id=wGvflAGX5b, section 3.4: 200K for three epochs, 400K for two, 700K
for one, all at one learning rate. Here every combination that the same budget pays for is allowed, the paper's among
them, and the learning rate is varied around theirs.
"""

from __future__ import annotations

from typing import Any

SAMPLES = {"200K": 200_000, "400K": 400_000, "700K": 700_000}  # of sweep.sizes
BUDGET = 800_000  # samples × epochs in 24 GPU-hours: the paper's dearest run, 400K × 2


def space() -> dict[str, Any]:
    """Data-set size, epochs, and half an order of magnitude of learning rates to each side of 2e-5."""
    from ray import tune

    return {
        "sweep.size": tune.choice(list(SAMPLES)),
        "train.sft.epochs": tune.choice([1, 2, 3]),
        "train.sft.learning_rate": tune.loguniform(6e-6, 6e-5),
    }


def allowed(values: dict[str, Any]) -> bool:
    """Whether 24 GPU-hours pay for it."""
    return bool(SAMPLES[values["sweep.size"]] * values["train.sft.epochs"] <= BUDGET)
