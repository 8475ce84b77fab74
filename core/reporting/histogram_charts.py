"""How long documents are, as read and as kept, and what labels they were given."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from core.reporting.bar_rows import bar_rows, legend_above, note_beside, room_for_notes, rows_height, short_name
from core.reporting.charts import SERIES, Canvas, Chart, colour, draw
from core.reporting.curation_charts import MOST_SOURCES, long_table
from core.reporting.curation_files import Lengths
from core.reporting.formats import count, percent, short_count

MOST_LABELS = 20
RISE = 0.72  # of the room between two rows, for the highest bin

Counts = npt.NDArray[np.int64]


def length_histograms(lengths: Lengths, by_size: list[str]) -> Chart:
    """A row for each source: its documents by length, as read behind, as kept in front."""
    found = {
        source: np.array([lengths.sources[source].read, lengths.sources[source].kept], np.int64)
        for source in [*by_size, *sorted(set(lengths.sources) - set(by_size))]
        if source in lengths.sources
    }
    shown = dict(itertools.islice(found.items(), MOST_SOURCES))
    if len(found) > 1:
        shown = {"all sources": np.sum([*found.values()], axis=0), **shown}
    filled = np.flatnonzero(np.sum([*found.values(), np.zeros((2, len(lengths.edges)))], axis=(0, 1)))
    bins = np.arange(filled[0], filled[-1] + 1) if len(filled) else np.arange(1)
    unit = lengths.unit

    def paint(canvas: Canvas) -> None:
        axes = canvas.figure.add_subplot()
        axes.set_ylim(len(shown) - 0.9, -0.98)
        axes.set_yticks([])
        axes.spines["bottom"].set_visible(False)
        for place, (source, counts) in enumerate(shown.items()):
            highest = max(1, counts.max())
            for role, label, heights in zip(("ghost", "accent"), ("read", "kept"), counts[:, bins], strict=True):
                tops = place - np.repeat(heights / highest, 2) * RISE
                (line,) = axes.plot(np.repeat([*bins, bins[-1] + 1], 2)[1:-1], tops, color=colour("muted"), linewidth=0)
                area = axes.fill_between(
                    np.repeat([*bins, bins[-1] + 1], 2)[1:-1],
                    tops,
                    place,
                    color=colour("before" if role == "ghost" else role),
                    alpha=0.45 if role == "ghost" else 0.85,
                    linewidth=0,
                    label=label if not place else None,
                )
                line.remove()
                canvas.tip(area, f"{source}, {label}: {_peak(lengths, counts[0 if label == 'read' else 1])}")
            axes.axhline(place, color=colour("rule"), linewidth=0.8)
            read, kept = (_median(lengths, each) for each in counts)
            note = f"median {read}" if read == kept else f"median {read} → {kept}"
            if canvas.narrow:
                transform = axes.get_yaxis_transform()
                axes.text(0, place - 0.86, short_name(source, 20), transform=transform, va="center")
                axes.text(1, place - 0.86, note, transform=transform, va="center", ha="right", color=colour("muted"))
            else:
                transform = axes.get_yaxis_transform()
                axes.text(-0.01, place - 0.2, short_name(source, 28), transform=transform, va="center", ha="right")
                note_beside(axes, note, bins[-1] + 1, place - 0.2)
        every = max(1, -(-len(bins) // (6 if canvas.narrow else 12)))
        ticks = np.arange(bins[0], bins[-1] + 1, every)
        axes.set_xticks(ticks, [short_count(lengths.edges[tick]) for tick in ticks])
        axes.set_xlim(bins[0], (bins[-1] + 1) if canvas.narrow else bins[0] + (bins[-1] + 1 - bins[0]) * 1.32)
        axes.set_xlabel(unit)
        legend_above(canvas)

    data = [
        (source, when, lengths.edges[number], int(counts[number]))
        for source, both in found.items()
        for when, counts in zip(("read", "kept"), both, strict=True)
        for number in bins
    ]
    beyond = f" The {MOST_SOURCES} largest of {len(found)} sources." if len(found) > MOST_SOURCES else ""
    return draw(
        "Lengths of documents, read and kept",
        f"Documents by their length in {unit}; each bin is twice as wide as the one before, and the heights are "
        f"relative to each row's highest bin.{beyond}",
        long_table(data, "source", "when", f"from {unit}", "documents"),
        paint,
        lambda narrow: rows_height(narrow, len(shown), 2, 62, 74) + 24,
    )


def label_histogram(step: str, labels: dict[str, dict[str, int]]) -> Chart:
    """A bar for each label that a step gave; each of the largest sources has its own colour."""
    totals: dict[str, int] = {}
    for of_source in labels.values():
        for label, documents in of_source.items():
            totals[label] = totals.get(label, 0) + documents
    by_amount = sorted(totals, key=lambda label: (-totals[label], label))
    shown = by_amount if len(by_amount) <= MOST_LABELS + 1 else by_amount[:MOST_LABELS]
    rest = by_amount[len(shown) :]
    sources = sorted((s for s in labels if labels[s]), key=lambda source: -sum(labels[source].values()))
    apart = sources if len(sources) <= len(SERIES) else sources[: len(SERIES) - 1]

    def per_label(of: list[str]) -> Counts:
        each = [sum(labels[source].get(label, 0) for source in of) for label in shown]
        beyond = [sum(labels[source].get(label, 0) for source in of for label in rest)] if rest else []
        return np.array(each + beyond, np.int64)

    bars = {source: per_label([source]) for source in apart}
    if len(apart) < len(sources):
        bars[f"{len(sources) - len(apart)} other sources"] = per_label(sources[len(apart) :])
    names = shown + ([f"{len(rest)} others"] if rest else [])
    sums, whole = np.sum([*bars.values(), np.zeros(len(names), np.int64)], axis=0), max(1, sum(totals.values()))

    def paint(canvas: Canvas) -> None:
        notes = [f"{count(n)} ({percent(n / whole)})" for n in sums]
        rows = bar_rows(canvas, names, notes, sums)
        ends = np.zeros(len(names))
        for (source, documents), role in zip(bars.items(), SERIES, strict=False):
            drawn = rows.bars(documents, ends, role, short_name(source, 20))
            for bar, label, n in zip(drawn, names, documents, strict=True):
                canvas.tip(bar, f"{source}: {count(n)} documents are {label}")
            ends = ends + documents
        rows.axes.xaxis.set_major_formatter(lambda value, _: short_count(value))
        rows.axes.locator_params(axis="x", nbins=4 if canvas.narrow else 7, integer=True)
        room_for_notes(canvas, rows, float(max([*sums, 1])))
        legend_above(canvas)

    data = [
        (source, label, labels[source][label]) for source in sources for label in by_amount if label in labels[source]
    ]
    return draw(
        f"Labels given by {step}",
        f"Documents by the label that {step} gave them, before it dropped any.",
        long_table(data, "source", "label", "documents"),
        paint,
        lambda narrow: rows_height(narrow, len(names), len(bars), 30, 48),
    )


def _middle(counts: Counts) -> int | None:
    """The bin of the median document."""
    total = int(counts.sum())
    return int(np.searchsorted(np.cumsum(counts), (total + 1) // 2)) if total else None


def _bin(lengths: Lengths, number: int) -> str:
    """'64–127'"""
    begin = lengths.edges[number]
    if number + 1 == len(lengths.edges):
        return f"{short_count(begin)} or more"
    end = lengths.edges[number + 1] - 1
    return short_count(begin) if begin == end else f"{short_count(begin)}–{short_count(end)}"


def _median(lengths: Lengths, counts: Counts) -> str:
    middle = _middle(counts)
    return "none" if middle is None else _bin(lengths, middle)


def _peak(lengths: Lengths, counts: Counts) -> str:
    if not counts.sum():
        return "no documents"
    top = int(counts.argmax())
    middle = _median(lengths, counts)
    return f"{count(counts.sum())} documents, half of them up to {middle} {lengths.unit}, most {_bin(lengths, top)}"
