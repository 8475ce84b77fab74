"""Attention backends: whether one can run here, and that packed samples do not see each other in it."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from core.errors import RecipeError, ResourceError
from core.models.options import Attention

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FLASH = "flash_attention_2"
FLEX = "flex_attention"
NEED_GPU = (FLASH, FLEX)


def check_attention(attention: Attention, *, gpu: bool, precision: str) -> None:
    """Raises where a phase cannot be trained with the backend, before anything starts.

    gpu: whether its workers have GPUs; precision: the phase's. RecipeError for a precision that flash attention has
    no kernels for; ResourceError for a GPU or package that is not there.
    """
    if attention not in NEED_GPU:
        return
    if not gpu:
        why = "runs on GPUs only" if attention == FLASH else "trains on GPUs only: it has no backward pass on CPUs"
        raise ResourceError(f"model.attention: {attention} {why}; take model.attention=sdpa, or workers with GPUs")
    if attention == FLASH and precision != "bf16":
        raise RecipeError(
            f"model.attention: {attention} computes in bf16, found precision: {precision}; "
            "take precision: bf16 in each phase, or model.attention=sdpa"
        )
    if attention == FLASH and importlib.util.find_spec("flash_attn") is None:
        raise ResourceError(
            f"model.attention: {attention} needs the package flash-attn, which is not installed; "
            "install it on every node, or take model.attention=sdpa"
        )


def keep_samples_apart(model: PreTrainedModel) -> None:
    """Lets no packed sample see another where a batch has several rows, in flash attention.

    Samples are told apart by their positions, which begin at 0 in each. Transformers 5 does so in eager, sdpa and flex
    attention, but in flash attention only for a batch of one row: with more it attends over whole rows. So the lengths
    are handed to it with every batch that has positions and neither a mask nor a cache.
    """
    if model.config._attn_implementation == FLASH:
        model.get_decoder().register_forward_pre_hook(_with_lengths, with_kwargs=True)


def _with_lengths(decoder: Any, arguments: Any, named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    from transformers.modeling_flash_attention_utils import prepare_fa_kwargs_from_position_ids

    positions = named.get("position_ids")
    if positions is not None and named.get("attention_mask") is None and named.get("use_cache") is False:
        (ends, _), (longest, _) = prepare_fa_kwargs_from_position_ids(positions)
        longest = int(longest)
        named = named | {"cu_seq_lens_q": ends, "cu_seq_lens_k": ends, "max_length_q": longest, "max_length_k": longest}
    return arguments, named
