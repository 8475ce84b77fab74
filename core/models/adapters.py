"""LoRA adapters: added before training, merged into the weights after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from core.errors import RecipeError
from core.models.options import Lora

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def add_adapters(model: PreTrainedModel, lora: Lora, seed: int) -> Any:
    """Wraps a model so that only low-rank updates (and the embeddings, where asked) are trained.

    The initial adapter comes from `seed`. Raises RecipeError where the model has no layer of a given name.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.target_modules),
        modules_to_save=["embed_tokens", "lm_head"] if lora.train_embeddings else None,
    )
    layers = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    if missing := [name for name in lora.target_modules if name not in layers]:
        raise RecipeError(f"lora.target_modules: the model has no layer {', '.join(missing)}; it has {_linear(model)}")
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    try:
        wrapped = get_peft_model(model, config)
    finally:
        torch.random.set_rng_state(state)
    for parameter in wrapped.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return wrapped


def with_adapters(base: PreTrainedModel, lora: Lora, weights: Mapping[str, torch.Tensor]) -> Any:
    """The base model with trained adapters, whose weights are given by parameter name."""
    wrapped = add_adapters(base, lora, seed=0)
    parameters = dict(wrapped.named_parameters())
    for name, tensor in weights.items():
        parameters[name].data.copy_(tensor)
    return wrapped


def _linear(model: PreTrainedModel) -> str:
    import torch

    names = {name.rpartition(".")[2] for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)}
    return ", ".join(sorted(names))
