"""A leaderboard at one date: ranking bars, the ten best, the radar of the five best, and all models by rank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import pyarrow as pa

from core.reporting.bar_rows import bar_rows, legend_above, note_beside, rows_height, short_name
from core.reporting.charts import SERIES, Canvas, Chart, colour, draw
from core.reporting.formats import count
from core.reporting.leaderboard.board import Numbers, Ranked
from core.reporting.leaderboard.entries import Benchmark
from core.reporting.leaderboard.statistics import LEADERS, spread_out
from core.reporting.leaderboard.words import score

if TYPE_CHECKING:
    from matplotlib.projections.polar import PolarAxes

BARS, TOP, ON_RADAR = 20, 10, 5
WINDOW = 41  # models, of a running median


def ranking(of: Sequence[Ranked], benchmarks: Sequence[Benchmark], benchmark: Benchmark | None) -> Chart:
    """A bar for each of the best. None: of the average, each bar put together from what the benchmarks add to it."""
    name = benchmark.title if benchmark else "Average"

    def value(each: Ranked) -> float:
        return float(each.average if benchmark is None else each.entry.scores[benchmark])

    best = sorted(of, key=value, reverse=True)[:BARS]
    values = np.array([value(each) for each in best])

    def paint(canvas: Canvas) -> None:
        rows = bar_rows(canvas, [tail(each.entry.model) for each in best], [score(each) for each in values], values)
        starts = np.zeros(len(best))
        parts = benchmarks if benchmark is None else [benchmark]
        for number, part in enumerate(parts):
            widths = np.array([float(each.entry.scores[part]) for each in best]) / len(parts)
            role = SERIES[number % len(SERIES)] if benchmark is None else "accent"
            bars = rows.bars(widths, starts, role, part.name)
            for bar, each in zip(bars, best, strict=True):
                canvas.tip(bar, f"{each.entry.model}, {part.title}: {score(each.entry.scores[part])}")
            starts = starts + widths
        rows.axes.set_xlim(0, max(values) * (1.0 if canvas.narrow else 1.1))
        if benchmark is None:
            legend_above(canvas)

    alt = f"The {len(best)} best models by {name}, from {score(values[0])} to {score(values[-1])}."
    if benchmark is None:
        alt += " Each bar is put together from what each benchmark adds to the average."
    data = {"model": [each.entry.model for each in best], name: values.tolist()}
    legend = len(benchmarks) if benchmark is None else 1
    return draw(
        f"Ranking: {name}", alt, pa.table(data), paint, lambda narrow: rows_height(narrow, len(best), legend, 27, 46)
    )


def top_ten(of: Sequence[Ranked], benchmarks: Sequence[Benchmark]) -> Chart:
    """Every score of the best models, as marks on a line of their own."""
    best = of[:TOP]

    def paint(canvas: Canvas) -> None:
        rows = bar_rows(canvas, [tail(each.entry.model) for each in best], [score(each.average) for each in best])
        for centre, each in zip(rows.centres, best, strict=True):
            ends = [float(each.entry.scores[name]) for name in benchmarks]
            rows.axes.plot([min(ends), max(ends)], [centre, centre], color=colour("rule"), linewidth=2, zorder=1)
        for number, name in enumerate(benchmarks):
            scores = [float(each.entry.scores[name]) for each in best]
            (marks,) = rows.axes.plot(
                scores, rows.centres, "o", markersize=8, color=colour(SERIES[number % len(SERIES)]), label=name.name
            )
            canvas.tip(marks, *(f"{each.entry.model}, {name.title}: {score(each.entry.scores[name])}" for each in best))
        averages = [float(each.average) for each in best]
        (marks,) = rows.axes.plot(averages, rows.centres, "D", markersize=8, color=colour("ink"), label="average")
        canvas.tip(marks, *(f"{each.entry.model}, average: {score(each.average)}" for each in best))
        if not canvas.narrow:
            for centre, each in zip(rows.centres, best, strict=True):
                note_beside(rows.axes, score(each.average), max(map(float, each.entry.scores.values())), centre)
        low, high = rows.axes.get_xlim()
        rows.axes.set_xlim(low, high + (0 if canvas.narrow else 0.08) * (high - low))
        legend_above(canvas)

    alt = f"Each benchmark's score and the average of the {len(best)} best models; the number is the average."
    data: dict[str, list[object]] = {"rank": [each.rank for each in best], "model": [each.entry.model for each in best]}
    data |= {name.title: [float(each.entry.scores[name]) for each in best] for name in benchmarks}
    data["average"] = [float(each.average) for each in best]
    return draw(
        "Top 10", alt, pa.table(data), paint, lambda narrow: rows_height(narrow, len(best), len(benchmarks) + 1, 32, 48)
    )


def scaled(of: Sequence[Ranked], benchmarks: Sequence[Benchmark], top: int = ON_RADAR) -> Numbers:
    """The best models' scores, (top, benchmarks), from 1 at the lowest of the leaders to 5 at their highest."""
    scores = np.array([[float(each.entry.scores[name]) for name in benchmarks] for each in of[:LEADERS]])
    return spread_out(scores[:top], scores)


