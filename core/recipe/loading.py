"""From a YAML file, a scale and overrides to a resolved recipe that remembers where each value came from."""

from __future__ import annotations

import datetime
import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

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
    path: Path | None = None  # of the file, where it is one that the recipe extends


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
    """Reads a recipe file (over the one that it `extends`), lays the scale over it and then the overrides.

    A mapping in a scale or an override is merged key by key, over a list by item numbers; a list or a value replaces;
    null removes the key.
    A key that only the scale has stands where the scale has it: before the next one that the recipe has too.
    overrides: "key.path=value", the value as YAML; list items by number: "data.steps.1.minhash_dedup.threshold=0.7".
    Raises RecipeError for YAML that cannot be read, an unknown scale, and a malformed override.
    """
    tree = Tree(path, {})
    layers = [(layer, document, _scales(layer, document)) for layer, document in _layers(path)]
    for number, (layer, document, _) in enumerate(layers):
        _merge(tree, tree.values, document, (), _Layer("file", layer if layer != path else None, removes=number > 0))
        tree.values.pop("scales", None)
        tree.values.pop("extends", None)
    tree.scales = tuple(dict.fromkeys(name for *_, scales in layers for name in map(str, scales)))
    if scale is not None:
        if scale not in tree.scales:
            there = ", ".join(tree.scales) or "none"
            raise RecipeError(f"{path}: no scale '{scale}'; the recipe has: {there}")
        for layer, _, scales in layers:
            if scale in scales:
                chosen = scales[scale]
                if not isinstance(chosen, CommentedMap):
                    raise RecipeError(f"{layer}:{_line(scales, scale)} scales.{scale}: expected a mapping")
                _merge(tree, tree.values, chosen, (), _Layer("scale", layer if layer != path else None))
    for override in overrides or []:
        _override(tree, override)
    return tree


class _Layer(NamedTuple):
    """What is laid over a recipe: "file", "scale" or "command line"; path: of a file that the recipe extends."""

    kind: str
    path: Path | None = None
    removes: bool = True  # whether null takes a key away


def _layers(path: Path) -> list[tuple[Path, CommentedMap]]:
    """The recipe's file and those that it extends, the first of all first. Raises RecipeError for a circle."""
    found: list[tuple[Path, CommentedMap]] = []
    while True:
        document = _read_yaml(path)
        found.insert(0, (path, document))
        base = document.get("extends")
        if base is None:
            return found
        place = f"{path}:{_line(document, 'extends')} extends"
        if not isinstance(base, str):
            raise RecipeError(f"{place}: found {base!r}, expected a shipped recipe's name or a .yaml file")
        beside = path.parent / base
        try:
            path = beside if beside.is_file() else find_recipe(base)
        except RecipeError as error:
            raise RecipeError(f"{place}: {error}") from error
        if path.resolve() in [known.resolve() for known, _ in found]:
            raise RecipeError(f"{place}: {path} extends this recipe in turn")


def _scales(path: Path, document: CommentedMap) -> CommentedMap:
    scales = document.get("scales")
    if scales is not None and not isinstance(scales, CommentedMap):
        raise RecipeError(f"{path}:{_line(document, 'scales')} scales: expected a mapping of scale names")
    return scales if scales is not None else CommentedMap()


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


def _merge(tree: Tree, into: dict[str, Any], source: CommentedMap, loc: Loc, layer: _Layer) -> None:
    known = list(into)
    _merge_keys(tree, into, source, loc, layer)
    written = [str(key) for key in source]
    for new in reversed([key for key in written if key not in known and key in into]):
        after = next((key for key in written[written.index(new) + 1 :] if key in into), None)
        if after is not None:
            _move_before(into, new, after)


def _are_numbers(mapping: CommentedMap) -> bool:
    return bool(mapping) and all(isinstance(key, int) and not isinstance(key, bool) for key in mapping)


def _merge_items(tree: Tree, into: list[Any], source: CommentedMap, loc: Loc, layer: _Layer) -> None:
    """Lays a mapping of item numbers over a list."""
    for number, value in source.items():
        if not 0 <= number < len(into):
            place = f"{layer.path or tree.path}:{_line(source, number)} {'.'.join(map(str, loc))}"
            raise RecipeError(f"{place}: '{number}' is not an item number of a list of {len(into)} (the first is 0)")
        if isinstance(value, CommentedMap) and isinstance(into[number], dict):
            _merge(tree, into[number], value, (*loc, number), layer)
        else:
            into[number] = _plain(tree, value, (*loc, number), layer)
            tree.origins[*loc, number] = Origin(layer.kind, _line(source, number), layer.path)


def _move_before(mapping: dict[str, Any], key: str, other: str) -> None:
    """Puts a key right before another one, in place."""
    items = [item for item in mapping.items() if item[0] != key]
    items.insert([name for name, _ in items].index(other), (key, mapping[key]))
    mapping.clear()
    mapping.update(items)


def _merge_keys(tree: Tree, into: dict[str, Any], source: CommentedMap, loc: Loc, layer: _Layer) -> None:
    for raw_key, value in source.items():
        key = str(raw_key)
        here = (*loc, key)
        if value is None and layer.removes:
            _forget(tree, here)
            into.pop(key, None)
        elif isinstance(value, CommentedMap) and isinstance(into.get(key), dict):
            _merge(tree, into[key], value, here, layer)
        elif isinstance(value, CommentedMap) and isinstance(into.get(key), list) and _are_numbers(value):
            _merge_items(tree, into[key], value, here, layer)
        else:
            _forget(tree, here)
            into[key] = _plain(tree, value, here, layer)
            tree.origins[here] = Origin(layer.kind, _line(source, raw_key), layer.path)


def _plain(tree: Tree, value: Any, loc: Loc, layer: _Layer) -> Any:
    """ruamel's value as plain Python data, its origins noted."""
    if isinstance(value, CommentedMap):
        result: dict[str, Any] = {}
        _merge(tree, result, value, loc, layer)
        return result
    if isinstance(value, CommentedSeq):
        for index in range(len(value)):
            tree.origins[*loc, index] = Origin(layer.kind, _line(value, index), layer.path)
        return [_plain(tree, item, (*loc, index), layer) for index, item in enumerate(value)]
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
        node[int(last)] = _plain(tree, value, here, _Layer("command line"))
        tree.origins[here] = Origin("command line")
    else:
        wrapped = CommentedMap({last: value})
        _merge(tree, node, wrapped, loc, _Layer("command line"))
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
