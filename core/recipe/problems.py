"""All problems of a recipe at once, each with its place, what was found, what was expected and the nearest key."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import ValidationError

from core.errors import RecipeError
from core.recipe.keys import model_at, recipe_keys
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
    is_sentence: bool = False  # whether `expected` says by itself what is wrong

    def __str__(self) -> str:
        hint = f"; did you mean '{self.nearest}'?" if self.nearest else ""
        if self.is_sentence:
            return f"{self.where}  {self.key}: {self.expected}; found {self.found}"
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
    return "command line" if origin.kind == "command line" else f"{origin.path or tree.path}:{origin.line}"


def key_path(loc: Loc) -> str:
    """("train", "sft", "epochs") as train.sft.epochs."""
    return ".".join(map(str, loc)) or "(the recipe)"


def validate(tree: Tree) -> tuple[Recipe | None, list[Problem]]:
    """The recipe and everything that the schema refuses.

    Beside problems, the recipe that comes back is a mended one, for the cross-field rules to be asked all the same:
    a misspelt key counts as the one that was meant, a refused value as not given, a section that cannot be built
    as a placeholder. What only follows from such a mending is not reported. None where even that does not help.
    """
    problems: dict[Loc, Problem] = {}
    mended: set[Loc] = set()
    guessed: set[Loc] = set()  # of the mended, where what now stands is not what was meant
    values = copy.deepcopy(tree.values)
    for _ in range(20):  # mending one place can lay bare another; recipes end within a few turns
        try:
            return Recipe.model_validate(values), list(problems.values())
        except ValidationError as error:
            for loc, kind, problem in _problems(tree, values, error):
                if kind == "missing" and loc in mended:
                    continue  # it was there under a misspelt name
                if not any(each[: len(loc)] == loc for each in guessed):
                    problems.setdefault(loc, problem)
                _mend(values, loc, kind, problem, mended, guessed)
    return None, list(problems.values())


def _problems(tree: Tree, values: dict[str, Any], error: ValidationError) -> Iterator[tuple[Loc, str, Problem]]:
    """Each place that is refused once, unknown keys first: a misspelt key explains a missing one."""
    details: dict[Loc, list[Any]] = {}
    for detail in error.errors():
        details.setdefault(_written(values, detail["loc"], detail["type"]), []).append(detail)
    for loc in [loc for loc in details if isinstance(_at(values, loc), dict)]:
        if any(other[: len(loc)] == loc and other != loc for other in details):
            del details[loc]  # that it is no number either: what is wrong within it says more
    for loc, several in sorted(details.items(), key=lambda item: item[1][0]["type"] != "extra_forbidden"):
        kind = several[0]["type"]
        where, key = place(tree, loc), key_path(loc)
        if kind == "extra_forbidden":
            owner = model_at(loc[:-1])
            known = list(owner.model_fields) if owner else []
            nearest = _elsewhere(str(loc[-1])) or next(iter(difflib.get_close_matches(str(loc[-1]), known, n=1)), None)
            expected = "a known key" if nearest else f"one of the keys {', '.join(known)}"
            yield loc, kind, Problem(where, key, f"unknown key '{loc[-1]}'", expected, nearest)
        else:
            found = "no such key" if kind == "missing" else _shorten(several[0]["input"])
            expected = " or ".join(dict.fromkeys(map(_expected, several)))
            yield loc, kind, Problem(where, key, found, expected, is_sentence=kind == "value_error")


def _mend(values: dict[str, Any], loc: Loc, kind: str, problem: Problem, mended: set[Loc], guessed: set[Loc]) -> None:
    parent = _at(values, loc[:-1])
    if kind == "extra_forbidden":
        if isinstance(parent, dict) and loc[-1] in parent:
            value = parent.pop(loc[-1])
            if problem.nearest and "." not in problem.nearest and problem.nearest not in parent:
                parent[problem.nearest] = value
                mended.add((*loc[:-1], problem.nearest))
        return
    again = loc in mended
    mended.add(loc)
    if kind == "missing" or (isinstance(parent, list) and loc[:-1] != ("data", "steps")):
        loc, parent = loc[:-1], _at(values, loc[:-2])
    guessed.add(loc)
    if not loc:
        values["name"] = "unnamed"
    elif loc in _PLACEHOLDERS:
        parent[loc[-1]] = copy.deepcopy(_PLACEHOLDERS[loc])
    elif isinstance(parent, list):
        parent[int(loc[-1])] = {"exact_dedup": {}}
    elif isinstance(parent, dict) and kind.startswith(("int_", "float_", "greater_than", "less_than")) and not again:
        parent[loc[-1]] = 1  # some number, so that the section around it can still be asked
    elif isinstance(parent, dict):
        parent.pop(loc[-1], None)


def _at(values: dict[str, Any], loc: Loc) -> Any:
    """What stands at a place; None where an earlier mending took it away."""
    node: Any = values
    for part in loc:
        if isinstance(node, dict):
            node = node.get(part)
        else:
            node = node[part] if isinstance(node, list) and isinstance(part, int) and part < len(node) else None
    return node


_PLACEHOLDERS: dict[Loc, Any] = {
    ("model",): {"base": "unknown"},
    ("data",): {"sources": {"unknown": {"python_library": {}}}},
    ("data", "sources"): {"unknown": {"python_library": {}}},
    ("train",): {"unknown": {"data": {"sources": ["unknown"]}, "max_steps": 1}},
}


def _written(values: dict[str, Any], loc: Loc, kind: str) -> Loc:
    """pydantic's location without the names of union members and the like, which nobody wrote."""
    written: Loc = ()
    for number, part in enumerate(loc):
        if _at(values, (*written, part)) is not None or part in _keys(_at(values, written)):
            written = (*written, part)
        elif kind == "missing" and number == len(loc) - 1:
            return (*written, part)
    return written


def _keys(node: Any) -> Any:
    return node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()


def _expected(detail: Any) -> str:
    message = str(detail["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    if detail["type"] == "missing":
        return "a value: it has no default"
    if detail["type"] in ("model_type", "model_attributes_type", "dict_type"):
        return "a mapping of keys"
    if detail["type"] == "string_pattern_mismatch":
        return "letters, digits, - and _ only"
    if detail["type"] == "too_short":
        return "at least one entry"
    return message[:1].lower() + message[1:]


def _shorten(value: Any, limit: int = 60) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
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


def _elsewhere(key: str) -> str | None:
    """Where else in the schema a key of this name stands: it may only be misplaced."""
    paths = [known.path for known in recipe_keys() if known.path.rsplit(".", 1)[-1] == key]
    return min(paths, key=len) if paths else None
