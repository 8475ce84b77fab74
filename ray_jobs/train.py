"""`raycipe train`: the recipe's phases in order on Ray Train, each from the last one's weights."""

from __future__ import annotations

import importlib.util
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

import core.errors
from core.artifacts.atomic import write_json
from core.artifacts.fingerprint import code_version, fingerprint
from core.artifacts.seeds import derive_seed
from core.artifacts.stage import Stage, read_manifest
from core.errors import DataError, RaycipeError, ResourceError
from core.models.attention import check_attention
from core.models.extend import extended_config
from core.planning.disk import adapter_count, parameter_count, too_little_room
from core.recipe.schema import Recipe
from core.training.checkpoints import CHECKPOINTS
from core.training.engine import World
from core.training.health import HEARTBEATS, behind, told_without_room
from core.training.log import LOG, latest
from core.training.options import BASE, Phase
from core.training.order import make_sampler
from core.training.phase import Start
from ray_jobs.base import first_start
from ray_jobs.job import Job
from ray_jobs.session import room_on
from ray_jobs.training_table import show, told

TOKENIZER = "tokenizer"  # beside the phases' token shards
RAY = "ray"  # Ray Train's own storage
NOT_RESULTS = (CHECKPOINTS, HEARTBEATS, RAY)  # what a finished phase leaves behind
PATIENCE = {"max_failures", "collective_timeout"}  # of resources: what changes no result
NOTES = {"log_sample_ids"}  # of a phase: the same
WAITED = ("Timed out", "timed out", "Connection closed", "Connection reset")  # in errors of exchanges
FAILURE = "failure.json"  # what the user did wrong, as a worker found it
Fit = Callable[[dict[str, Any], int, bool], None]  # trains by a `config` for `work`, on so many workers, on GPUs or not


def check_training(job: Job) -> None:
    """What training needs beyond a valid recipe, found before anything starts. Raises ResourceError."""
    recipe = job.recipe
    for name, phase in recipe.train.items():
        if phase.method == "qlora" and importlib.util.find_spec("bitsandbytes") is None:
            raise ResourceError(f"train.{name}.method: qlora needs bitsandbytes, which is not installed")
        if phase.kernels == "liger" and importlib.util.find_spec("liger_kernel") is None:
            raise ResourceError(
                f"train.{name}.kernels: liger needs the package liger-kernel, which is not installed; install "
                "raycipe[liger] on every node, or take kernels=torch"
            )
    for name, phase in recipe.train.items():
        if read_manifest(job.run_dir / "train" / name) is None:
            _, use_gpu = choose_workers(recipe, phase, name, job.session.nodes())
            check_attention(recipe.model.attention, gpu=use_gpu, precision=phase.precision)
            if phase.kernels == "liger" and not use_gpu:
                raise ResourceError(f"train.{name}.kernels: liger runs on GPUs only; take kernels=torch")
    declared, tokenizer = recipe.model.config, recipe.model.tokenizer
    if declared is None or tokenizer is None or tokenizer.train is None:
        return
    if recipe.model.extend is not None:
        declared = extended_config(declared, recipe.model.extend)
    vocabulary = tokenizer.train.vocabulary
    whole = parameter_count(declared, vocabulary)
    for name, phase in recipe.train.items():
        directory = job.run_dir / "train" / name
        trainable = whole if phase.method == "full" else adapter_count(declared, phase.lora, vocabulary)
        said = too_little_room(phase, whole, trainable, directory)
        if said is not None and read_manifest(directory) is None:
            raise ResourceError(f"train.{name}: {said}")


