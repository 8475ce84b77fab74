"""A sweep's trials on Ray Tune."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import shutil
import sys
from collections.abc import Callable
from typing import Any

from ray import tune

from core.tuning.halving import Halving
from core.tuning.options import Sweep
from core.tuning.space import Values
from core.tuning.trials import END, read_trials, write_end
from ray_jobs.job import Job
from ray_jobs.sweep_check import Asked, concurrency
from ray_jobs.sweep_search import TPE, Asha, make_scheduler, param_space, trial_name
from ray_jobs.sweep_trial import GROUPS, RUNGS, Plan, kept_workers, leaves_traces, run_trial
from ray_jobs.sweep_watch import Watcher, tune_table

TUNE = "tune"  # in the sweep's directory: Ray Tune's own files, TensorBoard's among them
DRIVER = {"memory": 2**20}  # bytes: Tune places nothing that needs nothing
SETTINGS = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the table that shows every trial
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the command has its own
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial that failed has no score
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


def run_trials(job: Job, asked: Asked, plan: Plan, begin: Callable[[int, Values], None]) -> None:
    """Lets Tune run all trials to their ends; what was done before is told to it, not done again.

    begin: called before a trial that is new.
    """
    room = concurrency(job, asked)
    workers = f"{asked.workers} {'GPU' if asked.use_gpu else 'CPU'} worker{'s' if asked.workers > 1 else ''}"
    job.reporter.say(f"sweep: {asked.count} trials of {workers}, {room} at once")
    job.reporter.say(f"sweep: tensorboard --logdir {plan.sweep_dir / TUNE}")
    for left in (TUNE, GROUPS):  # of a command that was killed
        shutil.rmtree(plan.sweep_dir / left, ignore_errors=True)
    known = {trial.number: trial for trial in read_trials(plan.sweep_dir)}
    for trial in known.values():
        if trial.status == "failed":  # of a command that was killed: this one tries it again
            (trial.directory / END).unlink()
    _note_finished(plan)
    for number, values in enumerate(asked.points or []):
        if number not in known:
            begin(number, values)
    os.environ |= SETTINGS
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # errors of trials are told by the watcher
    search = _search(job, asked, plan, begin)
    asha = search if isinstance(search, Asha) else None
    watcher = Watcher(job.reporter, plan.sweep_dir, asked.objective, asked.count, asha)
    with contextlib.redirect_stdout(sys.stderr):
        _tuner(job, asked, plan, room, search, watcher).fit()
    _note_finished(plan)
    for trial in read_trials(plan.sweep_dir):
        if trial.status == "running":
            if asha is not None and trial.reports:
                write_end(trial.directory, "stopped")
            else:
                write_end(trial.directory, "failed", "was lost")
            watcher.tell(trial.number)
        for left in (RUNGS, "superseded"):  # of population-based training
            shutil.rmtree(trial.directory / left, ignore_errors=True)
    watcher.tidy()
    shutil.rmtree(plan.sweep_dir / GROUPS, ignore_errors=True)


def _note_finished(plan: Plan) -> None:
    """Trials that were killed between their last report and the note that they are finished."""
    for trial in read_trials(plan.sweep_dir):
        if trial.status == "running" and trial.last is not None and trial.last.budget == plan.rungs.budgets[-1]:
            write_end(trial.directory, "finished")


def _search(job: Job, asked: Asked, plan: Plan, begin: Callable[[int, Values], None]) -> TPE | Asha | None:
    """What says which trial is next, where that is not the order of a grid."""
    options, seed = asked.options, job.recipe.seed
    halts = options.scheduler == "asha"
    drawn, order = None, list(range(asked.count))
    values_of: Callable[[int], Values]
    if asked.points is None:
        drawn = TPE(plan.sweep_dir, asked.space, asked.count, seed, begin, asked.modes, halts)
        values_of = drawn.values_of
    else:
        random.Random(seed).shuffle(order)
        values_of = asked.points.__getitem__
    if not halts:
        return drawn
    better = asked.objective.higher_is_better
    halving = Halving(plan.rungs.budgets, options.reduction_factor, asked.count, plan.by_loss, better)
    return Asha(plan.sweep_dir, halving, values_of, asked.modes[0], order)


def _tuner(job: Job, asked: Asked, plan: Plan, room: int, search: TPE | Asha | None, watcher: Watcher) -> tune.Tuner:
    """A trial of one worker trains in Tune's process, which holds its resources and stays for the next trial. One of
    several has a driver that holds next to nothing, and there are so many at once that the workers of all fit."""
    options, cpus = asked.options, job.recipe.resources.cpus_per_worker
    single = len(asked.modes) == 1
    worker = {"CPU": cpus} | ({"GPU": 1} if asked.use_gpu else {})
    needs = tune.PlacementGroupFactory([worker if asked.workers == 1 else DRIVER])
    trainable = tune.with_resources(tune.with_parameters(run_trial, plan=plan), needs)
    trainable.__mixins__ = (_Ending,)
    samples = 1 if search is None else -1 if isinstance(search, Asha) else asked.count  # -1: as many as it takes
    return tune.Tuner(
        trainable,
        param_space=param_space(asked.points) if search is None and asked.points is not None else None,
        tune_config=tune.TuneConfig(
            search_alg=search,
            scheduler=make_scheduler(options, asked.space, asked.modes[0]) if single else None,
            num_samples=samples,
            max_concurrent_trials=None if options.scheduler == "pbt" else room,  # pbt pauses trials for others
            reuse_actors=not leaves_traces(job.recipe, asked.use_gpu),
            trial_name_creator=trial_name,
            trial_dirname_creator=trial_name,
        ),
        run_config=tune.RunConfig(
            name=TUNE,
            storage_path=str(plan.sweep_dir),
            failure_config=tune.FailureConfig(max_failures=options.max_failures),
            callbacks=[watcher, *_loggers(job, options)],
            progress_reporter=tune_table(asked.space.keys, asked.modes[0]),
            verbose=1 if job.reporter.console.is_terminal else 0,
        ),
    )


class _Ending:
    """What a process that runs trials does at its end: its group of workers ends first. Of a group that dies with the
    process, Ray may hold the place for minutes."""

    def cleanup(self) -> None:
        try:
            super().cleanup()  # type: ignore[misc]
        finally:
            kept_workers.close()

    def __ray_shutdown__(self) -> None:  # Tune ends a process that it kept for further trials without `cleanup`
        kept_workers.close()


def _loggers(job: Job, options: Sweep) -> list[Any]:
    """Tune's own callbacks for MLflow and W&B; TensorBoard's is always there."""
    found: list[Any] = []
    name = job.run_dir.name
    if "mlflow" in options.loggers:
        from ray.air.integrations.mlflow import MLflowLoggerCallback

        found.append(MLflowLoggerCallback(experiment_name=name))
    if "wandb" in options.loggers:
        from ray.air.integrations.wandb import WandbLoggerCallback

        found.append(WandbLoggerCallback(project=name))
    return found
