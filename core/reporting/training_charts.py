"""How training went: learning curves, and the gradient's norm, of one phase."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from core.reporting.charts import Canvas, Chart, colour, draw
from core.reporting.examples import evenly
from core.reporting.formats import count, decimal, percent, scientific, short_count
from core.reporting.training_files import Phase

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DRAWN_POINTS = 400  # of a curve: more cannot be told apart at a page's width
TIPS = 80  # along a curve
FEWER_TIPS = 30  # along each of several
Curve = npt.NDArray[np.float64]


def learning_curves(phase: Phase) -> Chart:
    """Training loss, as logged and smoothed, with validation loss; below them the learning rate."""
    steps = np.array([line.step for line in phase.log])
    losses = np.array([line.loss for line in phase.log])
    rates = np.array([line.learning_rate for line in phase.log])
    smooth = smoothed(losses)
    drawn = thinned(losses)
    pointed = pointed_at(drawn, smooth, TIPS)
    measured = [line for line in phase.validation if math.isfinite(line.validation_loss)]

    def paint(canvas: Canvas) -> None:
        loss, rate = canvas.figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
        first, second = colour("series-1"), colour("series-2")
        loss.plot(steps[drawn], losses[drawn], color=first, linewidth=0.9, alpha=0.4, label="training, as logged")
        loss.plot(steps[drawn], smooth[drawn], color=first, label="training, smoothed")
        texts = [
            f"step {count(steps[n])}: training loss {decimal(losses[n])}, smoothed {decimal(smooth[n])}"
            for n in pointed
        ]
        canvas.tips_along(loss, steps[pointed], smooth[pointed], texts)
        if measured:
            x, y = [line.step for line in measured], [line.validation_loss for line in measured]
            marks = "o" if len(measured) <= TIPS else ""
            loss.plot(x, y, color=second, marker=marks, markersize=5, linewidth=1.2, label="validation")
            some = evenly(len(x), TIPS)
            texts = [f"step {count(x[n])}: validation loss {decimal(y[n])}" for n in some]
            canvas.tips_along(loss, [x[n] for n in some], [y[n] for n in some], texts)
        loss.set_ylabel("loss")
        loss.legend(loc="upper right")
        rate.plot(steps[drawn], rates[drawn], color=colour("series-5"), linewidth=1.4)
        rated = pointed_at(drawn, rates, TIPS)
        texts = [f"step {count(steps[n])}: learning rate {scientific(rates[n])}" for n in rated]
        canvas.tips_along(rate, steps[rated], rates[rated], texts)
        rate.set_ylabel("rate")
        rate.yaxis.set_major_formatter(lambda value, _: scientific(value))
        rate.set_ylim(0, 1.15 * max(rates.max(initial=0, where=np.isfinite(rates)), 1e-12))
        rate.locator_params(axis="y", nbins=3)
        step_axis(rate, canvas)

    alt = f"Training loss over {count(steps[-1])} steps{from_to(smooth)}."
    if measured:
        alt += f" Validation loss{from_to(np.array([line.validation_loss for line in measured]))}."
    data = {
        "step": [*steps[drawn], *(line.step for line in measured)],
        "training_loss": [*losses[drawn], *(None for _ in measured)],
        "smoothed_training_loss": [*smooth[drawn], *(None for _ in measured)],
        "learning_rate": [*rates[drawn], *(None for _ in measured)],
        "validation_loss": [*(None for _ in drawn), *(line.validation_loss for line in measured)],
    }
    title = f"Learning curves: {phase.name}"
    return draw(title, f"{alt} Below, the learning rate.", pa.table(data), paint, lambda narrow: 340 if narrow else 380)


def gradient_norms(phase: Phase) -> Chart:
    """The gradient's length before clipping, where it is clipped, and the steps that were skipped or stood out."""
    known = [line for line in phase.log if math.isfinite(line.gradient_norm)]
    steps = np.array([line.step for line in known])
    norms = np.array([line.gradient_norm for line in known])
    drawn = thinned(norms)
    longest, usual, clip = float(norms.max()), float(np.median(norms)), phase.max_gradient_norm
    near = clip if clip is not None and clip < 2 * longest else None  # enough to be drawn
    spread = longest > 20 * usual and norms.min() > 0

    def paint(canvas: Canvas) -> None:
        axes = canvas.figure.add_subplot()
        axes.plot(steps[drawn], norms[drawn], color=colour("series-7"), linewidth=1.2, label="gradient norm")
        pointed = pointed_at(drawn, norms, FEWER_TIPS)
        texts = [f"step {count(steps[n])}: gradient norm {decimal(norms[n])}" for n in pointed]
        canvas.tips_along(axes, steps[pointed], norms[pointed], texts)
        if spread:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        else:
            axes.set_ylim(0, 1.12 * max(longest, near or 0.0, 1e-12))
            axes.locator_params(axis="y", nbins=4)
        if near is not None:
            dashes = (0, (4, 3))
            axes.axhline(near, color=colour("muted"), linewidth=1, linestyle=dashes, label=f"clipped above {near:g}")
        for kind, role in (("skipped", "bad"), ("spike", "series-2")):
            events = [event for event in phase.events if event.kind == kind]
            if events:
                x = [events[n].step for n in evenly(len(events), FEWER_TIPS)]
                ends = axes.get_xaxis_transform()
                axes.vlines(x, 0, 1, color=colour(role), linewidth=0.9, alpha=0.6, transform=ends)
                (marks,) = axes.plot(x, [1.0] * len(x), "v", color=colour(role), transform=ends, label=kind)
                marks.set(markersize=7, markeredgewidth=0, clip_on=False)
                canvas.tip(marks, *(f"step {count(step)}: {kind}" for step in x))
        axes.set_ylabel("gradient norm")
        step_axis(axes, canvas)
        handles, _ = axes.get_legend_handles_labels()
        if len(handles) > 1:
            canvas.figure.legend(loc="outside upper left", ncols=2 if canvas.narrow else 4, borderpad=0)

    clipped = (
        "" if clip is None else f" Above {clip:g} it is clipped: {percent(float((norms > clip).mean()))} of these."
    )
    return draw(
        f"Gradient norm: {phase.name}",
        f"The global norm of the gradient at the steps that were logged, before clipping; median {decimal(usual)}, "
        f"longest {decimal(longest)}.{clipped}",
        pa.table({"step": steps[drawn], "gradient_norm": norms[drawn]}),
        paint,
        lambda narrow: 220,
    )