def train(job: Job, fit: Fit | None = None) -> dict[str, Any]:
    """Trains every phase that is not finished. Returns each phase's summary.

    fit: what trains a phase, in place of a group of Ray Train's workers.
    """
    tokens = read_manifest(job.run_dir / "tokenize")
    assert tokens is not None
    _check_rows(job)
    starts = {BASE: first_start(job, _files_below(tokens, TOKENIZER))}
    before = BASE
    summaries = {}
    for name, phase in job.recipe.train.items():
        start, start_print = starts[phase.starts_from or before]
        stage = Stage.open(
            job.run_dir,
            f"train/{name}",
            recipe={
                "phase": phase.model_dump(mode="json", exclude=NOTES),
                "resources": job.recipe.resources.model_dump(mode="json", exclude=PATIENCE),
            },
            seed=job.recipe.seed,
            code=code_version("core/models", "core/training", "core/tokens", "core/artifacts/seeds.py"),
            inputs={"tokenize": fingerprint(_files_below(tokens, name, TOKENIZER)), "model": start_print},
        )
        if stage.manifest is None:
            reference = _open_reference(job, name, phase, tokens, start_print)
            _train_phase(job, name, phase, stage, start, reference, fit or fit_on_workers)
            if reference is not None and reference.manifest is None:
                reference.finish({"phase": name})
            summary = orjson.loads((stage.directory / "summary.json").read_bytes())
            stage.finish(summary, exclude=NOT_RESULTS)
            for left in NOT_RESULTS:
                shutil.rmtree(stage.directory / left, ignore_errors=True)
        else:
            job.reporter.say(f"train {name}: finished earlier")
        summaries[name] = orjson.loads((stage.directory / "summary.json").read_bytes())
        starts[name] = stage.directory / "model", stage.fingerprint
        before = name
    show(job.reporter, summaries)
    return summaries


def _open_reference(job: Job, name: str, phase: Phase, tokens: dict[str, Any], start_print: str) -> Stage | None:
    """Where a phase of preference pairs has what the model before it gives them: kept for any later settings."""
    if phase.preference is None:
        return None
    return Stage.open(
        job.run_dir,
        f"reference/{name}",
        recipe={"precision": phase.precision, "method": phase.method, "attention": job.recipe.model.attention},
        seed=job.recipe.seed,
        code=code_version("core/models", "core/training/losses.py", "core/training/reference.py"),
        inputs={"tokenize": fingerprint(_files_below(tokens, name, TOKENIZER)), "model": start_print},
    )


def _check_rows(job: Job) -> None:
    """Raises DataError where a phase has fewer rows than an optimiser step takes: before any is trained."""
    summary = orjson.loads((job.run_dir / "tokenize" / "summary.json").read_bytes())
    for name, phase in job.recipe.train.items():
        tokens = summary["phases"][name]["train"]
        if tokens["rows"] < phase.global_batch_size:
            raise DataError(
                f"train.{name}: {tokens['rows']} rows of at most {tokens['sequence_length']} tokens are fewer than "
                f"global_batch_size {phase.global_batch_size}; take a smaller one, more data, or data.packing=false"
            )


def _files_below(manifest: dict[str, Any], *directories: str) -> list[Any]:
    """A phase's own token shards and the tokenizer: another phase's change does not touch this one."""
    return [entry for entry in manifest["files"] if Path(entry["path"]).parts[0] in directories]


def choose_workers(recipe: Recipe, phase: Phase, name: str, nodes: Sequence[Mapping[str, float]]) -> tuple[int, bool]:
    """How many workers train a phase and whether on GPUs. nodes: the resources of each.

    Raises ResourceError where the nodes have room for too few. That they divide the batch is a rule of the recipe.
    """
    wanted = recipe.resources
    gpus = any(node.get("GPU") for node in nodes)
    use_gpu = wanted.device == "gpu" or (wanted.device == "auto" and gpus)
    if use_gpu and not gpus:
        raise ResourceError("resources.device: gpu, but Ray sees no GPU; take device: cpu, or a cluster with GPUs")
    room = room_on(nodes, wanted.cpus_per_worker, int(use_gpu))
    each = f"of {'a GPU and ' if use_gpu else ''}{wanted.cpus_per_worker} CPUs"
    if not room:
        raise ResourceError(f"train.{name}: no worker {each} fits on a node of the cluster")
    pieces = phase.global_batch_size // phase.micro_batch_size
    if wanted.workers == "auto":
        fitting = [count for count in range(1, room + 1) if pieces % count == 0]
        return max(fitting), use_gpu
    if wanted.workers > room:
        raise ResourceError(
            f"resources.workers: {wanted.workers} are asked for, and the cluster has room for {room} workers {each}; "
            f"take resources.workers={room}, or a larger cluster"
        )
    return wanted.workers, use_gpu


