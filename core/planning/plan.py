"""A training phase on given hardware: whether it fits, how long it takes, and what would fit where it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from core.planning.disk import bytes_on_disk
from core.planning.hardware import Hardware
from core.planning.memory import Memory, memory_of
from core.planning.shape import Shape
from core.planning.work import Held, Work, recomputed, work_of
from core.training.options import Phase

ShapeOf = Callable[[Phase], Shape]


@dataclass(frozen=True)
class PhasePlan:
    """What a phase takes. seconds: None where what it computes, or how fast that is done, is not known."""

    phase: Phase
    shape: Shape
    held: Held
    work: Work
    workers: int
    memory: Memory
    available: float  # bytes of memory that a worker may take
    seconds: float | None
    disk_bytes: int  # the most at once, its exported model included
    export_bytes: int  # what stays

    @property
    def fits(self) -> bool:
        """Whether a worker's memory holds it."""
        return self.memory.total <= self.available

    @property
    def device_hours(self) -> float | None:
        """Hours, times workers."""
        return None if self.seconds is None else self.seconds * self.workers / 3600

    def as_json(self) -> dict[str, Any]:
        """Sizes in bytes, time in seconds; null for what is not known."""
        return {
            "method": self.phase.method,
            "precision": self.phase.precision,
            "max_steps": self.phase.max_steps,
            "workers": self.workers,
            "parameters": self.shape.parameters,
            "trainable_parameters": self.shape.trained,
            "rows": self.held.rows,
            "sources_of_unknown_size": list(self.held.unknown),
            "steps": self.work.steps,
            "tokens": self.work.tokens,
            "flops": self.work.flops,
            "memory": {**asdict(self.memory), "total": self.memory.total},
            "memory_available": self.available,
            "fits": self.fits,
            "seconds": self.seconds,
            "device_hours": self.device_hours,
            "disk_bytes": self.disk_bytes,
        }


def plan_phase(
    phase: Phase, shape: Shape, held: Held, workers: int, hardware: Hardware, efficiency: float
) -> PhasePlan:
    """What a phase takes on some hardware. efficiency: how much of its peak is reached by all that is computed;
    validation, checkpoints and exchanges between workers are not counted."""
    work = work_of(phase, shape, held)
    plain = shape.parameters - (shape.trained if phase.method != "full" else 0)
    seconds = None
    if work.flops is not None and not (hardware.gpu and phase.precision == "fp32"):  # the peak is that of bf16
        whole = work.flops * recomputed(phase) + work.reference_flops
        seconds = whole / (hardware.peak_flops * efficiency * workers)
    adapter = shape.trained if phase.method != "full" else 0
    return PhasePlan(
        phase=phase,
        shape=shape,
        held=held,
        work=work,
        workers=workers,
        memory=memory_of(shape, phase, workers, gpu=hardware.gpu),
        available=hardware.memory_of(workers),
        seconds=seconds,
        disk_bytes=bytes_on_disk(phase, plain, shape.trained),
        export_bytes=4 * (plain + adapter),
    )


def disk_needed(plans: list[PhasePlan]) -> int:
    """Bytes that phases in a row have at most: a finished one leaves its exported model alone."""
    kept = most = 0
    for plan in plans:
        most = max(most, kept + plan.disk_bytes)
        kept += plan.export_bytes
    return most


def fitting_changes(plan: PhasePlan, shape_of: ShapeOf, gpu: bool) -> list[dict[str, Any]]:
    """Settings with which a phase that does not fit would: first those that change no result, then another method."""
    found = []
    for changes in (_same_result(plan), _other_methods(plan)):
        fitting = (fitted for each in changes if (fitted := _fitted(plan, each, shape_of, gpu)) is not None)
        if (first := next(fitting, None)) is not None:
            found.append(first)
    return found


def _same_result(plan: PhasePlan) -> Iterator[dict[str, Any]]:
    phase = plan.phase
    recompute = {} if phase.gradient_checkpointing else {"gradient_checkpointing": True}
    yield {}
    if recompute:
        yield recompute
    if phase.method == "qlora":
        return
    adamw = {} if phase.optimizer == "adamw" else {"optimizer": "adamw"}
    if phase.zero_stage < 3 and plan.workers > 1:
        yield {**recompute, **adamw, "zero_stage": 3}
    if not phase.cpu_offload:
        yield {**recompute, **adamw, "zero_stage": 3, "cpu_offload": True}


def _other_methods(plan: PhasePlan) -> Iterator[dict[str, Any]]:
    phase = plan.phase
    recompute = {} if phase.gradient_checkpointing else {"gradient_checkpointing": True}
    if phase.method == "full":
        yield {**recompute, "method": "lora"}
    if phase.method != "qlora":
        alone = {"zero_stage": 0, "cpu_offload": False} if phase.zero_stage else {}
        yield {**recompute, **alone, "method": "qlora"}


def _fitted(plan: PhasePlan, changes: dict[str, Any], shape_of: ShapeOf, gpu: bool) -> dict[str, Any] | None:
    """The changes, with the largest micro-batch that fits; None where none does, or nothing was changed."""
    size = plan.phase.micro_batch_size
    for smaller in [each for each in range(size, 0, -1) if size % each == 0]:
        whole = changes if smaller == size else {**changes, "micro_batch_size": smaller}
        phase = plan.phase.model_copy(update=whole)
        if whole and memory_of(shape_of(phase), phase, plan.workers, gpu=gpu).total <= plan.available:
            return whole
    return None
