"""Whether training is well: losses that leap, memory that will not do, workers that hang."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import ResourceError, first_line
from core.training.options import Phase

HEARTBEATS = "workers"  # in a phase's directory
SPIKE = 6.0  # standard deviations above the usual loss
USUAL = 0.98  # weight of the past in the usual loss: some fifty steps
FIRST = 20  # steps before which nothing is unusual


@dataclass
class LossWatch:
    """What loss is usual, as an exponential mean and variance over the last steps (some fifty)."""

    steps: int = 0
    mean: float = 0.0
    variance: float = 0.0

    def is_spike(self, loss: float) -> bool:
        """Takes a step's loss in; whether it stands out: more than 6 standard deviations above the usual."""
        bound = self.mean + SPIKE * self.variance**0.5
        spike = self.steps >= FIRST and loss > bound
        self.steps += 1
        weight = max(1 - USUAL, 1 / self.steps)
        away = (min(loss, bound) if spike else loss) - self.mean  # one spike does not make the next one usual
        self.mean += weight * away
        self.variance = (1 - weight) * (self.variance + weight * away**2)
        return spike


class Heartbeat:
    """Each worker's last begun step, in a file of its own: who hangs can be told from outside."""

    def __init__(self, directory: Path, rank: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._file = (directory / f"rank-{rank:05d}").open("wb", buffering=0)

    def at(self, step: int) -> None:
        """Step `step` (1-based) begins."""
        os.pwrite(self._file.fileno(), b"%012d" % step, 0)

    def close(self) -> None:
        """Ends it."""
        self._file.close()


def behind(directory: Path) -> str:
    """Which workers have come less far than the others, in words; empty where none has."""
    steps = {int(path.name.removeprefix("rank-")): int(path.read_bytes() or 0) for path in directory.glob("rank-*")}
    furthest = max(steps.values(), default=0)
    late = {rank: step for rank, step in sorted(steps.items()) if step < furthest}
    told = ", ".join(f"rank {rank} (step {step})" for rank, step in late.items())
    return f"behind the others (step {furthest}): {told}" if late else ""


@contextlib.contextmanager
def told_without_room(options: Phase) -> Iterator[None]:
    """Turns a device's memory that is full, wherever that shows, into a ResourceError that says what would help."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        said = "weights, gradients and the optimiser's state do not fit the device"
        raise ResourceError(f"{said}{_what_would_help(options)} ({first_line(error)})") from error


def too_large(options: Phase, rows: int, tokens: int, fitting: int | None, used: str) -> str:
    """What is said where a micro-batch does not fit. fitting: rows that were tried and did; used: memory, in words."""
    said = f"a micro-batch of {rows} rows of {tokens} tokens does not fit the device ({used})"
    if fitting:
        return f"{said}; micro_batch_size={fitting} does (tried just now)"
    of_the_batch = [
        ("gradient_checkpointing=true", options.gradient_checkpointing),
        ("precision=bf16", options.precision == "bf16"),
        (f"micro_batch_size={max(1, rows // 2)}", rows == 1),
    ]
    return said + _what_would_help(options, of_the_batch, [(f"data.sequence_length={tokens // 2}", False)])


def _what_would_help(
    options: Phase, first: Sequence[tuple[str, bool]] = (), last: Sequence[tuple[str, bool]] = ()
) -> str:
    """Settings that take less memory, those that are there already left out."""
    means = [
        *first,
        ("optimizer=paged_adamw_8bit", options.optimizer != "adamw" or options.zero_stage > 0),
        ("zero_stage=3 on more GPUs", options.zero_stage == 3 or options.method == "qlora"),
        ("cpu_offload=true", options.cpu_offload or not options.zero_stage),
        ("method=qlora", options.method == "qlora"),
        *last,
    ]
    named = ", ".join(name for name, there in means if not there)
    return f"; what would help, the cheapest first: {named}" if named else ""


def largest_fitting(fits: Callable[[int], bool], rows: int) -> int | None:
    """The largest of rows/2, rows/4, ... that fits; None where not even one row does."""
    while rows > 1:
        rows //= 2
        if fits(rows):
            return rows
    return None


def heaviest(batches: Sequence[Sequence[int]], lengths: NDArray[np.integer]) -> Sequence[int]:
    """The micro-batch with most tokens, padding included."""
    return max(batches, key=lambda rows: len(rows) * max((int(lengths[row]) for row in rows), default=0))