def step_axis(axes: Axes, canvas: Canvas) -> None:
    """An x axis of optimiser steps."""
    axes.locator_params(axis="x", nbins=4 if canvas.narrow else 8, integer=True)
    axes.xaxis.set_major_formatter(lambda value, _: short_count(value))
    axes.set_xlabel("optimiser step")


def smoothed(values: Curve) -> Curve:
    """Straight lines fitted over about a twentieth of the curve each (Savitzky-Golay): neither lags nor frays.

    A value that is not a number counts as missing; without any other the result is that, too.
    """
    known = np.flatnonzero(np.isfinite(values))
    window = min(2 * (len(values) // 40) + 1, len(values))
    if not len(known) or window < 3:
        return values
    from scipy.signal import savgol_filter  # a second to import, which short runs do not need

    whole = np.interp(np.arange(len(values)), known, values[known])
    result: Curve = savgol_filter(whole, window, polyorder=1)
    return result


def thinned(values: Curve) -> npt.NDArray[np.int64]:
    """Positions to draw: of each stretch of a long curve the lowest and the highest, so that no spike is lost."""
    positions = np.arange(len(values))
    if len(values) <= DRAWN_POINTS:
        return positions
    extremes = [
        stretch[[pick(np.nan_to_num(values[stretch])) for pick in (np.argmin, np.argmax)]]
        for stretch in np.array_split(positions, DRAWN_POINTS // 2)
    ]
    return np.unique(np.concatenate([positions[:1], *extremes, positions[-1:]]))


def pointed_at(drawn: npt.NDArray[np.int64], values: Curve, tips: int) -> npt.NDArray[np.int64]:
    """At most so many of the positions drawn, evenly spaced, for tips; a value that is not a number has no place."""
    known = drawn[np.isfinite(values[drawn])]
    return known[evenly(len(known), tips)]


def from_to(values: Curve) -> str:
    """', from 5.612 to 2.094'; empty where no value is a number."""
    finite = values[np.isfinite(values)]
    said = f", from {decimal(finite[0])} to {decimal(finite[-1])}" if len(finite) else ""
    return said.replace("-", "−")
