"""What a training phase writes, read back: its log, the steps that went wrong, its summary."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import Field

from core.reporting.written_files import Figure, Written, read_lines, read_optional, shaped

UNKNOWN = math.nan  # a figure that an earlier version, or another objective, does not write


class PreferenceFigures(Written):
    """Means per pair. Rewards: beta times the log-ratio to the reference."""

    reward_chosen: Figure = UNKNOWN
    reward_rejected: Figure = UNKNOWN
    reward_margin: Figure = UNKNOWN
    reward_accuracy: Figure = UNKNOWN
    chosen_logps: Figure = UNKNOWN
    rejected_logps: Figure = UNKNOWN


class Preference(Written):
    first: PreferenceFigures
    last: PreferenceFigures


class TrainingSummary(Written):
    """train/<phase>/summary.json"""

    method: str
    steps: int
    epochs: float
    parameters: int
    trainable_parameters: int
    tokens: int
    target_tokens: int
    seconds: float
    tokens_per_second: float
    first_loss: float | None = None
    last_loss: float | None = None
    best_validation_loss: float | None = None
    best_step: int | None = None
    workers: int
    optimizer: str | None = None
    zero_stage: int = 0
    device: str | None = None
    devices: int | None = None
    tokens_per_second_per_device: float | None = None
    target_tokens_per_second: float | None = None
    mfu: float | None = None
    peak_flops: float | None = None
    data_wait: float | None = None
    peak_memory_bytes: int | None = None
    skipped_steps: int | None = None
    spikes: int | None = None
    restarts: int | None = None
    refused_checkpoints: list[str] = Field(default_factory=list)
    preference: Preference | None = None


class TrainingLine(PreferenceFigures):
    """A line of train/<phase>/log.jsonl: means since the line before."""

    step: int
    loss: Figure
    learning_rate: Figure
    tokens: int
    tokens_per_second: Figure
    seconds: float
    gradient_norm: Figure = UNKNOWN
    mfu: Figure = UNKNOWN
    data_wait: Figure = UNKNOWN
    memory_bytes: Figure = UNKNOWN


class ValidationLine(Written):
    """A line of the same file: means over the validation data after a step."""

    step: int
    validation_loss: Figure
    validation_reward_chosen: Figure = UNKNOWN
    validation_reward_rejected: Figure = UNKNOWN
    validation_reward_margin: Figure = UNKNOWN
    validation_reward_accuracy: Figure = UNKNOWN
    validation_chosen_logps: Figure = UNKNOWN
    validation_rejected_logps: Figure = UNKNOWN


class Event(Written):
    """A line of train/<phase>/events.jsonl. usual: the loss before it."""

    step: int
    kind: Literal["skipped", "spike"]
    loss: float | None = None
    gradient_norm: float | None = None
    usual: float | None = None
    documents: list[str] = Field(default_factory=list)


@dataclass(frozen=True)
class Phase:
    """One training phase, as far as it has come. max_gradient_norm: what longer gradients are cut to, if known."""

    name: str
    summary: TrainingSummary | None
    log: list[TrainingLine]
    validation: list[ValidationLine]
    events: list[Event] = field(default_factory=list)
    max_gradient_norm: float | None = None

    @property
    def preference(self) -> bool:
        """Whether it learned from preference pairs."""
        return any(math.isfinite(line.reward_chosen) for line in self.log)


def read_phase(directory: Path, max_gradient_norm: float | None = None) -> Phase:
    """All that a phase has written. What was logged again after a restart counts once, as it was the last time.

    Raises DataError naming the file, and the place in it, where one is broken.
    """
    training, validation = {}, {}
    for place, line in read_lines(directory / "log.jsonl"):
        if isinstance(line, dict) and "validation_loss" in line:
            measured = shaped(line, ValidationLine, place)
            validation[measured.step] = measured
        else:
            logged = shaped(line, TrainingLine, place)
            training[logged.step] = logged
    events = {}
    for place, line in read_lines(directory / "events.jsonl"):
        event = shaped(line, Event, place)
        events[event.step, event.kind] = event
    return Phase(
        name=directory.name,
        summary=read_optional(directory / "summary.json", TrainingSummary),
        log=[training[step] for step in sorted(training)],
        validation=[validation[step] for step in sorted(validation)],
        events=[events[key] for key in sorted(events)],
        max_gradient_norm=max_gradient_norm,
    )
