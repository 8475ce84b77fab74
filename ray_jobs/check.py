"""`raycipe check`: everything that is wrong with a recipe, at once."""

from __future__ import annotations

import json

from core.recipe.problems import InvalidRecipe
from core.recipe.resolve import check_recipe


def check(name: str, scale: str | None, overrides: list[str] | None, as_json: bool) -> None:
    """Says that the recipe is right, or raises InvalidRecipe with all its problems (exit code 2)."""
    problems = check_recipe(name, scale, overrides)
    if problems:
        raise InvalidRecipe(problems)
    print(json.dumps({"problems": []}) if as_json else f"{name}: the recipe is right")


if __name__ == "__main__":
    from ray_jobs.cli import job_main

    job_main("check")
