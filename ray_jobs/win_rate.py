"""`raycipe win-rate`: the challenge's score of models, from a table of their results."""

from __future__ import annotations

import json
from pathlib import Path

from rich.table import Column, Table

from core.evaluation.win_rate import STAGES, Rule, Standing, ranks, read_metrics, standings
from core.reporting.formats import visible
from ray_jobs.progress import table_console


def win_rate(file: Path, rule: Rule, as_json: bool) -> None:
    """Prints every model's win rates, stage scores and final score, the best first."""
    found = standings(read_metrics(file), rule)
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
        print(json.dumps({"file": str(file), "rule": rule, "models": models}))
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


def _column(title: str) -> Column:
    """One whose names are folded, never cut."""
    return Column(visible(title), overflow="fold", min_width=5)


def _told(standing: Standing) -> str:
    return "-" if standing.final is None else f"{standing.final:.3f}"


if __name__ == "__main__":
    from ray_jobs.cli import job_main

    job_main("win-rate")
