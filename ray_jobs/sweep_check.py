"""What can be known to be wrong with a sweep before anything starts: its space, objective, values and resources."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from typing import Any

from core.artifacts.seeds import generator
from core.errors import DataError, RaycipeError, RecipeError, ResourceError
from core.evaluation.options import Evaluate
from core.evaluation.task_files import TaskFile, find_tasks
from core.recipe.problems import InvalidRecipe
from core.recipe.schema import Recipe
from core.tuning.objective import VALIDATION_LOSS, Objective, make_objective
from core.tuning.options import Sweep
from core.tuning.space import Parameter, Space, Values
from ray_jobs.evaluate import check_evaluation, scorer_devices
from ray_jobs.job import Job
from ray_jobs.session import room_on
from ray_jobs.sweep_data import check_data_keys, shared_phases
from ray_jobs.sweep_recipe import resolve
from ray_jobs.sweep_space import load_space
from ray_jobs.train import check_training, choose_workers

PROBED = 64  # points of a grid that are all checked; of a larger one every value is


@dataclass(frozen=True)
class Asked:
    """A sweep as it is asked for, checked. points: of a grid or by chance; None where TPE draws them."""

    options: Sweep
    space: Space
    objective: Objective
    evaluate: Evaluate | None  # what scores trials ...
    tasks: list[TaskFile]  # ... on which tasks
    points: list[Values] | None
    phases: tuple[str, ...]  # that differ between trials
    workers: int
    use_gpu: bool
    scorer_devices: int  # GPUs that a trial's model is spread over to be scored

    @property
    def count(self) -> int:
        """How many trials."""
        return len(self.points) if self.points is not None else self.options.trials or 0

    @property
    def modes(self) -> list[str]:
        """Which way is better, of each objective."""
        return ["max" if self.objective.higher_is_better else "min", *(["min"] if self.options.against else [])]


def check_sweep(job: Job) -> Asked:
    """All that can be known to be wrong, before anything starts.

    Raises RecipeError for a space, an objective or a value that does not fit the recipe, ResourceError for a trial that
    needs more than the cluster has, or a package that is not there.
    """
    options = job.recipe.sweep
    if options is None:
        raise RecipeError(f"{job.resolved.tree.path}: sweep.space says what is tried, and is not there")
    space = load_space(options.space, job.resolved.directory)
    points = sweep_points(options, space, job.recipe.seed)
    check_data_keys(space)
    _check_points(job, space, points)
    resolved = resolve(job, space.some_point())
    at = replace(job, resolved=resolved)
    objective = _objective(at)
    evaluate = resolved.recipe.evaluate
    tasks = find_tasks(evaluate, job.resolved.directory) if evaluate is not None and objective.parts else []
    tasks = [task for task in tasks if task.name in objective.tasks]
    phases = tuple(name for name in resolved.recipe.train if name not in shared_phases(resolved.recipe, space.keys))
    for package in options.loggers:
        if importlib.util.find_spec(package) is None:
            raise ResourceError(f"sweep.loggers: {package} is not installed; pip install {package}, or leave it out")
    workers, use_gpu = _trial_size(job, resolved.recipe)
    check_training(at)
    devices = scorer_devices(at) if use_gpu and objective.parts else 1
    if devices > workers:
        raise ResourceError(
            f"sweep: a trial of {workers} workers has as many GPUs, and its model needs {devices} to be scored; "
            f"take resources.workers={devices} or more"
        )
    asked = Asked(options, space, objective, evaluate, tasks, points, phases, workers, use_gpu, devices)
    unseen = [name for name in phases if not resolved.recipe.train[name].data.validation]
    if options.rungs_by == "validation_loss" and unseen:
        raise RecipeError(f"sweep.rungs_by: validation_loss, and train.{unseen[0]}.data.validation is 0")
    if options.scheduler == "pbt":
        _check_population(asked, concurrency(job, asked))
    return asked


def concurrency(job: Job, asked: Asked) -> int:
    """How many trials the cluster holds at once."""
    workers = room_on(job.session.nodes(), job.recipe.resources.cpus_per_worker, int(asked.use_gpu))
    room = workers // asked.workers
    return max(1, min(room, asked.options.concurrent or room))


def sweep_points(options: Sweep, space: Space, seed: int) -> list[Values] | None:
    """The trials of a grid, or of chance; None where TPE draws them as it goes."""
    if options.searcher == "optuna":
        return None
    if options.searcher == "random":
        return space.random(options.trials or 0, seed)
    points = space.grid(options.grid_points)
    if not points:
        raise RecipeError(f"sweep.space: {space.name}: no point of the grid keeps its constraint")
    if options.scheduler != "none":  # which judges by what came before: a grid in order would be unfair
        points = [points[place] for place in generator(seed, "sweep", "order").permutation(len(points))]
    return points[: options.trials]


def _check_points(job: Job, space: Space, points: list[Values] | None) -> None:
    """Raises RecipeError with every problem that a value of the space would be in the recipe."""
    found: dict[str, None] = {}
    for values in [*space.probes(), *(points or [])[:PROBED]]:
        try:
            resolve(job, values)
        except InvalidRecipe as error:
            for problem in error.problems:
                found.setdefault(str(replace(problem, where=f"sweep.space {space.name}")))
        except RaycipeError as error:  # a key path that leads nowhere
            found.setdefault(f"sweep.space {space.name}  {error}")
    if found:
        raise RecipeError("\n".join(found))
    swept = [key for key in space.keys if key.split(".")[0] in ("resources", "evaluate", "report", "name")]
    if swept:
        raise RecipeError(f"sweep.space: {space.name}: {', '.join(swept)}: only training and data are swept")


def _objective(job: Job) -> Objective:
    recipe = job.recipe
    assert recipe.sweep is not None
    wanted, evaluate = recipe.sweep.objective, recipe.evaluate
    if wanted == VALIDATION_LOSS:
        last = list(recipe.train)[-1]
        if not recipe.train[last].data.validation:
            raise RecipeError(f"sweep.objective: validation_loss, and train.{last}.data.validation is 0")
        return make_objective(wanted, evaluate, {})
    if evaluate is None:
        return make_objective(wanted, None, {})
    check_evaluation(job)
    whole = find_tasks(evaluate, job.resolved.directory)
    return make_objective(wanted, evaluate, {name: _members(evaluate, name, whole, job) for name in evaluate.tasks})


def _members(evaluate: Evaluate, name: str, whole: list[TaskFile], job: Job) -> list[TaskFile]:
    """The tasks that a name stands for, as they are called among all of the evaluation."""
    alone = evaluate.model_copy(update={"tasks": [name], "data": {}, "clusters": {}, "perturb": {}, "bias": []})
    for field, given in (("data", evaluate.data), ("few_shot", evaluate.few_shot)):
        if isinstance(given, dict):
            own = {key: value for key, value in given.items() if _concerns(alone, field, {key: value}, job)}
            alone = alone.model_copy(update={field: own})
    found = {(task.path, task.subset, task.few_shot) for task in find_tasks(alone, job.resolved.directory)}
    return [task for task in whole if (task.path, task.subset, task.few_shot) in found]


def _concerns(alone: Evaluate, field: str, given: dict[str, Any], job: Job) -> bool:
    """Whether a setting is of the evaluation's one task or group."""
    rest = {"few_shot": None} if field == "data" and isinstance(alone.few_shot, dict) else {}
    try:
        find_tasks(alone.model_copy(update={**rest, field: given}), job.resolved.directory)
    except DataError:  # of other files: the setting itself was taken
        return True
    except RecipeError:
        return False
    return True


def _trial_size(job: Job, recipe: Recipe) -> tuple[int, bool]:
    """Workers of a trial, and whether on GPUs. Raises ResourceError where the cluster has too few."""
    nodes = job.session.nodes()
    return max(choose_workers(recipe, phase, name, nodes) for name, phase in recipe.train.items())


def _check_population(asked: Asked, room: int) -> None:
    if asked.points is None:
        raise RecipeError("sweep.scheduler: pbt changes what it is given; take searcher grid or random")
    if not learning_rates(asked.space):
        raise RecipeError(f"sweep.scheduler: pbt changes learning rates, and {asked.space.name} varies none")
    if len(asked.phases) > 1:
        told = ", ".join(asked.phases)
        raise RecipeError(f"sweep.scheduler: pbt goes on from others' weights within one phase; here {told} differ")
    if asked.workers > 1 and asked.count > room:
        raise ResourceError(
            f"sweep.scheduler: pbt trains {asked.count} trials of {asked.workers} workers at once, and the cluster has "
            f"room for {room}"
        )


def learning_rates(space: Space) -> list[Parameter]:
    """What population-based training may change on the way."""
    return [parameter for parameter in space.parameters if parameter.key.endswith(".learning_rate")]
