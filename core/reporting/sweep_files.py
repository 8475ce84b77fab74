"""What a sweep leaves, read back: the table of its trials and their ways there."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from pydantic import Field

from core.reporting.written_files import Figure, Written, read_optional


class SweepStart(Written):
    """How the model scores that trials begin with."""

    model: str
    score: Figure
    stderr: float | None = None


class SweepTrial(Written):
    trial: int
    status: str
    values: dict[str, Any]
    score: float | None = None
    stderr: float | None = None
    validation_loss: float | None = None
    share: float
    steps: int
    tokens: int
    seconds: float
    device_hours: float
    best: bool = False
    tie: bool = False
    pareto: bool = False
    error: str | None = None

    @property
    def scored(self) -> float:
        """The score; not a number where there is none."""
        return math.nan if self.score is None else self.score


class Sweep(Written):
    """sweep/sweep.json. curves: of each trial, share of its training, tokens, score and error at each rung."""

    space: str
    objective: str | dict[str, float]
    higher_is_better: bool
    searcher: str
    scheduler: str
    start: SweepStart | None = None
    keys: list[str]
    trials: list[SweepTrial]
    curves: list[list[tuple[float, int, float, float | None]]]
    importance: dict[str, float] = Field({})


def read_sweep(run_dir: Path) -> tuple[Sweep, str] | None:
    """A run's sweep and its best trial as YAML; None where none is finished."""
    if not (run_dir / "sweep" / "manifest.json").exists():
        return None
    sweep = read_optional(run_dir / "sweep" / "sweep.json", Sweep)
    best = run_dir / "sweep" / "best.yaml"
    return None if sweep is None else (sweep, best.read_text("utf-8") if best.exists() else "")
