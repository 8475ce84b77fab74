"""What curation kept: documents, bytes and tokens left after each step, and what became of each source."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from core.reporting.bar_rows import bar_rows, legend_above, room_for_notes, rows_height, short_name
from core.reporting.charts import SERIES, Canvas, Chart, draw
from core.reporting.curation_files import Ledger, amount
from core.reporting.formats import count, percent, short_count, size

STEP_ROLES = SERIES[1:]
MOST_SOURCES = 20  # bars of their own; the chart says how many there are besides
IN_WORDS: dict[str, Callable[[float], str]] = {  # by measure
    "documents": lambda value: f"{count(value)} documents",
    "bytes": size,
    "tokens": lambda value: f"{short_count(value)} tokens",
}
SHOW: dict[str, Callable[[float], str]] = {"documents": count, "bytes": size, "tokens": short_count}
ON_AXES: dict[str, Callable[[float], str]] = {"documents": short_count, "bytes": size, "tokens": short_count}


def waterfall(ledger: Ledger, measure: str = "documents") -> Chart:
    """What is left after each step, all sources together; each of the largest has its own colour."""
    left = {source: account.left(measure, ledger.steps) for source, account in ledger.sources.items()}
    totals = np.sum([*left.values(), [0] * len(ledger.steps)], axis=0)
    read, in_words = ledger.total("read", measure), IN_WORDS[measure]
    dropped = np.maximum(0, -np.diff(totals, prepend=read))
    shown = ledger.by_size if len(ledger.sources) <= len(SERIES) else ledger.by_size[: len(SERIES) - 1]
    bars = {source: np.array(left[source]) for source in shown}
    if rest := ledger.by_size[len(shown) :]:
        bars[f"{len(rest)} other sources"] = np.sum([left[source] for source in rest], axis=0)

    def paint(canvas: Canvas) -> None:
        show = SHOW[measure]
        notes = [show(n) + (f" (−{show(lost)})" if lost else "") for n, lost in zip(totals, dropped, strict=True)]
        rows = bar_rows(canvas, ledger.steps, notes, totals + dropped)
        ends = np.zeros(len(totals))
        for (source, amounts), role in zip(bars.items(), SERIES, strict=False):
            drawn = rows.bars(amounts, ends, role, short_name(source, 20))
            for bar, step, n in zip(drawn, ledger.steps, amounts, strict=True):
                canvas.tip(bar, f"{source}, after {step}: {in_words(n)}")
            ends = ends + amounts
        if dropped.any():
            ghosts = rows.bars(dropped, totals, "ghost", "taken here")
            for bar, step, n in zip(ghosts, ledger.steps, dropped, strict=True):
                canvas.tip(bar, f"{step} took {in_words(n)}")
        rows.axes.xaxis.set_major_formatter(lambda value, _: ON_AXES[measure](value))
        rows.axes.locator_params(axis="x", nbins=4 if canvas.narrow else 7, integer=True)
        room_for_notes(canvas, rows, float(max([*totals + dropped, 1])))
        legend_above(canvas)

    data = [(step, source, left[source][n]) for n, step in enumerate(ledger.steps) for source in left]
    kept = totals[-1] if len(totals) else read
    return draw(
        f"{measure.capitalize()} left after each step",
        f"A bar for each step. Of {in_words(read)} read, {SHOW[measure](kept)} are kept.",
        long_table(data, "step", "source", measure),
        paint,
        lambda narrow: rows_height(narrow, len(totals), len(bars) + 1),
    )


def own_waterfall(ledger: Ledger, source: str) -> Chart:
    """What is left of one source after each step: the shares of its documents, bytes and tokens."""
    account, measures = ledger.sources[source], ledger.measures
    left = {measure: np.array(account.left(measure, ledger.steps), np.int64) for measure in measures}
    shares = {measure: n / max(1, amount(account.read, measure)) for measure, n in left.items()}

    def paint(canvas: Canvas) -> None:
        notes = [f"{count(n)} · {size(b)}" for n, b in zip(left["documents"], left["bytes"], strict=True)]
        ends = np.max([*shares.values()], axis=0)
        rows = bar_rows(canvas, ledger.steps, notes, ends)
        for number, (measure, share) in enumerate(shares.items()):
            drawn = rows.part(number, len(shares)).bars(share, np.zeros(len(share)), SERIES[number], measure)
            for bar, step, n, part in zip(drawn, ledger.steps, left[measure], share, strict=True):
                canvas.tip(bar, f"{source}, after {step}: {IN_WORDS[measure](n)} ({percent(part)})")
        rows.axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
        rows.axes.locator_params(axis="x", nbins=5)
        room_for_notes(canvas, rows, float(max([*ends, 1.0])))
        legend_above(canvas)

    return draw(
        f"What is left of {source} after each step",
        f"A bar each for {', '.join(measures)}: the share of what was read that is left after the step.",
        pa.table({"step": pa.array(ledger.steps, pa.string()), **{name: pa.array(n) for name, n in left.items()}}),
        paint,
        lambda narrow: rows_height(narrow, len(ledger.steps), len(measures), 40, 58),
    )


def fates(ledger: Ledger, measure: str = "documents") -> Chart:
    """For each source the share that was kept, and the shares that each step took."""
    data = []
    for source, account in ledger.sources.items():
        data.append((source, "kept", amount(account.kept, measure)))
        data += [(source, step.step, step.before(measure) - step.after(measure)) for step in account.steps]
    amounts_of = {(source, fate): max(0, n) for source, fate, n in data}
    shown = ledger.by_size[:MOST_SOURCES]
    taken = {step: sum(amounts_of.get((source, step), 0) for source in shown) for step in ledger.steps}
    taking = [step for step in ledger.steps if taken[step]]
    largest = sorted(taking, key=lambda step: -taken[step])
    # No two steps have the same colour: the least of many are one.
    others = largest[len(STEP_ROLES) - 1 :] if len(taking) > len(STEP_ROLES) else []
    pieces = {"kept": ["kept"], **{step: [step] for step in taking if step not in others}}
    pieces |= {f"{len(others)} other steps": others} if others else {}

    def paint(canvas: Canvas) -> None:
        kept = np.array([amounts_of[source, "kept"] for source in shown])
        read = np.array([max(1, amount(ledger.sources[source].read, measure)) for source in shown])
        # A source drawn several times over is kept to more than its whole.
        whole = np.maximum(
            read, [sum(amounts_of.get((source, fate), 0) for fate in ("kept", *taking)) for source in shown]
        )
        rows = bar_rows(canvas, shown, [f"{percent(share)} kept" for share in kept / read], np.ones(len(shown)))
        ends = np.zeros(len(shown))
        for number, (fate, of) in enumerate(pieces.items()):
            role = "before" if of == others else STEP_ROLES[number - 1] if number else "accent"
            amounts = np.array([sum(amounts_of.get((source, each), 0) for each in of) for source in shown])
            drawn = rows.bars(amounts / whole, ends, role, short_name(fate, 20))
            for bar, source, n, share in zip(drawn, shown, amounts, amounts / read, strict=True):
                what = f"taken by {fate}" if number else "kept"
                canvas.tip(bar, f"{source}: {IN_WORDS[measure](n)} {what} ({percent(share)})")
            ends = ends + amounts / whole
        rows.axes.set_xticks(np.linspace(0, 1, 5))
        rows.axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
        room_for_notes(canvas, rows, 1.0)
        legend_above(canvas)

    beyond = f" The {len(shown)} largest of {len(ledger.sources)} sources." if len(shown) < len(ledger.sources) else ""
    return draw(
        "What became of each source" + ("" if measure == "documents" else f", in {measure}"),
        f"A bar for each source: the share of its {measure} that is kept, then the shares that steps took." + beyond,
        long_table(data, "source", "fate", measure),
        paint,
        lambda narrow: rows_height(narrow, len(shown), len(pieces)),
    )


def long_table(rows: Sequence[tuple[str | int, ...]], *names: str) -> pa.Table:
    """Rows of strings and numbers, the last of which is one, under the columns' names."""
    columns = [[row[place] for row in rows] for place in range(len(names))]
    numbers = [place == len(names) - 1 or (rows and isinstance(rows[0][place], int)) for place in range(len(names))]
    kinds = [pa.int64() if number else pa.string() for number in numbers]
    return pa.table({name: pa.array(column, kind) for name, column, kind in zip(names, columns, kinds, strict=True)})
