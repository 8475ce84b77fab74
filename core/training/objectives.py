"""What a phase makes small: the loss of texts, or that of preference pairs, with the figures that are told of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from core.tokens.shards import TokenRows
from core.training.batches import Batch
from core.training.losses import causal_lm_loss, preference_loss, sample_logps
from core.training.options import Phase


class Objective(torch.nn.Module):
    """A model and its loss, as one module: `forward` gives the sums of `figures` over a batch, the loss first."""

    figures: tuple[str, ...]

    def __init__(self, model: Any, options: Phase) -> None:
        super().__init__()
        self.model = model
        self.options = options

    def named(self, means: Sequence[float]) -> dict[str, float]:
        """The figures' means by name, with what follows from them."""
        return dict(zip(self.figures, means, strict=True))

    def weight(self, rows: TokenRows, batch: np.ndarray) -> int:
        """Of how many things the figures of these rows are a sum: their mean is per target token, or per pair."""
        raise NotImplementedError


class CausalLM(Objective):
    """Next-token prediction; figures are per target token."""

    figures = ("loss",)

    def forward(self, batch: Batch) -> torch.Tensor:
        """fp32[1]: the sum of the target tokens' losses."""
        neftune = self.options.neftune_alpha if self.training else None
        return causal_lm_loss(self.model, batch, neftune)[None]

    def weight(self, rows: TokenRows, batch: np.ndarray) -> int:
        """Target tokens."""
        return int(rows.target_tokens[batch].sum())


class PreferencePairs(Objective):
    """DPO and DPO-Positive; figures are per pair.

    Rewards are beta times the log-ratio to the reference (Rafailov et al. 2023, section 4). The samples of a row are
    chosen, rejected, chosen, rejected, ...
    """

    figures = ("loss", "reward_chosen", "reward_rejected", "reward_accuracy", "chosen_logps", "rejected_logps")

    def forward(self, batch: Batch) -> torch.Tensor:
        """fp32[6]: sums over the pairs. Of a batch without reference: fp32[samples], the samples' log-probabilities."""
        logps = sample_logps(self.model, batch)
        reference = batch.reference_logps
        if reference is None:
            return logps
        preference = self.options.preference
        assert preference is not None
        chosen, rejected = logps[0::2], logps[1::2]
        losses = preference_loss(
            chosen,
            rejected,
            reference[0::2],
            reference[1::2],
            beta=preference.beta,
            dpop_lambda=preference.dpop_lambda,
        )
        with torch.no_grad():
            won = preference.beta * (chosen - reference[0::2])
            lost = preference.beta * (rejected - reference[1::2])
            told = torch.stack([won, lost, (won > lost).float(), chosen, rejected]).sum(dim=1)
        return torch.cat([losses.sum()[None], told])

    def named(self, means: Sequence[float]) -> dict[str, float]:
        """With the reward margin."""
        named = super().named(means)
        return named | {"reward_margin": named["reward_chosen"] - named["reward_rejected"]}

    def weight(self, rows: TokenRows, batch: np.ndarray) -> int:
        """Pairs."""
        return int(rows.samples[batch].sum()) // 2


def make_objective(model: Any, options: Phase) -> Objective:
    """The objective of a phase."""
    return CausalLM(model, options) if options.preference is None else PreferencePairs(model, options)
