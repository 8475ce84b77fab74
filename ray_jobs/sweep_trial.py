"""A trial of a sweep, in a process of Ray Tune's: trains by the recipe's own stage, is scored at its rungs, goes on.

A trial of one worker trains in that process, which Tune keeps for the trials after it: no process is started for it,
and nothing is imported again. One of several workers has a group of them on Ray Train, which that process keeps for the
trials after it too; where none follows, the group ends within seconds, so that a trial that is stopped holds nothing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import orjson

from core.artifacts.atomic import write_json
from core.errors import DataError, RaycipeError, first_line
from core.evaluation.lm_eval_bridge import AskedTask, Evaluation
from core.evaluation.options import Evaluate
from core.evaluation.scorer import LocalScorers, ScoredModel
from core.evaluation.task_files import TaskFile
from core.models.memory import free_memory
from core.recipe.resolve import load_recipe
from core.training.checkpoints import CHECKPOINTS, STATE, CheckpointPieces, complete, step_directory
from core.training.engine import Engine, World
from core.training.log import LOG
from core.training.order import make_sampler
from core.tuning.objective import Objective, Score
from core.tuning.rungs import Rungs
from core.tuning.table import SAMPLES
from core.tuning.trials import END, Report, read_reports, trial_directory, write_end, write_reports
from ray_jobs.job import Job
from ray_jobs.progress import Reporter
from ray_jobs.session import RaySession
from ray_jobs.sweep_search import BUDGET, COST, NUMBER, SCORE, UNTIL, WHOLE, number_of
from ray_jobs.sweep_workers import KeptWorkers, Size
from ray_jobs.train import ray_world, train, work

if TYPE_CHECKING:
    import torch

    from core.recipe.schema import Recipe

TASKS = "tasks"  # of the sweep, as lm-eval reads them
RUNGS = "rungs"  # of a trial: its checkpoints at rungs, for others to take over ...
TAKEN_OVER = "taken-over"  # ... and what it took over from another
MOMENTS = "moments.json"  # of a trial: when its worker began and ended, in seconds of the clock
POINTER = "rung.json"  # in what Tune takes for a checkpoint: which one is meant
WORKERS_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "NODE_RANK")
GROUPS = "groups"  # of the sweep: files of groups of workers

kept_workers = KeptWorkers()  # of this process


@dataclass(frozen=True)
class Plan:
    """What all trials of a sweep share. phases: those that differ between trials, whose steps rungs count."""

    sweep_dir: Path
    objective: Objective
    evaluate: Evaluate | None
    tasks: list[AskedTask]
    rungs: Rungs
    phases: tuple[str, ...]
    workers: int
    use_gpu: bool
    scorer_devices: int
    seed: int
    keeps_rungs: bool  # for other trials to take over
    by_loss: bool  # before the end

    @property
    def device(self) -> str:
        """What models are scored on."""
        return "cuda" if self.use_gpu else "cpu"


class _Paused(Exception):
    """Training is at a rung, and a checkpoint of it is on disk."""


def run_trial(config: dict[str, Any], plan: Plan) -> None:
    """A trial from wherever it stands to its end, or until Tune ends it at a rung."""
    from ray import tune

    directory = trial_directory(plan.sweep_dir, number_of(str(tune.get_context().get_trial_name())))
    try:
        _Trial(directory, plan, config).run()
    except RaycipeError as error:  # another try would end the same
        write_end(directory, "failed", str(error))
    finally:  # also where Tune ends it at a rung
        kept_workers.rest()


class _Trial:
    """A trial under way."""

    def __init__(self, directory: Path, plan: Plan, config: dict[str, Any]) -> None:
        from ray import tune

        self.directory, self.plan = directory, plan
        self.moments = {"entered": time.time()}
        self.values = {key: value for key, value in config.items() if key not in (NUMBER, UNTIL)}
        self.until: int | None = config.get(UNTIL)  # the rung that is this stretch's end
        self.reports = read_reports(directory)
        self.pause: int | None = None  # the budget at which training halts; None: at its end
        self.at: dict[str, Any] = {}  # of the phase that is trained: what `work` was told
        taken = tune.get_checkpoint()
        if taken is not None:
            self._take_over(Path(taken.path))
        elif self.reports:  # what a scheduler has made of them since
            self.values = self.reports[-1].values
        changed = [f"{key}={orjson.dumps(value).decode()}" for key, value in self.values.items()]
        resolved = load_recipe(str(directory / "recipe.yaml"), overrides=changed if plan.keeps_rungs else None)
        self.job = Job(resolved, directory, RaySession(), Reporter())
        tokens = orjson.loads((directory / "tokenize" / "summary.json").read_bytes())["phases"]
        self.steps = {
            name: make_sampler(tokens[name]["train"]["rows"], resolved.recipe.train[name], seed=0).steps
            for name in plan.phases
        }

    def run(self) -> None:
        """Reports what is known, then trains from rung to rung; one that has ended, before a kill, reports alone.

        A stretch to a rung reports what is new.
        """
        ended = (self.directory / END).exists()
        known = self.reports[-1:] if self.plan.keeps_rungs else self.reports  # an old rung is taken over no more
        for report in known if self.until is None else ():
            self._tell(report)
        if ended:
            return
        done = self.reports[-1].budget if self.reports else 0
        until = self.until or self.plan.rungs.budgets[-1]
        for budget in self.plan.rungs.budgets:
            if done < budget <= until:
                self._reach(budget)
                self._tell(self.reports[-1])

    def _reach(self, budget: int) -> None:
        """Trains to a rung and scores the model there."""
        whole = self.plan.rungs.budgets[-1]
        self.pause = budget if budget < whole else None
        try:
            train(self.job, self._fit)
        except _Paused:
            model = self.directory / ".rung" / "model"
            state = _export(self.at, None if self.plan.by_loss else self.directory / ".rung")
            if self.plan.keeps_rungs:
                self._keep_rung(budget)
            phase, progress = self.at["name"], state["progress"]
        else:
            phase = self.plan.phases[-1]
            summary = orjson.loads((self.directory / "train" / phase / "summary.json").read_bytes())
            model = self.directory / "train" / phase / "model"
            progress = {
                "step": summary["steps"],
                "last": {"loss": summary["last_loss"]},
                "work": {"tokens": summary["tokens"]},
                "seconds": summary["seconds"],
            }
        free_memory(self.plan.device)
        self.moments |= {"trained": time.time(), **self._workers_moments()}
        validation = _validation_loss(self.directory / "train" / phase / LOG)
        score: Score | None = None
        rows: list[dict[str, Any]] = []
        if budget == whole or not self.plan.by_loss:
            score, rows = self._score(model, validation)
        free_memory(self.plan.device)
        self.moments["scored"] = time.time()
        shutil.rmtree(self.directory / ".rung", ignore_errors=True)
        earlier = [
            orjson.loads((self.directory / "train" / name / "summary.json").read_bytes())
            for name in self.plan.phases[: self.plan.phases.index(phase)]
        ]
        seconds = progress["seconds"] + sum(each["seconds"] for each in earlier)
        report = Report(
            budget=budget,
            whole=whole,
            step=progress["step"] + sum(each["steps"] for each in earlier),
            score=score.value if score else None,
            stderr=score.stderr if score else None,
            validation_loss=validation,
            loss=(progress["last"] or {}).get("loss"),
            tokens=progress["work"]["tokens"] + sum(each["tokens"] for each in earlier),
            seconds=round(seconds, 3),
            device_hours=seconds * self.plan.workers / 3600,
            values=self.values,
            rows=rows,
            moments=self.moments,
        )
        self.reports.append(report)
        write_reports(self.directory, self.reports)
        self.moments = {"entered": time.time()}

    def _fit(self, config: dict[str, Any], workers: int, use_gpu: bool) -> None:
        """Trains a phase to its end, or to the rung where that is in it: then it raises _Paused."""
        self.at = config
        directory: Path = config["directory"]
        _place(self.directory / TAKEN_OVER, config)
        step = self._pause_in(config["name"])
        on_report = _PauseAt(directory, step)
        if step is not None and on_report.is_there():
            raise _Paused  # already before a kill
        told = config | {"on_report": on_report, "halt_step": step, "moments": self.directory / MOMENTS}
        if workers == 1:
            _work(told | {"world": World(device="cuda:0" if use_gpu else "cpu")})
        else:
            self._on_workers(workers, _work, told)
            if leaves_traces(self.job.recipe, use_gpu):
                kept_workers.close()
        if step is not None and on_report.is_there():
            raise _Paused

    def _on_workers(self, workers: int, function: Callable[..., Any], *arguments: Any) -> Any:
        """What a function returns on the first of a group of workers, each of which runs it."""
        wanted = self.job.recipe.resources
        size = Size(workers, self.plan.use_gpu, wanted.cpus_per_worker, wanted.collective_timeout, wanted.max_failures)
        return kept_workers.run(self.plan.sweep_dir / GROUPS, size, function, *arguments)

    def _workers_moments(self) -> dict[str, float]:
        """When the phase's worker began and ended; none of one that was trained before a kill."""
        path: Path = self.directory / MOMENTS
        found: dict[str, float] = orjson.loads(path.read_bytes()) if path.exists() else {}
        path.unlink(missing_ok=True)
        return found

    def _pause_in(self, phase: str) -> int | None:
        """The step of a phase at which the next rung is; None where it is in none of its steps."""
        if self.pause is None or phase not in self.plan.phases:
            return None
        before = sum(self.steps[name] for name in self.plan.phases[: self.plan.phases.index(phase)])
        return self.plan.rungs.step_in(self.pause, sum(self.steps.values()), before, self.steps[phase])

    def _score(self, model: Path, validation: float | None) -> tuple[Score, list[dict[str, Any]]]:
        """The objective of a model directory, and the rows that it is made of."""
        plan = self.plan
        if not plan.objective.parts:
            if validation is None:
                raise DataError("sweep.objective: validation_loss, and nothing was validated")
            return Score(validation, None), []
        assert plan.evaluate is not None
        score_on = partial(
            score_trial,
            model,
            plan.tasks,
            plan.sweep_dir / TASKS,
            plan.evaluate,
            plan.seed,
            self.directory / SAMPLES,
        )
        if plan.workers == 1:
            rows = score_on(device=plan.device)
        elif plan.scorer_devices > 1 or leaves_traces(self.job.recipe, plan.use_gpu):  # more than a kept worker has
            import ray
            from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy as Placement

            kept_workers.close()
            scoring = ray.remote(
                num_cpus=self.job.recipe.resources.cpus_per_worker,
                num_gpus=plan.scorer_devices if plan.use_gpu else 0,
                scheduling_strategy=Placement(None),  # where the workers were, not in what Tune holds for the driver
            )(score_trial)
            rows = ray.get(scoring.remote(*score_on.args, device=plan.device, devices=plan.scorer_devices))
        else:
            rows = self._on_workers(plan.workers, _score_on_first, score_on)
            if isinstance(rows, Exception):
                raise rows
        return plan.objective.score(rows), rows

    def _tell(self, report: Report) -> None:
        """Tells Tune of a rung; where it ends the trial there, this does not return."""
        from ray import tune

        if report.budget == report.whole:
            write_end(self.directory, "finished")
        kept_workers.rest()  # Tune may end the trial here

        figures = {
            SCORE: self._judged(report),
            COST: report.device_hours,
            BUDGET: report.budget,
            WHOLE: report.budget == report.whole,
            "tokens": report.tokens,
            "validation_loss": report.validation_loss,
        }
        if not self.plan.keeps_rungs or report.budget == report.whole:
            tune.report(figures)
            return
        with tempfile.TemporaryDirectory() as pointer:
            write_json(Path(pointer) / POINTER, {"trial": self.directory.name, "budget": report.budget})
            tune.report(figures, checkpoint=tune.Checkpoint.from_directory(pointer))

    def _judged(self, report: Report) -> float:
        """What the scheduler compares trials by, better as the objective is."""
        if report.score is not None:
            return report.score
        assert report.validation_loss is not None
        return -report.validation_loss if self.plan.objective.higher_is_better else report.validation_loss

    def _keep_rung(self, budget: int) -> None:
        """Keeps the checkpoint of a rung, for other trials to take over."""
        kept = self.directory / RUNGS / str(budget)
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(complete(self.at["directory"] / CHECKPOINTS)[0], kept)

    def _take_over(self, pointer: Path) -> None:
        """Goes on from the rung that Tune names, with the values that it gives: another trial's, or one's own."""
        named = orjson.loads((pointer / POINTER).read_bytes())
        if named["trial"] == self.directory.name:
            return
        other = self.directory.parent / named["trial"]
        shutil.rmtree(self.directory / TAKEN_OVER, ignore_errors=True)
        shutil.copytree(other / RUNGS / str(named["budget"]), self.directory / TAKEN_OVER)
        reports = [report for report in read_reports(other) if report.budget <= named["budget"]]
        self.reports = [*reports[:-1], replace(reports[-1], values=self.values)]
        write_reports(self.directory, self.reports)


