"""What a sweep leaves on disk of each trial, read back. What is there decides how a sweep goes on, whatever ended it.

`trials/0003/` is a run of its own: `recipe.yaml`, `train/`; beside them `trial.json` (what is tried), `reports.json`
(how it scored at each rung) and `end.json` (how it ended).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import orjson

from core.artifacts.atomic import write_json
from core.tuning.space import Values

Status = Literal["running", "finished", "stopped", "failed"]
TRIALS = "trials"
TRIAL, REPORTS, END = "trial.json", "reports.json", "end.json"


@dataclass(frozen=True)
class Report:
    """A trial at a rung.

    budget: as the scheduler counts, of `whole`; score: None where it was judged by its loss alone; tokens, seconds: of
    the trial's own training so far; device_hours: seconds × GPUs, or CPU workers; values: what is tried, changed by the
    scheduler or not; rows: the evaluation's; moments: when the trial's process came to it, its worker began and ended,
    it had trained and had scored, in seconds of the clock.
    """

    budget: int
    whole: int
    step: int
    score: float | None
    stderr: float | None
    validation_loss: float | None
    loss: float | None
    tokens: int
    seconds: float
    device_hours: float
    values: Values
    rows: list[dict[str, Any]] = field(default_factory=list)
    moments: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """overrides: all that makes its recipe of the sweep's, as on the command line."""

    number: int
    directory: Path
    values: Values
    overrides: list[str]
    reports: list[Report]
    status: Status
    error: str | None = None

    @property
    def last(self) -> Report | None:
        """How it scored last."""
        return self.reports[-1] if self.reports else None

    @property
    def score(self) -> float | None:
        """The last score; of a trial that went to its end, that of the model it leaves."""
        return self.reports[-1].score if self.reports else None


def trial_directory(sweep_dir: Path, number: int) -> Path:
    """Where a trial is."""
    return sweep_dir / TRIALS / f"{number:04d}"


def write_trial(directory: Path, number: int, values: Values, overrides: list[str]) -> None:
    """Notes what a trial tries, before it begins."""
    write_json(directory / TRIAL, {"number": number, "values": values, "overrides": overrides})


def write_reports(directory: Path, reports: list[Report]) -> None:
    """Notes how a trial scored so far."""
    write_json(directory / REPORTS, [asdict(report) for report in reports])


def write_end(directory: Path, status: Status, error: str | None = None) -> None:
    """Notes how a trial ended."""
    write_json(directory / END, {"status": status, "error": error})


def read_reports(directory: Path) -> list[Report]:
    """How a trial scored so far."""
    path = directory / REPORTS
    return [Report(**each) for each in orjson.loads(path.read_bytes())] if path.exists() else []


def read_trials(sweep_dir: Path) -> list[Trial]:
    """All trials that have been begun, by number."""
    return [_read(path.parent) for path in sorted((sweep_dir / TRIALS).glob(f"*/{TRIAL}"))]


def _read(directory: Path) -> Trial:
    trial = orjson.loads((directory / TRIAL).read_bytes())
    end = directory / END
    ended = orjson.loads(end.read_bytes()) if end.exists() else {"status": "running", "error": None}
    return Trial(trial["number"], directory, trial["values"], trial["overrides"], read_reports(directory), **ended)
