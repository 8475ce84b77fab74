"""A recipe's tasks as a directory of lm-eval YAML files, which says where each finds its data."""

from __future__ import annotations

import difflib
import functools
import os
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from core.artifacts.atomic import write_bytes
from core.documents.skills import Skills, skills_documents
from core.errors import DataError, RecipeError
from core.evaluation.options import Evaluate

OWN = Path(__file__).parent / "tasks"
SKILLS = ("skills_choice", "skills_generate")
SPLITS = ("test_split", "validation_split", "training_split", "fewshot_split")  # keys of a task that name a split
BUILDERS = {".json": "json", ".jsonl": "json", ".csv": "csv", ".parquet": "parquet"}  # of Hugging Face datasets
TASK_LINE = re.compile(rb"""^["']?task["']?:[ \t]*["']?([^\s"'#\[\]{}]+)["']?[ \t\r]*(?:#.*)?$""", re.MULTILINE)
GROUP_LINE = re.compile(rb"""^["']?group["']?:""", re.MULTILINE)


@dataclass(frozen=True)
class TaskFile:
    """A task, the YAML file that defines it, and local files for its splits (none: from its hub)."""

    name: str
    path: Path
    data: dict[str, Path]

    def definition(self) -> list[Path]:
        """The files that define it: its YAML, those that it includes, and the Python modules beside them."""
        return sorted(set(_definition(self.path)))


def find_tasks(options: Evaluate, recipe_dir: Path) -> list[TaskFile]:
    """Every task of a recipe, groups taken apart.

    Raises RecipeError for a name that is no task (with the nearest) or a data mapping that no task uses, DataError
    for a file that is not there, and for a task whose data would come from a hub while HF_HUB_OFFLINE forbids it.
    """
    own = {path.stem: path for path in sorted(OWN.glob("*.yaml"))}
    for text in options.task_files:
        path = _local(text, recipe_dir, "evaluate.task_files")
        if not isinstance(task := _read(path).get("task"), str):
            raise DataError(f"{path}: not an lm-eval task: the key task, its name, was expected")
        own[task] = path
    found: list[TaskFile] = []
    used: set[str] = set()
    for name in options.tasks:
        for task, path in [(name, own[name])] if name in own else _built_in(name, list(own)):
            dataset = str(_setting(path, "dataset_path"))
            key = next((key for key in (task, name, dataset) if key in options.data), None)
            used |= {key} if key else set()
            files = {
                split: _local(text, recipe_dir, f"evaluate.data.{key}.{split}")
                for split, text in (options.data[key] if key else {}).items()
            }
            if not files and task not in SKILLS and os.environ.get("HF_HUB_OFFLINE") == "1" and dataset != "json":
                raise DataError(
                    f"evaluate.tasks: {task} reads {dataset} from a hub, and HF_HUB_OFFLINE is set; give local files: "
                    f"evaluate.data: {{{task}: {{test: FILE}}}}"
                )
            if _setting(path, "unsafe_code"):
                raise RecipeError(f"evaluate.tasks: {task} runs code that the model writes, which is not done here")
            if files:
                _check_splits(task, path, files, options, str(key))
            found.append(TaskFile(task, path, files))
    found = list({task.name: task for task in found}.values())  # a group and its member may both be named
    if unused := sorted(set(options.data) - used):
        raise RecipeError(
            f"evaluate.data: {', '.join(unused)} is no task, and no data set of a task, in evaluate.tasks"
        )
    return found


def _check_splits(task: str, path: Path, files: dict[str, Path], options: Evaluate, key: str) -> None:
    """The mapped files are those of splits that the task reads, and it has the ones that it needs."""
    splits = {name: _setting(path, name) for name in SPLITS}
    known = sorted({split for split in splits.values() if split})
    for split in files:
        if known and split not in known:
            raise RecipeError(f"evaluate.data.{key}.{split}: {task} reads no such split, but {', '.join(known)}")
    builders = {BUILDERS.get(_suffix(file)) for file in files.values()}
    if len(builders) > 1 or None in builders:
        found = ", ".join(path.name for path in files.values())
        raise DataError(f"evaluate.data.{key}: {found}: expected files of one of {', '.join(BUILDERS)}, also with .gz")
    scored = [splits["test_split"] or splits["validation_split"] or splits["training_split"]]
    shots = options.few_shot if options.few_shot is not None else _setting(path, "num_fewshot") or 0
    drawn = [splits["fewshot_split"] or splits["training_split"] or splits["validation_split"]] if shots else []
    for split, use in [(split, "its questions") for split in scored] + [(s, f"{shots} examples") for s in drawn]:
        if split and split not in files:
            hint = "" if use == "its questions" else ", or set evaluate.few_shot to 0"
            raise DataError(f"evaluate.data.{key}: {task} takes {use} from '{split}': give that split a file{hint}")


def _suffix(file: Path) -> str:
    return Path(file.name.removesuffix(".gz")).suffix