def _train_phase(
    job: Job, name: str, phase: Phase, stage: Stage, previous: Path | None, reference: Stage | None, fit: Fit
) -> None:
    workers, use_gpu = choose_workers(job.recipe, phase, name, job.session.nodes())
    from ray.train.v2.api.exceptions import TrainingFailedError

    resources = job.recipe.resources
    config = {
        "start": Start(job.recipe.model, previous, job.recipe.seed),
        "phase": phase,
        "name": name,
        "tokens": job.run_dir / "tokenize",
        "directory": stage.directory,
        "reference": reference.directory if reference is not None else None,
        "patience": resources.collective_timeout,
        "max_failures": resources.max_failures,
        "fingerprint": stage.fingerprint,
        "seed": derive_seed(job.recipe.seed, "train", name),
        "cpus": resources.cpus_per_worker,
    }
    tokens = orjson.loads((job.run_dir / "tokenize" / "summary.json").read_bytes())["phases"][name]["train"]
    steps = make_sampler(tokens["rows"], phase, seed=0).steps
    device = "GPU" if use_gpu else "CPU"
    job.reporter.say(
        f"train {name}: {phase.method}, {steps} steps of {phase.global_batch_size} rows of at most "
        f"{tokens['sequence_length']} tokens, on {workers} {device} worker{'s' if workers > 1 else ''}"
    )
    failure = stage.directory / FAILURE
    failure.unlink(missing_ok=True)
    for left in (RAY, HEARTBEATS):  # of a driver that was killed: ours are the checkpoints
        shutil.rmtree(stage.directory / left, ignore_errors=True)
    with _Follow(job, f"train {name}", steps, stage.directory / LOG):
        try:
            fit(config, workers, use_gpu)
        except TrainingFailedError as error:
            why = None if failure.exists() else why_workers_died(error, stage.directory, workers)
            if why is not None:
                raise ResourceError(
                    f"train.{name}: {why} (after {resources.max_failures} replacements). The checkpoints are kept; the "
                    "same command goes on from them."
                ) from error
            if not failure.exists():
                raise
    if failure.exists():
        found = orjson.loads(failure.read_bytes())
        failure.unlink()
        raise getattr(core.errors, found["kind"])(f"train.{name}: {found['message']}")


def _end_at(failure: Path) -> Any:
    """What ends a run of Ray Train at once where a worker wrote down what the user did wrong: no new workers start."""
    from ray.train import UserCallback

    class Callback(UserCallback):  # type: ignore[misc]
        def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
            if failure.exists():
                raise RuntimeError(f"{failure} says why")

    return Callback()


