"""The recipe of a trial: the sweep's, with a trial's values laid over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson

from core.artifacts.fingerprint import fingerprint
from core.recipe.resolve import Resolved, load_recipe
from core.recipe.schema import Recipe
from core.tuning.space import Values
from ray_jobs.job import Job

SIZE = "sweep.size"
FREE = ("name", "description", "evaluate", "report", "sweep")  # sections that change no training


def resolve(job: Job, values: Values, more: Sequence[str] = ()) -> Resolved:
    """The recipe of a trial. more: further overrides. Raises InvalidRecipe where it does not allow the values."""
    overrides = [*fixed_overrides(job.recipe, values), *more, *value_overrides(values)]
    found = load_recipe(str(job.run_dir / "recipe.yaml"), None, overrides)
    return replace(found, tree=replace(found.tree, path=job.resolved.tree.path))


def fixed_overrides(recipe: Recipe, values: Values) -> list[str]:
    """What all trials change in the sweep's recipe, and the documents of a named size, as on the command line.

    A trial has one worker where the recipe leaves it open: several trials at once use a cluster better than several
    workers on each.
    """
    assert recipe.sweep is not None
    size = values.get(SIZE, recipe.sweep.size)
    counts = recipe.sweep.sizes.get(size, {}) if size is not None else {}
    workers = ["resources.workers=1"] if recipe.resources.workers == "auto" else []
    return [*recipe.sweep.settings, *workers, *(f"data.mixture.{source}={count}" for source, count in counts.items())]


def value_overrides(values: Values) -> list[str]:
    """A trial's values as on the command line."""
    return [f"{key}={orjson.dumps(value).decode()}" for key, value in values.items()]


def recipe_print(resolved: Resolved, keys: Sequence[str]) -> str:
    """What of a recipe a sweep's result depends on: all but the swept keys, and what only evaluates or reports."""
    values = resolved.values()
    for section in FREE:
        values.pop(section, None)
    for key in keys:
        *parents, last = key.split(".")
        node: Any = values
        for part in parents:
            if isinstance(node, list):
                node = node[int(part)] if part.isdigit() and int(part) < len(node) else None
            else:
                node = node.get(part) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node.pop(last, None)
    return fingerprint(values)
