"""The sizes of a phase's model, known without its weights: it is built on torch's meta device, which has no values."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import RecipeError, ResourceError, first_line
from core.models.adapters import add_adapters
from core.models.create import transformers_config
from core.models.options import Model
from core.training.losses import has_plain_output
from core.training.options import Phase
from core.training.throughput import FlopCount

# Configurations of models that the shipped recipes begin with, so that a plan needs no network; those of the models'
# own config.json.
KNOWN: dict[str, dict[str, Any]] = {
    "mistralai/Mistral-7B-v0.1": {
        "model_type": "mistral",
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 32768,
        "sliding_window": 4096,
    },
    "meta-llama/Llama-2-7b-hf": {
        "model_type": "llama",
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "max_position_embeddings": 4096,
    },
    "jondurbin/bagel-34b-v0.2": {  # of Yi-34B-200K
        "model_type": "llama",
        "vocab_size": 64000,
        "hidden_size": 7168,
        "intermediate_size": 20480,
        "num_hidden_layers": 60,
        "num_attention_heads": 56,
        "num_key_value_heads": 8,
        "max_position_embeddings": 200000,
    },
    "moreh/MoMo-72B-lora-1.8.7-DPO": {  # of Qwen-72B, as a Llama
        "model_type": "llama",
        "vocab_size": 152064,
        "hidden_size": 8192,
        "intermediate_size": 24576,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "num_key_value_heads": 64,
        "max_position_embeddings": 32768,
    },
}


@dataclass(frozen=True)
class Shape:
    """A phase's model in numbers of elements, and what it computes."""

    parameters: int  # all, adapters included
    trained: int
    in_blocks: int  # of the frozen ones, in the blocks' linear layers: what qlora keeps in 4 bits
    hidden: int  # width of the residual stream
    key_values: int  # width of the keys, and of the values
    inner: int  # width of the feed-forward layer
    blocks: int
    heads: int
    vocabulary: int
    longest: int | None  # tokens of a sequence, where the model has a limit
    plain_output: bool  # whether a loss may run the output layer on some tokens at a time
    flops: FlopCount


def shape_of(model: Model, phase: Phase) -> Shape:
    """What a phase trains.

    Raises ResourceError where the base model's configuration cannot be had, RecipeError where it is none of a causal
    language model, or lacks a block or layer that the recipe names.
    """
    import torch
    from transformers import AutoModelForCausalLM

    config = _configuration(model)
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of peft, about names in transformers
        try:
            built: Any = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
        except ValueError as error:
            raise RecipeError(
                f"model.base: {model.base} is no causal language model ({type(config).__name__})"
            ) from error
        if phase.method != "full":
            built = add_adapters(built, phase.lora, seed=0)
    text = config.get_text_config()
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    parameters = list(built.parameters())
    linear = [each for each in built.modules() if isinstance(each, torch.nn.Linear)]
    return Shape(
        parameters=sum(each.numel() for each in parameters),
        trained=sum(each.numel() for each in parameters if each.requires_grad),
        in_blocks=sum(
            each.weight.numel()
            for each in linear
            if not each.weight.requires_grad and each.out_features != text.vocab_size
        ),
        hidden=text.hidden_size,
        key_values=head * (getattr(text, "num_key_value_heads", None) or text.num_attention_heads),
        inner=getattr(text, "intermediate_size", None) or 4 * text.hidden_size,
        blocks=text.num_hidden_layers,
        heads=text.num_attention_heads,
        vocabulary=text.vocab_size,
        longest=getattr(text, "max_position_embeddings", None),
        plain_output=has_plain_output(config),
        flops=FlopCount.of_model(built),
    )


def _configuration(model: Model) -> Any:
    if model.config is not None:
        config = transformers_config(model.config, _vocabulary(model))
    else:
        config = _base_configuration(str(model.base), model.revision)
    if model.extend is not None:
        text = config.get_text_config()
        if misfit := model.extend.misfit(text.num_hidden_layers):
            raise RecipeError(f"model.extend.blocks: found {misfit[0]}; expected {misfit[1]}")
        if kinds := getattr(text, "layer_types", None):
            text.layer_types = [kinds[block] for block in model.extend.blocks]
        text.num_hidden_layers = len(model.extend.blocks)
    return config


def _base_configuration(name: str, revision: str | None) -> Any:
    from transformers import AutoConfig

    if not Path(name).is_dir() and name in KNOWN:
        return AutoConfig.for_model(**KNOWN[name])
    try:
        return AutoConfig.from_pretrained(name, revision=revision or "main", trust_remote_code=False)
    except Exception as error:  # of many kinds
        raise ResourceError(
            f"model.base: the configuration of {name} cannot be had ({first_line(error)}). Give a directory with its "
            "config.json, or let this machine reach the hub (HF_HUB_OFFLINE unset)."
        ) from error


def _vocabulary(model: Model) -> int:
    from core.tokens.tokenizer import load_tokenizer

    tokenizer = model.tokenizer
    assert tokenizer is not None  # a rule of the recipe
    if tokenizer.train is not None:
        return tokenizer.train.vocabulary
    return len(load_tokenizer(str(tokenizer.name), tokenizer.revision))
