"""lm-eval's tasks by name: the YAML files that define them, and what these say."""

from __future__ import annotations

import difflib
import functools
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from core.errors import DataError, RecipeError

SPLITS = ("test_split", "validation_split", "training_split", "fewshot_split")  # keys of a task that name a split
STRUCTURE = {"task", "task_alias", "group", "group_alias", "aggregate_metric_list", "metadata"}  # keys in a group
TASK_LINE = re.compile(rb"""^["']?task["']?:[ \t]*["']?([^\s"'#\[\]{}]+)["']?[ \t\r]*(?:#.*)?$""", re.MULTILINE)
GROUP_LINE = re.compile(rb"""^["']?group["']?:""", re.MULTILINE)


def built_in(name: str, others: list[str]) -> list[tuple[str, Path]]:
    """lm-eval's own task, or the tasks of its group, each with its file.

    others: names that are no task of lm-eval's. Raises RecipeError for a name that is no task, with the nearest.
    """
    if path := _single_tasks().get(name):
        return [(name, path)]
    index = _index() if _may_be_group(name) else {}
    if name not in index:
        hint = did_you_mean(name, [*others, *_single_tasks()])
        raise RecipeError(f"evaluate.tasks: lm-eval has no task '{name}'{hint}")
    entry = index[name]
    if entry.yaml_path is None:  # a tag
        members = sorted(entry.tags)
    elif isinstance(entry.cfg.get("task"), list):  # a group
        members = [member for said in entry.cfg["task"] for member in _members(name, said)]
    else:
        return [(name, entry.yaml_path)]
    return [task for member in members for task in built_in(member, others)]


def _members(group: str, said: str | dict[str, Any]) -> list[str]:
    """The names that stand in a group's entry. Raises RecipeError where the group asks them in a way of its own."""
    if isinstance(said, str):
        return [said]
    within = said.get("task")
    if more := sorted(said.keys() - STRUCTURE):
        raise RecipeError(
            f"evaluate.tasks: lm-eval's group '{group}' asks {within} with settings of its own ({', '.join(more)}), "
            "which is not done here; name the tasks, with evaluate.few_shot, or a suite"
        )
    entries = within if isinstance(within, list) else [str(within)]
    return [name for entry in entries for name in _members(group, entry)]


def did_you_mean(name: str, names: list[str]) -> str:
    """The names nearest to one that is not known, as the end of a message; empty where none is near."""
    nearest = difflib.get_close_matches(name, names, n=3)
    return f"; did you mean {', '.join(nearest)}?" if nearest else ""


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


def setting(path: Path, key: str) -> Any:
    """A key of a task's YAML, looked for in the files that it includes too."""
    values = read_definition(path)
    if key in values:
        return values[key]
    found = (setting(file, key) for file in reversed(_includes(path)))
    return next((value for value in found if value is not None), None)


def definition_files(path: Path) -> list[Path]:
    """A task's YAML, those that it includes, and the Python modules beside those that call functions."""
    modules = path.parent.glob("*.py") if b"!function" in path.read_bytes() else ()
    return [path, *modules, *(file for include in _includes(path) for file in definition_files(include))]


def _includes(path: Path) -> list[Path]:
    names = read_definition(path).get("include") or []
    return [(path.parent / str(name)).resolve() for name in (names if isinstance(names, list) else [names])]


def read_definition(path: Path) -> dict[str, Any]:
    """A task's YAML as plain data; its `!function` tags are left alone. Raises DataError where it cannot be read."""
    try:
        return _parsed(path, path.stat().st_mtime_ns)
    except (OSError, YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable task file ({str(error).splitlines()[0]})") from error


@functools.lru_cache(maxsize=4096)
def _parsed(path: Path, changed: int) -> dict[str, Any]:
    yaml = YAML(typ="rt", pure=True)
    yaml.allow_duplicate_keys = True  # some of lm-eval's have them
    values = yaml.load(path.read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise DataError(f"{path}: not an lm-eval task: a mapping with the key task was expected")
    return values
