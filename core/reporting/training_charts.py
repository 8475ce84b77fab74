"""How training went: learning curves and throughput of one phase."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from core.reporting.charts import Canvas, Chart, colour, draw
from core.reporting.examples import evenly
from core.reporting.formats import count, decimal, duration, scientific, short_count
from core.reporting.run_files import Phase

DRAWN_POINTS = 400  # of a curve: more cannot be told apart at a page's width
TIPS = 80  # along a curve
Curve = npt.NDArray[np.float64]


def learning_curves(phase: Phase) -> Chart:
    """Training loss, as logged and smoothed, with validation loss; below them the learning rate."""
    steps = np.array([line.step for line in phase.log])
    losses = np.array([line.loss for line in phase.log])
    rates = np.array([line.learning_rate for line in phase.log])
    smooth = smoothed(losses)
    drawn = thinned(losses)
    pointed = drawn[evenly(len(drawn), TIPS)]
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
        texts = [f"step {count(steps[n])}: learning rate {scientific(rates[n])}" for n in pointed]
        canvas.tips_along(rate, steps[pointed], rates[pointed], texts)
        rate.set_ylabel("rate")
        rate.yaxis.set_major_formatter(lambda value, _: scientific(value))
        rate.set_ylim(0, 1.15 * max(rates.max(initial=0, where=np.isfinite(rates)), 1e-12))
        rate.locator_params(axis="y", nbins=3)
        rate.locator_params(axis="x", nbins=4 if canvas.narrow else 8, integer=True)
        rate.xaxis.set_major_formatter(lambda value, _: short_count(value))
        rate.set_xlabel("optimiser step")

    alt = f"Training loss over {count(steps[-1])} steps{_from_to(smooth)}."
    if measured:
        alt += f" Validation loss{_from_to(np.array([line.validation_loss for line in measured]))}."
    data = {
        "step": [*steps[drawn], *(line.step for line in measured)],
        "training_loss": [*losses[drawn], *(None for _ in measured)],
        "smoothed_training_loss": [*smooth[drawn], *(None for _ in measured)],
        "learning_rate": [*rates[drawn], *(None for _ in measured)],
        "validation_loss": [*(None for _ in drawn), *(line.validation_loss for line in measured)],
    }
    title = f"Learning curves: {phase.name}"
    return draw(title, f"{alt} Below, the learning rate.", pa.table(data), paint, lambda narrow: 340 if narrow else 380)


def throughput(phase: Phase) -> Chart:
    """Tokens per second over the time of the phase, all workers together."""
    seconds = np.array([line.seconds for line in phase.log])
    speed = np.array([line.tokens_per_second for line in phase.log])
    drawn = thinned(speed)
    finite = speed[np.isfinite(speed)]
    median = float(np.median(finite)) if len(finite) else math.nan

    def paint(canvas: Canvas) -> None:
        axes = canvas.figure.add_subplot()
        axes.plot(seconds[drawn], speed[drawn], color=colour("series-3"), linewidth=1.4)
        pointed = drawn[evenly(len(drawn), TIPS)]
        texts = [
            f"step {count(phase.log[n].step)}, after {duration(seconds[n])}: {count(speed[n])} tokens/s"
            for n in pointed
        ]
        canvas.tips_along(axes, seconds[pointed], speed[pointed], texts)
        if math.isfinite(median):
            axes.axhline(median, color=colour("muted"), linewidth=1, linestyle=(0, (4, 3)))
        axes.set_ylim(0, 1.12 * max(finite.max(initial=0), 1e-12))
        axes.set_ylabel("tokens / s")
        axes.yaxis.set_major_formatter(lambda value, _: short_count(value))
        axes.xaxis.set_major_formatter(lambda value, _: duration(value) if value >= 10 else f"{value:g} s")
        axes.locator_params(axis="y", nbins=4)
        axes.locator_params(axis="x", nbins=4 if canvas.narrow else 8)

    return draw(
        f"Throughput: {phase.name}",
        f"Tokens per second over the time of the phase. The dashed line is the median, {count(median)}.",
        pa.table(
            {"step": [phase.log[n].step for n in drawn], "seconds": seconds[drawn], "tokens_per_second": speed[drawn]}
        ),
        paint,
        lambda narrow: 170 if narrow else 180,
    )


def smoothed(values: Curve) -> Curve:
    """Straight lines fitted over about a twentieth of the curve each (Savitzky-Golay): neither lags nor frays.

    A value that is not a number counts as missing; without any other the result is that, too.
    """
    from scipy.signal import savgol_filter

    known = np.flatnonzero(np.isfinite(values))
    window = min(2 * (len(values) // 40) + 1, len(values))
    if not len(known) or window < 3:
        return values
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


def _from_to(values: Curve) -> str:
    finite = values[np.isfinite(values)]
    return f", from {decimal(finite[0])} to {decimal(finite[-1])}" if len(finite) else ""
