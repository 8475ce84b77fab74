"""`raycipe win-rate`: the challenge's score of models, from a table of their results."""

from __future__ import annotations

import json
from pathlib import Path

from rich.table import Table

from core.evaluation.win_rate import STAGES, Rule, Standing, read_metrics, standings
from ray_jobs.progress import table_console


def win_rate(file: Path, rule: Rule, as_json: bool) -> None:
    """Prints every model's win rates, stage scores and final score, the best first."""
    found = standings(read_metrics(file), rule)
    if as_json:
        models = [
            {
                "rank": rank,
                "model": each.model,
                "final": each.final,
                "scores": each.scores,
                "win_rates": each.win_rates,
            }
            for rank, each in enumerate(found, 1)
        ]
        print(json.dumps({"file": str(file), "rule": rule, "models": models}))
        return
    console = table_console()
    table = Table("", *(each.model for each in found), box=None, header_style="bold")
    for stage in STAGES:
        if stage in found[0].scores:
            for scenario in found[0].win_rates[stage]:
                table.add_row(f"{stage}: {scenario}", *(f"{each.win_rates[stage][scenario]:.3f}" for each in found))
            table.add_row(f"{stage} score", *(f"{each.scores[stage]:.3f}" for each in found), style="bold")
    table.add_row("final score", *(_told(each) for each in found), style="bold")
    console.print(table)
    console.print(f"rule {rule}; rounded to three places here only", style="dim")


def _told(standing: Standing) -> str:
    return "-" if standing.final is None else f"{standing.final:.3f}"


if __name__ == "__main__":
    from ray_jobs.cli import job_main

    job_main("win-rate")
