"""What a run's page says of its sweep."""

from __future__ import annotations

from core.reporting.formats import count, decimal, duration, percent, scientific, short_count
from core.reporting.frame import Block, Cell, Code, Column, Section, Table, Text
from core.reporting.run_files import Run
from core.reporting.sweep_charts import (
    importance_bars,
    parallel_coordinates,
    score_against_budget,
    score_heatmap,
    sweep_curves,
    varied_pair,
)
from core.reporting.sweep_files import Sweep, SweepTrial, read_sweep

SEVERAL = 2  # scored trials from which on there is something to draw


def sweep_sections(run: Run) -> list[Section]:
    """The sweep of a run, where it has one that is finished."""
    found = read_sweep(run.directory)
    if found is None:
        return []
    sweep, best = found
    blocks: list[Block] = [Text(_story(sweep))]
    if sum(trial.score is not None for trial in sweep.trials) >= SEVERAL:
        blocks += [parallel_coordinates(sweep), score_against_budget(sweep), sweep_curves(sweep)]
        if pair := varied_pair(sweep):
            blocks.append(score_heatmap(sweep, *pair))
        if sweep.importance:
            blocks.append(importance_bars(sweep))
    blocks.append(_table(sweep))
    if best:
        blocks += [
            Text("The best trial as a recipe. `raycipe run` of the recipe that was swept takes it on."),
            Code(best, "yaml"),
        ]
    return [Section("Sweep", blocks)]


def _story(sweep: Sweep) -> str:
    objective = sweep.objective if isinstance(sweep.objective, str) else ", ".join(sweep.objective)
    by_status = [(status, sum(trial.status == status for trial in sweep.trials)) for status in ("stopped", "failed")]
    others = "".join(f", {count(number)} {status}" for status, number in by_status if number)
    many = f"{count(len(sweep.trials))} trial{'s' if len(sweep.trials) > 1 else ''}"
    said = [
        f"{many}{others}; space {sweep.space}, {sweep.searcher} search"
        + (f", {sweep.scheduler}." if sweep.scheduler != "none" else ".")
    ]
    best = next((trial for trial in sweep.trials if trial.best), None)
    if best is not None:
        ties = sum(trial.tie for trial in sweep.trials)
        told = f"; {count(ties)} {'others are' if ties > 1 else 'other is'} not told from it" if ties else ""
        said.append(f"Best on {objective}: trial {best.trial}{told}.")
    if sweep.importance:
        key, share = next(iter(sweep.importance.items()))
        said.append(f"{key} explains most of the differences ({percent(share)}).")
    return " ".join(said)


def _table(sweep: Sweep) -> Table:
    columns = [
        Column("trial", count),
        Column("status"),
        *(Column(key.rsplit(".", 1)[-1], hint=key) for key in sweep.keys),
        Column("score", decimal),
        Column("±", decimal, "standard error"),
        Column("verdict", hint="against the best trial, on the same questions"),
        Column("trained", percent, "share of the trial's training that was done"),
        Column("tokens", short_count),
        Column("time", duration),
        Column("device-hours", lambda value: f"{value:.4g}", "training time × GPUs, or CPU workers"),
    ]
    rows = [
        [
            trial.trial,
            Cell(trial.status, "bad" if trial.status == "failed" else "quiet" if trial.status == "stopped" else ""),
            *(_shown(trial.values[key]) for key in sweep.keys),
            trial.score,
            Cell(trial.stderr, "quiet"),
            _verdict(trial),
            trial.share,
            trial.tokens,
            trial.seconds,
            trial.device_hours,
        ]
        for trial in sweep.trials
    ]
    failed = [f"Trial {trial.trial} failed: {trial.error}" for trial in sweep.trials if trial.error]
    note = (
        "Within noise: the difference from the best is smaller than 1.96 of its standard errors, on the same questions."
    )
    return Table("Trials", columns, rows, " ".join([note, *failed]))


def _verdict(trial: SweepTrial) -> Cell:
    if trial.best:
        return Cell("best", "good")
    return Cell("within noise", "quiet") if trial.tie else Cell("Pareto front" if trial.pareto else "")


def _shown(value: object) -> str:
    return scientific(value) if isinstance(value, float) else str(value)