def write_tasks(tasks: list[TaskFile], directory: Path, seed: int) -> None:
    """Writes one YAML per task that includes its definition and names its local data, and the held-out questions.

    seed: the recipe's, on which the held-out questions depend.
    """
    held_out = directory / "skills_heldout.jsonl"
    if any(task.name in SKILLS for task in tasks):
        documents = skills_documents(Skills(), seed, "heldout", "heldout")
        write_bytes(held_out, b"".join(meta.encode() + b"\n" for meta in documents["meta"].to_pylist()))
    for task in tasks:
        data = {"test": held_out} if task.name in SKILLS else task.data
        settings: dict[str, Any] = {"include": str(task.path), "task": task.name}
        if data:
            files = {split: str(path) for split, path in data.items()}
            builder = BUILDERS[_suffix(next(iter(data.values())))]
            settings |= {"dataset_path": builder, "dataset_name": None, "dataset_kwargs": {"data_files": files}}
            settings |= {name: None for name in SPLITS if _setting(task.path, name) not in (None, *data)}
        write_bytes(directory / f"{task.name}.yaml", orjson.dumps(settings, option=orjson.OPT_INDENT_2))


def _built_in(name: str, own: list[str]) -> list[tuple[str, Path]]:
    """lm-eval's own task, or the tasks of its group."""
    if path := _single_tasks().get(name):
        return [(name, path)]
    index = _index() if _may_be_group(name) else {}
    if name not in index:
        nearest = difflib.get_close_matches(name, [*own, *_single_tasks()], n=3)
        hint = f"; did you mean {', '.join(nearest)}?" if nearest else ""
        raise RecipeError(f"evaluate.tasks: lm-eval has no task '{name}'{hint}")
    entry = index[name]
    if entry.yaml_path is None:  # a tag
        members = sorted(entry.tags)
    elif isinstance(entry.cfg.get("task"), list):  # a group
        members = [member if isinstance(member, str) else str(member.get("task")) for member in entry.cfg["task"]]
    else:
        return [(name, entry.yaml_path)]
    return [task for member in members for task in _built_in(member, own)]


@functools.cache
def _single_tasks() -> dict[str, Path]:
    """lm-eval's tasks that have a YAML file of their own, found without parsing it: some tenths of a second.

    Where two files have one name the first in order counts, as in lm-eval's index.
    """
    found: dict[str, Path] = {}
    for path in _definitions():
        if path.suffix != ".yaml":
            continue
        text = path.read_bytes()
        if (line := TASK_LINE.search(text)) and not GROUP_LINE.search(text):
            found.setdefault(line[1].decode(), path)
    return found


def _may_be_group(name: str) -> bool:
    """Whether any of lm-eval's files has the name as a whole word, as that of a group or tag: a typo costs no index."""
    word = re.compile(rb"(?<![\w-])%b(?![\w-])" % re.escape(name.encode()))
    return any(word.search(path.read_bytes()) for path in _definitions())


@functools.cache
def _definitions() -> list[Path]:
    """lm-eval's task files in its own order, and those without a suffix that they include."""
    spec = find_spec("lm_eval")
    paths = (
        path for root in (spec and spec.submodule_search_locations) or [] for path in Path(root, "tasks").rglob("*")
    )
    return sorted((path for path in paths if path.suffix in (".yaml", "") and path.is_file()), key=Path.as_posix)


@functools.cache
def _index() -> dict[str, Any]:
    """lm-eval's tasks, groups and tags by name; reading them takes about ten seconds."""
    from lm_eval.tasks import TaskManager

    index: dict[str, Any] = TaskManager().task_index
    return index


def _setting(path: Path, key: str) -> Any:
    """A key of a task's YAML, looked for in the files that it includes too."""
    values = _read(path)
    if key in values or "include" not in values:
        return values.get(key)
    includes = values["include"] if isinstance(values["include"], list) else [values["include"]]
    found = (_setting((path.parent / str(include)).resolve(), key) for include in reversed(includes))
    return next((value for value in found if value is not None), None)


def _definition(path: Path) -> list[Path]:
    includes = _read(path).get("include") or []
    names = includes if isinstance(includes, list) else [includes]
    modules = path.parent.glob("*.py") if b"!function" in path.read_bytes() else ()
    return [path, *modules, *(file for name in names for file in _definition((path.parent / str(name)).resolve()))]


def _read(path: Path) -> dict[str, Any]:
    """A task's YAML as plain data; its `!function` tags are left alone."""
    yaml = YAML(typ="rt", pure=True)
    try:
        values = yaml.load(path.read_text(encoding="utf-8"))
    except (OSError, YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable task file ({str(error).splitlines()[0]})") from error
    if not isinstance(values, dict):
        raise DataError(f"{path}: not an lm-eval task: a mapping with the key task was expected")
    return values


def _local(text: str, recipe_dir: Path, key: str) -> Path:
    """A file named in a recipe: beside the recipe, or from the current directory."""
    for path in (recipe_dir / text, Path(text)):
        if path.is_file():
            return path.absolute()
    raise DataError(f"{key}: no file {text} (looked in {recipe_dir} and {Path.cwd()})")
