"""How benchmarks go together, and scores with size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from core.reporting.bar_rows import bar_rows, legend_above, rows_height
from core.reporting.charts import Canvas, Chart, colour, draw
from core.reporting.formats import count, short_count
from core.reporting.leaderboard.board import Ranked, distinct
from core.reporting.leaderboard.entries import Benchmark
from core.reporting.leaderboard.rank_charts import tail
from core.reporting.leaderboard.size_claims import by_size
from core.reporting.leaderboard.statistics import LEADERS, Correlation, Pair, correlation, pareto_front
from core.reporting.leaderboard.words import coefficient, interval, score

DARKEST = 0.6  # opacity at which a number can still be read on it, light or dark


def correlations(of: Sequence[Ranked], benchmarks: Sequence[Benchmark]) -> Chart:
    """Every benchmark with every other, and with the size where it is known, as a square of Spearman's ρ."""
    models = distinct(of)
    columns = {name.name: np.array([float(each.entry.scores[name]) for each in models]) for name in benchmarks}
    columns["parameters"] = np.array([each.entry.parameters.number or np.nan for each in models], float)
    if np.isfinite(columns["parameters"]).sum() < 8:
        del columns["parameters"]
    names = list(columns)
    found = {}
    for one, other in np.ndindex(len(names), len(names)):
        first, second = columns[names[one]], columns[names[other]]
        known = np.isfinite(first) & np.isfinite(second)
        found[one, other] = correlation(first[known], second[known])

    def paint(canvas: Canvas) -> None:
        from matplotlib.patches import Rectangle

        axes = canvas.figure.add_subplot()
        for (row, column), each in found.items():
            if row != column and np.isfinite(each.value):
                cell = Rectangle((column + 0.03, row + 0.03), 0.94, 0.94, linewidth=0)
                role = "accent" if each.value >= 0 else "bad"
                cell.set(facecolor=colour(role), alpha=DARKEST * (0.05 + 0.95 * abs(each.value)))
                axes.add_patch(cell)
                canvas.tip(cell, f"{names[row]}, {names[column]}: {interval(each)}, {count(each.models)} models")
            text = "·" if row == column else coefficient(each.value)
            axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=11 if canvas.narrow else 13)
        axes.set(xlim=(0, len(names)), ylim=(len(names), 0))
        axes.grid(visible=False)
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(length=0, labelcolor=colour("ink"))
        axes.xaxis.tick_top()
        centres = np.arange(len(names)) + 0.5
        upright = canvas.narrow or len(names) > 6
        axes.set_xticks(centres, names, rotation=40 if upright else 0)
        if upright:
            for label in axes.get_xticklabels():
                label.set(ha="left", rotation_mode="anchor")
        axes.set_yticks(centres, names)

    rows = [
        {"first": names[one], "second": names[other], **_columns(each)}
        for (one, other), each in found.items()
        if one < other
    ]
    alt = f"Spearman's rank correlation of every two benchmarks over {count(len(models))} models with different scores."
    return draw(
        "Correlation between benchmarks",
        alt,
        pa.Table.from_pylist(rows),
        paint,
        lambda narrow: 40 + (54 if narrow else 52) * len(names) + (60 if narrow else 0),
    )


def _columns(of: Correlation) -> dict[str, float]:
    return {"correlation": of.value, "low": of.low, "high": of.high, "models": of.models}


def trade_offs(of: Sequence[Pair]) -> Chart:
    """Each pair's correlation with its interval: leaders, leaders by the other benchmarks, all."""
    kinds = (
        ("leaders", f"the {LEADERS} leaders", "accent", "o"),
        ("by_others", "leaders by the other benchmarks", "series-2", "s"),
        ("all", "all models", "before", "D"),
    )

    def paint(canvas: Canvas) -> None:
        rows = bar_rows(canvas, [f"{pair.first.name} · {pair.second.name}" for pair in of])
        rows.axes.axvline(0, color=colour("muted"), linewidth=1)
        for number, (kind, label, role, mark) in enumerate(kinds):
            part = rows.part(number, len(kinds))
            shown = [getattr(pair, kind) for pair in of]
            values, lows, highs = (np.array([getattr(each, end) for each in shown]) for end in ("value", "low", "high"))
            rows.axes.hlines(part.centres, lows, highs, color=colour(role), linewidth=2)
            there = np.isfinite(values)
            if there.any():
                (marks,) = rows.axes.plot(
                    values[there], part.centres[there], mark, markersize=6, color=colour(role), label=label
                )
                canvas.tip(
                    marks,
                    *(
                        f"{pair.first.name} and {pair.second.name}, {label}: {interval(each)}"
                        for pair, each in zip(of, shown, strict=True)
                        if np.isfinite(each.value)
                    ),
                )
        rows.axes.set_xlim(-1, 1)
        rows.axes.set_xticks(np.linspace(-1, 1, 5))
        rows.axes.xaxis.set_major_formatter(lambda value, _: coefficient(value) if value else "0")
        canvas.figure.legend(loc="outside upper left", ncols=1 if canvas.narrow else 3, handlelength=0.9, borderpad=0)

    falling = [f"{pair.first.name} and {pair.second.name}" for pair in of if pair.leaders.falls]
    found = f"Below 0 with their whole interval: {', '.join(falling)}." if falling else "No interval is wholly below 0."
    data = [
        {"first": pair.first.title, "second": pair.second.title, "among": label, **_columns(getattr(pair, kind))}
        for pair in of
        for kind, label, _, _ in kinds
    ]
    return draw(
        "Trade-offs among the leading models",
        f"Spearman's rank correlation of every two benchmarks with its 95 % interval. {found}",
        pa.Table.from_pylist(data),
        paint,
        lambda narrow: rows_height(narrow, len(of), 1, 44, 62) + (66 if narrow else 24),
    )


