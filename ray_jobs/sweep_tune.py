"""A sweep's trials on Ray Tune."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
from collections.abc import Callable
from typing import Any

from ray import tune

from core.tuning.options import Sweep
from core.tuning.space import Values
from core.tuning.trials import END, read_trials, write_end
from ray_jobs.job import Job
from ray_jobs.sweep_check import Asked, concurrency
from ray_jobs.sweep_search import TPE, make_scheduler, param_space, trial_name
from ray_jobs.sweep_trial import RUNGS, Plan, run_trial
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
    shutil.rmtree(plan.sweep_dir / TUNE, ignore_errors=True)  # of a command that was killed
    known = {trial.number: trial for trial in read_trials(plan.sweep_dir)}
    for trial in known.values():
        if trial.status == "failed":  # of a command that was killed: this one tries it again
            (trial.directory / END).unlink()
    for number, values in enumerate(asked.points or []):
        if number not in known:
            begin(number, values)
    os.environ |= SETTINGS
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # errors of trials are told by the watcher
    with contextlib.redirect_stdout(sys.stderr):
        _tuner(job, asked, plan, begin, room).fit()
    for trial in read_trials(plan.sweep_dir):
        if trial.status == "running":
            write_end(trial.directory, "failed", "was lost")
        for left in (RUNGS, "superseded"):  # of population-based training
            shutil.rmtree(trial.directory / left, ignore_errors=True)


def _tuner(job: Job, asked: Asked, plan: Plan, begin: Callable[[int, Values], None], room: int) -> tune.Tuner:
    """A trial of one worker trains in Tune's process, which holds its resources and stays for the next trial. One of
    several has a driver that holds next to nothing, and there are so many at once that the workers of all fit."""
    options, cpus = asked.options, job.recipe.resources.cpus_per_worker
    single, seed = len(asked.modes) == 1, job.recipe.seed
    worker = {"CPU": cpus} | ({"GPU": 1} if asked.use_gpu else {})
    needs = tune.PlacementGroupFactory([worker if asked.workers == 1 else DRIVER])
    drawn = asked.points is None
    search = TPE(plan.sweep_dir, asked.space, asked.count, seed, begin, asked.modes) if drawn else None
    return tune.Tuner(
        tune.with_resources(tune.with_parameters(run_trial, plan=plan), needs),
        param_space=None if asked.points is None else param_space(asked.points),
        tune_config=tune.TuneConfig(
            search_alg=search,
            scheduler=make_scheduler(options, asked.space, asked.modes[0]) if single else None,
            num_samples=asked.count if drawn else 1,
            max_concurrent_trials=None if options.scheduler == "pbt" else room,  # pbt pauses trials for others
            reuse_actors=True,
            trial_name_creator=trial_name,
            trial_dirname_creator=trial_name,
        ),
        run_config=tune.RunConfig(
            name=TUNE,
            storage_path=str(plan.sweep_dir),
            failure_config=tune.FailureConfig(max_failures=options.max_failures),
            callbacks=[Watcher(job.reporter, plan.sweep_dir, asked.objective, asked.count), *_loggers(job, options)],
            progress_reporter=tune_table(asked.space.keys, asked.modes[0]),
            verbose=1 if job.reporter.console.is_terminal else 0,
        ),
    )


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
