"""How learning from preference pairs went: rewards and accuracy, and what became of each completion's probability."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from core.reporting.charts import Canvas, Chart, colour, draw
from core.reporting.examples import evenly
from core.reporting.formats import count, decimal, percent, signed
from core.reporting.training_charts import FEWER_TIPS, Curve, from_to, pointed_at, smoothed, step_axis, thinned
from core.reporting.training_files import Phase

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ACCURACY = "reward_accuracy"
# figure of a log line: what it is called, and the colour it is drawn in
REWARDS = {
    "reward_chosen": ("preferred", "series-3"),
    "reward_rejected": ("rejected", "series-4"),
    "reward_margin": ("margin", "series-1"),
}
LOGPS = {"chosen_logps": ("preferred", "series-3"), "rejected_logps": ("rejected", "series-4")}


@dataclass(frozen=True)
class Curves:
    """A phase's figures by name: as logged, and as measured on the validation data at some steps."""

    steps: Curve
    logged: dict[str, Curve]
    validation_steps: Curve
    validation: dict[str, Curve]

    @classmethod
    def of(cls, phase: Phase, names: list[str]) -> Curves:
        """Those of some names."""
        return cls(
            np.array([line.step for line in phase.log], float),
            {name: np.array([getattr(line, name) for line in phase.log]) for name in names},
            np.array([line.step for line in phase.validation], float),
            {name: np.array([getattr(line, f"validation_{name}") for line in phase.validation]) for name in names},
        )

    def paint(
        self, canvas: Canvas, axes: Axes, name: str, called: str, role: str, write: Callable[[float], str]
    ) -> None:
        """A curve as logged and smoothed, with dots where it was measured on the validation data."""
        values = self.logged[name]
        smooth, drawn = smoothed(values), thinned(values)
        pointed = pointed_at(drawn, smooth, FEWER_TIPS)
        axes.plot(self.steps[drawn], values[drawn], color=colour(role), linewidth=0.8, alpha=0.3)
        axes.plot(self.steps[drawn], smooth[drawn], color=colour(role), label=called)
        texts = [f"step {count(self.steps[n])}: {called} {write(smooth[n])}, smoothed" for n in pointed]
        canvas.tips_along(axes, self.steps[pointed], smooth[pointed], texts)
        measured = np.flatnonzero(np.isfinite(self.validation[name]))
        if len(measured):
            some = measured[evenly(len(measured), FEWER_TIPS)]
            x, y = self.validation_steps[some], self.validation[name][some]
            label = "on validation data" if called in ("margin", "accuracy") else None
            axes.plot(x, y, "o", color=colour("paper"), markeredgecolor=colour(role), markersize=5.5, label=label)
            texts = [f"step {count(a)}: {called} {write(b)}, on validation data" for a, b in zip(x, y, strict=True)]
            canvas.tips_along(axes, x, y, texts)

    def table(self) -> pa.Table:
        """The numbers drawn."""
        drawn = np.unique(np.concatenate([thinned(values) for values in self.logged.values()]))
        nothing = [None] * len(self.validation_steps)
        data: dict[str, list[float | None]] = {"step": [*self.steps[drawn], *self.validation_steps]}
        data |= {name: [*values[drawn], *nothing] for name, values in self.logged.items()}
        data |= {f"validation_{name}": [*([None] * len(drawn)), *values] for name, values in self.validation.items()}
        return pa.table({name: pa.array(values, pa.float64()) for name, values in data.items()})


def rewards(phase: Phase) -> Chart:
    """Rewards of both completions and their margin; below, in how many pairs the preferred one has the higher."""
    curves = Curves.of(phase, [*REWARDS, ACCURACY])

    def paint(canvas: Canvas) -> None:
        above, below = canvas.figure.subplots(2, 1, sharex=True, height_ratios=[5, 3])
        for name, (called, role) in REWARDS.items():
            curves.paint(canvas, above, name, called, role, signed)
        above.axhline(0, color=colour("muted"), linewidth=1, linestyle=(0, (4, 3)))
        above.set_ylabel("reward")
        above.locator_params(axis="y", nbins=5)
        handles, labels = above.get_legend_handles_labels()
        columns = 2 if canvas.narrow else 4
        canvas.figure.legend(handles, labels, loc="outside upper left", ncols=columns, borderpad=0)
        curves.paint(canvas, below, ACCURACY, "accuracy", "accent", percent)
        below.axhline(0.5, color=colour("muted"), linewidth=1, linestyle=(0, (4, 3)))
        below.set_ylim(0, 1.05)
        below.set_yticks([0, 0.5, 1])
        below.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
        below.set_ylabel("accuracy")
        step_axis(below, canvas)

    margin, accuracy = (smoothed(curves.logged[name]) for name in ("reward_margin", ACCURACY))
    return draw(
        f"Rewards: {phase.name}",
        "Beta times how much likelier a completion has become than to the reference: the preferred one, the rejected "
        f"one, and the margin between them{from_to(margin)}. Below, the share of pairs whose preferred completion has "
        f"the higher reward{from_to(accuracy)}.",
        curves.table(),
        paint,
        lambda narrow: 400 if narrow else 380,
    )


def completion_logps(phase: Phase) -> Chart:
    """The log-probability of the preferred and of the rejected completion."""
    curves = Curves.of(phase, [*LOGPS])

    def paint(canvas: Canvas) -> None:
        axes = canvas.figure.add_subplot()
        for name, (called, role) in LOGPS.items():
            curves.paint(canvas, axes, name, called, role, lambda value: decimal(value).replace("-", "−"))
        axes.set_ylabel("log-probability")
        axes.locator_params(axis="y", nbins=5)
        canvas.figure.legend(loc="outside upper left", ncols=2, borderpad=0)
        step_axis(axes, canvas)

    chosen, rejected = (smoothed(values) for values in curves.logged.values())
    return draw(
        f"Log-probabilities of completions: {phase.name}",
        f"Mean log-probability of a whole completion: the preferred one{from_to(chosen)}, the rejected "
        f"one{from_to(rejected)}.",
        curves.table(),
        paint,
        lambda narrow: 300,
    )


def preferred_reward(phase: Phase) -> float:
    """How far the preferred completion stands from the reference at the end: on the validation data where there are
    any, otherwise smoothed over the last steps. Not a number where nothing is known."""
    measured = [line.validation_reward_chosen for line in phase.validation]
    known = [value for value in measured if math.isfinite(value)]
    if known:
        return known[-1]
    logged = smoothed(np.array([line.reward_chosen for line in phase.log]))
    return float(logged[-1]) if len(logged) else math.nan
