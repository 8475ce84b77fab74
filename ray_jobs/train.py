"""`raycipe train`: the recipe's phases in order on Ray Train, each from the last one's weights."""

from __future__ import annotations

import importlib.util
import shutil
import threading
from pathlib import Path
from typing import Any

import orjson

import core.errors
from core.artifacts.atomic import write_json
from core.artifacts.fingerprint import code_version, files_identity, fingerprint
from core.artifacts.seeds import derive_seed
from core.artifacts.stage import Stage, read_manifest
from core.errors import RaycipeError, ResourceError
from core.models.attention import NEED_GPU, check_attention
from core.planning.disk import adapter_count, bytes_on_disk, parameter_count
from core.recipe.schema import Recipe
from core.training.log import latest
from core.training.options import BASE, Phase
from core.training.phase import Start
from core.training.trainer import make_sampler
from ray_jobs.job import Job

CHECKPOINTS = "checkpoints"  # Ray Train's own storage; not part of the finished artifact
FAILURE = "failure.json"  # what the user did wrong, as a worker found it
FAILURES = 3  # how often a dead worker is replaced before the run gives up


def check_training(job: Job) -> None:
    """What training needs beyond a valid recipe, found before anything starts. Raises ResourceError."""
    recipe = job.recipe
    for name, phase in recipe.train.items():
        if phase.method == "qlora" and importlib.util.find_spec("bitsandbytes") is None:
            raise ResourceError(f"train.{name}.method: qlora needs bitsandbytes, which is not installed")
        if phase.preference is not None:
            raise ResourceError(
                f"train.{name}.preference: this version makes the token shards of preference pairs, and does not "
                "train on them; `raycipe tokenize` and `raycipe preview` work"
            )
        if phase.zero_stage:
            raise ResourceError(f"train.{name}.zero_stage: {phase.zero_stage}, but this version trains with 0 only")
    if recipe.model.attention in NEED_GPU:
        for name, phase in recipe.train.items():
            _, use_gpu = choose_workers(recipe, phase, name, job.session.require())
            check_attention(recipe.model.attention, gpu=use_gpu, precision=phase.precision)
    declared, tokenizer = recipe.model.config, recipe.model.tokenizer
    if declared is None or tokenizer is None or tokenizer.train is None:
        return
    vocabulary = tokenizer.train.vocabulary
    whole = parameter_count(declared, vocabulary)
    free = shutil.disk_usage(job.run_dir).free
    for name, phase in recipe.train.items():
        trainable = whole if phase.method == "full" else adapter_count(declared, phase.lora, vocabulary)
        need = bytes_on_disk(phase, whole, trainable)
        if need > free and read_manifest(job.run_dir / "train" / name) is None:
            raise ResourceError(
                f"train.{name}: needs {need / 1e9:.1f} GB on disk, and {job.run_dir} has {free / 1e9:.1f} GB free; "
                "free some, choose another place with --runs-dir, or keep fewer checkpoints (checkpoints.keep)"
            )


def train(job: Job) -> dict[str, Any]:
    """Trains every phase that is not finished. Returns each phase's summary."""
    tokens = read_manifest(job.run_dir / "tokenize")
    assert tokens is not None
    starts: dict[str, tuple[Path | None, str]] = {BASE: (None, model_fingerprint(job.recipe))}
    before = BASE
    summaries = {}
    for name, phase in job.recipe.train.items():
        start, start_print = starts[phase.starts_from or before]
        stage = Stage.open(
            job.run_dir,
            f"train/{name}",
            recipe={
                "phase": phase.model_dump(mode="json"),
                "resources": job.recipe.resources.model_dump(mode="json"),
            },
            seed=job.recipe.seed,
            code=code_version("core/models", "core/training", "core/tokens", "core/artifacts/seeds.py"),
            inputs={"tokenize": fingerprint(_files_below(tokens, name)), "model": start_print},
        )
        if stage.manifest is None:
            _train_phase(job, name, phase, stage, start)
            summary = orjson.loads((stage.directory / "summary.json").read_bytes())
            stage.finish(summary, exclude=(CHECKPOINTS, ".checkpoint"))
            shutil.rmtree(stage.directory / CHECKPOINTS, ignore_errors=True)
        else:
            job.reporter.say(f"train {name}: finished earlier")
        summaries[name] = orjson.loads((stage.directory / "summary.json").read_bytes())
        starts[name] = stage.directory / "model", stage.fingerprint
        before = name
    return summaries


