"""`raycipe evaluate`: the base and the trained model on every task, each pair a Ray task of its own."""

from __future__ import annotations

import importlib.metadata
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq

from core.artifacts.atomic import write_json
from core.artifacts.fingerprint import code_version, file_checksum
from core.artifacts.stage import Stage, read_manifest
from core.errors import RecipeError
from core.evaluation.options import Evaluate
from core.evaluation.paired import compare_samples
from core.evaluation.score_intervals import PASSAGES, with_intervals, with_ties
from core.evaluation.task_files import find_tasks, write_tasks
from core.instructions.benchmarks import is_marked, trained_on
from core.recipe.benchmarks import names_benchmarks
from core.training.options import BASE
from ray_jobs.base import write_base
from ray_jobs.job import Job
from ray_jobs.parallel import each
from ray_jobs.tokenize import document_files

WORK = ".work"


def check_evaluation(job: Job) -> None:
    """Finds tasks and their files, before anything starts. Raises RecipeError, also for no tasks, or DataError."""
    if job.recipe.evaluate is None:
        raise RecipeError(f"{job.resolved.tree.path}: evaluate.tasks says what to score, and is not there")
    find_tasks(job.recipe.evaluate, job.resolved.directory)


def evaluate(job: Job) -> dict[str, Any]:
    """Scores every model on every task. Returns the scores."""
    options = job.recipe.evaluate
    assert options is not None
    phases = list(job.recipe.train)
    models = options.models or [BASE, phases[-1]]
    tasks = find_tasks(options, job.resolved.directory)
    manifests = {name: read_manifest(job.run_dir / "train" / name) for name in phases}
    stage = Stage.open(
        job.run_dir,
        "evaluate",
        recipe=options.model_dump(mode="json"),
        seed=job.recipe.seed,
        code=code_version("core/evaluation", "core/models", "core/documents"),
        inputs={
            **{name: manifest["fingerprint"] for name, manifest in manifests.items() if manifest is not None},
            **{f"{task.name} {split}": file_checksum(path) for task in tasks for split, path in task.data.items()},
            **{f"task {task.name} {path.name}": file_checksum(path) for task in tasks for path in task.definition()},
            "lm-eval": importlib.metadata.version("lm-eval"),
        },
    )
    if stage.manifest is None:
        began = time.monotonic()
        tasks_dir = stage.directory / "tasks"
        write_tasks(tasks, tasks_dir, job.recipe.seed)
        pairs = [{"model": model, "task": task.name} for model in models for task in tasks]
        work = _Scoring(options, tasks_dir, stage.directory, job.recipe.seed, model_dirs(job, models, stage))
        wants_gpu = job.recipe.resources.device != "cpu"
        gpus = 1 if wants_gpu and job.session.require().get("GPU") else 0
        with job.reporter.bar("evaluate", len(pairs)) as bar:
            for done in each(job.session, work.score, pairs, gpus=gpus):
                bar.advance(done)
        scores = [row for pair in pairs for row in orjson.loads(work.result(pair).read_bytes())]
        trained = {model: trained_tasks(job, model) for model in models}
        scores = [{**row, "trained_on": is_marked(row["task"], trained[row["model"]])} for row in scores]
        result: dict[str, Any] = {
            "models": models,
            "scores": scores,
            "comparison": _comparison(options, models, [task.name for task in tasks], stage.directory, job.recipe.seed),
            "seconds": round(time.monotonic() - began, 3),
        }
        write_json(stage.directory / "scores.json", result)
        stage.finish({"scores": len(scores)}, exclude=(WORK,))
        shutil.rmtree(stage.directory / WORK, ignore_errors=True)
    else:
        job.reporter.say("evaluate: finished earlier")
    result = orjson.loads((stage.directory / "scores.json").read_bytes())
    for row in result["scores"]:
        error = f" ± {row['stderr']:.3f}" if row["stderr"] is not None else ""
        mark = " (trained on it)" if row["trained_on"] else ""
        job.reporter.say(f"{row['model']}: {row['task']} {row['metric']} {row['value']:.3f}{error}{mark}")
    for row in (result["comparison"] or {}).get("differences", []):
        if row["low"] is not None:
            first, second = result["comparison"]["models"]
            job.reporter.say(
                f"{second} less {first}: {row['task']} {row['metric']} {row['difference']:+.3f} "
                f"(95 % interval {row['low']:+.3f} to {row['high']:+.3f}{', a tie' if row['tie'] else ''})"
            )
    return result


