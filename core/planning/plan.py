"""A training phase on given hardware: whether it fits, how long it takes, and what would fit where it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from core.errors import RecipeError
from core.models.options import Attention
from core.planning.disk import bytes_on_disk
from core.planning.hardware import Hardware
from core.planning.memory import Memory, memory_of
from core.planning.shape import Shape
from core.planning.work import Held, Work, recomputed, work_of
from core.training.options import Phase


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
    reference_seconds: float  # of these, in which preference pairs' reference model is asked
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

    @property
    def reference_hours(self) -> float:
        """Of the device-hours, those in which the reference model is asked."""
        return self.reference_seconds * self.workers / 3600

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
    phase: Phase,
    shape: Shape,
    held: Held,
    workers: int,
    hardware: Hardware,
    efficiency: float,
    attention: Attention = "sdpa",
    cpus_per_worker: int = 1,
) -> PhasePlan:
    """What a phase takes on some hardware. efficiency: how much of its peak is reached by all that is computed;
    validation, checkpoints and exchanges between workers are not counted."""
    work = work_of(phase, shape, held)
    plain = shape.parameters - (shape.trained if phase.method != "full" else 0)
    seconds, reference = None, 0.0
    if work.flops is not None and not (hardware.gpu and phase.precision == "fp32"):  # the peak is that of bf16
        speed = hardware.peak_flops * efficiency * workers * (1 if hardware.gpu else cpus_per_worker)
        reference = work.reference_flops / speed
        seconds = work.flops * recomputed(phase) / speed + reference
    adapter = shape.trained if phase.method != "full" else 0
    return PhasePlan(
        phase=phase,
        shape=shape,
        held=held,
        work=work,
        workers=workers,
        memory=memory_of(shape, phase, workers, gpu=hardware.gpu, attention=attention),
        available=hardware.memory_of(workers),
        seconds=seconds,
        reference_seconds=reference,
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


def fitting_changes(
    plan: PhasePlan, memory: Callable[[Phase], float], allowed: Callable[[dict[str, Any]], bool], *, gpu: bool
) -> list[dict[str, Any]]:
    """Settings with which a phase that does not fit would: first with the same method, then with another.

    memory: bytes that a changed phase takes, RecipeError where its method does not fit the model; allowed: whether the
    recipe may have such changes.
    """
    found = []
    for several in (_same_method(plan, gpu), _other_methods(plan)):
        for changes in map(dict, several):
            smaller = _fitting_size(plan, changes, memory)
            if smaller is not None:
                changes |= {"micro_batch_size": smaller} if smaller != plan.phase.micro_batch_size else {}
                if changes and allowed(changes):
                    found.append(changes)
                    break
    return found


def _same_method(plan: PhasePlan, gpu: bool) -> Iterator[dict[str, Any]]:
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
    if not phase.cpu_offload and gpu:
        yield {**recompute, **adamw, "zero_stage": 3, "cpu_offload": True}


def _other_methods(plan: PhasePlan) -> Iterator[dict[str, Any]]:
    phase = plan.phase
    recompute = {} if phase.gradient_checkpointing else {"gradient_checkpointing": True}
    if phase.method == "full":
        yield {**recompute, "method": "lora"}
    if phase.method != "qlora":
        alone = {"zero_stage": 0, "cpu_offload": False} if phase.zero_stage else {}
        yield {**recompute, **alone, "method": "qlora"}


def _fitting_size(plan: PhasePlan, changes: dict[str, Any], memory: Callable[[Phase], float]) -> int | None:
    """The largest micro-batch with which a changed phase fits; None where none does."""
    size = plan.phase.micro_batch_size
    for smaller in [each for each in range(size, 0, -1) if size % each == 0]:
        phase = plan.phase.model_copy(update={**changes, "micro_batch_size": smaller})
        try:
            if memory(phase) <= plan.available:
                return smaller
        except RecipeError:
            return None
    return None
