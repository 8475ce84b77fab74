"""A leaderboard over its dates: scores, how close the leaders are, and who came and went."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from core.reporting.bar_rows import legend_above
from core.reporting.charts import Canvas, Chart, colour, draw
from core.reporting.formats import count
from core.reporting.leaderboard.board import Leaderboard, Numbers
from core.reporting.leaderboard.claims import LLAMA_2, TOP
from core.reporting.leaderboard.entries import Benchmark
from core.reporting.leaderboard.statistics import LEADERS, Correlation
from core.reporting.leaderboard.words import interval, score

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def score_over_time(board: Leaderboard, benchmark: Benchmark | None) -> Chart:
    """The best, the mean of the best 10 and 40, and the median of all, at each date. None: of the average."""
    name = benchmark.title if benchmark else "Average"
    scores = {date: board.scores(date, benchmark) for date in board.dates}
    lines = {
        "best": [float(of[0]) for of in scores.values()],
        f"mean of the {TOP} best": [float(of[:TOP].mean()) for of in scores.values()],
        f"mean of the {LEADERS} best": [float(of[:LEADERS].mean()) for of in scores.values()],
        "median of all": [float(np.median(of)) for of in scores.values()],
    }
    changed = [
        each.date
        for each in board.rescored
        if each.measure_changed and (benchmark is None or each.benchmark == benchmark)
    ]
    firsts = [_first(board, date, benchmark) for date in board.dates]

    def paint(canvas: Canvas) -> None:
        axes = canvas.figure.add_subplot()
        for (label, values), role in zip(lines.items(), ("accent", "series-2", "series-3", "before"), strict=True):
            axes.plot(_days(board.dates), values, "-o", markersize=4, color=colour(role), label=label)
            texts = [
                f"{date}: {label} {score(value)}" + (f", {first}" if label == "best" else "")
                for date, value, first in zip(board.dates, values, firsts, strict=True)
            ]
            canvas.tips_along(axes, _days(board.dates), values, texts)
        bottom, top = min(map(min, lines.values())), max(map(max, lines.values()))
        axes.set_ylim(bottom - 0.06 * (top - bottom or 1), top + 0.2 * (top - bottom or 1))
        for date in dict.fromkeys(changed):
            axes.axvline(_day(date), color=colour("muted"), linewidth=1, linestyle=(0, (1, 3)))
        _mark_llama_2(axes, board.dates)
        axes.set_ylabel("percent")
        date_axis(canvas, axes, board.dates)
        legend_above(canvas)

    last = board.dates[-1]
    alt = (
        f"{name}, from {board.dates[0]} to {last}: the best model from {score(lines['best'][0])} to "
        f"{score(lines['best'][-1])}, the median of all from {score(lines['median of all'][0])} to "
        f"{score(lines['median of all'][-1])}."
    )
    if changed:
        alt += f" Dotted: {', '.join(map(str, dict.fromkeys(changed)))}, when the measure itself changed."
    data = {"date": board.dates, "models": [len(of) for of in scores.values()], "best model": firsts, **lines}
    title = f"Score over time: {name}"
    return draw(title, alt, pa.table(data), paint, lambda narrow: 320 if narrow else 360)


def spread_over_time(board: Leaderboard) -> Chart:
    """How far apart the leaders' averages are, at each date."""
    deviations = {
        f"the {top} best": [float(np.std(board.scores(date)[:top], ddof=1)) for date in board.dates]
        for top in (TOP, LEADERS)
        if min(len(board.rankings[date]) for date in board.dates) >= 3
    }

    def paint(canvas: Canvas) -> None:
        axes = canvas.figure.add_subplot()
        for (label, values), role in zip(deviations.items(), ("accent", "series-2"), strict=False):
            axes.plot(_days(board.dates), values, "-o", markersize=4, color=colour(role), label=label)
            texts = [f"{date}, {label}: {score(value)}" for date, value in zip(board.dates, values, strict=True)]
            canvas.tips_along(axes, _days(board.dates), values, texts)
        axes.set_ylim(0, 1.15 * max([1e-9, *(value for values in deviations.values() for value in values)]))
        _mark_llama_2(axes, board.dates)
        axes.set_ylabel("standard deviation, points")
        date_axis(canvas, axes, board.dates)
        legend_above(canvas)

    alt = "Standard deviation of the leading models' averages at each date."
    data = {"date": board.dates, **deviations}
    return draw("How far apart the leaders are", alt, pa.table(data), paint, lambda narrow: 260 if narrow else 270)