def fit_on_workers(
    config: dict[str, Any], workers: int, use_gpu: bool, loop: Callable[[dict[str, Any]], None] | None = None
) -> None:
    """Trains by a group of Ray Train's workers. Raises TrainingFailedError where they are lost once too often.

    loop: what each of them does; none: `work`.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    TorchTrainer(
        loop or work,
        train_loop_config=config,
        scaling_config=ScalingConfig(
            num_workers=workers,
            use_gpu=use_gpu,
            resources_per_worker={"CPU": config["cpus"]} | ({"GPU": 1} if use_gpu else {}),
        ),
        torch_config=TorchConfig(timeout_s=config["patience"]),
        run_config=RunConfig(
            name=RAY,
            storage_path=str(config["directory"]),
            failure_config=FailureConfig(max_failures=config["max_failures"]),
            callbacks=[_end_at(config["directory"] / FAILURE)],
        ),
    ).fit()


def why_workers_died(error: Exception, directory: Path, workers: int) -> str | None:
    """What can be said of workers that died or hung; None where one raised an error of its own."""
    failures: dict[int, Exception] = getattr(error, "worker_failures", None) or {}
    late = behind(directory / HEARTBEATS)
    for rank, cause in failures.items():
        kind = type(cause).__name__
        if kind == "WorkerHealthCheckFailedError":
            # A GPU's worker that has waited in vain for another is ended by NCCL itself, without an error of its own.
            other = late and f"rank {rank} " not in late
            waited = f", or that it waited for one that hangs: {late}" if other else ""
            return f"worker {rank} died ({_last_line(cause)}), mostly a sign that the host's memory was full{waited}"
        if kind == "WorkerHealthCheckTimeoutError":
            return f"worker {rank} no longer answers"
    if not failures or not all(any(word in str(cause) for word in WAITED) for cause in failures.values()):
        return None
    rank, cause = next(iter(failures.items()))
    silent = ", ".join(str(other) for other in range(workers) if other not in failures)
    late = late or (f"nothing was heard of rank {silent}" if silent else "all of them did")
    return f"worker {rank} waited in vain for another ({_last_line(cause)}); {late}"


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


class _Follow(threading.Thread):
    """Shows the log as it grows, while Ray Train works."""

    def __init__(self, job: Job, title: str, steps: int, log: Path) -> None:
        super().__init__(daemon=True)
        self._job, self._title, self._steps, self._log = job, title, steps, log
        self._over = threading.Event()

    def __enter__(self) -> _Follow:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        with self._job.reporter.bar(self._title, self._steps) as bar:
            over = False
            while not over:
                over = self._over.wait(0.5)
                if line := latest(self._log):
                    bar.at(line["step"], told(line))


def work(config: dict[str, Any]) -> None:
    """What each worker does: one of Ray Train's, or the one that `config` names as its `world`.

    An error that is the user's would come again at every retry: it is written down for the command to raise, and
    a further try ends well at once. Any other failure is Ray Train's to retry.
    """
    failure: Path = config["directory"] / FAILURE
    if failure.exists():
        return
    world: World = config.get("world") or ray_world()
    try:
        with told_without_room(config["phase"]):
            _work(config, world)
    except RaycipeError as error:
        write_json(failure, {"kind": type(error).__name__, "message": str(error)})
        if world.size > 1:
            raise  # so that Ray ends the others, who may wait for this one; begun again, all end well


def ray_world() -> World:
    """This worker among those of Ray Train."""
    import ray.train

    context = ray.train.get_context()
    return World(context.get_world_rank(), context.get_world_size(), str(ray.train.torch.get_device()))


def _work(config: dict[str, Any], world: World) -> None:
    """Build the model, train, export."""
    import ray.train
    import torch

    from core.tokens.shards import TokenRows
    from core.tokens.tokenizer import load_tokenizer
    from core.training.phase import build_model, export_model
    from core.training.trainer import Run

    if world.device == "cpu":
        torch.set_num_threads(config["cpus"])
    phase: Phase = config["phase"]
    directory: Path = config["directory"]
    tokens: Path = config["tokens"]
    tokenizer = load_tokenizer(tokens / "tokenizer")
    model = build_model(config["start"], phase, tokenizer, world)
    sizes = [(_weights_in(parameter), parameter.requires_grad) for parameter in model.parameters()]
    trainable = sum(size for size, trained in sizes if trained)
    # One looks: the others might see what the first removes.
    if world.rank == 0 and (said := too_little_room(phase, sum(size for size, _ in sizes), trainable, directory)):
        raise ResourceError(said)
    validation = TokenRows.open(tokens / config["name"], "validation")
    trained = Run(
        model=model,
        rows=TokenRows.open(tokens / config["name"], "train"),
        validation=validation if len(validation) else None,
        options=phase,
        world=world,
        seed=config["seed"],
        padding=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
        directory=directory,
        fingerprint=config["fingerprint"],
        on_report=config.get("on_report", ray.train.report),
        halt_step=config.get("halt_step"),
        reference=config["reference"],
        patience=config["patience"],
    ).train()
    counts = export_model(config["start"], phase, tokenizer, model, trained.engine, directory)
    if world.rank == 0:
        write_json(directory / "summary.json", {**trained.summary, **counts})


def _weights_in(parameter: Any) -> int:
    """Weights that a parameter stands for: a byte of a 4-bit one holds two."""
    from core.training.zero_settings import size_of

    packed = parameter.element_size() == 1 and not parameter.is_floating_point()
    return size_of(parameter) * (2 if packed else 1)


if __name__ == "__main__":
    from ray_jobs.cli import job_main

    job_main("train")
