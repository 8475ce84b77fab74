"""What a leaderboard's page says of its files: what each gives, and what in them does not hold."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

from core.reporting.formats import count
from core.reporting.frame import Block, Cell, Column, Section, Table, Text
from core.reporting.leaderboard.board import Leaderboard
from core.reporting.leaderboard.entries import Entry
from core.reporting.leaderboard.words import score, signed_points


def flag_section(board: Leaderboard) -> Section:
    """Models that a file marks as contaminated, with when it does first."""
    flagged: dict[tuple[str, str], list[Entry]] = {}
    for entry in board.entries:
        for flag in entry.flags:
            flagged.setdefault((entry.model, flag), []).append(entry)
    if not flagged:
        return Section("Contamination flags", [Text("No file flags a model.", "note")])
    ranks = {each.entry.model: each for each in board.latest}
    columns = [Column("model"), Column("flag"), Column("since"), Column("until"), Column("average", score)]
    columns.append(Column("place", count))
    rows = []
    for (model, flag), entries in flagged.items():
        last = ranks.get(model)
        average = entries[-1].average(board.benchmarks)
        dates = [on(entries[0].date), on(entries[-1].date)]
        rows.append([model, Cell(flag, "bad"), *dates, average, last.rank if last else None])
    note = (
        "As given by the files; a model that is not flagged has not been found clean. Their scores stay in the ranking."
    )
    return Section("Contamination flags", [Table("Flagged models", columns, rows, note)])


def other_section(board: Leaderboard) -> Section | None:
    """Scores of result files on benchmarks that the average is not made of; None where there are none."""
    own = [entry for entry in board.entries if not entry.listed]
    rows = [
        [entry.model, benchmark.name, benchmark.shots, value, on(entry.date)]
        for entry in own
        for benchmark, value in entry.scores.items()
        if benchmark not in board.benchmarks
    ]
    if not rows:
        return None
    columns = [Column("model"), Column("benchmark"), Column("shots", count), Column("score", score), Column("date")]
    note = "Scores of lm-eval's result files and of runs, in percent. They are no part of the averages."
    return Section("Other scores", [Table("Scores on other benchmarks", columns, rows, note, paged=True)])


def file_section(board: Leaderboard) -> Section:
    """A row for each file; averages that disagree, scores that are missing, and models that are there several times."""
    shown = _shortened_places(board)
    columns = [Column("file"), Column("kind"), Column("date"), Column("models", count)]
    columns += [Column("repeated", count, "further rows of its models"), Column("rounded to")]
    rows: list[list[Any]] = []
    for source in board.sources:
        first = source.entries[0]
        date, unit = on(first.date), f"{first.score_unit:f}" if first.score_unit else "–"
        rows.append([shown(str(source.path)), source.kind, date, len(source.entries), len(source.repeated), unit])
    blocks: list[Block] = [_disagreeing(board, shown), *_incomplete(board, shown), *_repeated(board, shown)]
    if notes := [note for source in board.sources for note in source.notes]:
        blocks.append(Table("Left out", [Column("what, and why")], [[note] for note in notes]))
    note = (
        "Of files of one day, the one that rounds least gives a score. leaderboard.parquet has every score; the "
        "charts' data lie beside the page as CSV."
    )
    return Section("The files", [*blocks, Table("Every file", columns, rows, note)])


def on(date: datetime.date) -> Cell:
    """A date, kept on one line."""
    return Cell(str(date), "whole")


def _shortened_places(board: Leaderboard) -> Callable[[str], str]:
    """Shows a place without the directories that all files share."""
    shared = Path(os.path.commonpath([source.path.absolute().parent for source in board.sources]))
    beginnings = {f"{path}/" for source in board.sources for path in source.path.parents if path.absolute() == shared}
    return lambda place: next((place.removeprefix(each) for each in beginnings if place.startswith(each)), place)


def _disagreeing(board: Leaderboard, shown: Callable[[str], str]) -> Block:
    if not board.disagreeing:
        return Text("Every average that is given is, within rounding, the mean of its scores.")
    columns = [Column("model"), Column("date"), Column("given", score), Column("recomputed", score)]
    columns += [Column("difference", signed_points), Column("where")]
    rows = [
        [
            entry.model,
            on(entry.date),
            entry.given_average,
            average,
            (entry.given_average or 0) - average,
            shown(entry.place),
        ]
        for entry, average in board.disagreeing
    ]
    note = (
        "By more than the rounding of the scores and of the average can do. Everywhere else the recomputed one counts."
    )
    return Table("Averages that disagree with their scores", columns, rows, note, paged=True)


def _incomplete(board: Leaderboard, shown: Callable[[str], str]) -> list[Block]:
    rows = [
        [entry.model, on(entry.date), ", ".join(names), shown(entry.place)]
        for entry in board.entries
        if entry.listed and (names := [name.title for name in board.benchmarks if name not in entry.scores])
    ]
    zeros = [
        [entry.model, on(entry.date), ", ".join(names), shown(entry.place)]
        for entry in board.entries
        if entry.listed and (names := [name.title for name, value in entry.scores.items() if value == 0])
    ]
    blocks: list[Block] = []
    if rows:
        columns = [Column("model"), Column("date"), Column("missing"), Column("where")]
        blocks.append(Table("Without all scores", columns, rows, "They have no average and no place.", paged=True))
    if zeros:
        columns = [Column("model"), Column("date"), Column("benchmark"), Column("where")]
        note = "Below what guessing gives: not evaluated, most likely. They count as they are given."
        blocks.append(Table("Scores of exactly 0", columns, zeros, note, paged=True))
    return blocks


def _repeated(board: Leaderboard, shown: Callable[[str], str]) -> list[Block]:
    if not board.repeated:
        return []
    columns = [Column("model"), Column("date"), Column("average", score), Column("of the one that counts", score)]
    columns.append(Column("where"))
    rows = [
        [
            row.model,
            on(row.date),
            row.average(board.benchmarks),
            best.average(board.benchmarks),
            shown(row.place),
        ]
        for row, best in board.repeated
    ]
    per_date = groupby(sorted(row.date for row, _ in board.repeated))
    told = ", ".join(f"{len(list(group))} on {date}" for date, group in per_date)
    note = (
        "The leaderboard lists a model once for each revision and precision that was scored, and these snapshots do "
        f"not say which: {told}. The one with the best average counts."
    )
    return [Table("Further rows of the same models", columns, rows, note, folded=True, paged=True)]
