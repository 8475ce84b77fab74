"""From a YAML file, a scale and overrides to a resolved recipe that remembers where each value came from."""

from __future__ import annotations

import datetime
import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from core.errors import RecipeError

SHIPPED = Path(__file__).parent / "recipes"
Loc = tuple[str | int, ...]


@dataclass(frozen=True)
class Origin:
    """Where a value of the resolved recipe was written."""

    kind: str  # "file", "scale" or "command line"
    line: int | None = None  # 1-based, in the recipe file; none on the command line


@dataclass
class Tree:
    """A recipe as plain data before it is validated, with the origin of every key."""

    path: Path
    values: dict[str, Any]
    origins: dict[Loc, Origin] = field(default_factory=dict)
    scales: tuple[str, ...] = ()

    def origin(self, loc: Loc) -> Origin:
        """The origin of a key, or of the nearest key above it that was written."""
        while loc and loc not in self.origins:
            loc = loc[:-1]
        return self.origins.get(loc, Origin("file", 1))


def shipped_recipes() -> dict[str, Path]:
    """The recipes that come with the package, by name."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.yaml"))}


def find_recipe(name_or_path: str) -> Path:
    """A path to a YAML file, or the name of a shipped recipe. Raises RecipeError with the nearest names."""
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        if not path.is_file():
            raise RecipeError(f"{path}: no such recipe file (looked in {Path.cwd()})")
        return path
    shipped = shipped_recipes()
    if name_or_path in shipped:
        return shipped[name_or_path]
    nearest = difflib.get_close_matches(name_or_path, shipped, n=3)
    hint = f"did you mean {' or '.join(nearest)}?" if nearest else f"there are: {', '.join(shipped)}"
    raise RecipeError(f"no recipe called '{name_or_path}'; {hint} (a file of your own ends in .yaml)")


def load_tree(path: Path, scale: str | None = None, overrides: list[str] | None = None) -> Tree:
    """Reads a recipe file, lays the scale over it and then the overrides.

    A mapping in a scale or an override is merged key by key; a list or a value replaces; null removes the key.
    overrides: "key.path=value", the value as YAML; list items by number: "data.steps.1.minhash_dedup.threshold=0.7".
    Raises RecipeError for YAML that cannot be read, an unknown scale, and a malformed override.
    """
    document = _read_yaml(path)
    tree = Tree(path, {})
    scales = document.get("scales")
    if scales is not None and not isinstance(scales, CommentedMap):
        raise RecipeError(f"{path}:{_line(document, 'scales')} scales: expected a mapping of scale names")
    tree.scales = tuple(map(str, scales or {}))
    _merge(tree, tree.values, document, (), "file")
    tree.values.pop("scales", None)
    if scale is not None:
        if scale not in tree.scales:
            there = ", ".join(tree.scales) or "none"
            raise RecipeError(f"{path}: no scale '{scale}'; the recipe has: {there}")
        assert scales is not None
        chosen = scales[scale]
        if not isinstance(chosen, CommentedMap):
            raise RecipeError(f"{path}:{_line(scales, scale)} scales.{scale}: expected a mapping")
        _merge(tree, tree.values, chosen, (), "scale")
    for override in overrides or []:
        _override(tree, override)
    return tree


def _read_yaml(path: Path) -> CommentedMap:
    try:
        document = YAML(typ="rt", pure=True).load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not UTF-8 text (byte {error.start} is {error.object[error.start]:#04x})") from error
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read ({error.strerror})") from error
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise RecipeError(f"{path}:{line} not valid YAML: {(error.problem or '').splitlines()[0]}") from error
    except YAMLError as error:
        raise RecipeError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(document, CommentedMap):
        raise RecipeError(f"{path}:1 a recipe is a mapping with the keys name, model, data, train, ...")
    return document


def _merge(tree: Tree, into: dict[str, Any], source: CommentedMap, loc: Loc, kind: str) -> None:
    for raw_key, value in source.items():
        key = str(raw_key)
        here = (*loc, key)
        if value is None and kind != "file":
            _forget(tree, here)
            into.pop(key, None)
        elif isinstance(value, CommentedMap) and isinstance(into.get(key), dict):
            _merge(tree, into[key], value, here, kind)
        else:
            _forget(tree, here)
            into[key] = _plain(tree, value, here, kind)
            tree.origins[here] = Origin(kind, _line(source, raw_key))


def _plain(tree: Tree, value: Any, loc: Loc, kind: str) -> Any:
    """ruamel's value as plain Python data, its origins noted."""
    if isinstance(value, CommentedMap):
        result: dict[str, Any] = {}
        _merge(tree, result, value, loc, kind)
        return result
    if isinstance(value, CommentedSeq):
        for index in range(len(value)):
            tree.origins[*loc, index] = Origin(kind, _line(value, index))
        return [_plain(tree, item, (*loc, index), kind) for index, item in enumerate(value)]
    if isinstance(value, bool) or value is None:
        return value
    for kind_of_value in (int, float, str):
        if isinstance(value, kind_of_value):
            return kind_of_value(value)
    if isinstance(value, datetime.date | datetime.datetime):
        return value.isoformat()
    return value


def _override(tree: Tree, override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key or any(part == "" for part in key.split(".")):
        raise RecipeError(f"'{override}': an override is key.path=value, e.g. train.sft.learning_rate=1e-5")
    try:
        value = YAML(typ="rt", pure=True).load(text)
    except YAMLError as error:
        raise RecipeError(f"'{override}': the value is not valid YAML: {str(error).splitlines()[0]}") from error
    *parents, last = key.split(".")
    node: Any = tree.values
    loc: Loc = ()
    for position, part in enumerate(parents):
        if isinstance(node, list):
            node, loc = _item(node, part, override), (*loc, int(part))
        else:
            if not isinstance(node.get(part), dict | list):
                node[part] = {}
                tree.origins[*loc, part] = Origin("command line")
            node, loc = node[part], (*loc, part)
        if not isinstance(node, dict | list):
            raise RecipeError(f"'{override}': {'.'.join(parents[: position + 1])} is a value, not a mapping")
    if isinstance(node, list):
        _item(node, last, override)
        here: Loc = (*loc, int(last))
        node[int(last)] = _plain(tree, value, here, "command line")
        tree.origins[here] = Origin("command line")
    else:
        wrapped = CommentedMap({last: value})
        _merge(tree, node, wrapped, loc, "command line")
    for known in list(tree.origins):
        if tree.origins[known].kind == "command line":
            tree.origins[known] = Origin("command line")


def _item(node: list[Any], part: str, override: str) -> Any:
    if not part.isdigit() or int(part) >= len(node):
        raise RecipeError(f"'{override}': '{part}' is not an item number of a list of {len(node)} (the first is 0)")
    return node[int(part)]


def _forget(tree: Tree, loc: Loc) -> None:
    for known in [known for known in tree.origins if known[: len(loc)] == loc]:
        del tree.origins[known]


def _line(container: Any, key: Any) -> int | None:
    """The 1-based line of a key or an item; None for a container that was not read from a file."""
    try:
        return int(container.lc.data[key][0]) + 1
    except (AttributeError, KeyError, TypeError):
        return None