def model_fingerprint(recipe: Recipe) -> str:
    """What the first phase starts from: the recipe's model section, and a local base's files."""
    files = files_identity(Path(recipe.model.base)) if recipe.model.base else []
    return fingerprint({"model": recipe.model.model_dump(mode="json"), "files": files})


def _files_below(manifest: dict[str, Any], phase: str) -> list[Any]:
    """The token shards of a phase and the tokenizer: another phase's change does not touch this one."""
    return [entry for entry in manifest["files"] if entry["path"].startswith((f"{phase}/", "tokenizer/"))]


def choose_workers(recipe: Recipe, phase: Phase, name: str, cluster: dict[str, float]) -> tuple[int, bool]:
    """How many workers train a phase and whether on GPUs.

    Raises ResourceError where the cluster has too few. That they divide the batch is a rule of the recipe.
    """
    wanted = recipe.resources
    gpus, cpus = int(cluster.get("GPU", 0)), int(cluster.get("CPU", 0))
    use_gpu = wanted.device == "gpu" or (wanted.device == "auto" and gpus > 0)
    if use_gpu and not gpus:
        raise ResourceError("resources.device: gpu, but Ray sees no GPU; take device: cpu, or a cluster with GPUs")
    room = gpus if use_gpu else cpus // wanted.cpus_per_worker
    pieces = phase.global_batch_size // phase.micro_batch_size
    if wanted.workers == "auto":
        fitting = [count for count in range(1, room + 1) if pieces % count == 0]
        if not fitting:
            raise ResourceError(f"train.{name}: no worker of {wanted.cpus_per_worker} CPUs fits a cluster of {cpus}")
        return max(fitting), use_gpu
    if wanted.workers > room:
        unit = "GPUs" if use_gpu else f"workers of {wanted.cpus_per_worker} CPUs"
        raise ResourceError(
            f"resources.workers: {wanted.workers} are asked for, and the cluster has room for {room} {unit}; "
            f"take resources.workers={max(room, 1)}, or a larger cluster"
        )
    return wanted.workers, use_gpu


def _train_phase(job: Job, name: str, phase: Phase, stage: Stage, previous: Path | None) -> None:
    cluster = job.session.require()
    workers, use_gpu = choose_workers(job.recipe, phase, name, cluster)
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    cpus = job.recipe.resources.cpus_per_worker
    trainer = TorchTrainer(
        work,
        train_loop_config={
            "start": Start(job.recipe.model, previous, job.recipe.seed),
            "phase": phase,
            "name": name,
            "tokens": job.run_dir / "tokenize",
            "directory": stage.directory,
            "fingerprint": stage.fingerprint,
            "seed": derive_seed(job.recipe.seed, "train", name),
            "cpus": cpus,
        },
        scaling_config=ScalingConfig(
            num_workers=workers,
            use_gpu=use_gpu,
            resources_per_worker={"CPU": cpus} | ({"GPU": 1} if use_gpu else {}),
        ),
        run_config=RunConfig(
            name=CHECKPOINTS,
            storage_path=str(stage.directory),
            failure_config=FailureConfig(max_failures=FAILURES),
            checkpoint_config=CheckpointConfig(num_to_keep=phase.checkpoints.keep),
        ),
    )
    tokens = orjson.loads((job.run_dir / "tokenize" / "summary.json").read_bytes())["phases"][name]["train"]
    steps = make_sampler(tokens["rows"], phase, seed=0).steps
    device = "GPU" if use_gpu else "CPU"
    job.reporter.say(
        f"train {name}: {phase.method}, {steps} steps of {phase.global_batch_size} rows of at most "
        f"{tokens['sequence_length']} tokens, on {workers} {device} worker{'s' if workers > 1 else ''}"
    )
    failure = stage.directory / FAILURE
    failure.unlink(missing_ok=True)
    _forget_attempts(stage.directory / CHECKPOINTS, phase.checkpoints.keep)
    with _Follow(job, f"train {name}", steps, stage.directory / "log.jsonl"):
        trainer.fit()
    if failure.exists():
        told = orjson.loads(failure.read_bytes())
        failure.unlink()
        raise getattr(core.errors, told["kind"])(f"train.{name}: {told['message']}")


