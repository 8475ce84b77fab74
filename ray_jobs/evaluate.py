"""`raycipe evaluate`: the base and the trained model on every task, their requests spread over scorers."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq

from core.artifacts.atomic import write_json
from core.artifacts.fingerprint import code_version, file_checksum, fingerprint
from core.artifacts.stage import Stage, read_manifest
from core.errors import RecipeError, ResourceError
from core.evaluation.comparison import Scored, compare_scored, told_refusals
from core.evaluation.mt_bench.benchmark import Benchmark, read_benchmark
from core.evaluation.mt_bench.options import MtBench
from core.evaluation.options import Evaluate
from core.evaluation.perturbed_tasks import (
    bias_rows,
    bias_targets,
    bias_tasks,
    check_perturbed,
    helm_words,
    perturbed_fields,
    word_files,
    worst_case_rows,
    write_perturbed,
)
from core.evaluation.score_intervals import passage_of, with_intervals
from core.evaluation.scorer import ScoredModel
from core.evaluation.suites import SUITES, asked_name, suite_scores
from core.evaluation.task_files import TaskFile, find_tasks, write_tasks
from core.evaluation.tokens_needed import check_tokens
from core.instructions.benchmarks import is_marked, trained_on
from core.recipe.benchmarks import names_benchmarks
from core.tokens.tokenizer import load_tokenizer
from core.training.options import BASE
from ray_jobs.base import write_base
from ray_jobs.job import Job
from ray_jobs.parallel import each
from ray_jobs.progress import Bar, Reporter
from ray_jobs.scorers import RayScorers, bytes_asked, devices_of, scorer_room
from ray_jobs.tokenize import document_files

WORK = ".work"
ANSWERS = ".answers"  # beside the runs: what models answered, valid in any run
NOT_OF_SCORES: Any = {  # what changes how scores are come by, not what they are
    "workers": True,
    "mt_bench": {"concurrency", "retries", "timeout", "prompt_price", "completion_price", "batch_size"},
}
TRAINED_ON = " (trained on it)"
WHOLE = 1000  # parts of a progress bar


def check_evaluation(job: Job) -> None:
    """Finds tasks and their files, before anything starts. Raises RecipeError, also for no tasks, or DataError."""
    if job.recipe.evaluate is None:
        raise RecipeError(f"{job.resolved.tree.path}: evaluate.tasks says what to score, and is not there")
    if job.recipe.evaluate.backend == "vllm" and job.recipe.resources.device == "cpu":
        raise RecipeError("evaluate.backend: vllm computes on GPUs, and resources.device is cpu; take transformers")
    if job.recipe.evaluate.backend == "vllm" and importlib.util.find_spec("vllm") is None:
        raise ResourceError(
            "evaluate.backend: vllm, which is not installed; pip install 'raycipe[vllm]', or take transformers"
        )
    tasks = find_tasks(job.recipe.evaluate, job.resolved.directory)
    for task in tasks:
        for file in task.data.values():
            task.data_set.read_through(file)
    check_perturbed(tasks, job.recipe.evaluate, job.resolved.directory)
    if job.recipe.evaluate.mt_bench is not None:
        _benchmark(job, job.recipe.evaluate.mt_bench)
    if job.recipe.resources.device != "cpu" and read_manifest(job.run_dir / "evaluate") is None:
        devices = scorer_devices(job)
        if devices > 1:
            scorer_room(job.session, devices, f"evaluate: {job.recipe.name}'s model")


def scorer_devices(job: Job) -> int:
    """GPUs that the recipe's model is spread over to be scored, as far as its configuration tells; 1 on CPUs."""
    recipe = job.recipe
    assert recipe.evaluate is not None
    if recipe.resources.device == "cpu" or not job.session.require().get("GPU"):
        return 1
    from core.planning.shape import shape_of

    try:
        shape = shape_of(recipe.model, list(recipe.train.values())[-1])
    except ResourceError:  # no configuration can be had here: scorers look at the weights themselves
        return 1
    return devices_of(job.session, bytes_asked(shape.parameters, recipe.evaluate.exact))


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
        recipe=options.model_dump(mode="json", exclude=NOT_OF_SCORES),
        seed=job.recipe.seed,
        code=code_version("core/evaluation", "core/models", "core/documents"),
        inputs={
            **{name: manifest["fingerprint"] for name, manifest in manifests.items() if manifest is not None},
            **{f"{task.name} {split}": file_checksum(path) for task in tasks for split, path in task.inputs().items()},
            **{f"task {task.name} {path.name}": file_checksum(path) for task in tasks for path in task.definition()},
            **{
                f"words {name}": file_checksum(path)
                for name, path in word_files(options.helm_words, job.resolved.directory).items()
            },
            "lm-eval": importlib.metadata.version("lm-eval"),
        },
    )
    if stage.manifest is None:
        began = time.monotonic()
        tasks_dir = stage.directory / "tasks"
        write_tasks(tasks, tasks_dir, job.recipe.seed)
        found = _scored(job, options, models, tasks, stage, tasks_dir)
        trained = {model: trained_tasks(job, model) for model in models}
        scores = [
            {"model": model, **row, "trained_on": is_marked(row["task"], trained[model])}
            for model in models
            for row in found[model]["rows"]
        ]
        suites = suite_scores([name for name in options.tasks if name in SUITES], scores)
        scores += _judged(job, options, models, found, stage)
        made = {
            "models": models,
            "scores": scores,
            "comparison": _comparison(options, models, found, stage.directory, job.recipe.seed),
            "suites": suites,
            "clusters": options.clusters,
            "settings": {model: found[model]["settings"] for model in models},
            "seconds": round(time.monotonic() - began, 3),
        }
        write_json(stage.directory / "scores.json", made)
        stage.finish({"scores": len(scores)}, exclude=(WORK,))
        shutil.rmtree(stage.directory / WORK, ignore_errors=True)
    else:
        job.reporter.say("evaluate: finished earlier")
    result: dict[str, Any] = orjson.loads((stage.directory / "scores.json").read_bytes())
    _tell(job.reporter, result, stage.directory / "scores.json")
    return result


