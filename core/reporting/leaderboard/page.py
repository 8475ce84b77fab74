"""The page of a leaderboard over time, and its story as JSON."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from core.artifacts.atomic import atomic_path, writable
from core.reporting.formats import count
from core.reporting.frame import Card, Page, Section, render
from core.reporting.leaderboard.board import Leaderboard
from core.reporting.leaderboard.claim_section import claim_section, tally
from core.reporting.leaderboard.claims import Claim
from core.reporting.leaderboard.file_section import file_section, flag_section, other_section
from core.reporting.leaderboard.files import tidy_table
from core.reporting.leaderboard.pair_sections import pair_section, size_section
from core.reporting.leaderboard.rank_sections import best_section, ranking_section, total_section
from core.reporting.leaderboard.statistics import Correlation, pairs, pareto_front
from core.reporting.leaderboard.time_sections import time_section, turnover_section
from core.reporting.leaderboard.words import models, points, score

TABLE, PAGE = "leaderboard.parquet", "index.html"


def write_leaderboard(board: Leaderboard, claims: Sequence[Claim], out: Path) -> Page:
    """Writes the table, the page, and each of its charts as SVG and CSV into `out`; all of them are made before.

    Of what was there only files of the same names are replaced. Raises ResourceError where it cannot be written. The
    same files give the same bytes.
    """
    page = leaderboard_page(board, claims)
    files = {f"{chart.name}.svg": chart.svg.encode() for chart in page.charts}
    files |= {f"{chart.name}.csv": chart.csv() for chart in page.charts}
    files[PAGE] = render(page)
    with writable(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        with atomic_path(made / TABLE) as path:
            pq.write_table(tidy_table(board.entries), path)
        with writable(out):
            for name, content in files.items():
                (made / name).write_bytes(content)
            made.chmod(0o755)
            if not out.exists() or (out.is_dir() and not any(out.iterdir())):
                made.replace(out)
                return page
            for name in (TABLE, *files):
                (made / name).replace(out / name)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return page


def leaderboard_page(board: Leaderboard, claims: Sequence[Claim]) -> Page:
    """All that the page says."""
    ranked: list[Section | None] = []
    if board.latest:
        ranked = [
            ranking_section(board),
            best_section(board),
            time_section(board),
            pair_section(board),
            size_section(board),
            claim_section(board, claims) if any(entry.listed for entry in board.entries) else None,
            turnover_section(board),
            total_section(board),
        ]
    sections = [*ranked, other_section(board), flag_section(board), file_section(board)]
    return Page(
        title="Leaderboard",
        kind=_span(board),
        lead=_story(board),
        cards=_cards(board, claims),
        sections=[section for section in sections if section],
        footer=f"Made by raycipe leaderboard from {count(len(board.sources))} files. This page is one file and makes "
        "no request.",
    )


def as_json(board: Leaderboard, claims: Sequence[Claim], page: Page, out: Path) -> dict[str, Any]:
    """What `--json` prints: what was written, and the story in numbers."""
    return {
        "page": str(out / PAGE),
        "table": str(out / TABLE),
        "charts": [chart.name for chart in page.charts],
        "rows": sum(len(entry.scores) for entry in board.entries),
        "benchmarks": [{"name": name.name, "shots": name.shots} for name in board.benchmarks],
        "snapshots": [
            {
                "date": str(date),
                "models": len(board.rankings[date]),
                "best": board.rankings[date][0].entry.model,
                "best_average": float(board.rankings[date][0].average),
                "median_average": float(np.median(board.scores(date))),
            }
            for date in board.dates
        ],
        "top_10": [
            {"rank": each.rank, "model": each.entry.model, "average": float(each.average)} for each in board.latest[:10]
        ],
        "disagreeing_averages": [
            {
                "date": str(entry.date),
                "model": entry.model,
                "given": float(entry.given_average or 0),
                "recomputed": float(average),
                "place": entry.place,
            }
            for entry, average in board.disagreeing
        ],
        "pairs": [
            {
                "first": pair.first.name,
                "second": pair.second.name,
                "trade_off": pair.leaders.falls,
                "leaders": _correlation(pair.leaders),
                "leaders_by_the_other_benchmarks": _correlation(pair.by_others),
                "all": _correlation(pair.all),
            }
            for pair in (pairs(board.latest, board.benchmarks) if board.latest else [])
        ],
        "pareto_front": [
            {
                "model": each.entry.model,
                "parameters": each.entry.parameters.number,
                "parameters_from": each.entry.parameters.origin,
                "average": float(each.average),
            }
            for each in pareto_front(board.latest)
        ],
        "turnover": [
            {
                "date": str(each.date),
                "stayed": each.stayed,
                "new": len(each.new),
                "vanished": len(each.vanished),
                "renamed": [list(pair) for pair in each.renamed],
            }
            for each in board.turnovers
        ],
        "flagged": [
            {"date": str(entry.date), "model": entry.model, "flags": list(entry.flags)}
            for entry in board.entries
            if entry.flags
        ],
        "repeated_rows": len(board.repeated),
        "claims": [
            {"claim": claim.title, "dates": claim.dates, "verdict": claim.verdict, "numbers": claim.numbers}
            for claim in claims
        ],
    }


def _correlation(of: Correlation) -> dict[str, float | int | None]:
    known = not np.isnan(of.value)
    told = {name: getattr(of, name) if known else None for name in ("value", "low", "high")}
    return {**told, "models": of.models}


def _span(board: Leaderboard) -> str:
    dates = board.dates or [entry.date for entry in board.entries]
    if not dates:
        return "leaderboard"
    return f"{dates[0]} to {dates[-1]}" if dates[0] != dates[-1] else str(dates[0])


def _story(board: Leaderboard) -> str:
    """The leaderboard in three sentences."""
    if not board.latest:
        return "No model has a score on every benchmark: there is no ranking."
    best = [each for each in board.latest if each.rank == 1]
    second = next((each for each in board.latest if each.rank > 1), None)
    names = " and ".join(each.entry.model for each in best)
    ahead = f", {points(best[0].average - second.average)} ahead of {second.entry.model}" if second else ""
    lead = "leads" if len(best) == 1 else "lead"
    of = ", ".join(name.name for name in board.benchmarks)
    all_of_them = models(len(board.latest))
    said = f"{names} {lead} {all_of_them} with {score(best[0].average)} percent{ahead}; the mean of {of}."
    if len(board.dates) > 1:
        first, last = board.dates[0], board.dates[-1]
        medians = [float(np.median(board.scores(date))) for date in (first, last)]
        said += (
            f" From {first} to {last}, in {len(board.dates)} snapshots, the best rose from "
            f"{score(board.scores(first)[0])} to {score(board.scores(last)[0])} and the median from "
            f"{score(medians[0])} to {score(medians[1])}."
        )
    return said


def _cards(board: Leaderboard, claims: Sequence[Claim]) -> list[Card]:
    if not board.latest:
        return []
    best = board.latest[0]
    before = score(board.scores(board.dates[0])[0]) if len(board.dates) > 1 else ""
    cards = [Card("Best average", score(best.average), best.entry.model, before=before, wide=True)]
    cards.append(Card("Models", count(len(board.latest)), f"on {board.dates[-1]}"))
    cards.append(Card("Snapshots", count(len(board.dates)), f"since {board.dates[0]}"))
    unknown = sum(each.entry.parameters.number is None for each in board.latest)
    cards.append(Card("Size known", count(len(board.latest) - unknown), f"{count(unknown)} unknown"))
    tested = [claim for claim in claims if claim.verdict != "cannot be tested"]
    if tested:
        rest = [claim for claim in claims if claim.verdict != "reproduced"]
        held = sum(claim.verdict == "reproduced" for claim in tested)
        cards.append(Card("Claims that hold", f"{held} of {len(tested)}", tally(rest)))
    wrong = len(board.disagreeing)
    cards.append(Card("Averages off", count(wrong), "of those given", "bad" if wrong else ""))
    return cards