def _forget_attempts(storage: Path, keep: int) -> None:
    """Leaves an earlier attempt's newest checkpoints, of which workers choose the newest that is whole.

    Ray's own list of them is not needed, and a kill can leave it cut in two.
    """
    (storage / "checkpoint_manager_snapshot.json").unlink(missing_ok=True)
    for directory in sorted(storage.glob("step-*"))[: -keep - 1]:
        shutil.rmtree(directory)


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
                    bar.at(line["step"], f"loss {line['loss']:.3f}, {line['tokens_per_second']:,.0f} tokens/s")


def work(config: dict[str, Any]) -> None:
    """What each Ray Train worker does.

    An error that is the user's would come again at every retry: it is written down for the command to raise, and
    a further try ends well at once. Any other failure is Ray Train's to retry.
    """
    import ray.train

    failure: Path = config["directory"] / FAILURE
    if failure.exists():
        return
    try:
        _work(config)
    except RaycipeError as error:
        write_json(failure, {"kind": type(error).__name__, "message": str(error)})
        if ray.train.get_context().get_world_size() > 1:
            raise  # so that Ray ends the others, who may wait for this one; begun again, all end well


def _work(config: dict[str, Any]) -> None:
    """Build the model, train, export."""
    import ray.train
    import torch

    from core.tokens.shards import TokenRows
    from core.tokens.tokenizer import load_tokenizer
    from core.training.checkpoints import newest_valid
    from core.training.optimizer import World
    from core.training.phase import build_model, export_model
    from core.training.trainer import Progress, Run

    context = ray.train.get_context()
    device = ray.train.torch.get_device()
    if device.type == "cpu":
        torch.set_num_threads(config["cpus"])
    world = World(context.get_world_rank(), context.get_world_size(), str(device))
    phase: Phase = config["phase"]
    directory: Path = config["directory"]
    tokens: Path = config["tokens"]
    tokenizer = load_tokenizer(tokens / "tokenizer")
    model = build_model(config["start"], phase, tokenizer, world.device)
    validation = TokenRows.open(tokens / config["name"], "validation")

    def report(progress: Progress, saved: Path | None) -> None:
        checkpoint = ray.train.Checkpoint.from_directory(str(saved)) if saved is not None else None
        name = f"step-{progress.step:08d}"
        ray.train.report({"step": progress.step}, checkpoint=checkpoint, checkpoint_dir_name=name)
        if saved is not None:
            shutil.rmtree(saved)

    saved = (directory / CHECKPOINTS).glob("step-*")
    resume, refused = newest_valid(sorted(saved), config["fingerprint"])
    run = Run(
        model=model,
        rows=TokenRows.open(tokens / config["name"], "train"),
        validation=validation if len(validation) else None,
        options=phase,
        world=world,
        seed=config["seed"],
        padding=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
        directory=directory,
        fingerprint=config["fingerprint"],
        on_checkpoint=report,
    )
    progress, optimizer = run.train(resume)
    if world.rank == 0:
        summary = {
            "method": phase.method,
            "workers": world.size,
            **progress.totals(),
            **export_model(config["start"], phase, tokenizer, model, optimizer, directory),
            "refused_checkpoints": refused,
        }
        write_json(directory / "summary.json", summary)


if __name__ == "__main__":
    from ray_jobs.cli import job_main

    job_main("train")
