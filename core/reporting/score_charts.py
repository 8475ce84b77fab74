"""Scores of several models on the same tasks, with their errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from core.reporting.bar_rows import bar_rows, legend_above, note_beside, rows_height, short_name
from core.reporting.charts import SERIES, Canvas, Chart, colour, draw
from core.reporting.formats import decimal, with_error
from core.reporting.run_files import PairedScore, Score

MOST_ROWS = 40
COLUMNS = pa.schema(
    [(name, pa.string()) for name in ("task", "metric", "filter", "model")]
    + [(name, pa.float64()) for name in ("value", "stderr")]
)


def score_bars(models: Sequence[str], scores: Sequence[Score]) -> Chart:
    """A group of bars for each task and metric, a bar for each model, one standard error to each side.

    scores: with values in 0 ... 1, which is where the axis ends.
    """
    found = {(measure(score), score.model): score for score in scores}
    labels = {measure(score): f"{score.task}\n{_metric(score)}" for score in scores}
    names = list(labels)[:MOST_ROWS]
    roles = ["before", *SERIES] if len(models) > 1 else ["accent"]
    if len(models) == 2:
        roles = ["before", "accent"]

    def paint(canvas: Canvas) -> None:
        rows = bar_rows(canvas, [labels[name] for name in names])
        thickness = rows.thickness * 1.25 / len(models)
        for number, model in enumerate(models):
            role = roles[min(number, len(roles) - 1)]
            here = [n for n, name in enumerate(names) if (name, model) in found]
            values = np.array([found[names[n], model].value for n in here])
            errors = np.array([found[names[n], model].stderr or 0.0 for n in here])
            centres = rows.centres[here] + (number - (len(models) - 1) / 2) * thickness
            bars = rows.axes.barh(
                centres, values, height=thickness * 0.88, color=colour(role), label=short_name(model, 20)
            )
            shown = np.where(errors > 0, errors, np.nan)
            rows.axes.errorbar(values, centres, xerr=shown, fmt="none", color=colour("ink"), linewidth=1.2, capsize=3)
            for bar, n, value, error, centre in zip(bars, here, values, errors, centres, strict=True):
                canvas.tip(bar, f"{model}, {names[n]}: {with_error(decimal(value), error or None)}")
                note_beside(rows.axes, decimal(value), value + error, centre)
        rows.axes.set_xticks(np.linspace(0, 1, 6))
        rows.axes.set_xlim(0, 1.16 if canvas.narrow else 1.08)
        legend_above(canvas)

    data = [dict(zip(COLUMNS.names, _row(score), strict=True)) for score in scores]
    return draw(
        "Scores of each model",
        "A bar for each model, grouped by task and metric, with one standard error to each side.",
        pa.Table.from_pylist(data, COLUMNS),
        paint,
        lambda narrow: rows_height(narrow, len(names), len(models), 18 + 22 * len(models), 34 + 22 * len(models)),
    )


def measure(score: Score | PairedScore) -> str:
    """What was measured, in words: task, metric, and the filter where there is one."""
    return f"{score.task} · {_metric(score)}"


def _metric(score: Score | PairedScore) -> str:
    return score.metric if score.filter == "none" else f"{score.metric} ({score.filter})"


def _row(score: Score) -> tuple[str | float | None, ...]:
    return (score.task, score.metric, score.filter, score.model, score.value, score.stderr)