def turnover(board: Leaderboard) -> Chart:
    """Models that stayed and came, above the line, and that went, below it, at each date."""
    found = board.turnovers
    places = np.arange(len(found))

    def paint(canvas: Canvas) -> None:
        axes = canvas.figure.add_subplot()
        stayed = np.array([each.stayed for each in found])
        amounts = {
            "stayed": ("before", stayed, 0 * stayed),
            "new": ("accent", np.array([len(each.new) for each in found]), stayed),
            "vanished": ("series-8", -np.array([len(each.vanished) for each in found]), 0 * stayed),
        }
        for label, (role, heights, bottoms) in amounts.items():
            bars = axes.bar(places, heights, bottom=bottoms, width=0.7, color=colour(role), label=label)
            for bar, height, each in zip(bars, heights, found, strict=True):
                canvas.tip(bar, f"{each.date}: {count(abs(int(height)))} {label}")
        axes.axhline(0, color=colour("muted"), linewidth=0.8)
        axes.grid(axis="x", visible=False)
        every = -(-len(found) // (5 if canvas.narrow else 15))
        axes.set_xticks(places[::every], [f"{each.date:%m-%d}" for each in found][::every])
        axes.yaxis.set_major_formatter(lambda value, _: count(abs(value)))
        axes.set_ylabel("models")
        legend_above(canvas)

    data = {
        "date": [each.date for each in found],
        "stayed": [each.stayed for each in found],
        "new": [len(each.new) for each in found],
        "vanished": [len(each.vanished) for each in found],
        "renamed": [len(each.renamed) for each in found],
    }
    new, gone = (sum(len(names) for names in kind) for kind in ([e.new for e in found], [e.vanished for e in found]))
    alt = f"From one snapshot to the next {count(new)} models came and {count(gone)} went, in {len(found)} steps."
    return draw("New and vanished models", alt, pa.table(data), paint, lambda narrow: 280 if narrow else 300)


def correlation_over_time(names: tuple[str, str], found: dict[datetime.date, tuple[Correlation, Correlation]]) -> Chart:
    """Of two benchmarks, among the leaders with the interval, and among all."""
    dates = list(found)

    def paint(canvas: Canvas) -> None:
        axes = canvas.figure.add_subplot()
        for number, (role, label) in enumerate((("accent", f"the {LEADERS} leaders"), ("before", "all models"))):
            of = [pair[number] for pair in found.values()]
            values = np.array([each.value for each in of])
            axes.plot(_days(dates), values, "-o", markersize=4, color=colour(role), label=label)
            if number == 0:
                lows, highs = (np.array([getattr(each, end) for each in of]) for end in ("low", "high"))
                axes.fill_between(_days(dates), lows, highs, color=colour(role), alpha=0.15, linewidth=0)
            texts = [f"{date}, {label}: {interval(each)}" for date, each in zip(dates, of, strict=True)]
            canvas.tips_along(axes, _days(dates), values, texts)
        axes.axhline(0, color=colour("muted"), linewidth=0.9)
        axes.set_ylim(-1, 1)
        axes.set_ylabel("rank correlation")
        date_axis(canvas, axes, dates)
        legend_above(canvas)

    columns: dict[str, list[object]] = {"date": list(dates)}
    for number, label in enumerate(("leaders", "all")):
        for end in ("value", "low", "high", "models"):
            columns[f"{label} {end}"] = [getattr(pair[number], end) for pair in found.values()]
    one, other = names
    alt = f"Rank correlation of {one} and {other} at each date, shaded its 95 % interval among the leaders."
    return draw(
        f"{other} against {one} over time", alt, pa.table(columns), paint, lambda narrow: 290 if narrow else 300
    )


def date_axis(canvas: Canvas, axes: Axes, dates: Sequence[datetime.date]) -> None:
    """Labels each date that has room, the last one always."""
    days = _days(dates)
    room = (days[-1] - days[0]) / (4 if canvas.narrow else 11)
    shown = [len(days) - 1]
    for place in range(len(days) - 2, -1, -1):
        if days[shown[-1]] - days[place] >= room:
            shown.append(place)
    # matplotlib's own unit for dates is a day, from 1970.
    axes.set_xticks(days[shown], [f"{dates[place]:%m-%d}\n{dates[place]:%Y}" for place in shown])
    axes.grid(axis="x", visible=False)


def _first(board: Leaderboard, date: datetime.date, benchmark: Benchmark | None) -> str:
    of = board.rankings[date]
    best = max(of, key=lambda each: each.average if benchmark is None else each.entry.scores[benchmark])
    return best.entry.model


def _mark_llama_2(axes: Axes, dates: Sequence[datetime.date]) -> None:
    if not dates[0] < LLAMA_2 < dates[-1]:
        return
    axes.axvline(_day(LLAMA_2), color=colour("muted"), linewidth=1)
    axes.annotate(
        "Llama 2",
        (_day(LLAMA_2), 1),
        (0, -3),
        xycoords=axes.get_xaxis_transform(),
        textcoords="offset points",
        va="top",
        ha="center",
        fontsize=11,
        color=colour("muted"),
        bbox={"facecolor": colour("paper"), "edgecolor": "none", "pad": 1.5},
    )


def _day(date: datetime.date) -> float:
    return float((date - datetime.date(1970, 1, 1)).days)


def _days(dates: Sequence[datetime.date]) -> Numbers:
    return np.array([_day(date) for date in dates])
