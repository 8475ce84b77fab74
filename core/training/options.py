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
        None, ge=1, description="Optimiser steps between checkpoints; without any of these three: at each epoch's end."
    )
    every_epochs: float | None = Field(None, gt=0, description="Epochs between checkpoints: 0.5 is each half epoch.")
    every_minutes: float | None = Field(
        None, gt=0, description="Minutes between checkpoints, beside the others. Nothing is validated at these."
    )
    keep: int = Field(2, ge=1, description="Latest checkpoints kept on disk.")
    keep_best: bool = Field(False, description="Also keep the one with the lowest validation loss.")
    export: Literal["last", "best"] = Field(
        "last", description="The weights that the phase leaves: its last, or those with the lowest validation loss."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.every_steps is not None and self.every_epochs is not None:
            raise ValueError("give every_steps or every_epochs, not both")
        return self


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
    cpu_offload: bool = Field(
        False, description="ZeRO keeps the optimiser's state, and at stage 3 the weights, in the host's memory."
    )
    optimizer: Literal["adamw", "paged_adamw_32bit", "adamw_8bit", "paged_adamw_8bit"] = Field(
        "adamw",
        description="adamw: torch's. paged: bitsandbytes' with state that moves to the host's memory when the GPU is "
        "full. 8bit: state in 8 bits by blocks (Dettmers et al. 2022).",
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
    precision: Literal["fp32", "bf16"] = Field("fp32", description="bf16: computing in it, over fp32 master weights.")
    neftune_alpha: float | None = Field(
        None, gt=0, description="NEFTune: noise on the embeddings in training (Jain et al. 2023). Usual: 5."
    )
    compile: bool = Field(False, description="torch.compile of the model's blocks.")
    kernels: Literal["torch", "liger"] = Field(
        "torch", description="liger: fused norms, rotary embeddings and feed-forward of liger-kernel, on GPUs."
    )
    gradient_checkpointing: bool = Field(False, description="Recompute activations backward: less memory, more time.")
    on_nonfinite: Literal["stop", "skip"] = Field(
        "stop", description="A step whose loss or gradient is not finite ends the run, or is left out and listed."
    )
    log_every_steps: int = Field(10, ge=1, description="Optimiser steps between log lines.")
    log_sample_ids: bool = Field(
        False,
        description="Write which rows and documents each worker was trained on at each step, to `samples/` beside the "
        "log. Changes no result: what is trained already is not trained again for it.",
    )
    validate_every_steps: int | None = Field(None, ge=1, description="None: at each checkpoint and at the end.")
    checkpoints: Checkpoints = Checkpoints()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.epochs is None) == (self.max_steps is None):
            raise ValueError("give either epochs or max_steps")
        if self.cpu_offload and not self.zero_stage:
            raise ValueError("cpu_offload is ZeRO's: it goes with zero_stage 1, 2 or 3")
        if self.optimizer != "adamw" and self.zero_stage:
            raise ValueError(f"optimizer {self.optimizer} goes with zero_stage 0: ZeRO shards AdamW's state itself")
        if (self.checkpoints.keep_best or self.checkpoints.export == "best") and not self.data.validation:
            raise ValueError("the best checkpoint is told by its validation loss: data.validation must be more than 0")
        if self.warmup_steps is not None and self.warmup_ratio is not None:
            raise ValueError("give warmup_steps or warmup_ratio, not both")
        if self.global_batch_size % self.micro_batch_size:
            raise ValueError(
                f"global_batch_size {self.global_batch_size} is not a multiple of "
                f"micro_batch_size {self.micro_batch_size}"
            )
        return self
