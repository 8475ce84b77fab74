"""How fast training is: tokens per second, how much of the device's peak that is, what it waits for, when it ends."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.tokens.shards import TokenRows
from core.training.devices import Device, device_of

if TYPE_CHECKING:
    import torch


@dataclass
class Work:
    """What has been done so far; all of it is in a checkpoint, so that a resumed run is told as one."""

    steps: int = 0
    tokens: int = 0  # run forward and backward, over all workers
    target_tokens: int = 0  # of those, tokens that were learned
    flops: float = 0.0  # that the model needs for them, see FlopCount
    training_seconds: float = 0.0  # without validation and checkpoints
    device_seconds: float = 0.0  # the same times the number of workers
    waiting_seconds: float = 0.0  # of training_seconds: this worker made batches
    paused_seconds: float = 0.0  # validation and checkpoints
    peak_memory_bytes: int = 0  # of this worker's device


@dataclass(frozen=True)
class FlopCount:
    """FLOPs that a model needs for some samples, forward and backward; a multiplication and an addition are two.

    After PaLM (Chowdhery et al. 2022, https://arxiv.org/abs/2204.02311, appendix B), which counts 6 N + 12 L H Q T for
    each token (N parameters, L blocks, H heads of size Q, sequences of T): matrix products alone, and no recomputation
    of activations. Where that rounds up, this counts what has to be done, so that the figure is lower than by PaLM's
    formula, for Mistral-7B at 4,096 tokens by 8 %:

        tokens x (6 W_trained + 4 W_frozen) + targets x (6 or 4) x vocabulary x width + 12 H Q x pairs over all blocks

    W: weights of the blocks, without embeddings; of experts those that a token is sent to. Frozen weights have no
    gradient of their own: 4 in place of 6. The output layer runs only where there is a target. pairs: of a token and
    one that it sees: itself and those before it in its sample, at most as many as the sliding window.
    """

    per_token: float
    per_target: float
    per_pair: float  # in one block
    blocks: Mapping[int | None, int]  # how many have a sliding window of so many tokens; None: see all

    @classmethod
    def of_model(cls, model: Any) -> FlopCount:
        """model: a Hugging Face causal LM, with PEFT adapters or without; sharded and 4-bit weights count whole."""
        model = model.get_base_model() if hasattr(model, "get_base_model") else model
        config = model.config.get_text_config()
        head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        experts = getattr(config, "num_experts_per_tok", None)
        return cls(
            per_token=_weight_flops(model.get_decoder(), experts),
            per_target=_weight_flops(model.get_output_embeddings(), None),
            per_pair=12.0 * config.num_attention_heads * head,
            blocks=_windows(config),
        )

    def of(self, sequence_lengths: NDArray[np.integer], target_tokens: int) -> float:
        """sequence_lengths: int[samples]; target_tokens: how many of all their tokens are learned."""
        lengths = sequence_lengths.astype(np.float64)
        pairs = sum(blocks * _pairs(lengths, window) for window, blocks in self.blocks.items())
        return self.per_token * float(lengths.sum()) + self.per_target * target_tokens + self.per_pair * pairs

    def of_rows(self, rows: TokenRows, batch: NDArray[np.integer]) -> float:
        """batch: int[rows], numbers of packed rows."""
        lengths = [rows[int(number)].sequence_lengths for number in batch]
        return self.of(np.concatenate(lengths), int(rows.target_tokens[batch].sum()))


def _pairs(lengths: NDArray[np.float64], window: int | None) -> float:
    seen = lengths if window is None else np.minimum(lengths, window)
    return float((seen * (seen + 1) / 2 + (lengths - seen) * seen).sum())


def _weight_flops(module: torch.nn.Module, experts_per_token: int | None) -> float:
    """For each token that runs through a module's matrices, forward and backward."""
    from torch import nn

    flops = 0.0
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Embedding | nn.ParameterDict) or "original_module" in name:  # PEFT's, out of use
            continue
        if isinstance(layer, nn.Linear):  # the shape of a 4-bit weight is not that of the matrix it stands for
            flops += (6 if layer.weight.requires_grad else 4) * layer.in_features * layer.out_features
            continue
        for weight in layer.parameters(recurse=False):
            shape = getattr(weight, "ds_shape", weight.shape)  # under ZeRO stage 3 the whole one
            used = experts_per_token / shape[0] if experts_per_token and len(shape) == 3 else 1.0
            if len(shape) > 1:
                flops += (6 if weight.requires_grad else 4) * used * float(np.prod(shape))
    return flops