class _PauseAt:
    """Told of a phase's progress, halts training after a step, once its checkpoint is whole."""

    def __init__(self, phase_dir: Path, step: int | None) -> None:
        self._step = step
        self._state = step_directory(phase_dir / CHECKPOINTS, step or 0) / STATE

    def is_there(self) -> bool:
        """Whether the checkpoint is."""
        return self._state.exists()

    def __call__(self, values: Mapping[str, Any]) -> None:
        if values["step"] == self._step:
            while not self._state.exists():  # the first worker writes it when all have written their parts
                time.sleep(0.01)
            raise _Paused


def _work(config: dict[str, Any]) -> None:
    began = time.time()
    with contextlib.suppress(_Paused):
        work(config)
    if (config.get("world") or ray_world()).rank == 0:
        write_json(config["moments"], {"worker_began": began, "worker_ended": time.time()})


def score_trial(
    model: Path,
    tasks: list[AskedTask],
    tasks_dir: Path,
    options: Evaluate,
    seed: int,
    samples: Path,
    device: str,
    devices: int = 1,
) -> list[dict[str, Any]]:
    """Scores a model directory on tasks; rows and samples as the evaluation writes them.

    Batches are the same whatever memory a process has left, unless the recipe says how large.
    """
    import torch

    from core.evaluation.shared_prefix import Room

    torch.nn.functional.linear = torch._C._nn.linear  # which DeepSpeed's ZeRO-3 replaces for good
    if options.batch_tokens is None:
        options = options.model_copy(update={"batch_tokens": Room.tokens})
    with tempfile.TemporaryDirectory() as answers:
        evaluation = Evaluation(options, seed, tasks_dir, LocalScorers(), Path(answers))
        model_of = ScoredModel(model, device, options.batch_size, devices=devices)
        return list(evaluation.of(model_of, tasks, samples)["rows"])


