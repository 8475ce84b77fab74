"""Losses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.training.batches import IGNORED, Batch

if TYPE_CHECKING:
    import torch

LOGITS_AT_A_TIME = 1 << 27  # elements; in fp32 half a GiB


def causal_lm_loss(model: Any, batch: Batch, neftune_alpha: float | None = None) -> torch.Tensor:
    """Sum (not mean) over the batch's target tokens of -log p(token | the tokens before it in its sample).

    model: a Hugging Face causal LM, or one with PEFT adapters. neftune_alpha: see `token_losses`.
    Returns a scalar, fp32.
    """
    losses, _ = token_losses(model, batch, neftune_alpha)
    return losses.sum()


def sample_logps(model: Any, batch: Batch) -> torch.Tensor:
    """log p of what is to be predicted in each sample, summed over its target tokens: fp32[samples]."""
    losses, samples = token_losses(model, batch)
    return losses.new_zeros(batch.sample_count).index_add(0, samples, -losses)


def token_losses(model: Any, batch: Batch, neftune_alpha: float | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """-log p of each target token, fp32[targets], and int64[targets] which sample it is of.

    The output layer runs only where there is a target: with a vocabulary of 32,000 it is most of the memory, and with
    dialogues most positions have none. Where there are many, it runs on some at a time, and again in the backward
    pass. No attention mask is given: packed samples are told apart by their positions, which Transformers does only
    without a cache.
    neftune_alpha: adds uniform noise to the embeddings, of size alpha / sqrt(tokens of the sample x width) (NEFTune,
    Jain et al. 2023, https://arxiv.org/abs/2310.05914, algorithm 1).
    """
    import torch
    from torch.nn.functional import cross_entropy
    from torch.utils.checkpoint import checkpoint

    model = model.get_base_model() if hasattr(model, "get_base_model") else model
    inputs: dict[str, Any] = {"position_ids": batch.position_ids, "use_cache": False}
    if neftune_alpha is None:
        inputs["input_ids"] = batch.input_ids
    else:
        embedded = model.get_input_embeddings()(batch.input_ids)
        inputs["inputs_embeds"] = embedded + neftune_noise(embedded, batch, neftune_alpha)
    wanted = batch.targets[:, 1:] != IGNORED
    labels, samples = batch.targets[:, 1:][wanted], batch.samples[:, 1:][wanted]
    if not has_plain_output(model.config):
        logits = model(**inputs).logits[:, :-1][wanted]
        return cross_entropy(logits.float(), labels, reduction="none"), samples
    hidden = model.get_decoder()(**inputs).last_hidden_state[:, :-1][wanted]
    output = model.get_output_embeddings()

    def losses_of(hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        logits = output(hidden)
        with torch.autocast(logits.device.type, enabled=False):
            return cross_entropy(logits.float(), labels, reduction="none")

    at_a_time = max(1, LOGITS_AT_A_TIME // model.config.get_text_config().vocab_size)
    if len(labels) <= at_a_time:
        return losses_of(hidden, labels), samples
    parts = [
        checkpoint(losses_of, *part, use_reentrant=False, preserve_rng_state=False)
        for part in zip(torch.split(hidden, at_a_time), torch.split(labels, at_a_time), strict=True)
    ]
    return torch.cat(parts), samples


def neftune_noise(embedded: torch.Tensor, batch: Batch, alpha: float) -> torch.Tensor:
    """[rows, tokens, width]: uniform noise of at most alpha / sqrt(L x width), L the tokens of a token's own sample."""
    import torch

    lengths = torch.bincount(batch.samples.flatten(), minlength=batch.sample_count + 1)[batch.samples]
    bound = alpha / (lengths * embedded.shape[-1]).sqrt()
    return (torch.rand_like(embedded) * 2 - 1) * bound[..., None].to(embedded.dtype)


def has_plain_output(config: Any) -> bool:
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
