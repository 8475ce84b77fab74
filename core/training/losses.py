"""Losses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.training.batches import IGNORED, Batch

if TYPE_CHECKING:
    import torch


def causal_lm_loss(model: Any, batch: Batch) -> torch.Tensor:
    """Sum (not mean) over the batch's target tokens of -log p(token | the tokens before it in its sample).

    model: a Hugging Face causal LM, or one with PEFT adapters. The output layer runs only where there is a target:
    with a vocabulary of 32,000 it is most of the memory, and with dialogues most positions have none.
    Returns a scalar, fp32. No attention mask is given: packed samples are told apart by their positions, which
    Transformers does only without a cache.
    """
    import torch
    from torch.nn.functional import cross_entropy

    model = model.get_base_model() if hasattr(model, "get_base_model") else model
    inputs = {"input_ids": batch.input_ids, "position_ids": batch.position_ids, "use_cache": False}
    wanted = batch.targets[:, 1:] != IGNORED
    labels = batch.targets[:, 1:][wanted]
    if _has_plain_output(model.config):
        hidden = model.get_decoder()(**inputs).last_hidden_state
        logits = model.get_output_embeddings()(hidden[:, :-1][wanted])
    else:
        logits = model(**inputs).logits[:, :-1][wanted]
    with torch.autocast(logits.device.type, enabled=False):
        return cross_entropy(logits.float(), labels, reduction="sum")


def _has_plain_output(config: Any) -> bool:
    """Whether the logits are the output embedding of the last hidden state and nothing more."""
    changes = ("final_logit_softcapping", "logit_scale", "logits_scaling", "output_multiplier_scale")
    return not any(getattr(config, name, None) for name in changes)


def preference_loss(
    policy_chosen_logps: torch.Tensor,
    policy_rejected_logps: torch.Tensor,
    reference_chosen_logps: torch.Tensor,
    reference_rejected_logps: torch.Tensor,
    *,
    beta: float,
    dpop_lambda: float = 0.0,
) -> torch.Tensor:
    """The loss of each preference pair, [pairs]: DPO (Rafailov et al. 2023, equation 7), or DPO-Positive.

    Arguments: [pairs] each, log-probabilities of whole completions, summed over their tokens. DPOP (Pal et al. 2024,
    https://arxiv.org/abs/2402.13228, equation 3, as corrected in July 2024) takes
    dpop_lambda * max(0, log reference(chosen) - log policy(chosen)) off the margin, inside beta and the sigmoid, so
    that the preferred completion does not become less likely; dpop_lambda 0 is DPO.
    """
    from torch.nn.functional import logsigmoid

    chosen = policy_chosen_logps - reference_chosen_logps
    rejected = policy_rejected_logps - reference_rejected_logps
    penalty = dpop_lambda * (-chosen).clamp(min=0)
    return -logsigmoid(beta * (chosen - rejected - penalty))
