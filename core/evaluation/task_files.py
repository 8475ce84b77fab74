"""A recipe's tasks as a directory of lm-eval YAML files, which says where each finds its data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson

from core.artifacts.atomic import write_bytes
from core.documents.skills import Skills, skills_documents
from core.errors import DataError, RecipeError
from core.evaluation.options import Evaluate
from core.evaluation.suites import SUBSETS, SUITES, asked_name
from core.evaluation.task_data import BUILDERS, DataSet, found_path, local_files, suffix
from core.evaluation.task_definitions import (
    SPLITS,
    built_in,
    definition_files,
    did_you_mean,
    read_definition,
    setting,
)

OWN = Path(__file__).parent / "tasks"
SKILLS = ("skills_choice", "skills_generate")  # whose questions are made


@dataclass(frozen=True)
class TaskFile:
    """A task, the YAML file that defines it, local files for its splits (none: from its hub), and its examples.

    few_shot: the number of examples that precede each question. subset: of the hub's data set, where the file leaves
    it open. within: the names that it may be meant by, its own and those of groups and suites.
    """

    name: str
    path: Path
    data: dict[str, Path]
    few_shot: int | None = None
    subset: str | None = None
    within: frozenset[str] = frozenset()

    @cached_property
    def data_set(self) -> DataSet:
        return DataSet.of(self.name, self.path, self.subset, self.few_shot or 0)

    def definition(self) -> list[Path]:
        """The files that define it: its YAML, those that it includes, and the Python modules beside them."""
        return sorted(set(definition_files(self.path)))

    def inputs(self) -> dict[str, Path]:
        """Every local file that it reads: those of its splits, and the labels beside them, or those its YAML names."""
        benchmark = self.data_set.benchmark
        found = dict(self.data) or _named_files(self.path)
        for split, file in self.data.items():
            if benchmark and self.data_set.is_converted(file) and (labels := benchmark.labels_of(file)):
                found[f"{split} labels"] = labels
        return found

    def first_document(self) -> dict[str, Any] | None:
        """The first that it asks, where a local file tells: not where the task makes its documents of the file's."""
        file = self.data.get(self.data_set.questions or "")
        return None if file is None or setting(self.path, "process_docs") else self.data_set.first_document(file)


def _named_files(definition: Path) -> dict[str, Path]:
    """The local files that a task's own YAML reads."""
    named = (setting(definition, "dataset_kwargs") or {}).get("data_files") or {}
    by_split = named if isinstance(named, dict) else {"": named}
    paths = {
        f"{split} {number}": Path(str(file))
        for split, files in by_split.items()
        for number, file in enumerate(files if isinstance(files, list) else [files])
    }
    return {name: path for name, path in paths.items() if path.is_file()}


def find_tasks(options: Evaluate, recipe_dir: Path) -> list[TaskFile]:
    """Every task of a recipe, groups and suites taken apart, with its files; one that two of them name is there once.

    A task that is asked with several numbers of examples is as many tasks, called arc_challenge_0shot and so on.
    Raises RecipeError for a name that is no task (with the nearest) or a mapping that no task uses; then, of the files
    that the tasks read, DataError for one that is not there or does not fit, and for a task whose data would come from
    a hub while HF_HUB_OFFLINE forbids it.
    """
    found = []
    for file, key in _named(options, recipe_dir):
        made = file.within & {*SKILLS}
        data = {} if made else local_files(file.data_set, key, options, recipe_dir, file.few_shot or 0)
        found.append(replace(file, data=data))
        _check_cluster(found[-1], options.clusters.get(file.name))
    return found


def named_tasks(options: Evaluate, recipe_dir: Path) -> list[TaskFile]:
    """As `find_tasks`, without looking for the files that they read."""
    return [file for file, _ in _named(options, recipe_dir)]


def _named(options: Evaluate, recipe_dir: Path) -> list[tuple[TaskFile, str | None]]:
    """Every task under the name that it is asked by, and the key of `evaluate.data` that names its files."""
    asked = _asked(options, recipe_dir)
    _check_keys("few_shot", options.few_shot if isinstance(options.few_shot, dict) else (), {*options.tasks, *asked})
    names = {
        (task, few_shot): asked_name(task, few_shot) if len(of) > 1 else task
        for task, of in asked.items()
        for few_shot in of
    }
    _check_keys("clusters", options.clusters, set(names.values()))
    used = {key for of in asked.values() for _, key in of.values()}
    if made := sorted({*SKILLS} & set(options.data)):
        raise RecipeError(f"evaluate.data: the questions of {', '.join(made)} are made, and read from no file")
    if unused := sorted(set(options.data) - used):
        raise RecipeError(
            f"evaluate.data: {', '.join(unused)} is no task, and no data set of a task, in evaluate.tasks"
        )
    found = []
    for (task, few_shot), name in names.items():
        file, key = asked[task][few_shot]
        found.append((replace(file, name=name, within=file.within | {name}), key))
    return found


