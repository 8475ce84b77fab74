"""`raycipe recipes`: the recipes that come with the package."""

from __future__ import annotations

import json

from rich.console import Console
from rich.table import Table

from core.recipe.loading import load_tree, shipped_recipes


def recipes(as_json: bool) -> None:
    """Lists name, description, scales and path of every shipped recipe."""
    trees = {name: load_tree(path) for name, path in shipped_recipes().items()}
    rows = [
        {
            "name": name,
            "description": tree.values.get("description", ""),
            "scales": list(tree.scales),
            "path": str(tree.path),
        }
        for name, tree in trees.items()
    ]
    if as_json:
        print(json.dumps(rows))
        return
    table = Table("recipe", "what it does", "scales", box=None, header_style="bold")
    for row in rows:
        table.add_row(row["name"], row["description"], ", ".join(row["scales"]) or "-")
    Console().print(table)


if __name__ == "__main__":
    from ray_jobs.cli import job_main

    job_main("recipes")