def _tell(reporter: Reporter, result: dict[str, Any], path: Path) -> None:
    """Says the scores and the differences. Of the tasks of a suite's lines, the lines; all are in the file."""
    lines = [SUITES[row["suite"]].lines[row["line"]] for row in result["suites"] if row["line"]]
    within = {name for line in lines for task in line.tasks for name in (task, asked_name(task, line.few_shot))}
    for row in result["suites"]:
        title = f"{row['line']} {row['metric']}" if row["line"] else "mean"
        mark = TRAINED_ON if row["trained_on"] else ""
        reporter.say(f"{row['model']}: {row['suite']} {title} {row['value']:.4f}{mark}")
    if of_lines := sum(row["task"] in within for row in result["scores"]):
        reporter.say(f"the {of_lines:,} scores that these are of are in {path}")
    for row in result["scores"]:
        if row["task"] in within:
            continue
        error = f" ± {row['stderr']:.3f}" if row["stderr"] is not None else ""
        mark = TRAINED_ON if row["trained_on"] else ""
        value = "no number" if row["value"] is None else f"{row['value']:.3f}"
        reporter.say(f"{row['model']}: {row['task']} {row['metric']} {value}{error}{mark}")
    if refused := (result["comparison"] or {}).get("refused"):
        reporter.say(f"not compared, being scored in different ways: {told_refusals(refused)}")
    for row in (result["comparison"] or {}).get("differences", []):
        if row["low"] is not None and not (row["tie"] and row["task"] in within):
            first, second = result["comparison"]["models"]
            reporter.say(
                f"{second} less {first}: {row['task']} {row['metric']} {row['difference']:+.3f} "
                f"(95 % interval {row['low']:+.3f} to {row['high']:+.3f}{', a tie' if row['tie'] else ''})"
            )


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
    options: Evaluate, models: list[str], found: dict[str, dict[str, Any]], directory: Path, seed: int
) -> dict[str, Any] | None:
    """How much better one model is than another on the same questions; None where there is only one."""
    if len(models) < 2:
        return None
    first, second = (
        Scored(model, directory / "samples" / model, found[model]["settings"])
        for model in options.compare or (models[0], models[-1])
    )
    return compare_scored(first, second, seed, partial(passage_of, options.clusters))


def _judged(
    job: Job, options: Evaluate, models: list[str], found: dict[str, dict[str, Any]], stage: Stage
) -> list[dict[str, Any]]:
    """Rows of MT-Bench, where the recipe asks for it; its settings go into what was found of each model."""
    if options.mt_bench is None:
        return []
    from ray_jobs.mt_bench import Grading, judge_models

    gpu = job.recipe.resources.device != "cpu"
    benchmark = _benchmark(job, options.mt_bench)
    grading = Grading(benchmark, options.mt_bench, job.recipe.seed, job.session, job.reporter, use_gpu=gpu)
    directories = {model: path for model, path in model_dirs(job, models, stage).items() if model in models}
    rows = judge_models(grading, directories, job.run_dir / "mt_bench", stage.directory / "samples")
    for model in models:
        found[model]["settings"]["mt_bench"] = grading.settings()
    return [{**row, "trained_on": False} for row in rows]


def _benchmark(job: Job, options: MtBench) -> Benchmark:
    """MT-Bench's questions and prompts, from a directory beside the recipe or the current one. Raises DataError."""
    beside = job.resolved.directory / options.data
    return read_benchmark(beside if beside.is_dir() else Path(options.data), options.limit)


