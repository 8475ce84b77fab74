"""A recipe as the commands use it: resolved, validated, and able to say where each value came from."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from core.recipe.loading import Loc, Tree, find_recipe, load_tree
from core.recipe.problems import InvalidRecipe, Problem, validate
from core.recipe.rules import broken_rules
from core.recipe.schema import Recipe


@dataclass(frozen=True)
class Resolved:
    """A valid recipe with its file, scale and the origin of its values."""

    recipe: Recipe
    tree: Tree
    scale: str | None

    @property
    def directory(self) -> Path:
        """Where the recipe file lies: relative paths in it are looked for there first."""
        return self.tree.path.resolve().parent

    @property
    def run_name(self) -> str:
        """The default name of its run."""
        return f"{self.recipe.name}-{self.scale}" if self.scale else self.recipe.name

    def values(self) -> dict[str, Any]:
        """Every value, defaults included, as plain data."""
        values: dict[str, Any] = self.recipe.model_dump(mode="json")
        values["data"]["steps"] = [{step.kind: step.options.model_dump(mode="json")} for step in self.recipe.data.steps]
        return values

    def origin(self, loc: Loc) -> str:
        """ "file:12", "scale tiny (file:80)", "command line" or "default"."""
        if loc not in self.tree.origins:
            return "default"
        origin = self.tree.origins[loc]
        if origin.kind == "command line":
            return "command line"
        line = f"{(origin.path or self.tree.path).name}:{origin.line}"
        return line if origin.kind == "file" else f"scale {self.scale} ({line})"

    def origins(self) -> dict[str, str]:
        """The origin of each value by its key path."""
        return {".".join(map(str, loc)): self.origin(loc) for loc in _leaves(self.values())}

    def as_yaml(self) -> str:
        """The resolved recipe as YAML that can be run again, each value's origin in a comment."""
        document = self._commented(self.values(), ())
        yaml = YAML()
        yaml.width = 4096
        stream = io.StringIO()
        yaml.dump(document, stream)
        return stream.getvalue()

    def _commented(self, value: Any, loc: Loc) -> Any:
        if isinstance(value, dict) and value:
            mapping = CommentedMap()
            for key, item in value.items():
                if item is None and self.origin((*loc, key)) == "default":
                    continue  # an alternative that was not taken
                mapping[key] = self._commented(item, (*loc, key))
                if not isinstance(mapping[key], CommentedMap) and not _is_block(mapping[key]):
                    mapping.yaml_add_eol_comment(self.origin((*loc, key)), key, column=56)
            return mapping
        if isinstance(value, list) and value:
            if all(not isinstance(item, dict | list) for item in value):
                sequence = CommentedSeq(value)
                sequence.fa.set_flow_style()
                return sequence
            return CommentedSeq(self._commented(item, (*loc, index)) for index, item in enumerate(value))
        return value


def load_recipe(name_or_path: str, scale: str | None = None, overrides: list[str] | None = None) -> Resolved:
    """Finds, reads, resolves and validates a recipe.

    Raises RecipeError where it cannot be read, InvalidRecipe with every problem where it is wrong.
    """
    tree = load_tree(find_recipe(name_or_path), scale, overrides)
    _find_local_models(tree)
    recipe, problems = _examine(tree)
    if problems or recipe is None:
        raise InvalidRecipe(problems)
    return Resolved(recipe, tree, scale)


def check_recipe(name_or_path: str, scale: str | None = None, overrides: list[str] | None = None) -> list[Problem]:
    """Every problem of a recipe: as it stands, and (with neither scale nor overrides) in each of its scales."""
    path = find_recipe(name_or_path)
    tree = load_tree(path, scale, overrides)
    _, problems = _examine(tree)
    if scale is None and not overrides:
        for name in tree.scales:
            scaled = _examine(load_tree(path, name))[1]
            problems += [replace(each, where=f"{each.where} (scale {name})") for each in scaled if each not in problems]
    return problems


def _find_local_models(tree: Tree) -> None:
    """Makes the path of a local model or tokenizer absolute: workers have other current directories."""
    model = tree.values.get("model")
    tokenizer = model.get("tokenizer") if isinstance(model, dict) else None
    for section, key in ((model, "base"), (tokenizer, "name")):
        name = section.get(key) if isinstance(section, dict) else None
        for path in (tree.path.resolve().parent / str(name), Path(str(name))):
            if isinstance(section, dict) and isinstance(name, str) and path.is_dir():
                section[key] = str(path.absolute())
                break


def _examine(tree: Tree) -> tuple[Recipe | None, list[Problem]]:
    recipe, problems = validate(tree)
    if recipe is not None:
        problems += broken_rules(tree, recipe)
    return recipe, sorted(problems, key=lambda problem: _line_number(problem.where))


def _is_block(value: Any) -> bool:
    return isinstance(value, CommentedSeq) and not value.fa.flow_style()


def _line_number(where: str) -> int:
    line = where.rpartition(":")[2]
    return int(line) if line.isdigit() else 0


def _leaves(value: Any, loc: Loc = ()) -> list[Loc]:
    if isinstance(value, dict) and value:
        return [leaf for key, item in value.items() for leaf in _leaves(item, (*loc, key))]
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        return [leaf for index, item in enumerate(value) for leaf in _leaves(item, (*loc, index))]
    return [loc]
