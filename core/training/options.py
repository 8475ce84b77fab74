"""What a recipe says about a training phase."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from core.models.options import Lora
from core.options import Options
from core.tokens.options import PhaseData

BASE = "base"  # the model before any phase


class Checkpoints(Options):
    """When a phase is saved, beside its end."""

    every_steps: int | None = Field(
        None, ge=1, description="Optimiser steps between checkpoints; none: at each epoch's end."
    )
    keep: int = Field(2, ge=1, description="Latest checkpoints kept on disk.")


class Preference(Options):
    """Learning from preference pairs: DPO (Rafailov et al. 2023), and DPO-Positive (Pal et al. 2024, section 3)."""

    beta: float = Field(0.1, gt=0, description="How far the policy is held to the reference. DPOP: 0.3.")
    dpop_lambda: float = Field(
        0.0,
        ge=0,
        description="Penalty where the preferred completion becomes less likely than to the reference. "
        "0: plain DPO; DPOP: 50.",
    )


class Phase(Options):
    """One phase of training. Phases run in the recipe's order, each from the last one's weights or those it names."""

    data: PhaseData
    starts_from: str | None = Field(
        None, description="base, or an earlier phase whose weights it begins with; none: the phase before it."
    )
    method: Literal["full", "lora", "qlora"] = Field(
        "full", description="full: all weights; lora: adapters; qlora: adapters over 4-bit NF4 weights."
    )
    lora: Lora = Lora()
    preference: Preference | None = Field(None, description="Learn from preference pairs; none: from texts.")
    zero_stage: Literal[0, 1, 2, 3] = Field(
        0,
        description="DeepSpeed ZeRO: what is sharded over the workers (1 optimiser, 2 gradients, 3 weights).",
    )
    epochs: float | None = Field(None, gt=0, description="Passes over the phase's data.")
    max_steps: int | None = Field(None, ge=1, description="Optimiser steps; instead of epochs.")
    global_batch_size: int = Field(32, ge=1, description="Rows in an optimiser step, over all workers.")
    micro_batch_size: int = Field(1, ge=1, description="Rows in one forward pass of one worker.")
    learning_rate: float = Field(2e-5, gt=0, description="Peak learning rate.")
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    min_learning_rate_ratio: float = Field(
        0.0, ge=0, le=1, description="Floor of the schedule, as a share of the peak."
    )
    warmup_steps: int | None = Field(None, ge=0, description="Optimiser steps of linear warm-up.")
    warmup_ratio: float | None = Field(None, ge=0, lt=1, description="Warm-up as a share of all steps.")
    weight_decay: float = Field(0.0, ge=0, description="Decoupled (AdamW); not on norms and biases.")
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    epsilon: float = Field(1e-8, gt=0)
    max_gradient_norm: float = Field(1.0, ge=0, description="Clip the global norm; 0: no clipping.")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="bf16: autocast over fp32 master weights.")
    gradient_checkpointing: bool = Field(False, description="Recompute activations backward: less memory, more time.")
    log_every_steps: int = Field(10, ge=1, description="Optimiser steps between log lines.")
    validate_every_steps: int | None = Field(None, ge=1, description="None: at each checkpoint and at the end.")
    checkpoints: Checkpoints = Checkpoints()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.epochs is None) == (self.max_steps is None):
            raise ValueError("give either epochs or max_steps")
        if self.warmup_steps is not None and self.warmup_ratio is not None:
            raise ValueError("give warmup_steps or warmup_ratio, not both")
        if self.global_batch_size % self.micro_batch_size:
            raise ValueError(
                f"global_batch_size {self.global_batch_size} is not a multiple of "
                f"micro_batch_size {self.micro_batch_size}"
            )
        return self