def size_and_score(of: Sequence[Ranked]) -> Chart:
    """Every model of known size, those whose size is from the name as rings, and the front that none beats."""
    sized = [each for each in of if each.entry.parameters.number]
    front = pareto_front(of)

    def paint(canvas: Canvas) -> None:
        axes = canvas.figure.add_subplot()
        for origin, label in (("name", "size read from the name"), ("file", "size from a file")):
            points = {
                (each.entry.parameters.number, round(float(each.average), 1))
                for each in sized
                if each.entry.parameters.origin == origin
            }
            if points:
                x, y = np.array(sorted(points), float).T
                fill = "none" if origin == "name" else colour("series-1")
                axes.plot(
                    x,
                    y,
                    "o",
                    markersize=4,
                    alpha=0.55,
                    markeredgecolor=colour("series-1"),
                    markerfacecolor=fill,
                    label=label,
                )
        x = np.array([each.entry.parameters.number for each in front], float)
        y = np.array([float(each.average) for each in front])
        axes.step(x, y, where="post", color=colour("series-2"), linewidth=2, label="Pareto front")
        (marks,) = axes.plot(x, y, "o", markersize=7, color=colour("series-2"))
        canvas.tip(
            marks,
            *(
                f"{each.entry.model}: {score(each.average)} with {short_count(each.entry.parameters.number or 0)}"
                for each in front
            ),
        )
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: short_count(value))
        axes.xaxis.set_minor_formatter(lambda *_: "")
        axes.set(xlabel="parameters", ylabel="average, percent")
        bottom, top = axes.get_ylim()
        axes.set_ylim(bottom, top + 0.05 * (top - bottom))
        if not canvas.narrow:
            _name_front(canvas, front)
        legend_above(canvas)

    unknown = len(of) - len(sized)
    alt = (
        f"{count(len(sized))} models of known size, from the smallest to the largest; {len(front)} are beaten by none "
        f"of their size or smaller. The size of {count(unknown)} is not known."
    )
    names = {id(each) for each in front}
    data = {
        "model": [each.entry.model for each in sized],
        "parameters": [each.entry.parameters.number for each in sized],
        "parameters_from": [each.entry.parameters.origin for each in sized],
        "average": [float(each.average) for each in sized],
        "on the Pareto front": [id(each) in names for each in sized],
    }
    return draw("Size against score", alt, pa.table(data), paint, lambda narrow: 380 if narrow else 430)


def _name_front(canvas: Canvas, front: Sequence[Ranked]) -> None:
    """Names the models on the front that have room above them, from the largest on."""
    axes = canvas.figure.axes[0]
    taken: list[tuple[float, float]] = []
    for each in reversed(front):
        where = axes.transData.transform((float(each.entry.parameters.number or 1), float(each.average)))
        if all(abs(where[0] - x) > 215 or abs(where[1] - y) > 17 for x, y in taken):
            taken.append((where[0], where[1]))
            at_edge = where[0] < axes.bbox.x0 + 150
            axes.annotate(
                tail(each.entry.model),
                (float(each.entry.parameters.number or 1), float(each.average)),
                (0 if at_edge else -7, 6),
                textcoords="offset points",
                ha="left" if at_edge else "right",
                fontsize=10.5,
                color=colour("ink"),
            )


def size_classes(of: Sequence[Ranked]) -> Chart:
    """The middle half, the median and the best of each size class."""
    classes = by_size(of)
    values = [np.array([float(each.average) for each in inside]) for inside in classes.values()]

    def paint(canvas: Canvas) -> None:
        notes = [f"{count(len(each))} models" for each in values]
        rows = bar_rows(canvas, list(classes), notes, [float(each.max()) for each in values])
        quarters = np.array([np.quantile(each, [0.25, 0.5, 0.75]) for each in values])
        bars = rows.bars(quarters[:, 2] - quarters[:, 0], quarters[:, 0], "ghost", "middle half")
        for bar, name, (low, middle, high) in zip(bars, classes, quarters, strict=True):
            canvas.tip(bar, f"{name}: middle half {score(low)} to {score(high)}, median {score(middle)}")
        rows.axes.plot(quarters[:, 1], rows.centres, "|", markersize=17, markeredgewidth=2.5, color=colour("accent"),
                       label="median")  # fmt: skip
        best = [max(inside, key=lambda each: each.average) for inside in classes.values()]
        (marks,) = rows.axes.plot(
            [float(each.average) for each in best],
            rows.centres,
            "D",
            markersize=7,
            color=colour("series-2"),
            label="best",
        )
        canvas.tip(marks, *(f"best: {each.entry.model} {score(each.average)}" for each in best))
        low, high = min(each.min() for each in quarters), max(float(each.average) for each in best)
        rows.axes.set_xlim(low - 0.05 * (high - low + 1), high + (0.04 if canvas.narrow else 0.16) * (high - low + 1))
        legend_above(canvas)

    data = {
        "size": list(classes),
        "models": [len(each) for each in values],
        "median": [float(np.median(each)) for each in values],
        "best": [float(each.max()) for each in values],
    }
    alt = "Averages by size class: the middle half of the models, their median, and the best."
    return draw(
        "Scores by size", alt, pa.table(data), paint, lambda narrow: rows_height(narrow, len(classes), 3, 34, 50)
    )
