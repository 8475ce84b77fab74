"""What a recipe says about its model."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from core.options import Options
from core.tokens.options import Tokenizer

Attention = Literal["sdpa", "eager", "flash_attention_2", "flex_attention"]
ALL_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class Lora(Options):
    """Low-rank adaptation (Hu et al. 2021, https://arxiv.org/abs/2106.09685)."""

    rank: int = Field(16, ge=1)
    alpha: float = Field(32, gt=0, description="The update is scaled by alpha / rank.")
    dropout: float = Field(0.0, ge=0, lt=1)
    target_modules: list[str] = Field(default=ALL_LINEAR, min_length=1, description="Layers that get an adapter.")
    train_embeddings: bool = Field(False, description="Also train the input and output embeddings, in full.")


class ModelConfig(Options):
    """A new model with random weights. Names and defaults are those of Hugging Face's configuration classes."""

    architecture: Literal["mistral", "llama", "qwen2"] = "mistral"
    hidden_size: int = Field(ge=8, description="Width of the residual stream.")
    intermediate_size: int = Field(ge=8, description="Width of the gated feed-forward layer.")
    num_hidden_layers: int = Field(ge=1, description="Number of blocks.")
    num_attention_heads: int = Field(ge=1, description="Query heads.")
    num_key_value_heads: int | None = Field(
        None, ge=1, description="Key/value heads (GQA); none: as many as query heads."
    )
    max_position_embeddings: int = Field(2048, ge=8, description="Longest sequence, in tokens.")
    sliding_window: int | None = Field(
        None, ge=1, description="Attention window in tokens (mistral); none: full attention."
    )
    rope_theta: float = Field(10000.0, gt=0, description="Base of the rotary position embedding.")
    initializer_range: float = Field(0.02, gt=0, description="Standard deviation of the initial weights.")
    tie_word_embeddings: bool = Field(False, description="One matrix for the input and the output embedding.")

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}"
            )
        if self.num_key_value_heads and self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"num_attention_heads {self.num_attention_heads} is not a multiple of "
                f"num_key_value_heads {self.num_key_value_heads}"
            )
        if self.sliding_window and self.architecture != "mistral":
            raise ValueError("sliding_window is for architecture mistral")
        return self


class DepthExtension(Options):
    """A deeper model made of an existing one's blocks: SOLAR's depth up-scaling, LLaMA Pro's block expansion.

    Kim et al. 2023, https://arxiv.org/abs/2312.15166; Wu et al. 2024, https://arxiv.org/abs/2401.02415.
    """

    blocks: list[Annotated[int, Field(ge=0)]] = Field(
        min_length=1, description="For each block of the new model in order, the block that it copies, counted from 0."
    )
    identity: bool = Field(
        False,
        description="Blocks that were copied before add nothing at first (o_proj and down_proj are zero, as LLaMA "
        "Pro's): before training the new model computes what the old one does.",
    )

    def misfit(self, depth: int) -> tuple[str, str] | None:
        """What does not fit a model of `depth` blocks: what was found and what is expected. None where all fits."""
        if beyond := [block for block in self.blocks if block >= depth]:
            return f"block {beyond[0]}", f"blocks from 0 to {depth - 1}: the model has {depth}"
        if self.identity and (missing := sorted(set(range(depth)) - set(self.blocks))):
            return f"no block {missing[0]}", f"each of the model's {depth} blocks, for identity: true"
        return None

    @model_validator(mode="after")
    def _keeps_the_order(self) -> Self:
        first = list(dict.fromkeys(self.blocks))
        if self.identity and first != sorted(first):
            raise ValueError("identity: true computes what the old model does only with its blocks in their order")
        return self


class Model(Options):
    """The model that training starts from: `base`, an existing one, or `config`, a new one."""

    base: str | None = Field(None, description="Hugging Face name, or a directory with safetensors weights.")
    revision: str | None = Field(None, description="Commit, tag or branch of `base` on the hub.")
    config: ModelConfig | None = Field(None, description="Create the model from this configuration.")
    extend: DepthExtension | None = Field(None, description="Train a deeper model, made of its blocks.")
    tokenizer: Tokenizer | None = Field(None, description="None: the base model's own.")
    attention: Attention = Field(
        "sdpa",
        description="How attention is computed in training: torch's own (sdpa), plainly (eager), by the package "
        "flash-attn, or compiled by torch (flex_attention). The last two on GPUs only.",
    )

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.base is None) == (self.config is None):
            raise ValueError("give either base (an existing model) or config (a new one)")
        if self.base is not None and self.tokenizer is not None and self.tokenizer.train is not None:
            raise ValueError("a base model knows its own tokenizer's ids only: tokenizer.train goes with config")
        if self.config is not None and self.tokenizer is None:
            raise ValueError("a model made from config needs a tokenizer: {train: {vocabulary: ...}} or {name: ...}")
        if self.revision is not None and self.base is None:
            raise ValueError("revision goes with base")
        return self
