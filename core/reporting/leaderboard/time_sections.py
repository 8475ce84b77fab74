"""What a leaderboard's page says of its dates: how scores rose, when the measure changed, who came and went."""

from __future__ import annotations

import numpy as np

from core.reporting.formats import count
from core.reporting.frame import Block, Cell, Choice, Column, Section, Table, Text
from core.reporting.leaderboard.board import Leaderboard
from core.reporting.leaderboard.claims import TOP
from core.reporting.leaderboard.file_section import on
from core.reporting.leaderboard.time_charts import score_over_time, turnover
from core.reporting.leaderboard.words import score, signed_points

ONE_DATE = Text("There is one date only: nothing can be told over time.", "note")


def time_section(board: Leaderboard) -> Section:
    """Scores over time, the leader of each date, and the scores that changed of models that did not."""
    if len(board.dates) < 2:
        return Section("Over time", [ONE_DATE])
    charts = [(each.name if each else "Average", score_over_time(board, each)) for each in (None, *board.benchmarks)]
    blocks: list[Block] = [Choice("Score", charts), _leaders(board)]
    if table := _rescored(board):
        blocks.append(table)
    return Section("Over time", blocks)


def turnover_section(board: Leaderboard) -> Section:
    """Models that came and went."""
    if len(board.dates) < 2:
        return Section("New and vanished", [ONE_DATE])
    columns = [Column("date"), Column("models", count), Column("stayed", count), Column("new", count)]
    columns += [Column("vanished", count), Column("best new model"), Column("average", score)]
    rows = []
    for each in board.turnovers:
        new = set(each.new)
        best = next((found for found in board.rankings[each.date] if found.entry.model in new), None)
        amounts = [each.stayed + len(each.new), each.stayed, len(each.new), len(each.vanished)]
        rows.append([str(each.date), *amounts, best.entry.model if best else None, best.average if best else None])
    blocks: list[Block] = [turnover(board), Table("From each snapshot to the next", columns, rows)]
    if renamed := [(each.date, *pair) for each in board.turnovers for pair in each.renamed]:
        table = [[old, new, on(date)] for date, old, new in renamed]
        note = "One model vanished, one came, and all their scores are equal: a new name, most likely."
        blocks.append(Table("Renamed", [Column("model"), Column("now"), Column("date")], table, note))
    names = [
        [model, Cell(kind, tone), on(each.date)]
        for each in reversed(board.turnovers)
        for kind, tone, models in (("vanished", "bad", each.vanished), ("new", "good", each.new))
        for model in models
    ]
    columns = [Column("model"), Column(""), Column("date")]
    blocks.append(Table("Every model that came or went", columns, names, folded=True, paged=True))
    return Section("New and vanished", blocks)


def _leaders(board: Leaderboard) -> Table:
    columns = [Column("date"), Column("best model"), Column("average", score), Column(f"mean of {TOP}", score)]
    columns += [Column("median", score), Column("models", count)]
    rows = []
    for date in board.dates:
        scores, first = board.scores(date), [each for each in board.rankings[date] if each.rank == 1]
        names = ", ".join(each.entry.model for each in first)
        rows.append([str(date), names, first[0].average, scores[:TOP].mean(), float(np.median(scores)), len(scores)])
    return Table("The leader of each date", columns, rows)


def _rescored(board: Leaderboard) -> Table | None:
    found = [each for each in board.rescored if each.measure_changed]
    if not found:
        return None
    columns = [Column("date"), Column("benchmark"), Column("models in both", count), Column("changed", count)]
    columns += [Column(title, signed_points) for title in ("median", "lowest", "highest")]
    rows = [
        [str(each.date), each.benchmark.title, each.models, each.changed, each.median, each.lowest, each.highest]
        for each in found
    ]
    note = (
        "Models that are in two snapshots in a row are the same, and yet a fifth of them or more has another score: "
        "the benchmark was measured anew. Across these dates (dotted in the chart) scores do not compare."
    )
    return Table("When the measure changed, and not the models", columns, rows, note)
