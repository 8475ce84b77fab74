"""GOAT's questions: how long and how fast to fine-tune, and whether to clean refusals from the dialogues.

GOAT-AI's post on GOAT-7B-Community: one epoch of three that were tried, since quality fell beyond it; a learning rate
of 1e-4; about a third of the dialogues dropped as aligned answers.
"""

from __future__ import annotations

from typing import Any

CLEANED = {"refusals": {"look_at": "opening", "drop": "dialogue"}}
NOT_CLEANED: dict[str, Any] = {"length": {"min_characters": 0}}


def space() -> dict[str, Any]:
    """Epochs, learning rates around 1e-4, and as the first step the refusal filter or one that drops nothing."""
    from ray import tune

    return {
        "train.sft.epochs": tune.choice([1, 2, 3]),
        "train.sft.learning_rate": tune.loguniform(3e-5, 3e-4),
        "data.steps.0": tune.choice([CLEANED, NOT_CLEANED]),
    }
