"""What curation kept: documents left after each step, and what became of each source."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from core.reporting.bar_rows import bar_rows, legend_above, room_for_notes, rows_height, short_name
from core.reporting.charts import SERIES, Canvas, Chart, draw
from core.reporting.formats import count, percent, short_count
from core.reporting.run_files import Ledger

MOST_SOURCES = 20  # bars of their own; the chart says how many there are besides
LEFT = pa.schema([("step", pa.string()), ("source", pa.string()), ("documents", pa.int64())])
FATES = pa.schema([("source", pa.string()), ("fate", pa.string()), ("documents", pa.int64())])


def waterfall(ledger: Ledger) -> Chart:
    """Documents left after each step, all sources together; each of the largest has its own colour."""
    left = {source: _left(ledger, source) for source in ledger.sources}
    totals = np.sum([*left.values(), [0] * len(ledger.steps)], axis=0)
    read = sum(account.read.documents for account in ledger.sources.values())
    dropped = np.maximum(0, -np.diff(totals, prepend=read))
    by_size = sorted(ledger.sources, key=lambda source: -ledger.sources[source].read.documents)
    shown = by_size if len(by_size) <= len(SERIES) else by_size[: len(SERIES) - 1]
    bars = {source: np.array(left[source]) for source in shown}
    if rest := by_size[len(shown) :]:
        bars[f"{len(rest)} other sources"] = np.sum([left[source] for source in rest], axis=0)

    def paint(canvas: Canvas) -> None:
        notes = [count(n) + (f" (−{count(lost)})" if lost else "") for n, lost in zip(totals, dropped, strict=True)]
        rows = bar_rows(canvas, ledger.steps, notes, totals + dropped)
        ends = np.zeros(len(totals))
        for (source, documents), role in zip(bars.items(), SERIES, strict=False):
            drawn = rows.bars(documents, ends, role, short_name(source, 20))
            for bar, step, n in zip(drawn, ledger.steps, documents, strict=True):
                canvas.tip(bar, f"{source}, after {step}: {count(n)} documents")
            ends = ends + documents
        ghosts = rows.bars(dropped, totals, "ghost", "dropped here")
        for bar, step, n in zip(ghosts, ledger.steps, dropped, strict=True):
            canvas.tip(bar, f"{step} dropped {count(n)} documents")
        rows.axes.xaxis.set_major_formatter(lambda value, _: short_count(value))
        rows.axes.locator_params(axis="x", nbins=4 if canvas.narrow else 7, integer=True)
        room_for_notes(canvas, rows, float(max([*totals + dropped, 1])))
        legend_above(canvas)

    data = [(step, source, left[source][n]) for n, step in enumerate(ledger.steps) for source in left]
    kept = totals[-1] if len(totals) else read
    return draw(
        "Documents left after each step",
        f"A bar for each step. Of {count(read)} documents read, {count(kept)} are kept.",
        _table(data, LEFT),
        paint,
        lambda narrow: rows_height(narrow, len(totals), len(bars) + 1),
    )


def fates(ledger: Ledger) -> Chart:
    """For each source the share of its documents that was kept, and the shares that each step dropped."""
    data = []
    for source, account in ledger.sources.items():
        data.append((source, "kept", account.kept.documents))
        data += [(source, step.step, step.documents_in - step.documents_kept) for step in account.steps]
    documents = {(source, fate): max(0, n) for source, fate, n in data}
    shown = sorted(ledger.sources, key=lambda name: -ledger.sources[name].read.documents)[:MOST_SOURCES]
    dropping = [step for step in ledger.steps if any(documents.get((source, step)) for source in shown)]

    def paint(canvas: Canvas) -> None:
        read = np.array([max(1, ledger.sources[source].read.documents) for source in shown])
        kept = np.array([documents[source, "kept"] for source in shown]) / read
        rows = bar_rows(canvas, shown, [f"{percent(share)} kept" for share in kept], np.ones(len(shown)))
        ends = np.zeros(len(shown))
        for number, fate in enumerate(["kept", *dropping]):
            role = SERIES[1 + (number - 1) % (len(SERIES) - 1)] if number else "accent"
            amounts = np.array([documents.get((source, fate), 0) for source in shown])
            drawn = rows.bars(amounts / read, ends, role, short_name(fate, 20))
            for bar, source, n, share in zip(drawn, shown, amounts, amounts / read, strict=True):
                what = f"dropped by {fate}" if number else "kept"
                canvas.tip(bar, f"{source}: {count(n)} documents {what} ({percent(share)})")
            ends = ends + amounts / read
        rows.axes.set_xticks(np.linspace(0, 1, 5))
        rows.axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
        room_for_notes(canvas, rows, 1.0)
        legend_above(canvas)

    beyond = f" The {len(shown)} largest of {len(ledger.sources)} sources." if len(shown) < len(ledger.sources) else ""
    return draw(
        "What became of each source",
        "A bar for each source: the share of its documents that is kept, then the shares that steps dropped." + beyond,
        _table(data, FATES),
        paint,
        lambda narrow: rows_height(narrow, len(shown), 1 + len(dropping)),
    )


def _left(ledger: Ledger, source: str) -> list[int]:
    """Documents of a source after each of the ledger's steps; a step that did not see it changes nothing."""
    account = ledger.sources[source]
    kept = {step.step: step.documents_kept for step in account.steps}
    amounts, now = [], account.read.documents
    for step in ledger.steps:
        now = kept.get(step, now)
        amounts.append(now)
    return amounts


def _table(rows: list[tuple[str, str, int]], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema)
