"""Attention backends: whether one can run here, and that packed samples do not see each other in it."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from core.errors import RecipeError, ResourceError
from core.models.options import Attention

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FLASH = "flash_attention_2"
SDPA = "sdpa"
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
    """Lets no packed sample see another where a batch has several rows, and on CPUs computes none that is not needed.

    Samples are told apart by their positions, which begin at 0 in each. Transformers 5 does so in eager, sdpa and flex
    attention, but in flash attention only for a batch of one row: with more it attends over whole rows. So the lengths
    are handed to it with every batch that has positions and neither a mask nor a cache. In sdpa on CPUs they are taken
    to attend within each sample, in place of over whole rows with a mask: torch's kernel there skips nothing.
    """
    if model.config._attn_implementation == FLASH:
        model.get_decoder().register_forward_pre_hook(_with_lengths, with_kwargs=True)
    elif model.config._attn_implementation == SDPA:
        _register_by_sample()
        model.get_decoder().register_forward_pre_hook(_with_sample_lengths, with_kwargs=True)


def _register_by_sample() -> None:
    """Has sdpa attend sample by sample where it is told their lengths, which `_with_sample_lengths` alone does."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention
    from transformers import AttentionInterface
    from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward

    def attend(module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **named: Any) -> tuple[Any, None]:
        lengths = named.pop("sample_lengths", None)
        if lengths is None or named.get("sliding_window") or named.get("dropout"):
            output: tuple[Any, None] = sdpa_attention_forward(module, query, key, value, attention_mask, **named)
            return output
        groups = getattr(module, "num_key_value_groups", 1)
        whole = (query, repeat_kv(key, groups), repeat_kv(value, groups))  # [rows, heads, tokens, width] each
        parts = zip(*(each.transpose(0, 1).flatten(1, 2).split(lengths, dim=1) for each in whole), strict=True)
        attended = [
            scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True, scale=named.get("scaling"))
            for q, k, v in parts
        ]
        heads_first = torch.cat(attended, dim=2)[0].view(query.shape[1], query.shape[0], query.shape[2], -1)
        return heads_first.permute(1, 2, 0, 3).contiguous(), None

    AttentionInterface.register(SDPA, attend)


def _with_sample_lengths(decoder: Any, arguments: Any, named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    positions = named.get("position_ids")
    alone = named.get("attention_mask") is None and named.get("use_cache") is False
    if positions is not None and positions.device.type == "cpu" and alone:
        starts = (positions.flatten() == 0).nonzero().flatten().tolist()
        ends = [*starts[1:], positions.numel()]
        named = named | {"sample_lengths": [end - start for start, end in zip(starts, ends, strict=True)]}
    return arguments, named


def _with_lengths(decoder: Any, arguments: Any, named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    from transformers.modeling_flash_attention_utils import prepare_fa_kwargs_from_position_ids

    positions = named.get("position_ids")
    if positions is not None and named.get("attention_mask") is None and named.get("use_cache") is False:
        (ends, _), (longest, _) = prepare_fa_kwargs_from_position_ids(positions)
        longest = int(longest)
        named = named | {"cu_seq_lens_q": ends, "cu_seq_lens_k": ends, "max_length_q": longest, "max_length_k": longest}
    return arguments, named
