"""A sweep in charts: every trial's values and score, score against budget, ways to the score, sizes and epochs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from core.reporting.bar_rows import bar_rows, room_for_notes, rows_height, short_name
from core.reporting.charts import Canvas, Chart, colour, draw
from core.reporting.formats import count, decimal, percent, scientific, short_count, with_error
from core.reporting.sweep_files import Sweep, SweepTrial

DARKEST = 0.6  # opacity at which a number can still be read on a cell


def parallel_coordinates(sweep: Sweep) -> Chart:
    """A line for each trial through its values, axis by axis, to its score; the best one stands out."""
    trials = _scored(sweep)
    axes_of = [*sweep.keys, "score"]
    columns = [[_value(trial, key) for trial in trials] for key in axes_of]
    heights = [_heights(column) for column in columns]

    def paint(canvas: Canvas) -> None:
        axes = canvas.figure.add_subplot()
        places = [float(place) for place in range(len(axes_of))]
        for order in (False, True):  # the best above the others
            for number, trial in enumerate(trials):
                if trial.best is order:
                    y = [column[number] for column in heights]
                    (path,) = axes.plot(places, y, color=colour(_role(trial)), linewidth=2.4 if trial.best else 1.2)
                    path.set_alpha(1.0 if trial.best else 0.65)
                    canvas.tip(path, _told(trial))
        for place, column, at in zip(places, columns, heights, strict=True):
            axes.axvline(place, color=colour("rule"), linewidth=1)
            for value, height in _marks(column, at):
                axes.annotate(
                    _short(value), (place, height), (4, 0), textcoords="offset points", va="center", fontsize=11
                )
        axes.set_xticks(places, [_label(key, canvas.narrow) for key in axes_of])
        axes.set_xlim(-0.1, len(axes_of) - 1 + (0.45 if canvas.narrow else 0.3))
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.spines["bottom"].set_visible(False)

    data: dict[str, Any] = {"trial": [trial.trial for trial in trials]}
    data |= {key: [_short(value) for value in column] for key, column in zip(axes_of[:-1], columns, strict=False)}
    data["score"] = [trial.score for trial in trials]
    alt = f"{count(len(trials))} trials, a line for each through its values to its score; the best is the thick one."
    return draw("Parallel coordinates", alt, pa.table(data), paint, lambda narrow: 300)


def score_against_budget(sweep: Sweep) -> Chart:
    """Score over device-hours, with errors; trials that none beats in both are joined: the Pareto front."""
    trials = _scored(sweep)
    front = sorted((trial for trial in trials if trial.pareto), key=lambda trial: trial.device_hours)

    def paint(canvas: Canvas) -> None:
        axes = canvas.figure.add_subplot()
        if len(front) > 1:
            hours, scores = [t.device_hours for t in front], [t.scored for t in front]
            axes.step(hours, scores, where="post", color=colour("muted"), linewidth=1, label="Pareto front")
        for trial in trials:
            mark = {"finished": "o", "stopped": "x"}.get(trial.status, "s")
            axes.errorbar(
                trial.device_hours, trial.scored, yerr=trial.stderr, fmt="none", color=colour("rule"), linewidth=1
            )
            (point,) = axes.plot(trial.device_hours, trial.scored, mark, color=colour(_role(trial)), markersize=7)
            canvas.tip(point, _told(trial))
        if sweep.start is not None:
            dashes = (0, (4, 3))
            axes.axhline(
                sweep.start.score, color=colour("before"), linewidth=1, linestyle=dashes, label=sweep.start.model
            )
        axes.set_xlabel("device-hours")
        axes.set_ylabel("score")
        axes.set_xlim(left=0)
        axes.locator_params(axis="x", nbins=4 if canvas.narrow else 8)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="lower right")

    return draw(
        "Score against budget",
        f"The score of each trial over the GPU-hours, or hours of a CPU worker, that its training took. "
        f"{count(len(front))} trials are on the Pareto front: no other is better in both.",
        pa.table(
            {
                "trial": [trial.trial for trial in trials],
                "device_hours": [trial.device_hours for trial in trials],
                "score": [trial.score for trial in trials],
                "stderr": [trial.stderr for trial in trials],
                "pareto": [trial.pareto for trial in trials],
            }
        ),
        paint,
        lambda narrow: 280 if narrow else 320,
    )


def sweep_curves(sweep: Sweep) -> Chart:
    """The score of each trial at its rungs, over the tokens it was trained on."""
    drawn = [(trial, curve) for trial, curve in zip(sweep.trials, sweep.curves, strict=True) if curve]

    def paint(canvas: Canvas) -> None:
        axes = canvas.figure.add_subplot()
        for trial, curve in sorted(drawn, key=lambda item: item[0].best):
            tokens, scores = [point[1] for point in curve], [point[2] for point in curve]
            width = 2.4 if trial.best else 1.2
            axes.plot(tokens, scores, color=colour(_role(trial)), linewidth=width, marker="o", markersize=4)
            texts = [
                f"trial {trial.trial}, {percent(share)} of its training: {with_error(decimal(score), error)}"
                for share, _, score, error in curve
            ]
            canvas.tips_along(axes, tokens, scores, texts)
        axes.set_xlabel("tokens")
        axes.xaxis.set_major_formatter(lambda value, _: short_count(value))
        axes.locator_params(axis="x", nbins=4 if canvas.narrow else 8)
        axes.set_ylabel("score")

    rows = [
        {"trial": trial.trial, "share": share, "tokens": tokens, "score": score, "stderr": error}
        for trial, curve in drawn
        for share, tokens, score, error in curve
    ]
    alt = (
        "The score of each trial at each rung, over the tokens it was trained on till then; the best is the thick line."
    )
    return draw("Learning curves of trials", alt, pa.Table.from_pylist(rows), paint, lambda narrow: 280)


def score_heatmap(sweep: Sweep, down: str, across: str) -> Chart:
    """The best score for each pair of values of two keys, e.g. data-set size and epochs."""
    trials = [trial for trial in _scored(sweep) if trial.status == "finished"]
    rows, columns = _kinds(trials, down), _kinds(trials, across)
    pick = max if sweep.higher_is_better else min
    cells: dict[tuple[int, int], SweepTrial] = {}
    for trial in trials:
        place = rows.index(_short(trial.values[down])), columns.index(_short(trial.values[across]))
        cells[place] = pick((cells[place], trial) if place in cells else (trial,), key=lambda each: each.scored)
    scores = [trial.scored for trial in cells.values()]
    low, span = min(scores), (max(scores) - min(scores)) or 1.0

    def paint(canvas: Canvas) -> None:
        from matplotlib.patches import Rectangle

        axes = canvas.figure.add_subplot()
        for (row, column), trial in cells.items():
            shade = (trial.scored - low) / span
            cell = Rectangle((column + 0.03, row + 0.03), 0.94, 0.94, linewidth=2 if trial.best else 0)
            cell.set(facecolor=colour("accent"), edgecolor=colour("good"))
            cell.set_alpha(DARKEST * (0.1 + 0.9 * (shade if sweep.higher_is_better else 1 - shade)))
            axes.add_patch(cell)
            canvas.tip(cell, _told(trial))
            noise = " ≈" if trial.tie else ""
            axes.text(column + 0.5, row + 0.5, decimal(trial.scored) + noise, ha="center", va="center")
        axes.set(xlim=(0, len(columns)), ylim=(len(rows), 0))
        axes.grid(visible=False)
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(length=0)
        axes.set_xticks(np.arange(len(columns)) + 0.5, columns)
        axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
        axes.set_xlabel(_name(across))
        axes.set_ylabel(_name(down))

    found = [
        {_name(down): rows[row], _name(across): columns[column], "score": trial.score, "trial": trial.trial}
        for (row, column), trial in sorted(cells.items())
    ]
    title = f"Scores by {_name(down)} and {_name(across)}"
    alt = f"The best score of the trials with each {_name(down)} and {_name(across)}; ≈: not told from the best of all."
    return draw(title, alt, pa.Table.from_pylist(found), paint, lambda narrow: 110 + 46 * len(rows))


def importance_bars(sweep: Sweep) -> Chart:
    """How much of the difference between trials each key explains."""
    names, shares = [_name(key) for key in sweep.importance], np.array(list(sweep.importance.values()))

    def paint(canvas: Canvas) -> None:
        rows = bar_rows(canvas, names, [percent(share) for share in shares])
        rows.bars(shares, 0 * shares, "accent", "")
        rows.axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
        room_for_notes(canvas, rows, float(shares.max(initial=0.01)))

    return draw(
        "Importance of parameters",
        f"The share of each parameter in what a random forest explains of the scores; most: {names[0]}.",
        pa.table({"parameter": list(sweep.importance), "share": shares}),
        paint,
        lambda narrow: rows_height(narrow, len(names), 1),
    )


def varied_pair(sweep: Sweep) -> tuple[str, str] | None:
    """Two keys with few values to set against each other: data-set size and epochs where they are varied."""
    few = [key for key in sweep.keys if 1 < len({_short(trial.values[key]) for trial in sweep.trials}) <= 8]
    few.sort(key=lambda key: (not key.endswith(("size", "epochs")), sweep.keys.index(key)))
    return (few[0], few[1]) if len(few) > 1 else None


def _scored(sweep: Sweep) -> list[SweepTrial]:
    return [trial for trial in sweep.trials if math.isfinite(trial.scored)]


def _role(trial: SweepTrial) -> str:
    if trial.best:
        return "good"
    return "series-2" if trial.tie else "accent" if trial.status == "finished" else "before"


def _value(trial: SweepTrial, key: str) -> Any:
    return trial.scored if key == "score" else trial.values[key]


def _heights(column: Sequence[Any]) -> list[float]:
    """Where each value stands on its axis, 0 to 1: numbers by size, the others in the order they come."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in column):
        scale: Callable[[float], float] = math.log if min(column) > 0 and max(column) >= 10 * min(column) else float
        low, high = scale(min(column)), scale(max(column))
        return [(scale(value) - low) / (high - low) if high > low else 0.5 for value in column]
    kinds = list(dict.fromkeys(map(_short, column)))
    return [kinds.index(_short(value)) / max(1, len(kinds) - 1) for value in column]


