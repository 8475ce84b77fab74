"""Which sources may hold a benchmark's own data: their documents say which scores must be marked."""

from __future__ import annotations

from core.recipe.schema import Recipe


def names_benchmarks(recipe: Recipe, source: str) -> bool:
    """Whether `meta.benchmark` of a source's documents may say what they are of: by what the recipe declares."""
    declared = recipe.data.sources[source]
    if declared.capability_data is not None:
        return True
    if declared.multiple_choice_pairs is not None and declared.multiple_choice_pairs.benchmark is not None:
        return True
    if declared.fields is not None and "benchmark" in declared.fields.meta:
        return True
    made = [step.options for step in recipe.data.steps if step.kind == "corrupted_solutions"]
    return any(options.benchmarks and (options.sources is None or source in options.sources) for options in made)
