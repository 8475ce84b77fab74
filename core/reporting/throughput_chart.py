"""How fast a phase was trained, how much of the device that took, and what it waited for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from core.reporting.charts import Canvas, Chart, colour, draw
from core.reporting.formats import count, duration, percent, short_count, size
from core.reporting.training_charts import FEWER_TIPS, TIPS, Curve, pointed_at, thinned
from core.reporting.training_files import Phase

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHARES = {  # as a log line names it: what it is called, the colour it is drawn in, and what it is
    "mfu": ("MFU", "accent", "the share of the device's peak in bf16 that the model's arithmetic takes"),
    "data_wait": ("data wait", "series-2", "the share of the time in which batches were made"),
}


@dataclass(frozen=True)
class Moments:
    """A phase's log lines over time. drawn: those that are drawn; tips: so many along each curve."""

    steps: Curve
    seconds: Curve
    drawn: npt.NDArray[np.int64]
    tips: int

    def paint(
        self, canvas: Canvas, axes: Axes, values: Curve, role: str, label: str, write: Callable[[float], str]
    ) -> None:
        """A curve over time. write: a value as its tip says it."""
        axes.plot(self.seconds[self.drawn], values[self.drawn], color=colour(role), linewidth=1.4, label=label)
        pointed = pointed_at(self.drawn, values, self.tips)
        texts = [f"step {count(self.steps[n])}, after {duration(self.seconds[n])}: {write(values[n])}" for n in pointed]
        canvas.tips_along(axes, self.seconds[pointed], values[pointed], texts)


def throughput(phase: Phase) -> Chart:
    """Tokens per second over the time of the phase, all workers together; below, where they are known, the share of
    the device's peak, the share of the time in which batches were made, and memory."""
    speed = np.array([line.tokens_per_second for line in phase.log])
    finite = speed[np.isfinite(speed)]
    median = float(np.median(finite)) if len(finite) else math.nan
    shares = {name: _column(phase, name) for name in SHARES}
    shares = {name: values for name, values in shares.items() if np.isfinite(values).any()}
    memory = _column(phase, "memory_bytes")
    panels_of = ["speed", *(["shares"] if shares else []), *(["memory"] if np.isfinite(memory).any() else [])]
    moments = Moments(
        np.array([line.step for line in phase.log]),
        np.array([line.seconds for line in phase.log]),
        thinned(speed),
        FEWER_TIPS if len(panels_of) > 1 else TIPS,
    )

    def paint(canvas: Canvas) -> None:
        heights = [{"speed": 5, "shares": 4, "memory": 3}[name] for name in panels_of]
        grid = canvas.figure.subplots(len(panels_of), 1, sharex=True, squeeze=False, height_ratios=heights)
        panels = dict(zip(panels_of, grid[:, 0], strict=True))
        for name, axes in panels.items():
            axes.locator_params(axis="y", nbins=4 if name == "speed" else 3)
        _paint_speed(canvas, panels["speed"], moments, speed, median)
        if "shares" in panels:
            _paint_shares(canvas, panels["shares"], moments, shares)
        if "memory" in panels:
            moments.paint(canvas, panels["memory"], memory, "series-5", "memory", lambda n: f"at most {size(n)}")
            panels["memory"].set_ylim(0, 1.2 * max(float(np.nanmax(memory)), 1.0))
            panels["memory"].set_ylabel("memory")
            panels["memory"].yaxis.set_major_formatter(lambda value, _: size(value))
        last = grid[-1, 0]
        last.xaxis.set_major_formatter(lambda value, _: duration(value) if value >= 10 else f"{value:g} s")
        last.locator_params(axis="x", nbins=4 if canvas.narrow else 8)

    below = [f"{SHARES[name][0]}, {SHARES[name][2]}" for name in shares]
    below += ["the peak memory of a worker"] if "memory" in panels_of else []
    alt = f"Tokens per second over the time of the phase. The dashed line is the median, {count(median)}."
    figures = {"tokens_per_second": speed, **shares, **({"memory_bytes": memory} if "memory" in panels_of else {})}
    drawn = {"step": moments.steps, "seconds": moments.seconds, **figures}
    return draw(
        f"Throughput: {phase.name}",
        f"{alt} Below: {'; '.join(below)}." if below else alt,
        pa.table({name: values[moments.drawn] for name, values in drawn.items()}),
        paint,
        lambda narrow: (170 if narrow else 180) + 95 * (len(panels_of) - 1),
    )


def _column(phase: Phase, name: str) -> Curve:
    """A figure of each log line; not a number where it is unknown."""
    values = np.array([getattr(line, name) for line in phase.log], float)
    return np.where(np.isfinite(values), values, np.nan)


def _paint_speed(canvas: Canvas, axes: Axes, moments: Moments, speed: Curve, median: float) -> None:
    moments.paint(canvas, axes, speed, "series-3", "tokens/s", lambda n: f"{count(n)} tokens/s")
    if math.isfinite(median):
        axes.axhline(median, color=colour("muted"), linewidth=1, linestyle=(0, (4, 3)))
    axes.set_ylim(0, 1.12 * max(speed.max(initial=0, where=np.isfinite(speed)), 1e-12))
    axes.set_ylabel("tokens / s")
    axes.yaxis.set_major_formatter(lambda value, _: short_count(value))


def _paint_shares(canvas: Canvas, axes: Axes, moments: Moments, shares: dict[str, Curve]) -> None:
    for name, values in shares.items():
        called, role, _ = SHARES[name]
        moments.paint(canvas, axes, values, role, called, partial(_named_share, called))
    highest = max(float(np.nanmax(values)) for values in shares.values())
    axes.set_ylim(0, max(1.35 * highest, 0.01))
    axes.set_ylabel("share")
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    axes.legend(loc="upper right", ncols=2, borderpad=0)


def _named_share(name: str, value: float) -> str:
    return f"{name} {percent(value)}"
