"""What is seen of a sweep while it runs: Tune's table on a terminal, a line for each trial that ends elsewhere."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ray.tune import Callback, CLIReporter

from core.reporting.formats import NBSP, decimal, scientific, with_error
from core.tuning.objective import Objective
from core.tuning.table import best_trial
from core.tuning.trials import Trial, read_trials, trial_directory, write_end
from ray_jobs.progress import Reporter
from ray_jobs.sweep_search import BUDGET, COST, SCORE, Asha, number_of


class Watcher(Callback):  # type: ignore[misc]
    """Notes how each trial ends, tells it, and removes the weights that nothing needs any more."""

    def __init__(
        self, reporter: Reporter, sweep_dir: Path, objective: Objective, count: int, asha: Asha | None
    ) -> None:
        self._reporter, self._sweep_dir, self._objective, self._count = reporter, sweep_dir, objective, count
        self._asha = asha

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial that went to its end or failed has said so itself; any other was stopped, or halts at a rung."""
        found = self._trial(number_of(str(trial)))
        if found.status != "running":
            self.tell(found.number)
        elif self._asha is None:
            write_end(found.directory, "stopped")
            self.tell(found.number)
        else:
            self._reporter.say(f"sweep: {halted(found, self._asha.rungs)}")
            for each in self._asha.hopeless():
                write_end(each.directory, "stopped")
                self.tell(each.number)
        self.tidy()

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial that was lost once too often."""
        lines = [line.strip() for line in str(trial.get_error()).splitlines() if line.strip()]
        directory = trial_directory(self._sweep_dir, number_of(str(trial)))
        write_end(directory, "failed", lines[-1] if lines else "was lost")
        self.tell(number_of(str(trial)))

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune keeps callbacks for a way to go on that is not ours."""
        return {}

    def _trial(self, number: int) -> Trial:
        return next(each for each in read_trials(self._sweep_dir) if each.number == number)

    def tell(self, number: int) -> None:
        """Says how a trial ended."""
        found = self._trial(number)
        ended = sum(each.status != "running" for each in read_trials(self._sweep_dir))
        self._reporter.say(f"sweep: {line(found)} ({ended} of {self._count})")

    def tidy(self) -> None:
        """Removes a stopped trial's training, and the models of finished ones but the best: their scores are kept."""
        trials = read_trials(self._sweep_dir)
        best = best_trial([trial for trial in trials if trial.status == "finished"], self._objective)
        for trial in trials:
            if trial.status in ("stopped", "failed"):
                shutil.rmtree(trial.directory / "rungs", ignore_errors=True)
            for phase in (trial.directory / "train").glob("*"):
                if trial.status == "running" or trial is best or phase.is_symlink():
                    continue
                for weights in ("checkpoints", "model", "adapter"):
                    shutil.rmtree(phase / weights, ignore_errors=True)


def tune_table(keys: Sequence[str], mode: str) -> CLIReporter:
    """Tune's own table, with the space's keys and what trials report."""
    return CLIReporter(
        parameter_columns={key: key.removeprefix("train.") for key in keys},
        metric_columns={BUDGET: "rung", SCORE: "score", "tokens": "tokens", COST: "device-hours"},
        metric=SCORE,
        mode=mode,
        sort_by_metric=True,
        max_report_frequency=10,
    )


def line(trial: Trial) -> str:
    """A trial in a line."""
    scored = "no score"
    if trial.last is not None and trial.score is not None:
        scored = with_error(decimal(trial.score), trial.last.stderr)
    tried = ", ".join(f"{key}={shown(value)}" for key, value in trial.values.items())
    why = f": {trial.error}" if trial.error else ""
    return f"trial {trial.number} {trial.status}{why}, {scored}, {tried}".replace(NBSP, " ")


def halted(trial: Trial, rungs: int) -> str:
    """A trial that waits at a rung, in a line."""
    at = trial.last
    assert at is not None
    found = [("score", at.score), ("validation loss", at.validation_loss)]
    known = [f"{name} {decimal(value)}" for name, value in found if value is not None]
    return ", ".join([f"trial {trial.number} at rung {len(trial.reports)} of {rungs}", *known]).replace(NBSP, " ")


def shown(value: Any) -> str:
    """A value in few characters."""
    if isinstance(value, float):
        return scientific(value) if value and abs(value) < 0.01 else f"{value:g}"
    return str(value)


def told(result: Mapping[str, Any]) -> Iterator[str]:
    """What came of a sweep, in lines."""
    rows = result["trials"]
    by_status = {status: sum(row["status"] == status for row in rows) for status in ("finished", "stopped", "failed")}
    yield "sweep: " + ", ".join(f"{count} trials {status}" for status, count in by_status.items() if count)
    if start := result["start"]:
        scored = with_error(decimal(start["score"]), start["stderr"]).replace(NBSP, " ")
        yield f"sweep: {start['model']}, which trials begin with: {scored}"
    best = next((row for row in rows if row["best"]), None)
    if best is not None:
        scored = with_error(decimal(best["score"]), best["stderr"]).replace(NBSP, " ")
        tried = ", ".join(f"{key}={shown(value)}" for key, value in best["values"].items())
        ties = sum(row["tie"] for row in rows)
        also = f"; {ties} others are not told from it" if ties else ""
        yield f"sweep: best is trial {best['trial']}, {scored}: {tried}{also}"
