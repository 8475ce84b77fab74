"""Models: from a configuration with random weights, or loaded; always from safetensors, never from pickles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from core.artifacts.seeds import derive_seed
from core.errors import ResourceError, first_line
from core.models.attention import keep_samples_apart
from core.models.options import Attention, ModelConfig

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

FOUR_BIT = "nf4"


def create_model(
    config: ModelConfig, tokenizer: PreTrainedTokenizerFast, seed: int, attention: Attention = "sdpa"
) -> PreTrainedModel:
    """A new model with random weights from the recipe's seed: the same on every worker and machine.

    Its vocabulary is the tokenizer's. fp32, and whole on each worker.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.modeling_utils import set_zero3_state

    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    declared = transformers_config(config, len(tokenizer), **ids)
    state = torch.random.get_rng_state()
    torch.manual_seed(derive_seed(seed, "initial weights"))
    try:
        with set_zero3_state():  # whole, also where what is loaded is sharded: sharded, other weights would be drawn
            model = AutoModelForCausalLM.from_config(declared, attn_implementation=attention)
    finally:
        torch.random.set_rng_state(state)
    model.generation_config.eos_token_id = stop_tokens(tokenizer)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    keep_samples_apart(model)
    return model


def transformers_config(config: ModelConfig, vocabulary: int, **ids: int | None) -> Any:
    """The Hugging Face configuration that a recipe's model config stands for. ids: of its special tokens, by name."""
    from transformers import AutoConfig

    settings = config.model_dump(exclude={"architecture", "rope_theta", "sliding_window"})
    settings["num_key_value_heads"] = config.num_key_value_heads or config.num_attention_heads
    settings["rope_parameters"] = {"rope_type": "default", "rope_theta": config.rope_theta}
    if config.architecture == "mistral":
        settings["sliding_window"] = config.sliding_window
    return AutoConfig.for_model(config.architecture, vocab_size=vocabulary, **ids, **settings)


def load_model(
    name: str | Path,
    revision: str | None = None,
    *,
    dtype: Literal["fp32", "bf16"] = "fp32",
    quantization: Literal["nf4"] | None = None,
    device: torch.device | str = "cpu",
    attention: Attention = "sdpa",
) -> PreTrainedModel:
    """Loads a causal language model from a directory or the hub.

    quantization: "nf4" loads the linear layers in 4-bit NormalFloat with double quantisation, computing in `dtype`
    (QLoRA, Dettmers et al. 2023, https://arxiv.org/abs/2305.14314). device: "auto" spreads the blocks over all GPUs
    that this process has. Where it has none, kernels that need one give way to torch's: the model can still be written.
    Raises ResourceError where it cannot be had.
    """
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig
    from transformers.integrations import is_deepspeed_zero3_enabled

    torch_dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[dtype]
    arguments: dict[str, Any] = {"dtype": torch_dtype}
    if not is_deepspeed_zero3_enabled():  # which places the shards itself
        arguments["device_map"] = device if device == "auto" else {"": device}
    if attention == "flash_attention_2" and not torch.cuda.is_available():
        attention = "sdpa"
    if quantization == FOUR_BIT:
        arguments["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch_dtype,
        )
    try:
        model = AutoModelForCausalLM.from_pretrained(
            str(name),
            revision=revision or "main",
            use_safetensors=True,
            attn_implementation=attention,
            trust_remote_code=False,
            **arguments,
        )
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # of many kinds: a truncated file alone raises three
        raise ResourceError(_not_had(name, error)) from error
    keep_samples_apart(model)
    for module in model.modules():
        # On CPUs with bf16, bitsandbytes 0.50 repacks weights at the first inference, and training afterwards goes by
        # them without gradients.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model


def fetch_model(name: str, revision: str | None = None) -> Path:
    """The directory of a model: `name` itself, or where the hub's copy is on this machine, fetched if need be.

    Of the hub's files no weights but safetensors are fetched. Raises ResourceError where it cannot be had.
    """
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    try:
        wanted, twice = ["*.json", "*.safetensors", "*.model"], ["consolidated*", "original/*"]
        return Path(snapshot_download(name, revision=revision, allow_patterns=wanted, ignore_patterns=twice))
    except Exception as error:  # of many kinds
        raise ResourceError(_not_had(name, error)) from error


def _not_had(name: str | Path, error: Exception) -> str:
    return (
        f"model {name}: cannot be loaded ({first_line(error)}). Give a directory with safetensors weights, or let this "
        "machine reach the hub (HF_HUB_OFFLINE unset)."
    )


def stop_tokens(tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """Where generation ends: at EOS, and at the special token with which its chat template ends a turn."""
    from core.tokens.chat import end_of_turn

    stops = [tokenizer.eos_token_id]
    end = end_of_turn(tokenizer)
    if end is not None and end != tokenizer.eos_token:
        stops.append(tokenizer.convert_tokens_to_ids(end))
    return stops
