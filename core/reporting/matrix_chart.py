"""How much of each source repeats which: a square of numbers, the darker the more."""

from __future__ import annotations

import numpy as np

from core.reporting.bar_rows import bar_rows, room_for_notes, rows_height, short_name
from core.reporting.charts import Canvas, Chart, colour, draw
from core.reporting.curation_charts import MOST_SOURCES, long_table
from core.reporting.curation_files import Duplicates
from core.reporting.formats import count, short_count

DARKEST = 0.6  # opacity at which a number can still be read on it, light or dark
MOST_PAIRS = 12  # on a phone, where a square has no room


def duplication_matrix(duplicates: Duplicates) -> Chart:
    """Removed documents by their own source and by that of the document that stands for them."""
    sources, step = duplicates.sources, duplicates.step
    whole = np.array(duplicates.matrix, np.int64).reshape(len(sources), len(sources))
    involved = whole.sum(0) + whole.sum(1)
    order = np.sort(np.argsort(-involved, kind="stable")[:MOST_SOURCES])
    matrix, names = whole[np.ix_(order, order)], [sources[n] for n in order]
    shades = np.log1p(matrix) / max(1.0, np.log1p(matrix.max(initial=0)))
    pairs = sorted(np.argwhere(whole).tolist(), key=lambda pair: -whole[tuple(pair)])[:MOST_PAIRS]

    def tip(row: int, column: int) -> str:
        return f"{count(whole[row, column])} documents of {sources[row]} repeat one of {sources[column]}"

    def paint_square(canvas: Canvas) -> None:
        from matplotlib.patches import Rectangle

        axes = canvas.figure.add_subplot()
        size = len(names)
        for row, column in np.argwhere(matrix).tolist():
            cell = Rectangle((column + 0.03, row + 0.03), 0.94, 0.94, linewidth=0)
            cell.set(facecolor=colour("accent"), alpha=DARKEST * (0.12 + 0.88 * shades[row, column]))
            axes.add_patch(cell)
            canvas.tip(cell, tip(int(order[row]), int(order[column])))
        for row, column in np.ndindex(size, size):
            n = matrix[row, column]
            axes.text(
                column + 0.5,
                row + 0.5,
                brief(int(n)) if n else "·",
                ha="center",
                va="center",
                fontsize=12 if size <= 10 else 10,
                color=colour("ink" if n else "muted"),
            )
        axes.set(xlim=(0, max(size, 6)), ylim=(size, 0))
        axes.grid(visible=False)
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(length=0, labelcolor=colour("ink"), top=False)
        axes.xaxis.tick_top()
        centres = np.arange(size) + 0.5
        upright = size > 6 or max(map(len, names), default=0) > 14
        axes.set_xticks(centres, [short_name(name, 18) for name in names], rotation=50 if upright else 0)
        if upright:
            for label in axes.get_xticklabels():
                label.set(ha="left", rotation_mode="anchor")
        axes.set_yticks(centres, [short_name(name, 24) for name in names])
        below = "source of the document that is kept"
        axes.text(0, size + 0.12, below, va="top", fontsize=11.5, color=colour("muted"))
        axes.set_ylabel("source of the removed one")

    def paint_pairs(canvas: Canvas) -> None:
        amounts = np.array([whole[tuple(pair)] for pair in pairs])
        rows = bar_rows(
            canvas, [f"{sources[one]} → {sources[other]}" for one, other in pairs], [count(n) for n in amounts]
        )
        for bar, (one, other) in zip(rows.bars(amounts, 0 * amounts, "accent", ""), pairs, strict=True):
            canvas.tip(bar, tip(one, other))
        rows.axes.xaxis.set_major_formatter(lambda value, _: short_count(value))
        rows.axes.locator_params(axis="x", nbins=4, integer=True)
        room_for_notes(canvas, rows, float(max([*amounts, 1])))

    inside = int(np.trace(whole))
    beyond = f" The {len(names)} sources with most of them, of {len(sources)}." if len(names) < len(sources) else ""
    data = [(sources[row], sources[column], int(whole[row, column])) for row, column in np.ndindex(whole.shape)]
    return draw(
        f"Duplicates between sources: {step}",
        f"Of {count(duplicates.removed)} documents removed, {count(inside)} repeat one of their own source and "
        f"{count(int(whole.sum()) - inside)} one of another.{beyond}",
        long_table(data, "removed from", "kept in", "documents"),
        lambda canvas: paint_pairs(canvas) if canvas.narrow else paint_square(canvas),
        lambda narrow: (
            rows_height(True, max(1, len(pairs)), 1) if narrow else 150 + max(26, 42 - len(names)) * len(names)
        ),
    )


def brief(number: int) -> str:
    """12345 -> '12k': for a cell"""
    for unit_size, unit in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k")):
        amount = number / unit_size
        if amount >= 0.9995:
            return f"{amount:.1f}{unit}" if amount < 9.95 else f"{amount:.0f}{unit}"
    return str(number)
