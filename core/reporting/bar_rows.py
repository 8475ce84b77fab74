"""Rows of horizontal bars with their names: beside the bars on a wide page, above them on a phone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from core.reporting.charts import Canvas, colour
from core.reporting.formats import shortened, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer
    from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Rows:
    """axes to draw bars on, the rows' centres on its y axis, and how much of the y axis a row's bars may take."""

    axes: Axes
    centres: npt.NDArray[np.float64]
    thickness: float

    def part(self, number: int, of: int) -> Rows:
        """The rows of one of several bars that stand under each other in every row, `number` from 0."""
        thickness = self.thickness / of
        return Rows(self.axes, self.centres - self.thickness / 2 + (number + 0.5) * thickness, thickness)

    def bars(self, widths: ArrayLike, starts: ArrayLike, role: str, label: str) -> BarContainer:
        """A piece of every row's stacked bar, in a colour by its role."""
        return self.axes.barh(
            self.centres,
            widths,
            left=starts,
            height=self.thickness,
            color=colour(role),
            edgecolor=colour("paper"),
            linewidth=0.8,
            label=label,
        )


def bar_rows(
    canvas: Canvas, names: Sequence[str], notes: Sequence[str] | None = None, ends: Iterable[float] = ()
) -> Rows:
    """Named rows, first on top; a name may have two lines.

    notes: a text for each row, where its bar ends (`ends`, in data units) or, on a phone, beside its name.
    """
    axes = canvas.figure.add_subplot()
    places = np.arange(len(names), dtype=float)
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="x", length=0)
    axes.spines["bottom"].set_visible(False)
    notes = notes or [""] * len(names)
    if canvas.narrow:
        axes.set_yticks([])
        for place, name, note in zip(places, names, notes, strict=True):
            above, transform = place - 0.28, axes.get_yaxis_transform()
            axes.text(0, above, short_name(" · ".join(name.split("\n")), 34), transform=transform, va="center")
            axes.text(1, above, note, transform=transform, va="center", ha="right", color=colour("muted"))
        return Rows(axes, places + 0.16, 0.46)
    axes.set_yticks(places, ["\n".join(short_name(line, 28) for line in name.split("\n")) for name in names])
    axes.tick_params(axis="y", labelcolor=colour("ink"))
    for place, note, end in zip(places, notes, ends, strict=False):
        note_beside(axes, note, end, place)
    return Rows(axes, places, 0.62)


def note_beside(axes: Axes, note: str, end: float, place: float) -> None:
    """A text right of where a bar ends."""
    axes.annotate(
        note,
        (end, place),
        (7, 0),
        textcoords="offset points",
        va="center",
        fontsize=11.5,
        color=colour("muted"),
    )


def room_for_notes(canvas: Canvas, rows: Rows, longest: float) -> None:
    """Ends the x axis where the longest bar ends, and leaves its note the room it takes on a wide page."""
    rows.axes.set_xlim(0, (longest or 1) * (1.0 if canvas.narrow else 1.2))


def legend_above(canvas: Canvas) -> None:
    """One entry per labelled series, in the order drawn, above the axes."""
    handles, labels = canvas.figure.axes[0].get_legend_handles_labels()
    columns = 2 if canvas.narrow else 5
    canvas.figure.legend(
        handles,
        labels,
        loc="outside upper left",
        ncols=columns,
        handlelength=0.9,
        handleheight=0.9,
        columnspacing=1.6,
        borderpad=0,
        borderaxespad=0.2,
    )


def rows_height(narrow: bool, rows: int, entries: int, row: int = 34, narrow_row: int = 52) -> float:
    """Pixels for rows, an axis, and a legend of some entries."""
    lines = -(-entries // (2 if narrow else 5)) if entries > 1 else 0
    return rows * (narrow_row if narrow else row) + 36 + 22 * lines


def short_name(name: str, length: int) -> str:
    """A name of any origin on one line that has room for `length` letters."""
    return shortened(visible(name), length) or "(no name)"
