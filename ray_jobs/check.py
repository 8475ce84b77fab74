"""`raycipe check`: everything that is wrong with a recipe, at once."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

from core.documents.files import expand, is_remote
from core.errors import DataError, RaycipeError
from core.evaluation.perturbed_tasks import bias_tasks, check_perturbed, perturbed_fields
from core.evaluation.task_files import find_tasks, named_tasks
from core.recipe.problems import InvalidRecipe
from core.recipe.resolve import Resolved, check_recipe, load_recipe
from ray_jobs.curation.prepare import located, other_sources


def check(name: str, scale: str | None, overrides: list[str] | None, as_json: bool) -> None:
    """Says that the recipe is right, or raises InvalidRecipe with all its problems (exit code 2).

    Files that are not here are told, and no problem: the recipe may be for another machine.
    """
    problems = check_recipe(name, scale, overrides)
    if problems:
        raise InvalidRecipe(problems)
    for line in _missing_files(load_recipe(name, scale, overrides)):
        print(f"not on this machine: {line}", file=sys.stderr)
    print(json.dumps({"problems": []}) if as_json else f"{name}: the recipe is right")


def _missing_files(resolved: Resolved) -> Iterator[str]:
    """What is wrong with the local files that the recipe names, in one line each."""
    data = resolved.recipe.data
    sources = [data.sources, *(other_sources(step) for step in data.steps)]
    for name, source in (item for several in sources for item in several.items()):
        if source.patterns and not any(map(is_remote, source.patterns)):
            try:
                expand(source, resolved.directory)
            except RaycipeError as error:
                yield f"{name}: {error}"
    for step in data.steps:
        try:
            located(step, resolved.directory)
        except RaycipeError as error:
            yield str(error)
    if resolved.recipe.evaluate is not None:
        named = named_tasks(resolved.recipe.evaluate, resolved.directory)
        perturbed_fields(named, resolved.recipe.evaluate)
        bias_tasks(named, resolved.recipe.evaluate)
        try:
            check_perturbed(
                find_tasks(resolved.recipe.evaluate, resolved.directory), resolved.recipe.evaluate, resolved.directory
            )
        except DataError as error:
            yield str(error)


if __name__ == "__main__":
    from ray_jobs.cli import job_main

    job_main("check")
