"""`raycipe leaderboard`: snapshots, lm-eval's results and our own runs as one table and one page."""

from __future__ import annotations

import json
from pathlib import Path

from rich.table import Table

from core.errors import RecipeError
from core.reporting.formats import visible
from core.reporting.leaderboard.board import Leaderboard, build
from core.reporting.leaderboard.files import read_source
from core.reporting.leaderboard.page import PAGE, TABLE, as_json, write_leaderboard
from core.reporting.leaderboard.size_claims import claims
from core.reporting.leaderboard.words import models, score
from ray_jobs.progress import table_console

SHOWN = 10


def leaderboard(files: list[Path], out: Path, json_answer: bool) -> None:
    """Reads all files, makes everything, and only then writes it. Prints the best models, or the story as JSON."""
    if out.exists() and not out.is_dir():
        raise RecipeError(f"--out {out}: a file; expected a directory")
    board = build([read_source(file) for file in files])
    found = claims(board)
    page = write_leaderboard(board, found, out)
    if json_answer:
        print(json.dumps(as_json(board, found, page, out)))
        return
    _show(board)
    console = table_console()
    console.print(f"page: {out / PAGE}", f"table: {out / TABLE}", sep="\n", soft_wrap=True, highlight=False)


def _show(board: Leaderboard) -> None:
    console = table_console()
    if not board.latest:
        return
    table = Table("place", "model", "average", *(name.name for name in board.benchmarks), box=None, header_style="bold")
    for column in (table.columns[0], *table.columns[2:]):
        column.justify = "right"
    for each in board.latest[:SHOWN]:
        scores = (score(each.entry.scores[name]) for name in board.benchmarks)
        table.add_row(str(each.rank), visible(each.entry.model), score(each.average), *scores)
    console.print(f"{models(len(board.latest))} on {board.dates[-1]}", style="bold", highlight=False)
    console.print(table)


if __name__ == "__main__":
    from ray_jobs.cli import job_main

    job_main("leaderboard")
