"""What is worth varying in the quickstart: how fast and how long it is fine-tuned, and how large the adapter is."""

from __future__ import annotations

from typing import Any


def space() -> dict[str, Any]:
    """Key paths of the quickstart recipe and where their values are drawn from.

    The learning rate spans a factor of ten around the recipe's; ranks double, since capacity is felt in factors.
    """
    from ray import tune

    return {
        "train.sft.learning_rate": tune.loguniform(1e-3, 1e-2),
        "train.sft.epochs": tune.choice([1, 2, 3]),
        "train.sft.lora.rank": tune.choice([8, 16, 32, 64]),
    }
