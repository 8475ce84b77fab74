"""What a training phase writes, before it writes it: nothing starts that cannot finish."""

from __future__ import annotations

import shutil
from pathlib import Path

from core.models.options import Lora, ModelConfig
from core.training.options import Phase

FP32 = 4  # bytes


def parameter_count(config: ModelConfig, vocabulary: int) -> int:
    """Parameters of a model made from a configuration (Mistral, Llama, Qwen2: gated feed-forward, RMS norms)."""
    hidden, blocks = config.hidden_size, config.num_hidden_layers
    head = hidden // config.num_attention_heads
    keys_values = 2 * head * (config.num_key_value_heads or config.num_attention_heads)
    biases = hidden + keys_values if config.architecture == "qwen2" else 0
    block = 2 * hidden * hidden + hidden * keys_values + biases + 3 * hidden * config.intermediate_size + 2 * hidden
    embeddings = vocabulary * hidden * (1 if config.tie_word_embeddings else 2)
    return blocks * block + embeddings + hidden


def adapter_count(config: ModelConfig, lora: Lora, vocabulary: int) -> int:
    """Trainable parameters of LoRA on a model made from a configuration."""
    hidden, inner = config.hidden_size, config.intermediate_size
    keys_values = hidden // config.num_attention_heads * (config.num_key_value_heads or config.num_attention_heads)
    shapes = {
        "q_proj": (hidden, hidden),
        "k_proj": (hidden, keys_values),
        "v_proj": (hidden, keys_values),
        "o_proj": (hidden, hidden),
        "gate_proj": (hidden, inner),
        "up_proj": (hidden, inner),
        "down_proj": (inner, hidden),
    }
    low_rank = sum(lora.rank * sum(shapes[name]) for name in lora.target_modules if name in shapes)
    embeddings = 2 * vocabulary * hidden if lora.train_embeddings else 0
    return config.num_hidden_layers * low_rank + embeddings


def bytes_on_disk(phase: Phase, parameters: int, trainable: int) -> int:
    """The most that a phase has on disk at once.

    Each checkpoint holds the trainable weights in fp32 and AdamW's two moments, in fp32 or a byte each; one more than
    are kept exists while it is written, and one where the best is kept too. At the end the whole model is written, and
    the adapter.
    """
    moment = 1 if "8bit" in phase.optimizer else FP32
    checkpoint = trainable * (FP32 + 2 * moment)
    checkpoints = phase.checkpoints
    kept = checkpoints.keep + 1 + (checkpoints.keep_best or checkpoints.export == "best")
    return kept * checkpoint + (parameters + trainable) * FP32


def too_little_room(phase: Phase, parameters: int, trainable: int, directory: Path) -> str | None:
    """What to say where the disk has too little room for a phase in `directory`; None where it has enough.

    What the phase has written there already counts as room.
    """
    written = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    need = bytes_on_disk(phase, parameters, trainable) - written
    there = next(place for place in (directory, *directory.parents) if place.exists())
    free = shutil.disk_usage(there).free
    if need <= free:
        return None
    return (
        f"needs {need / 1e9:.1f} GB on disk, and {directory} has {free / 1e9:.1f} GB free; free some, choose another "
        "place with --runs-dir, or keep fewer checkpoints (checkpoints.keep)"
    )
