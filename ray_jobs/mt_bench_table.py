"""MT-Bench's result as a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from ray_jobs.progress import table_console


def print_mt_bench(result: Mapping[str, Any], judgments: Path) -> None:
    """Prints the scores of categories and turns, what was not rated, and what the judge cost."""
    console = table_console()
    turns = [each["turn"] for each in result["turns"]]
    columns = ["", *(f"turn {turn}" for turn in turns), "both" if len(turns) > 1 else "all", "not rated"]
    table = Table(*columns, box=None, header_style="bold")
    for each in result["categories"]:
        table.add_row(each["category"], *map(_told, each["turns"]), _told(each), str(each["unrated"] or ""))
    table.add_row("all", *map(_told, result["turns"]), _told(result), str(result["unrated"] or ""), style="bold")
    console.print(table)
    told = [f"{result['model']}, judged by {result['judge']['model']} ({result['judge']['url']})"]
    if result["unrated"]:
        told.append(f"{result['unrated']} answers without a rating, in no mean: see {judgments}")
    answers = result["answers"]
    if answers["cut_off"] or answers["no_room"]:
        told.append(f"{answers['cut_off']} answers cut off, {answers['no_room']} without room in the model's length")
    cost = result["cost"]
    money = f", {cost['money']:.2f} in money" if cost["money"] is not None else ""
    unknown = f", {cost['not_counted']} judgments not counted" if cost["not_counted"] else ""
    told.append(f"the judge read {cost['prompt_tokens']:,} tokens, wrote {cost['completion_tokens']:,}{money}{unknown}")
    for line in told:
        console.print(line, style="dim", soft_wrap=True)


def _told(score: Mapping[str, Any]) -> str:
    if score["score"] is None:
        return "-"
    error = f" ± {score['stderr']:.2f}" if score["stderr"] is not None else ""
    return f"{score['score']:.2f}{error}"
