"""What `raycipe contamination` prints."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from core.evaluation.contamination import SUBSETS
from ray_jobs.progress import table_console


def print_contamination(found: dict[str, Any]) -> None:
    """Tables of what `contamination.json` has: scores, then each test that was asked for."""
    console = table_console()
    tasks = {task["task"]: task for task in found["tasks"]}
    columns = ("task", "items", "too short", "clean", "dirty", "model", "metric", *(f"on {name}" for name in SUBSETS))
    table = Table(*columns, box=None, header_style="bold")
    for row in found["scores"]:
        counts = (str(tasks[row["task"]][name]) for name in ("items", "too_short", "clean", "dirty"))
        metric = row["metric"] if row["filter"] == "none" else f"{row['metric']} ({row['filter']})"
        table.add_row(row["task"], *counts, row["model"], metric, *(_told(row[subset]["value"]) for subset in SUBSETS))
    console.print(table)
    rule, documents = found["rule"], ", ".join(f"{count:,} of {phase}" for phase, count in found["documents"].items())
    console.print(
        f"seen: words in a sequence of {rule['ngram']} that a document has which was trained on ({documents}); "
        f"dirty: {rule['dirty_from']:.0%} of a text of the item or more; clean: less than {rule['clean_below']:.0%}",
        style="dim",
        highlight=False,
    )
    if test := found.get("min_k"):
        table = Table(f"Min-{test['k']:g}% Prob", "model", *SUBSETS, "AUC", box=None, header_style="bold")
        for row in test["rows"]:
            table.add_row(row["task"], row["model"], *(_told(row[name]) for name in (*SUBSETS, "auc")))
        console.print(table)
    if test := found.get("neighbours"):
        table = Table("neighbour test", "model", "examples", "score", "", box=None, header_style="bold")
        for row in test["rows"]:
            flag = "contaminated" if row["flagged"] else ""
            table.add_row(row["task"], row["model"], str(row["examples"]), _told(row["score"]), flag)
        console.print(table)


def _told(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