def _rows(
    job: Job, options: Evaluate, tasks: list[TaskFile], rows: list[dict[str, Any]], samples: Path
) -> list[dict[str, Any]]:
    """The rows of tasks with their intervals, and those of perturbations and of bias where they are asked for."""
    directory = job.resolved.directory
    words = fingerprint(asdict(helm_words(options.helm_words, directory)))
    targets = bias_targets(options.helm_words, directory)
    perturbed, writing = perturbed_fields(tasks, options), bias_tasks(tasks, options)
    found = []
    for task in tasks:
        of_task = [row for row in rows if row["task"] == task.name]
        found += with_intervals(of_task, samples / f"{task.name}.jsonl", passage_of(options.clusters, task.name))
        if task.name in perturbed:
            asked = [perturbed[task.name].model_dump(mode="json"), words, job.recipe.seed]
            found += _told_apart(worst_case_rows(of_task, task.name, samples), asked)
        if task.name in writing:
            found += _told_apart(bias_rows(of_task, task.name, samples, targets), [targets])
    return found


def _told_apart(rows: list[dict[str, Any]], asked: list[Any]) -> list[dict[str, Any]]:
    """Rows with a fingerprint that is also of what was asked beside the task itself."""
    return [row | {"fingerprint": fingerprint([row["fingerprint"], *asked])} for row in rows]


def _content(task: TaskFile) -> str:
    """A checksum of a task's definition and data."""
    return fingerprint([file_checksum(path) for path in [*task.definition(), *task.inputs().values()]])


def _at(bar: Bar, done: int, whole: int) -> None:
    bar.at(WHOLE * done // whole)


def _scored(
    job: Job, options: Evaluate, models: list[str], tasks: list[TaskFile], stage: Stage, tasks_dir: Path
) -> dict[str, dict[str, Any]]:
    """Of each model what `Evaluation.of` returns; a model that is scored already is not scored again."""
    from core.evaluation.lm_eval_bridge import SHARED, AskedTask, Evaluation

    gpu = job.recipe.resources.device != "cpu" and bool(job.session.require().get("GPU"))
    directories = model_dirs(job, models, stage)
    words = helm_words(options.helm_words, job.resolved.directory)
    asked = [AskedTask(task.name, task.few_shot, _content(task)) for task in tasks]
    perturbed = perturbed_fields(tasks, options)
    for task in tasks:
        if task.name in perturbed:
            names = write_perturbed(task, perturbed[task.name], tasks_dir, words, job.recipe.seed)
            asked += [AskedTask(name, task.few_shot, _content(task)) for name in names]
    scorers = RayScorers(job.session, options.workers, gpu)
    found = {}
    try:
        for model in models:
            result = stage.directory / WORK / f"{model}.json"
            if not result.exists():
                samples = stage.directory / "samples" / model
                scored = ScoredModel(directories[model], "cuda" if gpu else "cpu", options.batch_size)
                with job.reporter.bar(f"evaluate {model}", WHOLE) as bar:
                    evaluation = Evaluation(
                        options,
                        job.recipe.seed,
                        tasks_dir,
                        scorers,
                        job.run_dir.parent / ANSWERS,
                        partial(_at, bar),
                    )
                    check_tokens(load_tokenizer(directories[model]), model, tasks, options)
                    said = evaluation.of(scored, asked, samples)
                rows = _rows(job, options, tasks, said["rows"], samples)
                settings = {task.name: said["settings"][task.name] for task in tasks}
                write_json(result, said | {"rows": rows, "settings": settings})
            found[model] = orjson.loads(result.read_bytes())
            stock = [task for task, said in found[model]["settings"].items() if said["batches"] != SHARED]
            if found[model]["why_stock"] and not options.exact:
                job.reporter.say(f"evaluate {model}: in stock lm-eval's batches, since {found[model]['why_stock']}")
            elif stock and not options.exact and options.backend == "transformers":
                job.reporter.say(
                    f"evaluate {model}: in stock lm-eval's batches, as answers are sampled or requests longer than the "
                    f"model attends to as a whole: {', '.join(stock)}"
                )
            tokens = found[model]["batch_tokens"]
            if gpu and tokens is not None and options.batch_tokens is None:
                job.reporter.say(f"evaluate {model}: in batches of {tokens:,} tokens, as a GPU's memory has room for")
            drifts = [row["drift"] for row in found[model]["rows"] if row["drift"] is not None]
            if drifts:
                job.reporter.say(
                    f"evaluate {model}: log-likelihoods lie at most {max(drifts):.1e} from stock lm-eval's, in a few "
                    "requests of each task that were asked both ways"
                )
    finally:
        scorers.close()
    return found


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