def _marks(column: Sequence[Any], heights: Sequence[float]) -> list[tuple[Any, float]]:
    """Values to write beside an axis: all where they are few, else the ends."""
    by_height = {round(height, 6): value for value, height in zip(column, heights, strict=True)}
    if len(by_height) > 5:
        by_height = {height: by_height[height] for height in (min(by_height), max(by_height))}
    return [(value, height) for height, value in by_height.items()]


def _kinds(trials: Sequence[SweepTrial], key: str) -> list[str]:
    values = {_short(trial.values[key]): trial.values[key] for trial in trials}
    numbers = all(isinstance(value, int | float) for value in values.values())
    return sorted(values, key=lambda text: values[text]) if numbers else list(values)


def _short(value: Any) -> str:
    if isinstance(value, float):
        return scientific(value) if value and abs(value) < 0.01 else f"{value:.4g}"
    return short_name(str(value), 24)


def _label(key: str, narrow: bool) -> str:
    return short_name(_name(key), 12 if narrow else 24).replace("_", "_\u200b")


def _name(key: str) -> str:
    return key.rsplit(".", 1)[-1]


def _told(trial: SweepTrial) -> str:
    tried = ", ".join(f"{_name(key)} {_short(value)}" for key, value in trial.values.items())
    scored = "no score" if trial.score is None else with_error(decimal(trial.score), trial.stderr)
    return f"trial {trial.trial}, {trial.status}: {scored} ({tried})"
