"""`raycipe show`: the resolved recipe, each value with its origin."""

from __future__ import annotations

import json

from core.recipe.resolve import load_recipe


def show(name: str, scale: str | None, overrides: list[str] | None, as_json: bool) -> None:
    """Prints YAML that can be run again, origins in comments; or JSON with recipe and origins."""
    resolved = load_recipe(name, scale, overrides)
    if as_json:
        print(json.dumps({"recipe": resolved.values(), "origins": resolved.origins()}))
    else:
        print(resolved.as_yaml(), end="")


if __name__ == "__main__":
    from ray_jobs.cli import job_main

    job_main("show")
