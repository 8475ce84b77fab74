"""`raycipe compare`: two models that were scored, in one run or in two, on the same questions."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from rich.table import Table

from core.errors import DataError, RecipeError
from core.evaluation.comparison import Scored, compare_scored, told_refusals
from core.evaluation.score_intervals import passage_of
from ray_jobs.progress import table_console

SEED = 42  # of the bootstrap


def compare(first: str, second: str, runs_dir: Path, force: bool, as_json: bool) -> None:
    """Prints how much better the second is. Raises RecipeError where tasks were scored differently, unless forced."""
    (one, of_one), (another, of_another) = (_scored(each, runs_dir) for each in (first, second))
    found = compare_scored(one, another, SEED, partial(passage_of, of_another | of_one), force)
    if found["refused"]:
        raise RecipeError(
            f"{first} and {second} were scored in different ways ({told_refusals(found['refused'])}); "
            "--force compares them all the same"
        )
    if not found["differences"]:
        raise DataError(f"{first} and {second} were scored on no task that both have")
    if as_json:
        print(json.dumps(found))
        return
    table = Table("task", "metric", "difference", "from", "to", "p, adjusted", "", box=None, header_style="bold")
    for row in found["differences"]:
        table.add_row(row["task"], row["metric"], *map(_told, _numbers(row)), _verdict(row))
    console = table_console()
    console.print(table)
    console.print(f"{second} less {first}; 95 % interval; p adjusted by Holm's method", style="dim")


def _numbers(row: dict[str, Any]) -> list[float | None]:
    return [row[name] for name in ("difference", "low", "high", "p_adjusted")]


def _told(value: float | None) -> str:
    return "-" if value is None else f"{value:+.4f}"


def _verdict(row: dict[str, Any]) -> str:
    if row["tie"]:
        return "a tie"
    return "more" if row["difference"] > 0 else "less"


def _scored(text: str, runs_dir: Path) -> tuple[Scored, dict[str, str]]:
    """A model of a run, said as RUN or RUN:MODEL (the last one scored where none is named), and the run's clusters.

    Raises DataError for a run without scores, RecipeError for a model that it has not.
    """
    found = read_scores(text, runs_dir)
    scores, model = found.scores, found.model or found.scores["models"][-1]
    scored = Scored(f"{found.run}:{model}", found.directory / "samples" / model, scores["settings"][model])
    return scored, scores.get("clusters", {})


@dataclass(frozen=True)
class RunScores:
    """What was asked for as RUN or RUN:MODEL. directory: of the run's evaluation; model: None where none is named."""

    run: str
    model: str | None
    directory: Path
    scores: dict[str, Any]


def read_scores(text: str, runs_dir: Path) -> RunScores:
    """The scores of RUN or RUN:MODEL. Raises DataError for a run without, RecipeError for a model that it has not."""
    run, _, model = text.partition(":")
    for directory in (runs_dir / run / "evaluate", Path(run) / "evaluate"):
        if (path := directory / "scores.json").exists():
            try:
                scores = orjson.loads(path.read_bytes())
                scores["models"], scores["suites"], scores["settings"]
            except (orjson.JSONDecodeError, KeyError, TypeError) as error:
                raise DataError(
                    f"{path}: not a whole file of scores ({error}); raycipe evaluate makes it anew"
                ) from error
            if model and model not in scores["models"]:
                raise RecipeError(f"{run}: found no model '{model}', but {', '.join(scores['models'])}")
            return RunScores(run, model or None, directory, scores)
    raise DataError(f"{run}: no run with scores (looked in {runs_dir} and {Path.cwd()}); raycipe evaluate makes them")


if __name__ == "__main__":
    from ray_jobs.cli import job_main

    job_main("compare")
