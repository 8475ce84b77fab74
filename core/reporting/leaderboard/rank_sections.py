"""What a leaderboard's page says of its last date: every rank, the five best, and models that are the same."""

from __future__ import annotations

import datetime
from collections import Counter
from typing import Any

from core.reporting.formats import count
from core.reporting.frame import Block, Cell, Choice, Column, Section, Table, Text
from core.reporting.leaderboard.board import Leaderboard, Ranked, same_scores
from core.reporting.leaderboard.rank_charts import ON_RADAR, radar, ranking, scaled, top_ten, total_plot
from core.reporting.leaderboard.statistics import LEADERS
from core.reporting.leaderboard.words import heading, parameters, score, shots


def ranking_section(board: Leaderboard) -> Section:
    """The ten best, bars by each benchmark, and the table of all."""
    of, names = board.latest, board.benchmarks
    bars = [(each.name if each else "Average", ranking(of, names, each)) for each in (None, *names)]
    blocks: list[Block] = [top_ten(of, names), Choice("By", bars), _table(board)]
    if groups := same_scores(of):
        blocks.append(_same(groups))
    return Section("Ranking", blocks)


def best_section(board: Leaderboard) -> Section:
    """The radar of the five best, with raw scores beside the scaled ones."""
    of, names = board.latest, board.benchmarks
    if len(names) < 3:
        return Section("Top 5", [Text("A radar needs three benchmarks.", "note")])
    values = scaled(of, names)
    columns = [Column("model"), Column("place", count), Column("average", score)]
    for name in names:
        columns += [
            Column(heading(name, names), score, name.title),
            Column("scaled", lambda value: f"{value:.2f}", f"{name.name}, from 1 to 5"),
        ]
    rows: list[list[Any]] = []
    for each, row in zip(of[:ON_RADAR], values.tolist(), strict=True):
        cells: list[Any] = [each.entry.model, each.rank, each.average]
        for name, value in zip(names, row, strict=True):
            cells += [each.entry.scores[name], Cell(value, "quiet")]
        rows.append(cells)
    note = (
        f"Scaled: each benchmark from 1, the lowest of the {min(LEADERS, len(of))} best models, to 5, their highest, "
        "as in the report. It draws small differences large: the raw scores say how large they are."
    )
    table = Table("The top 5, raw and scaled", columns, rows, note, urls=[each.entry.url for each in of[:ON_RADAR]])
    return Section("Top 5", [radar(of, names), table])


def total_section(board: Leaderboard) -> Section:
    """All models by rank, and each model's average at each date."""
    blocks: list[Block] = [total_plot(board.latest, board.benchmarks)]
    if len(board.dates) > 1:
        blocks.append(_history(board))
    return Section("All models", blocks)


def _table(board: Leaderboard) -> Table:
    of = board.latest
    ties = Counter(each.rank for each in of)
    first = _first_seen(board)
    flagged = any(each.entry.flags for each in of)
    columns = [Column("model"), Column("place", count, "= shared"), Column("average", score, "recomputed")]
    columns += [Column(heading(name, board.benchmarks), score, name.title) for name in board.benchmarks]
    columns += [Column("parameters", str, "* read from the name"), Column("since")]
    columns += [Column("flags")] * flagged
    rows = []
    for each in of:
        entry = each.entry
        place = Cell(each.rank, text=f"{'= ' if ties[each.rank] > 1 else ''}{count(each.rank)}")
        cells: list[Any] = [entry.model, place, each.average, *(entry.scores[name] for name in board.benchmarks)]
        cells += [Cell(entry.parameters.number, text=parameters(entry.parameters))]
        cells.append(Cell(str(first[entry.model]), "whole"))
        rows.append(cells + [Cell("; ".join(entry.flags) or None, "bad" if entry.flags else "")] * flagged)
    shared = sum(number for number in ties.values() if number > 1)
    note = (
        f"Averages are recomputed from the scores; shots: {shots(board.benchmarks)}. = : {count(shared)} models share "
        "their place with another of exactly the same average. * : the number of parameters was read from the model's "
        "name; – : it is not known."
    )
    if board.measured:
        names = ", ".join(entry.model for entry in board.measured if entry.average(board.benchmarks) is not None)
        note += f" From result files, put among those of the snapshot: {names}." if names else ""
    last = board.dates[-1]
    return Table(f"All models on {last}", columns, rows, note, paged=True, urls=[each.entry.url for each in of])


def _same(groups: list[list[Ranked]]) -> Table:
    rows = [
        [group[0].entry.model, group[0].rank, group[0].average, len(group), ", ".join(e.entry.model for e in group[1:])]
        for group in groups
    ]
    columns = [Column("model"), Column("place", count), Column("average", score), Column("models", count)]
    note = "Equal on every benchmark to the last digit: the same weights under several names, most likely."
    return Table("Models with the same scores", [*columns, Column("the others")], rows, note, folded=True, paged=True)


def _history(board: Leaderboard) -> Table:
    averages: dict[str, dict[datetime.date, Any]] = {}
    urls: dict[str, str | None] = {}
    for date in reversed(board.dates):
        for each in board.rankings[date]:
            averages.setdefault(each.entry.model, {})[date] = each.average
            urls[each.entry.model] = urls.get(each.entry.model) or each.entry.url
    columns = [Column("model"), *(Column(str(date), score) for date in reversed(board.dates))]
    rows = [[model, *(of.get(date) for date in reversed(board.dates))] for model, of in averages.items()]
    note = f"All {count(len(rows))} models that any snapshot has. – : it is not in that snapshot."
    return Table(
        "Averages at each date", columns, rows, note, folded=True, paged=True, urls=[urls[model] for model in averages]
    )


def _first_seen(board: Leaderboard) -> dict[str, datetime.date]:
    first: dict[str, datetime.date] = {}
    for entry in board.entries:
        first.setdefault(entry.model, entry.date)
    return first