def _score_on_first(score_on: Callable[..., list[dict[str, Any]]]) -> list[dict[str, Any]] | Exception | None:
    """Scores on the first worker of a group. An error is returned, without what it holds: raised, it would end the
    group, and Ray Train would try again before Tune does."""
    world = ray_world()
    if world.rank:
        return None
    try:
        with _alone():
            return score_on(device=world.device)
    except RaycipeError as error:
        error.__cause__ = error.__context__ = None
        return error.with_traceback(None)
    except Exception as error:
        return RuntimeError(f"{type(error).__name__}: {first_line(error)}")


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Without what tells libraries of the other workers: lm-eval would have them take part."""
    kept = {name: os.environ.pop(name) for name in WORKERS_VARIABLES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


def leaves_traces(recipe: Recipe, use_gpu: bool) -> bool:
    """Whether a process that has trained is not as it was, and no other trial may train in it.

    DeepSpeed never frees an engine; compiled code and Liger's kernels stay; bitsandbytes never gives back what a paged
    optimiser has had on a GPU.
    """
    return any(
        phase.zero_stage
        or phase.compile
        or phase.kernels != "torch"
        or (use_gpu and phase.optimizer.startswith("paged"))
        for phase in recipe.train.values()
    )


def asked_tasks(tasks: Sequence[TaskFile]) -> list[AskedTask]:
    """Tasks as the evaluation is asked for them."""
    return [AskedTask(task.name, task.few_shot) for task in tasks]


@dataclass(frozen=True)
class _Saved:
    """The trained weights in a checkpoint, as a training engine hands them out. parameters: those of the model."""

    pieces: CheckpointPieces
    parameters: Mapping[str, torch.nn.Parameter]
    world: World

    def weights(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Each trained parameter."""
        for name, size in self.pieces.sizes().items():
            yield name, self.pieces.read(f"{name}/weight", 0, size).view(self.parameters[name].shape)


