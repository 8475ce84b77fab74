"""What is worth varying in the quickstart: how fast and how long it is fine-tuned, and how large the adapter is."""

from __future__ import annotations

from typing import Any


def space() -> dict[str, Any]:
    """Key paths of the quickstart recipe and where their values are drawn from.

    The learning rate spans a factor of ten, from half the recipe's; ranks are told apart by factors. A grid of three
    rates is of twelve trials.
    """
    from ray import tune

    return {
        "train.sft.learning_rate": tune.loguniform(1e-3, 1e-2),
        "train.sft.epochs": tune.choice([0.5, 1.5]),
        "train.sft.lora.rank": tune.choice([8, 32]),
    }
