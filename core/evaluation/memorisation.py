"""Whether a model knows texts by heart, told by its likelihoods alone: Min-K% Prob and the neighbour test."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.models.generation import prompt_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

MIN_K = 20.0  # percent; the best of those that the paper tried
PREFIX = 0.4  # of a text's words, from which neighbours go on
NEIGHBOURS = 100
NEIGHBOUR_TOKENS = 150  # that a neighbour is judged by, at most
EXAMPLES = 100
KNOWN_BELOW = 0.1
FLAGGED_ABOVE = 0.85


def token_logps(
    model: Any,
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[str],
    *,
    most_tokens: int | None = None,
    batch_size: int = 16,
) -> list[NDArray[np.float32]]:
    """log p of every token of each text but the first, given those before it: float32[tokens - 1] each.

    A text begins with BOS where the tokenizer puts one. most_tokens: what follows them is not looked at, nor is what
    is beyond the model's length. Runs in evaluation mode, without gradients.
    """
    import torch
    from torch.nn.functional import cross_entropy

    longest = min(most_tokens or 1 << 30, model_length(model))
    tokens = [ids[:longest] for ids in prompt_tokens(tokenizer, texts)]
    model.eval()
    found = []
    for begin in range(0, len(tokens), batch_size):
        batch = tokens[begin : begin + batch_size]
        ids = torch.zeros((len(batch), max(1, *map(len, batch))), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, of_one in enumerate(batch):
            ids[row, : len(of_one)] = torch.tensor(of_one, dtype=torch.long)
            mask[row, : len(of_one)] = 1
        with torch.inference_mode():
            logits = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device), use_cache=False).logits
            losses = cross_entropy(
                logits[:, :-1].transpose(1, 2).float(), ids[:, 1:].to(model.device), reduction="none"
            )
        found += [-losses[row, : max(0, len(of_one) - 1)].cpu().numpy() for row, of_one in enumerate(batch)]
    return found


def model_length(model: Any) -> int:
    """Tokens that a model was made for."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None) or 1 << 30


def min_k_prob(logps: ArrayLike, k: float = MIN_K) -> float:
    """Min-K% Prob: the mean log p of a text's k percent least likely tokens, one at least. High: it was seen.

    Shi et al. 2023, https://arxiv.org/abs/2310.16789, section 4. logps: float[tokens]. Raises ValueError for none.
    """
    ascending = np.sort(np.asarray(logps, np.float64))
    if not len(ascending):
        raise ValueError("a text without a token to predict has no Min-K% Prob")
    return float(ascending[: max(1, int(len(ascending) * k / 100))].mean())


def auc(positive: ArrayLike, negative: ArrayLike) -> float | None:
    """How often a positive has the higher score, ties counting half; None where there are none of either."""
    from scipy.stats import mannwhitneyu

    if not np.size(positive) or not np.size(negative):
        return None
    return float(mannwhitneyu(positive, negative).statistic / (np.size(positive) * np.size(negative)))


def examples(items: Sequence[Any]) -> list[Any]:
    """The 100 that the neighbour test looks at: the first ones after a shuffle by Python's generator, seed 0."""
    shuffled = list(items)
    random.Random(0).shuffle(shuffled)
    return shuffled[:EXAMPLES]


def neighbours(reference: Any, tokenizer: PreTrainedTokenizerFast, text: str, seed: int) -> list[str]:
    """100 texts that begin with the first 40 % of a text's words and go on as a reference model samples it.

    As https://github.com/swj0419/detect-pretrain-code-contamination does: as many tokens as words are left, one at
    least, at temperature 1 among the 50 likeliest. The beginning is cut where the reference's length needs it.
    Raises ValueError for a text without words.
    """
    import torch

    words = text.split()
    if not words:
        raise ValueError("a text without words has no neighbours")
    kept = math.ceil(len(words) * PREFIX)
    wanted = min(max(1, len(words) - kept), max(1, model_length(reference) - 1))
    [prefix] = prompt_tokens(tokenizer, [" ".join(words[:kept])])
    ids = torch.tensor([prefix[: max(1, model_length(reference) - wanted)]], device=reference.device)
    reference.eval()
    with torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(seed)
        written = reference.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            temperature=1.0,
            top_k=50,
            top_p=1.0,
            num_return_sequences=NEIGHBOURS,
            min_new_tokens=1,
            max_new_tokens=wanted,
            pad_token_id=tokenizer.eos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    texts: list[str] = tokenizer.batch_decode(written.cpu(), skip_special_tokens=True)
    return texts


def share_below(model: Any, tokenizer: PreTrainedTokenizerFast, text: str, others: Sequence[str]) -> float | None:
    """What share of neighbours have a lower loss (mean over tokens) under the model than the text itself.

    Neighbours are judged by their first 150 tokens, the text by all, as published. None where the text, or every
    neighbour, is too short to have a loss.
    """
    [own] = token_logps(model, tokenizer, [text])
    theirs = token_logps(model, tokenizer, others, most_tokens=NEIGHBOUR_TOKENS)
    losses = [-float(logps.mean()) for logps in theirs if len(logps)]
    if not len(own) or not losses:
        return None
    return float(np.mean(np.array(losses) < -float(own.mean())))


def neighbour_score(shares: Sequence[float]) -> float:
    """The share of examples of which less than a tenth of the neighbours are likelier than the text itself.

    Above .85 a model counts as contaminated. Raises ValueError for no example.
    """
    if not shares:
        raise ValueError("no example has neighbours to be compared with")
    return sum(share < KNOWN_BELOW for share in shares) / len(shares)