def _windows(config: Any) -> dict[int | None, int]:
    """How many blocks have which sliding window; blocks without softmax attention have none of its cost."""
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if not kinds:
        return {window: config.num_hidden_layers}
    known = {"full_attention": None, "sliding_attention": window}
    return dict(Counter(known[kind] for kind in kinds if kind in known))


class Meter:
    """Measures a training loop. It never waits for the device: a step's own exchange of figures has done so."""

    def __init__(
        self, device: Device | str, world_size: int, work: Work, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """device: this worker's (torch's name of it, or known already); work: goes on from there, and is kept up."""
        self.work = work
        self._device = device if isinstance(device, Device) else device_of(device)
        self._world_size = world_size
        self._clock = clock
        self._read = replace(work)  # as it was at the last reading
        self._mark = clock()

    def begin(self) -> None:
        """The first step begins now."""
        self._mark = self._clock()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """A batch is made in the block, and nothing is trained. At most: a GPU may still be at the batch before."""
        began = self._clock()
        yield
        self.work.waiting_seconds += self._clock() - began

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """What happens in the block is not training: validation, checkpoints."""
        began = self._clock()
        yield
        paused = self._clock() - began
        self.work.paused_seconds += paused
        self._mark += paused

    def add(self, tokens: int, target_tokens: int, flops: float) -> None:
        """A step is done, on a global batch of this size."""
        now, work = self._clock(), self.work
        work.steps += 1
        work.tokens += tokens
        work.target_tokens += target_tokens
        work.flops += flops
        work.training_seconds += now - self._mark
        work.device_seconds += (now - self._mark) * self._world_size
        self._mark = now

    def reading(self, steps_left: int) -> dict[str, float]:
        """Of the steps since the last reading, of which there must be one.

        tokens_per_second, tokens_per_second_per_device, target_tokens_per_second; mfu: share of the device's peak in
        bf16 that the model's FLOPs are, left out where the peak is not known; data_wait: share of the time in which
        batches were made; memory_bytes: the most taken so far; seconds_left: at the pace of the whole run.
        """
        work = self.work
        speed = self._speed(self._read)
        self._read = replace(work)
        per_step = (work.training_seconds + work.paused_seconds) / work.steps
        return {**speed, "memory_bytes": self._memory(), "seconds_left": round(steps_left * per_step, 3)}

    def summary(self) -> dict[str, Any]:
        """The same of the whole run, with the device's name, the peak that mfu is a share of, and how many there are"""
        peak = self._device.peak_flops
        return {
            **self._speed(Work()),
            "peak_memory_bytes": self._memory(),
            "device": self._device.name,
            "devices": self._world_size,
            **({"peak_flops": peak} if peak else {}),
        }

    def _speed(self, since: Work) -> dict[str, float]:
        work, peak = self.work, self._device.peak_flops
        seconds = work.training_seconds - since.training_seconds
        device_seconds = work.device_seconds - since.device_seconds
        tokens = work.tokens - since.tokens
        speed = {
            "tokens_per_second": round(tokens / seconds, 1),
            "tokens_per_second_per_device": round(tokens / device_seconds, 1),
            "target_tokens_per_second": round((work.target_tokens - since.target_tokens) / seconds, 1),
            "data_wait": round((work.waiting_seconds - since.waiting_seconds) / seconds, 4),
        }
        if peak:
            speed["mfu"] = round((work.flops - since.flops) / (device_seconds * peak), 4)
        return speed

    def _memory(self) -> int:
        self.work.peak_memory_bytes = max(self.work.peak_memory_bytes, self._device.memory())
        return self.work.peak_memory_bytes