def _asked(options: Evaluate, recipe_dir: Path) -> dict[str, dict[int, tuple[TaskFile, str | None]]]:
    """Of each task and number of examples its file, without data, and the key of `evaluate.data` that names these."""
    own = _own_tasks(options, recipe_dir)
    found: dict[str, dict[int, tuple[TaskFile, str | None]]] = {}
    for name in options.tasks:
        for task, path, subset, of_suite in _members(name, own):
            if setting(path, "unsafe_code"):
                raise RecipeError(f"evaluate.tasks: {task} runs code that the model writes, which is not done here")
            few_shot = _examples(options, name, task, path, of_suite)
            keys = (task, name, str(setting(path, "dataset_path")))
            key = next((key for key in keys if key in options.data), None)
            of_task = found.setdefault(task, {})
            before = of_task[few_shot][0].within if few_shot in of_task else frozenset({task, *_subsets_of(task)})
            of_task[few_shot] = (TaskFile(task, path, {}, few_shot, subset, before | {name}), key)
    return found


def _subsets_of(task: str) -> list[str]:
    """The one of Raycipe's tasks that a task is a subset of."""
    return [name for name, endings in SUBSETS.items() if any(task == f"{name}_{ending}" for ending in endings)]


def _own_tasks(options: Evaluate, recipe_dir: Path) -> dict[str, tuple[Path, str | None]]:
    """Raycipe's tasks and those of `evaluate.task_files`, each with its file, and its subset where that is open."""
    own: dict[str, tuple[Path, str | None]] = {}
    for path in sorted(OWN.glob("[!_]*.yaml")):
        if path.stem in SUBSETS:
            own |= {f"{path.stem}_{ending}": (path, subset) for ending, subset in SUBSETS[path.stem].items()}
        else:
            own[path.stem] = (path, None)
    for text in options.task_files:
        path = found_path(text, recipe_dir, "evaluate.task_files", file=True)
        if not isinstance(task := read_definition(path).get("task"), str):
            raise DataError(f"{path}: not an lm-eval task: the key task, its name, was expected")
        own[task] = (path, None)
    return own


def _members(name: str, own: dict[str, tuple[Path, str | None]]) -> Iterable[tuple[str, Path, str | None, int | None]]:
    """The tasks that a name stands for: each with its file, its subset, and its suite's number of examples."""
    if name in SUITES:
        for task, few_shot in SUITES[name].tasks:
            for member, path, subset, _ in _members(task, own):
                yield member, path, subset, few_shot
    elif name in own:
        yield name, *own[name], None
    elif name in SUBSETS:
        for ending in SUBSETS[name]:
            yield f"{name}_{ending}", *own[f"{name}_{ending}"], None
    else:
        for task, path in built_in(name, [*own, *SUBSETS, *SUITES]):
            yield task, path, None, None


def _examples(options: Evaluate, name: str, task: str, path: Path, of_suite: int | None) -> int:
    """How many examples precede a task's questions. As in lm-eval a task whose own number is 0 never has any."""
    own = setting(path, "num_fewshot")
    asked = options.few_shot
    if isinstance(asked, dict):
        asked = asked.get(task, asked.get(name))
    numbers = (0 if own == 0 else None, asked, of_suite, own, 0)
    return next(int(number) for number in numbers if number is not None)


def _check_keys(field: str, keys: Iterable[str], known: set[str]) -> None:
    for key in keys:
        if key not in known:
            raise RecipeError(
                f"evaluate.{field}: '{key}' is no task of evaluate.tasks{did_you_mean(key, sorted(known))}"
            )


def _check_cluster(task: TaskFile, field: str | None) -> None:
    """The questions of a task have the field that says which share a passage, as far as a local file tells."""
    document = task.first_document() if field else None
    if field and document is not None and field not in document:
        fields = list(document)
        raise RecipeError(
            f"evaluate.clusters.{task.name}: its documents have no '{field}', but {', '.join(fields)}"
            f"{did_you_mean(field, fields)}"
        )


def write_tasks(tasks: list[TaskFile], directory: Path, seed: int) -> None:
    """Writes one YAML per task that includes its definition and names its local data, and these: converted files of
    published benchmarks, and the held-out questions.

    seed: the recipe's, on which the held-out questions depend. Raises DataError for a published file with a row that
    is of no form that is known.
    """
    held_out = directory / "skills_heldout.jsonl"
    if any(task.name in SKILLS for task in tasks):
        documents = skills_documents(Skills(), seed, "heldout", "heldout")
        write_bytes(held_out, b"".join(meta.encode() + b"\n" for meta in documents["meta"].to_pylist()))
    for task in tasks:
        data = {"test": held_out} if task.name in SKILLS else _in_hubs_columns(task, directory / "data")
        settings: dict[str, Any] = {"include": str(task.path), "task": task.name}
        if data:
            files = {split: str(path) for split, path in data.items()}
            builder = BUILDERS[suffix(next(iter(data.values())))]
            settings |= {"dataset_path": builder, "dataset_name": None, "dataset_kwargs": {"data_files": files}}
            settings |= {name: None for name in SPLITS if setting(task.path, name) not in (None, *data)}
        elif task.subset:
            settings["dataset_name"] = task.subset
        write_bytes(directory / f"{task.name}.yaml", orjson.dumps(settings, option=orjson.OPT_INDENT_2))


def _in_hubs_columns(task: TaskFile, directory: Path) -> dict[str, Path]:
    """The files of a task's splits; of published benchmarks written anew, as JSON lines with the hub's columns."""
    found = {}
    for split, file in task.data.items():
        benchmark = task.data_set.benchmark
        if benchmark is not None and task.data_set.is_converted(file):
            rows = benchmark.rows(file, task.data_set.subset)
            file = directory / f"{task.name}.{split}.jsonl"
            write_bytes(file, b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows))
        found[split] = file
    return found