def _export(config: Mapping[str, Any], directory: Path | None) -> dict[str, Any]:
    """Writes the model of a phase's newest checkpoint to `directory/model`, if asked; returns the state in it."""
    from core.models.adapters import add_adapters
    from core.tokens.tokenizer import load_tokenizer
    from core.training.phase import export_model

    start, phase = config["start"], config["phase"]
    checkpoint = complete(config["directory"] / CHECKPOINTS)[0]
    state: dict[str, Any] = orjson.loads((checkpoint / STATE).read_bytes())
    if directory is None:
        return state
    tokenizer = load_tokenizer(config["tokens"] / "tokenizer")
    model: Any
    if phase.method == "full":
        model = start.load(tokenizer)
    else:  # of the adapters' sizes alone: the base that they are merged into is loaded where they are
        model = add_adapters(start.outline(tokenizer), phase.lora, seed=0)
    saved = _Saved(CheckpointPieces(checkpoint, state["world_size"]), dict(model.named_parameters()), World())
    directory.mkdir(parents=True, exist_ok=True)
    export_model(start, phase, tokenizer, model, cast(Engine, saved), directory)
    return state


def _place(taken_over: Path, config: Mapping[str, Any]) -> None:
    """Makes a checkpoint that was taken over this phase's own."""
    if not taken_over.exists():
        return
    state = orjson.loads((taken_over / STATE).read_bytes())
    target = step_directory(config["directory"] / CHECKPOINTS, state["step"])
    shutil.rmtree(config["directory"] / CHECKPOINTS, ignore_errors=True)
    shutil.copytree(taken_over, target, ignore=shutil.ignore_patterns(STATE))
    write_json(target / STATE, state | {"fingerprint": config["fingerprint"]})
    shutil.rmtree(taken_over)


def _validation_loss(log: Path) -> float | None:
    """The last one in a phase's log."""
    lines = map(orjson.loads, log.read_bytes().splitlines()) if log.exists() else ()
    found = [line["validation_loss"] for line in lines if line.get("validation_loss") is not None]
    return float(found[-1]) if found else None
