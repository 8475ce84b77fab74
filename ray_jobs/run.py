"""`raycipe run`: a recipe from its sources to its page. The other stage verbs are beginnings of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.recipe.resolve import load_recipe
from ray_jobs.infer import wants_scores
from ray_jobs.job import Job, open_job
from ray_jobs.sweep_best import best_of


def run_stages(
    stages: list[str],
    recipe: str,
    overrides: list[str] | None,
    scale: str | None,
    runs_dir: Path,
    run_name: str | None,
    address: str | None,
    as_json: bool,
) -> None:
    """Carries out stages in order; finished ones are skipped. Prints what came out of each."""
    resolved = load_recipe(recipe, scale, overrides)
    best, said = (None, None) if "sweep" in stages else best_of(runs_dir / (run_name or resolved.run_name), resolved)
    if best is not None:
        resolved = load_recipe(recipe, scale, [*best.overrides, *(overrides or [])])
    with open_job(resolved, runs_dir, run_name, address, keep_recipe=stages == ["report"]) as job:
        if resolved.recipe.evaluate is None and "report" in stages and "evaluate" in stages:
            stages = [stage for stage in stages if stage != "evaluate"]
            job.reporter.say("evaluate: left out, the recipe names no tasks")
        if "curate" in stages and wants_scores(resolved.recipe):
            stages = ["infer", *stages]
        if said is not None:
            job.reporter.say(said)
        if best is not None:
            best.lay_out(job.run_dir)
        _check(stages, job)
        results = {stage: _carry_out(stage)(job) for stage in stages}
        if as_json:
            print(json.dumps({"run": str(job.run_dir), **results}))


def _check(stages: list[str], job: Job) -> None:
    """Nothing starts that cannot finish: what a later stage needs is looked at before the first begins."""
    if "infer" in stages:
        from ray_jobs.infer import check_inference

        check_inference(job)
    if "train" in stages:
        from ray_jobs.train import check_training

        check_training(job)
    if "sweep" in stages:
        from ray_jobs.sweep_check import check_sweep

        check_sweep(job)
    if "evaluate" in stages:
        from ray_jobs.evaluate import check_evaluation

        check_evaluation(job)


def _carry_out(stage: str) -> Callable[[Job], dict[str, Any]]:
    if stage == "infer":
        from ray_jobs.infer import infer

        return infer
    if stage == "curate":
        from ray_jobs.curate import curate

        return curate
    if stage == "tokenize":
        from ray_jobs.tokenize import tokenize

        return tokenize
    if stage == "train":
        from ray_jobs.train import train

        return train
    if stage == "sweep":
        from ray_jobs.sweep import sweep

        return sweep
    if stage == "evaluate":
        from ray_jobs.evaluate import evaluate

        return evaluate
    from ray_jobs.report import report

    return report


if __name__ == "__main__":
    from ray_jobs.cli import job_main

    job_main("run")
