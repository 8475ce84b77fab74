"""What trials of a sweep have in common, done once: curation, tokens, phases that do not differ, reference, base score.

Trials that differ in their data fall into groups, each a run directory of its own. A group whose documents are a part
of another's is not curated again: what is drawn of the larger one is what curation would have drawn.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from core.artifacts.atomic import write_json
from core.artifacts.fingerprint import code_version, fingerprint
from core.artifacts.stage import Stage, read_manifest
from core.errors import RecipeError
from core.recipe.resolve import Resolved
from core.recipe.schema import Recipe
from core.tokens.options import Tokenizer
from core.training.options import BASE, Checkpoints
from core.tuning.space import Space, Values
from core.tuning.subsets import largest, take_part
from ray_jobs.base import first_start, write_base
from ray_jobs.job import Job
from ray_jobs.parallel import each
from ray_jobs.train import TOKENIZER, train

GROUPS = "groups"  # in the run's directory
DATA = ("data", "infer", "seed", "model", "sweep")  # sections by which data may differ
TOKENIZED = ("tokenize", "curate")


@dataclass(frozen=True)
class Group:
    """Trials with the same data. directory: a run, whose stages they share; shared: phases that do not differ."""

    directory: Path
    resolved: Resolved
    shared: tuple[str, ...]

    def lend(self, trial_dir: Path) -> None:
        """Links what is shared into a trial's directory."""
        stages = [*TOKENIZED, BASE, *(f"train/{phase}" for phase in self.shared)]
        stages += [f"reference/{path.name}" for path in (self.directory / "reference").glob("*")]
        for stage in stages:
            there, here = self.directory / stage, trial_dir / stage
            if there.exists() and not here.is_symlink() and not here.exists():
                here.parent.mkdir(parents=True, exist_ok=True)
                here.symlink_to(there, target_is_directory=True)


def data_print(space: Space, values: Values) -> str:
    """The fingerprint of those values of a point that change data."""
    return fingerprint({key: values[key] for key in space.keys if changes_data(key)})


def changes_data(key: str) -> bool:
    """Whether a key path changes what is curated or tokenized."""
    parts = key.split(".")
    return parts[0] in DATA or (parts[0] == "train" and "data" in parts[2:3])


def check_data_keys(space: Space) -> None:
    """Raises RecipeError for a range of values that would each need data of their own."""
    for parameter in space.parameters:
        if changes_data(parameter.key) and not parameter.choices:
            raise RecipeError(
                f"sweep.space: {space.name}: {parameter.key}: data are made for each value; take choices, no range"
            )


def data_points(space: Space, points: Sequence[Values] | None) -> dict[str, Values]:
    """A point for each of the different data that trials have, by the fingerprint of what makes them different.

    Of the points, or where they are not known yet, of the whole space.
    """
    if points is None:
        only = Space(space.name, tuple(each for each in space.parameters if changes_data(each.key)))
        points = [{**space.some_point(), **point} for point in only.grid(2)]
    return {data_print(space, point): point for point in reversed(points)}


def shared_phases(recipe: Recipe, keys: Sequence[str]) -> tuple[str, ...]:
    """The phases before the first that the keys of a space change, by themselves or by the model they start from."""
    if any(key.split(".")[0] in ("model", "seed") for key in keys):
        return ()
    found: list[str] = []
    for phase in recipe.train:
        if any(key.startswith(f"train.{phase}.") for key in keys):
            break
        found.append(phase)
    return tuple(found)


def prepare_groups(
    job: Job, space: Space, points: Sequence[Values] | None, resolve: Callable[[Values], Resolved]
) -> dict[str, Group]:
    """Curates and tokenizes for every group, named as `data_print` does. resolve: a point to its recipe."""
    from ray_jobs.tokenize import tokenize

    groups: dict[str, Group] = {}
    varied = any(map(changes_data, space.keys))
    for number, (name, point) in enumerate(sorted(data_points(space, points).items())):
        resolved = resolve(point)
        directory = job.run_dir / GROUPS / f"{number:02d}" if varied else job.run_dir
        groups[name] = Group(directory, resolved, shared_phases(resolved.recipe, space.keys))
    for alike in _curated_alike(list(groups.values())):
        whole = _curate(job, alike)
        for group in sorted(alike, key=lambda group: group is not whole):
            resolved = _with_tokenizer(group.resolved, whole) if whole not in (None, group) else group.resolved
            tokenize(replace(job, resolved=resolved, run_dir=group.directory))
    return groups


def _curated_alike(groups: Sequence[Group]) -> Iterator[list[Group]]:
    """Groups whose curation differs in how much of each source is kept alone."""
    alike: dict[str, list[Group]] = {}
    for group in groups:
        recipe = group.resolved.recipe
        data = recipe.data.model_dump(mode="json", exclude={"mixture"})
        infer = recipe.infer.model_dump(mode="json") if recipe.infer else None
        tokenizer = recipe.model.tokenizer.model_dump(mode="json") if recipe.model.tokenizer else recipe.model.base
        alike.setdefault(fingerprint([data, infer, tokenizer, recipe.seed]), []).append(group)
    yield from alike.values()


