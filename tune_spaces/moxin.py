"""Moxin's questions: how fast to pretrain, on how much code beside web text, and where the context grows.

Zhao et al. 2024, https://arxiv.org/abs/2412.06845, sections 3.2 and 3.3, which give the peak learning rate, 2e-6, but
neither how much of each source was taken nor how the tokens are divided between the phases.
"""

from __future__ import annotations

from typing import Any


def space() -> dict[str, Any]:
    """The learning rate of the first phase, the share of code in all tokens, and how much of the data the second phase
    sees, whose rows are the longer ones."""
    from ray import tune

    return {
        "train.pretrain_2k.learning_rate": tune.loguniform(1e-6, 2e-5),
        "data.mixture.stack": tune.choice([{"share": share, "tokens": None} for share in (0.05, 0.15, 0.3)]),
        "train.pretrain_4k.epochs": tune.choice([0.125, 0.25, 0.5]),
    }
