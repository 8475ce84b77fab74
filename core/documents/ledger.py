"""What a step decides about each document, and the account of everything that left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from core.documents.table import DOCUMENTS, content
from core.documents.token_counts import count_tokens

READ = "read"  # the label of the step that makes documents of rows
DROPPED = pa.schema([*DOCUMENTS, ("step", pa.string()), ("reason", pa.string()), ("evidence", pa.string())])
SPANS = pa.schema(
    [
        ("row", pa.int64()),
        ("begin", pa.int64()),  # byte of the row's content
        ("end", pa.int64()),
        ("reason", pa.string()),
        ("replacement", pa.large_string()),  # null: the span is cut
        ("evidence", pa.string()),
    ]
)
TURNS = pa.schema(
    [
        ("row", pa.int64()),
        ("turn", pa.int64()),  # of the row's dialogue, from 0
        ("reason", pa.string()),
        ("evidence", pa.string()),
    ]
)
CUT = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "source", "step", "reason", "evidence")),
        ("begin", pa.int64()),  # byte of the content that the step was given
        ("end", pa.int64()),
        ("text", pa.large_string()),  # of a passage or a whole turn; null where it was replaced: it may be personal
    ]
)
MEASURES = ("documents", "bytes", "tokens")
CUT_MEASURES = ("documents", "spans", "bytes", "bytes_added")  # bytes_added: what replaced spans
BINS = 32  # of lengths: [0, 1), [1, 2), [2, 4), ... tokens


@dataclass(frozen=True)
class Verdict:
    """A step's decision on a table of documents: one entry per row.

    reason: string, why the row is dropped (a short snake_case name); null where it is kept.
    evidence: string, what shows it (the value found, the phrase, the kept partner's id); null where there is none.
    spans: SPANS, parts of the `content` of kept rows to be cut or replaced: ascending by row and begin, apart from
    each other, on character boundaries.
    labels: string per row, counted in the ledger (the language found); null where there is none.
    turns: TURNS, turns of kept rows that leave their dialogues whole, with the spans in them.
    """

    reason: pa.Array
    evidence: pa.Array
    spans: pa.Table | None = None
    labels: pa.Array | None = None
    turns: pa.Table | None = None


def dropped_rows(documents: pa.Table, step: str, verdict: Verdict) -> pa.Table:
    """The documents that a verdict drops, as DROPPED."""
    whole = documents.append_column("step", pa.repeat(pa.scalar(step), documents.num_rows))
    whole = whole.append_column("reason", verdict.reason.cast(pa.string()))
    whole = whole.append_column("evidence", verdict.evidence.cast(pa.string()))
    return whole.filter(pc.is_valid(verdict.reason)).cast(DROPPED)


class Ledger:
    """Counts of documents, bytes and tokens by source, step and reason; ledgers of parts add up."""

    def __init__(self, counts: Mapping[tuple[str, ...], int] | None = None) -> None:
        self._counts: Counter[tuple[str, ...]] = Counter(counts or {})

    def read(self, documents: pa.Table) -> None:
        """Counts documents as they come from their source."""
        self._count("read", documents)
        self._count_lengths("read", documents)
        for label in planted_labels(documents):
            self._counts["planted", label] += 1

    def dropped(self, dropped: pa.Table) -> None:
        """Counts rows of DROPPED."""
        for (step, reason), rows in _groups(dropped, ["step", "reason"]):
            self._count("dropped", rows.select(DOCUMENTS.names), step, reason)
        for step, label in zip(dropped["step"].to_pylist(), planted_labels(dropped), strict=False):
            self._counts["planted dropped", label, step] += 1

    def cut(self, step: str, documents: pa.Table, spans: pa.Table, after: pa.Table) -> None:
        """Counts SPANS that a step cut or replaced, whole turns among them, and what documents lost by them.

        after: the documents without.
        """
        of_spans = pa.table(
            {
                "source": documents["source"].take(spans["row"]),
                "reason": spans["reason"],
                "row": spans["row"],
                "bytes": pc.subtract(spans["end"], spans["begin"]),
                "bytes_added": pc.fill_null(pc.binary_length(spans["replacement"]), 0),
            }
        )
        for (source, reason), rows in _groups(of_spans, ["source", "reason"]):
            self._counts["cut", "documents", source, step, reason] += pc.count_distinct(rows["row"]).as_py()
            self._counts["cut", "spans", source, step, reason] += rows.num_rows
            for measure in ("bytes", "bytes_added"):
                self._counts["cut", measure, source, step, reason] += pc.sum(rows[measure]).as_py()
        changed = pc.unique(spans["row"])
        self._change(step, documents.take(changed), -1)
        self._change(step, after.take(changed), 1)

    def copied(self, documents: pa.Table, step: str) -> None:
        """Counts documents that a step added: those that it drew more than once."""
        self._change(step, documents, 1)

    def replaced(self, documents: pa.Table, made: pa.Table, step: str) -> None:
        """Counts what a step put in the places of documents."""
        self._change(step, documents, -1)
        self._change(step, made, 1)

    def kept(self, documents: pa.Table) -> None:
        """Counts the lengths of documents as they leave the last step."""
        self._count_lengths("kept", documents)

    def labelled(self, documents: pa.Table, step: str, labels: pa.Array) -> None:
        """Counts a step's labels by source."""
        labelled = documents.select(["source"]).append_column("label", labels).filter(pc.is_valid(labels))
        for (source, label), rows in _groups(labelled, ["source", "label"]):
            self._counts["label", step, source, label] += rows.num_rows

    def add(self, other: Ledger) -> None:
        """Adds another part's counts."""
        for key, count in other._counts.items():  # Counter's own addition leaves out what is below zero
            self._counts[key] += count

    def to_json(self) -> list[list[Any]]:
        """The counts as they are kept beside a finished part."""
        return [[list(key), count] for key, count in sorted(self._counts.items())]

    @classmethod
    def from_json(cls, value: list[list[Any]]) -> Ledger:
        """What `to_json` gave."""
        return cls({tuple(key): count for key, count in value})

    def summary(self, sources: Iterable[str], steps: list[str]) -> dict[str, Any]:
        """The whole account: per source what was read, what each step (in order) took in, kept, dropped and cut."""
        by_source = {source: self._of_source(source, steps) for source in sources}
        result = {"steps": steps, "sources": by_source}
        labels = sorted({key[1] for key in self._counts if key[0] == "planted"})
        if labels != ["none"] and labels:
            result["planted"] = {label: self._of_planted(label, steps) for label in labels}
        return result

    def statistics(self, sources: Iterable[str]) -> dict[str, Any]:
        """Lengths of documents as read and as kept, and the labels that steps gave, per source."""
        labels: dict[str, dict[str, dict[str, int]]] = {}
        for key, count in sorted(self._counts.items()):
            if key[0] == "label":
                labels.setdefault(key[1], {}).setdefault(key[2], {})[key[3]] = count
        lengths = {
            source: {
                when: [self._counts["length", when, source, f"{number:02d}"] for number in range(BINS)]
                for when in ("read", "kept")
            }
            for source in sources
        }
        edges = [0, *(1 << number for number in range(BINS - 1))]
        return {"lengths": {"unit": "tokens", "edges": edges, "sources": lengths}, "labels": labels}

    def _of_source(self, source: str, steps: list[str]) -> dict[str, Any]:
        now = {measure: self._counts["read", measure, source] for measure in MEASURES}
        account: dict[str, Any] = {"read": dict(now), "steps": []}
        for step in steps:
            entry: dict[str, Any] = {"step": step} | {f"{measure}_in": now[measure] for measure in MEASURES}
            for measure in MEASURES:
                now[measure] -= sum(self._by_reason("dropped", measure, source, step).values())
                now[measure] += self._counts["changed", measure, source, step]
            entry |= {f"{measure}_kept": now[measure] for measure in MEASURES}
            entry["dropped"] = self._by_reason("dropped", "documents", source, step)
            of_cut = {what: self._by_reason("cut", what, source, step) for what in CUT_MEASURES}
            entry["cut"] = {
                reason: {what: counts[reason] for what, counts in of_cut.items()} for reason in of_cut["spans"]
            }
            account["steps"].append(entry)
        account["kept"] = now
        return account

    def _by_reason(self, *key: str) -> dict[str, int]:
        return {found[-1]: count for found, count in sorted(self._counts.items()) if found[:-1] == key}

    def _of_planted(self, label: str, steps: list[str]) -> dict[str, Any]:
        planted = self._counts["planted", label]
        dropped = {step: self._counts["planted dropped", label, step] for step in steps}
        dropped = {step: count for step, count in dropped.items() if count}
        return {"planted": planted, "dropped_by": dropped, "kept": planted - sum(dropped.values())}

    def _count(self, what: str, documents: pa.Table, *more: str) -> None:
        for (source,), rows in _groups(documents, ["source"]):
            for measure, amount in zip(MEASURES, _amounts(rows), strict=True):
                self._counts[what, measure, source, *more] += amount

    def _change(self, step: str, documents: pa.Table, sign: int) -> None:
        for (source,), rows in _groups(documents, ["source"]):
            for measure, amount in zip(MEASURES, _amounts(rows), strict=True):
                self._counts["changed", measure, source, step] += sign * amount

    def _count_lengths(self, when: str, documents: pa.Table) -> None:
        for (source,), rows in _groups(documents, ["source"]):
            bins = np.frexp(count_tokens(content(rows)).astype(np.float64))[1]  # n = m * 2**e, .5 <= m < 1
            for number, count in enumerate(np.bincount(np.minimum(bins, BINS - 1)).tolist()):
                self._counts["length", when, source, f"{number:02d}"] += count


def _amounts(documents: pa.Table) -> tuple[int, int, int]:
    """Documents, bytes and tokens."""
    text = content(documents)
    return documents.num_rows, pc.sum(pc.binary_length(text)).as_py() or 0, int(count_tokens(text).sum())


def planted_labels(documents: pa.Table) -> list[str]:
    """What generated documents say they were planted as (`meta.planted`): a label or "none"; [] where none says."""
    metas = documents["meta"]
    if not pc.any(pc.fill_null(pc.match_substring(metas, '"planted"'), False)).as_py():
        return []
    return [orjson.loads(meta or b"{}").get("planted") or "none" for meta in metas.to_pylist()]


def _groups(table: pa.Table, columns: list[str]) -> Iterable[tuple[tuple[str, ...], pa.Table]]:
    """The table's rows by the distinct values of columns, in the order of their first row."""
    if not table.num_rows:
        return
    for values in table.select(columns).group_by(columns).aggregate([]).to_pylist():
        mask = pc.equal(table[columns[0]], values[columns[0]])
        for column in columns[1:]:
            mask = pc.and_(mask, pc.equal(table[column], values[column]))
        yield tuple(values[column] for column in columns), table.filter(mask)
