"""What a leaderboard's page says of benchmarks together, and of size."""

from __future__ import annotations

from core.reporting.formats import count, short_count
from core.reporting.frame import Block, Cell, Column, Section, Table, Text
from core.reporting.leaderboard.board import Leaderboard, distinct
from core.reporting.leaderboard.pair_charts import correlations, size_and_score, size_classes, trade_offs
from core.reporting.leaderboard.statistics import FEWEST, LEADERS, Correlation, Pair, pairs, pareto_front
from core.reporting.leaderboard.words import coefficient, parameters, score

WHY = (
    "A benchmark pair is a trade-off where models that are higher on one are lower on the other: the whole interval is "
    f"below 0. Only the {LEADERS} leading models are asked, models with the same scores once. Choosing leaders by the "
    "average makes the two scores of each oppose each other even where nothing else does, as a model that is low on "
    "both does not lead; so beside it stand those that lead on the other benchmarks alone."
)


def pair_section(board: Leaderboard) -> Section:
    """Correlations, and the pairs that move against each other among the leaders."""
    of = board.latest
    if len(board.benchmarks) < 2 or len(distinct(of)) < FEWEST:
        few = Text(f"Correlations need two benchmarks and {FEWEST} models with different scores.", "note")
        return Section("Benchmarks together", [few])
    found = pairs(of, board.benchmarks)
    falling = [f"{pair.first.name} and {pair.second.name}" for pair in found if pair.leaders.falls]
    verdict = (
        f"Among the leaders these move against each other: {', '.join(falling)}."
        if falling
        else "Among the leaders no pair certainly moves against each other: every interval reaches above 0."
    )
    blocks: list[Block] = [correlations(of, board.benchmarks), Text(f"{verdict} {WHY}"), trade_offs(found)]
    columns = [Column("pair"), Column("verdict")]
    for title in ("leaders", "by the others", "all"):
        columns += [Column(title, coefficient), Column("from", coefficient, "95 % interval"), Column("to", coefficient)]
    rows = [
        [
            f"{pair.first.name} · {pair.second.name}",
            Cell(_verdict(pair), "bad" if pair.leaders.falls else "quiet"),
            *(cell for each in (pair.leaders, pair.by_others, pair.all) for cell in _cells(each)),
        ]
        for pair in found
    ]
    note = (
        f"Spearman's ρ; the interval by Fisher's z. Leaders: the {found[0].leaders.models} best by the average; by the "
        f"others: by the mean of the other benchmarks; all: {count(found[0].all.models)} models."
    )
    blocks.append(Table("Pairs of benchmarks", columns, rows, note))
    return Section("Benchmarks together", blocks)


def size_section(board: Leaderboard) -> Section:
    """Size against score."""
    of = board.latest
    front = pareto_front(of)
    if not front:
        return Section("Size", [Text("No model's size is known.", "note")])
    columns = [Column("model"), Column("parameters", str, "* read from the name"), Column("average", score)]
    columns += [Column("place", count)]
    rows = [
        [
            each.entry.model,
            Cell(each.entry.parameters.number, text=parameters(each.entry.parameters)),
            each.average,
            each.rank,
        ]
        for each in reversed(front)
    ]
    smallest = short_count(front[0].entry.parameters.number or 0)
    note = f"From {smallest} up. * : read from the model's name. Models that are flagged stand on no front."
    urls = [each.entry.url for each in reversed(front)]
    table = Table("Models that none of their size or smaller beats", columns, rows, note, urls=urls)
    return Section("Size", [size_and_score(of), table, size_classes(of)])


def _cells(of: Correlation) -> list[Cell]:
    return [Cell(of.value), Cell(of.low, "quiet"), Cell(of.high, "quiet")]


def _verdict(pair: Pair) -> str:
    if not pair.leaders.falls:
        return "rise together" if pair.leaders.low > 0 else "not told from none"
    return "against each other" if pair.by_others.falls else "against each other, by choice"
