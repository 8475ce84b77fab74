"""What a worker has in its device's memory while a phase is trained, counted before anything is loaded.

Weights, gradients and AdamW's state are counted as ZeRO (Rajbhandari et al. 2020, https://arxiv.org/abs/1910.02054,
section 3.1) counts them, for what the engines of `core.training` allocate. Activations are what torch keeps of a block
for its backward pass: counted with torch's hooks for saved tensors of the blocks of Transformers' Mistral and Llama.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from core.models.options import Attention
from core.planning.disk import FP32
from core.planning.hardware import GIB
from core.planning.shape import Shape
from core.training.losses import LOGITS_AT_A_TIME
from core.training.options import Phase
from core.training.zero_settings import BUCKET

BF16 = 2  # bytes
NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)  # bytes: 4 bits, a byte of scale for 64, whose scales are fp32 for 256 of them
LIVE = 1_000_000_000  # elements that stage 3 holds whole at once: DeepSpeed's stage3_max_live_parameters
RESERVE = 1.5 * GIB  # of a GPU: its driver's context, exchanges between GPUs, gaps between tensors
LOGITS = 16  # bytes for each logit at its most: as computed, in fp32, log-probabilities, gradients

# Bytes that a block keeps of a token for the backward pass, for each element of the residual stream's width, of the
# keys' width, of the feed-forward layer's, and for each adapter's rank.
KEPT = {
    # trained in full: in fp32; fp32 weights that compute in bf16; bf16 weights
    "full fp32": (32, 8, 16, 0),
    "full autocast": (30, 4, 8, 0),
    "full bf16": (20, 4, 8, 0),
    # under adapters
    "adapters fp32": (24, 8, 16, FP32),
    "adapters bf16": (24, 4, 8, BF16),
    # and with dropout before each of them
    "adapters fp32 dropout": (64, 8, 20, FP32),
    "adapters bf16 dropout": (48, 4, 12, BF16),
}


@dataclass(frozen=True)
class Memory:
    """Bytes of one worker; host: of the machine's memory, beside its device."""

    weights: float
    gradients: float
    optimizer: float  # with the fp32 weights that ZeRO keeps beside the others
    activations: float
    logits: float
    buffers: float  # for exchanges between workers, copies to compute with
    reserve: float
    host: float

    @property
    def total(self) -> float:
        """Of the device."""
        return float(sum(asdict(self).values())) - self.host


def memory_of(shape: Shape, phase: Phase, workers: int, *, gpu: bool, attention: Attention = "sdpa") -> Memory:
    """What a phase takes on each of so many workers, at the most. What a CPU leaves to its host is its own memory."""
    computing = BF16 if phase.precision == "bf16" else FP32
    trained = shape.trained
    frozen = _frozen_bytes(shape, phase, computing)
    if phase.zero_stage:
        weights, gradients, optimizer, buffers, host = _sharded(shape, phase, workers, computing, frozen)
    else:
        moment = 1 if "8bit" in phase.optimizer else FP32
        moments = 2.0 * moment * trained
        paged = phase.optimizer.startswith("paged")
        weights, gradients = FP32 * trained + frozen, float(FP32 * trained)
        optimizer, host = (0.0, moments) if paged else (moments, 0.0)
        buffers = float(BF16 * trained) if phase.precision == "bf16" else 0.0
    if phase.method == "qlora":
        buffers += computing * max(shape.hidden * shape.inner, shape.hidden**2)  # one matrix, out of its 4 bits
    length = phase.data.sequence_length * (1 if phase.preference is None else 2)
    tokens = phase.micro_batch_size * length
    logits = tokens * shape.vocabulary
    if shape.plain_output:
        logits = min(logits, LOGITS_AT_A_TIME)
    per_token = _activations(shape, phase)
    if attention == "eager":  # keeps every head's matrix of attention, in fp32 and as it computes
        blocks = 1 if phase.gradient_checkpointing else shape.blocks
        per_token += float(blocks * shape.heads * length * (FP32 + computing))
    if not gpu:
        optimizer, host = optimizer + host, 0.0
    return Memory(
        weights=weights,
        gradients=gradients,
        optimizer=optimizer,
        activations=tokens * per_token,
        logits=float(LOGITS * logits),
        buffers=buffers,
        reserve=RESERVE if gpu else 0.0,
        host=host,
    )


def _frozen_bytes(shape: Shape, phase: Phase, computing: int) -> float:
    frozen = shape.parameters - shape.trained
    if phase.method == "qlora":
        return NF4 * shape.in_blocks + computing * (frozen - shape.in_blocks)
    return float(computing * frozen)


def _sharded(
    shape: Shape, phase: Phase, workers: int, computing: int, frozen: float
) -> tuple[float, float, float, float, float]:
    """By ZeRO: weights, gradients, optimiser, buffers, and what the host has."""
    trained, stage = shape.trained, phase.zero_stage
    weights = computing * trained + frozen
    gradients = FP32 * trained / (1 if stage == 1 else workers)
    optimizer = 3 * FP32 * trained / workers
    bucket = min(BUCKET, shape.parameters)
    buffers = 2.0 * bucket * (FP32 + computing)
    host = 0.0
    if stage == 3:
        weights /= workers
        buffers += computing * min(LIVE, shape.parameters)
    if phase.cpu_offload:
        part = trained / workers
        host, optimizer = optimizer + FP32 * part, 0.0
        if stage == 3:
            host += FP32 * part + weights  # its gradients twice: flat, and as it steps on them
            weights = gradients = 0.0
        elif computing == BF16:
            host += BF16 * part
            gradients = FP32 * (trained if stage == 1 else part)  # add up on the device, and leave it at the step
        else:
            host += 2 * FP32 * part
            gradients = 0.0
    return weights, gradients, optimizer, buffers, host


def _activations(shape: Shape, phase: Phase) -> float:
    """Bytes for each token of a micro-batch."""
    stream = BF16 if phase.precision == "bf16" and (phase.zero_stage or phase.method != "full") else FP32
    hidden, key_values, inner, rank = KEPT[kept_as(phase)]
    adapters = rank * phase.lora.rank * len(phase.lora.target_modules) if phase.method != "full" else 0
    block = hidden * shape.hidden + key_values * shape.key_values + inner * shape.inner + adapters
    if phase.gradient_checkpointing:  # the stream before each block, and one block computed again
        return float(stream * shape.hidden * (shape.blocks + 2) + block)
    return float(block * shape.blocks + stream * shape.hidden * 2)


def kept_as(phase: Phase) -> str:
    """Which of KEPT a phase's blocks are."""
    if phase.method != "full":
        return f"adapters {phase.precision}" + (" dropout" if phase.lora.dropout else "")
    if phase.precision == "fp32":
        return "full fp32"
    return "full bf16" if phase.zero_stage else "full autocast"