def _curate(job: Job, groups: list[Group]) -> Group | None:
    """Curates the largest, takes the others out of it, returns it; each by itself where none contains the others."""
    from ray_jobs.curate import curate
    from ray_jobs.infer import infer, wants_scores

    whole = largest([group.resolved.recipe.data.mixture for group in groups])
    for group in groups if whole is None else [groups[whole]]:
        at = replace(job, resolved=group.resolved, run_dir=group.directory)
        group.directory.mkdir(parents=True, exist_ok=True)
        if wants_scores(group.resolved.recipe):
            first = groups[0].directory
            infer(replace(at, run_dir=first))
            _link(group.directory / "infer", first / "infer")
        curate(at)
    if whole is None:
        return None
    for group in groups:
        if group is not groups[whole]:
            _part_of(groups[whole], group)
    return groups[whole]


def _with_tokenizer(resolved: Resolved, whole: Group | None) -> Resolved:
    """A recipe that takes the tokenizer of the larger data set, where it would train its own: models are compared."""
    model = resolved.recipe.model
    if whole is None or model.tokenizer is None or model.tokenizer.train is None:
        return resolved
    tokenizer = Tokenizer(name=str(whole.directory / "tokenize" / TOKENIZER))
    recipe = resolved.recipe.model_copy(update={"model": model.model_copy(update={"tokenizer": tokenizer})})
    return replace(resolved, recipe=recipe)


def _part_of(whole: Group, group: Group) -> None:
    """The smaller data set, out of the larger one."""
    recipe = group.resolved.recipe
    manifest = read_manifest(whole.directory / "curate")
    assert manifest is not None
    stage = Stage.open(
        group.directory,
        "curate",
        recipe={"mixture": recipe.model_dump(mode="json")["data"]["mixture"]},
        seed=recipe.seed,
        code=code_version("core/tuning/subsets.py", "core/documents/mixture.py"),
        inputs={"whole": manifest["fingerprint"]},
    )
    if stage.manifest is None:
        mixture = recipe.data.mixture or dict.fromkeys(recipe.data.sources, "all")
        documents = whole.directory / "curate" / "documents"
        counts = take_part(documents, stage.directory / "documents", mixture, recipe.seed)
        write_json(stage.directory / "part.json", {"of": str(whole.directory), "documents": counts})
        stage.finish({"documents": counts})


def _link(here: Path, there: Path) -> None:
    if here != there and not here.is_symlink():
        here.symlink_to(there, target_is_directory=True)


def train_shared(job: Job, group: Group, phases: Sequence[str]) -> None:
    """Makes a deeper base, trains the phases that do not differ, and computes the reference of the first that does, by
    one step of it."""
    recipe = group.resolved.recipe
    tokens = read_manifest(group.directory / "tokenize")
    assert tokens is not None
    tokenizer = [entry for entry in tokens["files"] if Path(entry["path"]).parts[0] == TOKENIZER]
    first_start(replace(job, resolved=group.resolved, run_dir=group.directory), tokenizer)
    if group.shared:
        chosen = {name: recipe.train[name] for name in group.shared}
        train(_with_phases(job, group.resolved, group.directory, chosen))
    first = phases[0]
    if recipe.train[first].preference is None or read_manifest(group.directory / "reference" / first) is not None:
        return
    probe = group.directory / ".probe"
    group.lend(probe)
    one_step = {"max_steps": 1, "epochs": None, "warmup_steps": None, "warmup_ratio": None}
    chosen = {name: recipe.train[name] for name in (*group.shared, first)}
    chosen[first] = chosen[first].model_copy(update=one_step | {"checkpoints": Checkpoints()})
    job.reporter.say(f"sweep: the reference of {first}, for all trials")
    train(_with_phases(job, group.resolved, probe, chosen))
    (group.directory / "reference").mkdir(exist_ok=True)
    shutil.rmtree(group.directory / "reference" / first, ignore_errors=True)
    (probe / "reference" / first).rename(group.directory / "reference" / first)
    shutil.rmtree(probe)


def start_model(job: Job, group: Group, directory: Path) -> Path:
    """The model that trials begin with: of the last phase that does not differ, or the base, written to `directory`."""
    if group.shared:
        return group.directory / "train" / group.shared[-1] / "model"
    recipe = group.resolved.recipe
    if recipe.model.extend is not None:
        return group.directory / BASE / "model"
    write = partial(write_base, recipe, group.directory / "tokenize" / "tokenizer")
    for _ in each(job.session, write, [] if directory.exists() else [directory]):
        pass
    return directory


def _with_phases(job: Job, resolved: Resolved, run_dir: Path, phases: dict[str, Any]) -> Job:
    recipe = resolved.recipe.model_copy(update={"train": phases})
    return replace(job, resolved=replace(resolved, recipe=recipe), run_dir=run_dir)


def phase_rows(group: Group, phase: str) -> int:
    """How many rows of tokens a phase of the group has."""
    tokens = orjson.loads((group.directory / "tokenize" / "summary.json").read_bytes())
    return int(tokens["phases"][phase]["train"]["rows"])
