"""Smaug's questions: how far DPO-Positive holds the policy to the reference, how hard it guards what is preferred.

Pal et al. 2024, https://arxiv.org/abs/2402.13228: beta 0.3 and lambda 50; its ablations vary lambda from 5 to 500 and
learning rates around 5e-5.
"""

from __future__ import annotations

from typing import Any


def space() -> dict[str, Any]:
    """Beta, lambda (0 is plain DPO), and learning rates to each side of 5e-5."""
    from ray import tune

    return {
        "train.dpop.preference.beta": tune.choice([0.1, 0.3, 0.5]),
        "train.dpop.preference.dpop_lambda": tune.choice([0.0, 5.0, 50.0, 500.0]),
        "train.dpop.learning_rate": tune.loguniform(5e-6, 5e-4),
    }
