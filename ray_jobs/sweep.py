"""`raycipe sweep`: many trainings of a recipe with values from a search space, on Ray Tune, judged by a score.

Tune decides what is tried and what is ended early; what came of it is on disk, in each trial's directory, and that
alone decides how a sweep that was killed goes on.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from core.artifacts.atomic import write_bytes, write_json
from core.artifacts.fingerprint import code_version, fingerprint
from core.artifacts.stage import Stage, read_manifest
from core.errors import RecipeError
from core.evaluation.options import Evaluate
from core.evaluation.task_files import write_tasks
from core.recipe.schema import Recipe
from core.training.options import BASE
from core.training.order import make_sampler
from core.tuning.importance import parameter_importance
from core.tuning.rungs import Rungs
from core.tuning.space import Values
from core.tuning.table import best_trial, sweep_rows, write_csv
from core.tuning.trials import TRIALS, read_trials, trial_directory, write_trial
from ray_jobs.job import Job
from ray_jobs.parallel import each
from ray_jobs.sweep_best import SWEEP, best_recipe
from ray_jobs.sweep_check import Asked, check_sweep
from ray_jobs.sweep_data import Group, data_print, phase_rows, prepare_groups, start_model, train_shared
from ray_jobs.sweep_recipe import fixed_overrides, recipe_print, resolve, value_overrides
from ray_jobs.sweep_trial import GROUPS, TASKS, Plan, asked_tasks, score_trial
from ray_jobs.sweep_tune import TUNE, run_trials
from ray_jobs.sweep_watch import told

START = "start.json"  # how the model scores that trials begin with


def sweep(job: Job) -> dict[str, Any]:
    """Carries the sweep out. Returns the table and the best trial."""
    asked = check_sweep(job)
    groups = prepare_groups(job, asked.space, asked.points, lambda values: resolve(job, values))
    stage = Stage.open(
        job.run_dir,
        SWEEP,
        recipe={
            "sweep": asked.options.model_dump(mode="json", exclude={"concurrent", "max_failures", "loggers"}),
            "space": [fingerprint([each.key, each.choices, each.low, each.high]) for each in asked.space.parameters],
            "recipe": recipe_print(job.resolved, asked.space.keys),
            "evaluate": asked.evaluate.model_dump(mode="json") if asked.evaluate else None,
        },
        seed=job.recipe.seed,
        code=code_version("core/models", "core/training", "core/tuning", "core/evaluation", "ray_jobs/sweep_trial.py"),
        inputs={name: _tokens_print(group) for name, group in groups.items()},
    )
    if stage.manifest is None:
        for group in groups.values():
            train_shared(job, group, asked.phases)
        if asked.evaluate is not None and asked.objective.parts:
            write_tasks(asked.tasks, stage.directory / TASKS, job.recipe.seed)
            _score_start(job, asked, asked.evaluate, next(iter(groups.values())), stage.directory)
        _run_trials(job, asked, groups, stage.directory)
        _finish(job, asked, stage)
    else:
        job.reporter.say("sweep: finished earlier")
    result: dict[str, Any] = orjson.loads((stage.directory / "sweep.json").read_bytes())
    _show(job, result, stage.directory)
    return result


def _tokens_print(group: Group) -> str:
    manifest = read_manifest(group.directory / "tokenize")
    assert manifest is not None
    return str(manifest["fingerprint"])


def _score_start(job: Job, asked: Asked, evaluate: Evaluate, group: Group, sweep_dir: Path) -> None:
    """Scores the model that trials begin with, once."""
    if (sweep_dir / START).exists():
        return
    name = group.shared[-1] if group.shared else BASE
    job.reporter.say(f"sweep: scoring {name}, the model that trials begin with")
    score = partial(
        score_trial,
        start_model(job, group, sweep_dir / ".start"),
        tasks_dir=sweep_dir / TASKS,
        options=evaluate,
        seed=job.recipe.seed,
        samples=sweep_dir / "start",
        device="cuda" if asked.use_gpu else "cpu",
        devices=asked.scorer_devices,
    )
    gpus = asked.scorer_devices if asked.use_gpu else 0
    (rows,) = each(job.session, score, [asked_tasks(asked.tasks)], gpus=gpus)
    found = asked.objective.score(rows)
    write_json(sweep_dir / START, {"model": name, "score": found.value, "stderr": found.stderr, "rows": rows})
    shutil.rmtree(sweep_dir / ".start", ignore_errors=True)


def _run_trials(job: Job, asked: Asked, groups: dict[str, Group], sweep_dir: Path) -> None:
    """Lets Tune run all trials to their ends."""
    rungs = Rungs.of(asked.options)

    def begin(number: int, values: Values) -> None:
        group = groups[data_print(asked.space, values)]
        directory = trial_directory(sweep_dir, number)
        shutil.rmtree(directory, ignore_errors=True)
        more = _rung_checkpoints(resolve(job, values).recipe, asked, rungs, group)
        write_bytes(directory / "recipe.yaml", resolve(job, values, more).as_yaml().encode())
        group.lend(directory)
        write_trial(directory, number, values, [*fixed_overrides(job.recipe, values), *more])

    plan = Plan(
        sweep_dir=sweep_dir,
        objective=asked.objective,
        evaluate=asked.evaluate,
        tasks=asked_tasks(asked.tasks),
        rungs=rungs,
        phases=asked.phases,
        workers=asked.workers,
        use_gpu=asked.use_gpu,
        scorer_devices=asked.scorer_devices,
        seed=job.recipe.seed,
        keeps_rungs=asked.options.scheduler == "pbt",
        by_loss=asked.options.rungs_by == "validation_loss",
    )
    run_trials(job, asked, plan, begin)


def _rung_checkpoints(recipe: Recipe, asked: Asked, rungs: Rungs, group: Group) -> list[str]:
    """Checkpoints at every rung of a trial."""
    if len(rungs.budgets) == 1:
        return []
    steps = [make_sampler(phase_rows(group, name), recipe.train[name], seed=0).steps for name in asked.phases]
    spacing = ("checkpoints.every_epochs=null", f"checkpoints.every_steps={rungs.every(sum(steps))}")
    return [f"train.{name}.{setting}" for name in asked.phases for setting in spacing]


def _finish(job: Job, asked: Asked, stage: Stage) -> None:
    trials = read_trials(stage.directory)
    if all(trial.status == "failed" for trial in trials):
        why = "; ".join(dict.fromkeys(str(trial.error) for trial in trials))
        for trial in trials:  # so that the same command tries them again
            shutil.rmtree(trial.directory)
        raise RecipeError(f"sweep: every trial failed: {why}")
    rows = sweep_rows(trials, asked.objective, job.recipe.seed)
    best = best_trial([trial for trial in trials if trial.status == "finished"], asked.objective)
    changes = [*best.overrides, *value_overrides(best.last.values)] if best and best.last else []
    ended = [row for row in rows if row["status"] == "finished"]
    start = stage.directory / START
    result = {
        "space": asked.space.name,
        "objective": asked.options.objective,
        "higher_is_better": asked.objective.higher_is_better,
        "searcher": asked.options.searcher,
        "scheduler": asked.options.scheduler,
        "start": orjson.loads(start.read_bytes()) if start.exists() else None,
        "best": None if best is None else {"trial": best.number, "overrides": changes},
        "recipe": recipe_print(job.resolved, asked.space.keys),
        "keys": asked.space.keys,
        "importance": parameter_importance([row["values"] for row in ended], [row["score"] for row in ended]),
        "trials": rows,
        "curves": [
            [[at.budget / at.whole, at.tokens, at.score, at.stderr] for at in trial.reports if at.score is not None]
            for trial in trials
        ],
    }
    if best is not None:
        write_bytes(stage.directory / "best.yaml", best_recipe(job.resolved, changes).encode())
    write_csv(stage.directory / "sweep.csv", rows)
    write_json(stage.directory / "sweep.json", result)
    stage.finish({"trials": len(trials), "best": best.number if best else None}, exclude=(TUNE, TRIALS, GROUPS))


def _show(job: Job, result: dict[str, Any], directory: Path) -> None:
    for line in told(result):
        job.reporter.say(line)
    job.reporter.say(f"sweep: {directory / 'sweep.csv'}")


if __name__ == "__main__":
    from ray_jobs.cli import job_main

    job_main("sweep")