def trained_tasks(job: Job, model: str) -> set[str]:
    """The tasks whose benchmark's own data a model was trained on, in its phase and those before it."""
    found: set[str] = set()
    order = [BASE, *job.recipe.train]
    while model != BASE:
        phase = job.recipe.train[model]
        for source in phase.data.sources:
            if names_benchmarks(job.recipe, source):
                for path in document_files(job.run_dir / "curate", [source]):
                    found |= trained_on(pq.read_table(path, columns=["meta"]))
        model = phase.starts_from or order[order.index(model) - 1]
    return found


def _comparison(
    options: Evaluate, models: list[str], tasks: list[str], directory: Path, seed: int
) -> dict[str, Any] | None:
    """How much better one model is than another on the same questions; None where there is only one."""
    if len(models) < 2:
        return None
    first, second = options.compare or (models[0], models[-1])
    samples = directory / "samples"
    differences = [
        {"task": task, **row}
        for task in tasks
        for row in compare_samples(
            samples / first / f"{task}.jsonl", samples / second / f"{task}.jsonl", seed, passage_of(options, task)
        )
    ]
    return {"models": [first, second], "differences": with_ties(differences)}


def passage_of(options: Evaluate, task: str) -> str | None:
    """The field of a task's documents that questions on a common passage share; None where they share nothing."""
    return options.clusters.get(task, PASSAGES.get(task))


class _Scoring:
    """Scores a pair of model and task; one that is on disk is not scored again."""

    def __init__(self, options: Evaluate, tasks_dir: Path, directory: Path, seed: int, models: dict[str, Path]) -> None:
        self.options, self.tasks_dir, self.directory = options, tasks_dir, directory
        self.seed, self.models = seed, models

    def result(self, pair: dict[str, str]) -> Path:
        return self.directory / WORK / pair["model"] / f"{pair['task']}.json"

    def score(self, pair: dict[str, str]) -> str:
        model, task = pair["model"], pair["task"]
        if not self.result(pair).exists():
            import torch

            from core.evaluation.lm_eval_bridge import evaluate_model

            device = "cuda" if torch.cuda.is_available() else "cpu"  # Ray hides GPUs from tasks that ask for none
            if device == "cpu":
                torch.set_num_threads(1)  # one task per CPU
            samples = self.directory / "samples" / model / f"{task}.jsonl"
            rows = evaluate_model(self.models[model], task, self.tasks_dir, self.options, self.seed, samples, device)
            rows = with_intervals(rows, samples, passage_of(self.options, task))
            write_json(self.result(pair), [{"model": model, **row} for row in rows])
        return f"{model} {task}"


def model_dirs(job: Job, models: list[str], stage: Stage) -> dict[str, Path]:
    """Where each model lies. The base of a model that the recipe creates is its untrained beginning."""
    directories = {name: job.run_dir / "train" / name / "model" for name in models}
    if BASE not in models:
        return directories
    if job.recipe.model.extend is not None:
        return directories | {BASE: job.run_dir / BASE / "model"}
    base = stage.directory / WORK / "base-model"
    write = partial(write_base, job.recipe, job.run_dir / "tokenize" / "tokenizer")
    for _ in each(job.session, write, [] if base.exists() else [base]):
        pass
    return directories | {BASE: base}


if __name__ == "__main__":
    from ray_jobs.cli import job_main

    job_main("evaluate")
