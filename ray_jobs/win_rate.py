"""`raycipe win-rate`: the challenge's score of models, from tables of their results, and runs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.table import Column, Table

from core.artifacts.atomic import write_bytes
from core.errors import RecipeError
from core.evaluation.win_rate import (
    COLUMNS,
    STAGES,
    Row,
    Rule,
    Standing,
    asked_differently,
    lacking,
    metrics_of,
    ranks,
    read_rows,
    run_rows,
    standings,
)
from core.reporting.formats import visible
from ray_jobs.compare import read_scores
from ray_jobs.progress import table_console


def win_rate(
    tables: Sequence[str],
    rule: Rule,
    as_json: bool,
    runs_dir: Path = Path("runs"),
    out: Path | None = None,
    force: bool = False,
) -> None:
    """Prints every model's win rates, stage scores and final score, the best first.

    tables: CSV files and runs. out: a CSV file for all their rows. Raises RecipeError where models were asked in
    different ways, unless forced.
    """
    if out is not None and out.is_dir():
        raise RecipeError(f"--csv: {out} is a directory; name a file")
    by_table = {table: list(_rows(table, runs_dir)) for table in tables}
    rows = [row for of_table in by_table.values() for row in of_table]
    found = standings(metrics_of(rows), rule)
    differ, missing = asked_differently(rows), lacking(by_table)
    if differ is not None and not force:
        raise RecipeError(f"{differ} were scored in different ways; --force compares them all the same")
    if missing and not force:
        raise RecipeError("\n".join(map(_told_missing, missing.items())))
    if out is not None:
        write_bytes(out, _csv(rows))
    places = ranks(found)
    if as_json:
        models = [
            {
                "rank": rank,
                "model": each.model,
                "final": each.final,
                "scores": each.scores,
                "win_rates": each.win_rates,
            }
            for rank, each in zip(places, found, strict=True)
        ]
        print(json.dumps({"file": ", ".join(str(Path(table)) for table in tables), "rule": rule, "models": models}))
        return
    console = table_console()
    stages = [stage for stage in STAGES if stage in found[0].scores]
    table = Table("", _column("model"), *stages, "final score", box=None, header_style="bold")
    for rank, each in zip(places, found, strict=True):
        table.add_row(str(rank), visible(each.model), *(f"{each.scores[stage]:.3f}" for stage in stages), _told(each))
    console.print(table)
    for stage in stages:
        scenarios = list(found[0].win_rates[stage])
        table = Table(_column(f"win rates, {stage}"), *map(_column, scenarios), box=None, header_style="bold")
        for each in found:
            rates = (f"{each.win_rates[stage][scenario]:.3f}" for scenario in scenarios)
            table.add_row(visible(each.model), *rates)
        console.print()
        console.print(table)
    console.print(f"rule {rule}; rounded to three places here only", style="dim")


def _rows(table: str, runs_dir: Path) -> Iterable[Row]:
    """Of a file, which may be a pipe, or of RUN or RUN:MODEL."""
    path = Path(table)
    if path.suffix == ".csv" or (path.exists() and not path.is_dir()):
        return read_rows(path)
    found = read_scores(table, runs_dir)
    suites = [score for score in found.scores["suites"] if found.model in (None, score["model"])]
    return run_rows(Path(found.run).name, suites)


def _told_missing(item: tuple[str, list[str]]) -> str:
    table, missing = item
    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    return (
        f"{table}: has no value of {'; '.join(missing[:3])}{more}, which another table has: without one a model counts "
        "as the worst. Name metrics alike, or --force"
    )


def _csv(rows: Iterable[Row]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(row for _, row in rows)
    return text.getvalue().encode()


def _column(title: str) -> Column:
    """One whose names are folded, never cut."""
    return Column(visible(title), overflow="fold", min_width=5)


def _told(standing: Standing) -> str:
    return "-" if standing.final is None else f"{standing.final:.3f}"


if __name__ == "__main__":
    from ray_jobs.cli import job_main

    job_main("win-rate")
