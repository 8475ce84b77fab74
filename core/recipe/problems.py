"""All problems of a recipe at once, each with its place, what was found, what was expected and the nearest key."""

from __future__ import annotations

import copy
import difflib
import types
import typing
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from core.errors import RecipeError
from core.recipe.loading import Loc, Tree
from core.recipe.schema import Recipe


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a recipe."""

    where: str  # "recipe.yaml:12", or "command line"
    key: str  # "train.sft.learning_rate"
    found: str
    expected: str
    nearest: str | None = None  # the known key that was probably meant

    def __str__(self) -> str:
        hint = f"; did you mean '{self.nearest}'?" if self.nearest else ""
        return f"{self.where}  {self.key}: found {self.found}; expected {self.expected}{hint}"

    def as_json(self) -> dict[str, Any]:
        """The problem as a JSON object."""
        return asdict(self)


class InvalidRecipe(RecipeError):
    """A recipe with problems, all of them."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems

    def __reduce__(self) -> tuple[Any, ...]:
        return InvalidRecipe, (self.problems,)


def place(tree: Tree, loc: Loc) -> str:
    """Where a key was written, for a message."""
    origin = tree.origin(loc)
    return "command line" if origin.kind == "command line" else f"{tree.path}:{origin.line}"


def key_path(loc: Loc) -> str:
    """("train", "sft", "epochs") as train.sft.epochs."""
    return ".".join(map(str, loc)) or "(the recipe)"


def validate(tree: Tree) -> tuple[Recipe | None, list[Problem]]:
    """The recipe (None where it cannot be built at all) and everything that the schema refuses.

    The recipe that comes back beside problems is without the keys that were refused, so that the
    cross-field rules can still be asked.
    """
    problems: dict[Loc, Problem] = {}
    values = copy.deepcopy(tree.values)
    for _ in range(20):  # each turn removes at least one refused key, or ends
        try:
            return Recipe.model_validate(values), list(problems.values())
        except ValidationError as error:
            removed = False
            for loc, problem in _problems(tree, error):
                problems.setdefault(loc, problem)
                removed |= _remove(values, loc)
            if not removed:
                break
    return None, list(problems.values())


def _problems(tree: Tree, error: ValidationError) -> Iterator[tuple[Loc, Problem]]:
    expected: dict[Loc, list[str]] = {}
    details: dict[Loc, Any] = {}
    for detail in error.errors():
        loc = _written(tree, detail["loc"], detail["type"])
        details.setdefault(loc, detail)
        expected.setdefault(loc, []).append(_expected(detail))
    for loc, detail in details.items():
        if detail["type"] == "extra_forbidden":
            owner = model_at(loc[:-1])
            known = list(owner.model_fields) if owner else []
            nearest = next(iter(difflib.get_close_matches(str(loc[-1]), known, n=1)), None) or _elsewhere(str(loc[-1]))
            wanted = f"one of the keys {', '.join(known)}"
            yield loc, Problem(place(tree, loc), key_path(loc), f"unknown key '{loc[-1]}'", wanted, nearest)
        else:
            found = "no such key" if detail["type"] == "missing" else _shorten(detail["input"])
            wanted = " or ".join(dict.fromkeys(expected[loc]))
            yield loc, Problem(place(tree, loc), key_path(loc), found, wanted)


def _written(tree: Tree, loc: Loc, kind: str) -> Loc:
    """pydantic's location without the names of union members and the like, which nobody wrote."""
    node: Any = tree.values
    written: Loc = ()
    for part in loc:
        if (isinstance(node, dict) and part in node) or (
            isinstance(node, list) and isinstance(part, int) and part < len(node)
        ):
            node = node[part]
        else:
            return (*written, part) if kind == "missing" else written
        written = (*written, part)
    return written


def _expected(detail: Any) -> str:
    message = str(detail["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    if detail["type"] == "missing":
        return "a value: it has no default"
    if detail["type"] in ("model_type", "model_attributes_type", "dict_type"):
        return "a mapping of keys"
    return message[:1].lower() + message[1:]


def _shorten(value: Any, limit: int = 60) -> str:
    text = f"{value!r}" if not isinstance(value, dict) else "{" + ", ".join(f"{key}: …" for key in value) + "}"
    return (
        f"{text if len(text) <= limit else text[:limit] + '…'} ({_TYPE_NAMES.get(type(value), type(value).__name__)})"
    )


_TYPE_NAMES = {
    str: "text",
    dict: "mapping",
    list: "list",
    int: "integer",
    float: "number",
    bool: "true/false",
}
_TYPE_NAMES[type(None)] = "nothing"


def _remove(values: dict[str, Any], loc: Loc) -> bool:
    """Removes the refused key, or what lacks a required one; the top level's own sections stay."""
    node: Any = values
    path = []
    for part in loc:
        path.append((node, part))
        if (isinstance(node, dict) and part in node) or (
            isinstance(node, list) and isinstance(part, int) and part < len(node)
        ):
            node = node[part]
        else:
            path.pop()
            break
    if not path:
        if loc == ("name",):  # so that a recipe without a name is still checked as a whole
            values["name"] = "unnamed"
            return True
        return False
    container, part = path[-1]
    del container[part]
    return True


def model_at(loc: Loc) -> type[BaseModel] | None:
    """The options class that stands at a key path of the schema."""
    current: Any = Recipe
    for part in loc:
        if isinstance(current, type) and issubclass(current, BaseModel):
            declared = current.model_fields.get(str(part))
            current = _inner(declared.annotation) if declared else None
        elif typing.get_origin(current) is dict:
            current = _inner(typing.get_args(current)[1])
        elif typing.get_origin(current) is list:
            current = _inner(typing.get_args(current)[0])
        else:
            return None
    return current if isinstance(current, type) and issubclass(current, BaseModel) else None


def _inner(annotation: Any) -> Any:
    """X of `X | None`; Annotated and other unions as they are."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _inner(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(annotation) if member is not type(None)]
        return _inner(members[0]) if len(members) == 1 else annotation
    return annotation


def known_keys(model: type[BaseModel] = Recipe, prefix: str = "") -> Iterator[str]:
    """Every key path of the schema; <name> stands for a name that the recipe chooses."""
    for name, declared in model.model_fields.items():
        path = f"{prefix}{name}"
        yield path
        inner = _inner(declared.annotation)
        origin = typing.get_origin(inner)
        if origin is dict:
            inner, path = _inner(typing.get_args(inner)[1]), f"{path}.<name>"
        elif origin is list:
            inner, path = _inner(typing.get_args(inner)[0]), f"{path}.<number>"
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from known_keys(inner, f"{path}.")


def _elsewhere(key: str) -> str | None:
    """Where else in the schema a key of this name stands: it may only be misplaced."""
    paths = [path for path in known_keys() if path.rsplit(".", 1)[-1] == key]
    return min(paths, key=len) if paths else None
