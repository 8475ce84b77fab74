"""`raycipe keys`: every key that a recipe may have."""

from __future__ import annotations

import difflib
import json

from rich.console import Console
from rich.text import Text

from core.errors import RecipeError
from core.recipe.keys import recipe_keys


def keys(word: str | None, as_json: bool) -> None:
    """Lists the keys in whose path a word stands, or all. Raises RecipeError where there is none, with the nearest."""
    every = [key.as_json() for key in recipe_keys()]
    found = [key for key in every if word is None or word.lower() in key["key"].lower()]
    if not found:
        parts = {part for key in every for part in key["key"].split(".") if part[0] != "<"}
        nearest = difflib.get_close_matches(str(word), parts, n=3)
        raise RecipeError(f"no key has '{word}' in it" + (f"; near it: {', '.join(nearest)}" if nearest else ""))
    if as_json:
        print(json.dumps(found))
        return
    console = Console(soft_wrap=True, highlight=False)
    for key in found:
        console.print(Text.assemble((key["key"], "bold"), f": {_value(key)}".rstrip(), (_meaning(key), "dim")))


def _value(key: dict[str, object]) -> str:
    if key["takes"] == "section" or key["required"]:
        return ""
    return json.dumps(key["default"], ensure_ascii=False)


def _meaning(key: dict[str, object]) -> str:
    said = f"{'needed: ' if key['required'] else ''}{key['takes']}"
    return f"  # {said}. {key['meaning']}".rstrip()


if __name__ == "__main__":
    from ray_jobs.cli import job_main

    job_main("keys")