def radar(of: Sequence[Ranked], benchmarks: Sequence[Benchmark]) -> Chart:
    """The five best, each benchmark scaled as in `scaled`."""
    best = of[:ON_RADAR]
    values = scaled(of, benchmarks)
    angles = np.linspace(0, 2 * np.pi, len(benchmarks), endpoint=False)
    around = np.append(angles, angles[0])
    leaders = min(LEADERS, len(of))

    def paint(canvas: Canvas) -> None:
        axes = cast("PolarAxes", canvas.figure.add_subplot(projection="polar"))
        turned = np.pi / len(benchmarks) if canvas.narrow else 0.0  # names beside the circle would leave it no room
        axes.set_theta_offset(np.pi / 2 + turned)
        axes.set_theta_direction(-1)
        for number, (each, row) in enumerate(zip(best, values, strict=True)):
            role = colour(SERIES[number])
            name = short_name(tail(each.entry.model), 34)
            axes.plot(around, np.append(row, row[0]), color=role, linewidth=2, label=name, clip_on=False)
            (marks,) = axes.plot(angles, row, "o", markersize=6, color=role, clip_on=False)
            texts = [
                f"{each.entry.model}, {name.title}: {score(each.entry.scores[name])}, scaled {value:.2f}"
                for name, value in zip(benchmarks, row, strict=True)
            ]
            canvas.tip(marks, *texts)
        axes.set_ylim(0, 5)
        axes.set_yticks([1, 2, 3, 4, 5], ["1", "2", "3", "4", "5"], fontsize=10)
        axes.set_rlabel_position(180 / len(benchmarks) + (90 if canvas.narrow else 0))
        axes.set_xticks(angles, [name.name for name in benchmarks])
        axes.tick_params(axis="x", labelcolor=colour("ink"), pad=10)
        for label, angle in zip(axes.get_xticklabels(), angles, strict=True):
            across = np.sin(angle - turned)  # of a label beside the circle the near end touches it, not the middle
            label.set_horizontalalignment("left" if across > 0.1 else "right" if across < -0.1 else "center")
        axes.spines["polar"].set_visible(False)
        axes.grid(visible=True)
        handles, labels = axes.get_legend_handles_labels()
        where = "outside lower left" if canvas.narrow else "outside center right"
        canvas.figure.legend(handles, labels, loc=where, handlelength=1.2, borderaxespad=0.2)

    alt = (
        f"The {len(best)} best models; each benchmark runs from 1, the lowest of the {leaders} best, to 5, their "
        "highest. The raw scores are in the table below."
    )
    data: dict[str, list[object]] = {"model": [each.entry.model for each in best]}
    for column, name in enumerate(benchmarks):
        data[name.title] = [float(each.entry.scores[name]) for each in best]
        data[f"{name.title}, scaled"] = values[:, column].tolist()
    return draw("Radar of the top 5", alt, pa.table(data), paint, lambda narrow: 460 if narrow else 380)


def total_plot(of: Sequence[Ranked], benchmarks: Sequence[Benchmark]) -> Chart:
    """Every model by rank: its average, and of each benchmark the scores as they are and their running median."""
    places = np.arange(1, len(of) + 1)

    def paint(canvas: Canvas) -> None:
        axes = canvas.figure.add_subplot()
        for number, name in enumerate(benchmarks):
            values, role = np.array([float(each.entry.scores[name]) for each in of]), SERIES[number % len(SERIES)]
            axes.plot(places, values, color=colour(role), linewidth=0.7, alpha=0.35)
            axes.plot(places, running_median(values, WINDOW), color=colour(role), label=name.name)
        averages = np.array([float(each.average) for each in of])
        axes.plot(places, averages, color=colour("ink"), linewidth=2.2, label="average")
        some = np.unique(np.linspace(0, len(of) - 1, 60).astype(int))
        texts = [f"number {of[n].rank}, {of[n].entry.model}: average {score(of[n].average)}" for n in some]
        canvas.tips_along(axes, places[some], averages[some], texts)
        axes.set_xlim(1, max(2, len(of)))
        axes.xaxis.set_major_formatter(lambda value, _: count(value))
        axes.locator_params(axis="x", nbins=5 if canvas.narrow else 9, integer=True)
        axes.set(xlabel="place", ylabel="percent")
        legend_above(canvas)

    alt = (
        f"All {count(len(of))} models from the best on the left: their average, and each benchmark's scores, thin, "
        f"with the running median of {WINDOW} models."
    )
    data: dict[str, list[object]] = {"rank": [each.rank for each in of], "model": [each.entry.model for each in of]}
    data["average"] = [float(each.average) for each in of]
    data |= {name.title: [float(each.entry.scores[name]) for each in of] for name in benchmarks}
    return draw("Total plot", alt, pa.table(data), paint, lambda narrow: 360 if narrow else 400)


def running_median(values: Numbers, window: int) -> Numbers:
    """The median of each value and its neighbours, fewer of them at the ends."""
    half = window // 2
    return np.array([np.median(values[max(0, n - half) : n + half + 1]) for n in range(len(values))])


def tail(model: str) -> str:
    """A model's name without its owner."""
    return model.rsplit("/", 1)[-1] or model
