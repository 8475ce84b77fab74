"""A recipe's tasks as a directory of lm-eval YAML files, which says where each finds its data."""

from __future__ import annotations

import difflib
import functools
import os
from dataclasses import dataclass
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


@dataclass(frozen=True)
class TaskFile:
    """A task, the YAML file that defines it, and local files for its splits (none: from its hub)."""

    name: str
    path: Path
    data: dict[str, Path]


def find_tasks(options: Evaluate, recipe_dir: Path) -> list[TaskFile]:
    """Every task of a recipe, groups taken apart.

    Raises RecipeError for a name that is no task (with the nearest) or a data mapping that no task uses, DataError
    for a file that is not there, and for a task whose data would come from a hub while HF_HUB_OFFLINE forbids it.
    """
    own = {path.stem: path for path in sorted(OWN.glob("*.yaml"))}
    for text in options.task_files:
        path = _local(text, recipe_dir, "evaluate.task_files")
        own[str(_read(path).get("task"))] = path
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
            found.append(TaskFile(task, path, files))
    if unused := sorted(set(options.data) - used):
        raise RecipeError(
            f"evaluate.data: {', '.join(unused)} is no task, and no data set of a task, in evaluate.tasks"
        )
    return found


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
            settings |= {"dataset_path": "json", "dataset_name": None, "dataset_kwargs": {"data_files": files}}
        write_bytes(directory / f"{task.name}.yaml", orjson.dumps(settings, option=orjson.OPT_INDENT_2))


def _built_in(name: str, own: list[str]) -> list[tuple[str, Path]]:
    """lm-eval's own task, or the tasks of its group."""
    index = _index()
    if name not in index:
        nearest = difflib.get_close_matches(name, [*own, *index], n=3)
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
def _index() -> dict[str, Any]:
    """lm-eval's tasks by name; reading them takes about ten seconds."""
    from lm_eval.tasks import TaskManager

    index: dict[str, Any] = TaskManager().task_index
    return index


def _setting(path: Path, key: str) -> Any:
    """A key of a task's YAML, looked for in the files that it includes too."""
    values = _read(path)
    if key in values or "include" not in values:
        return values.get(key)
    return _setting((path.parent / str(values["include"])).resolve(), key)


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
