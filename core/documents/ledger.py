"""What a step decides about each document, and the account of every document that left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from core.documents.table import DOCUMENTS, content

READ = "read"  # the label of the step that makes documents of rows
DROPPED = pa.schema([*DOCUMENTS, ("step", pa.string()), ("reason", pa.string()), ("evidence", pa.string())])


@dataclass(frozen=True)
class Verdict:
    """A step's decision on a table of documents: one entry per row.

    reason: string, why the row is dropped (a short snake_case name); null where it is kept.
    evidence: string, what shows it (the value found, the phrase, the kept partner's id); null where there is none.
    """

    reason: pa.Array
    evidence: pa.Array


def dropped_rows(documents: pa.Table, step: str, verdict: Verdict) -> pa.Table:
    """The documents that a verdict drops, as DROPPED."""
    whole = documents.append_column("step", pa.repeat(pa.scalar(step), documents.num_rows))
    whole = whole.append_column("reason", verdict.reason.cast(pa.string()))
    whole = whole.append_column("evidence", verdict.evidence.cast(pa.string()))
    return whole.filter(pc.is_valid(verdict.reason)).cast(DROPPED)


class Ledger:
    """Counts of documents and bytes by source, step and reason; ledgers of parts add up."""

    def __init__(self, counts: Mapping[tuple[str, ...], int] | None = None) -> None:
        self._counts: Counter[tuple[str, ...]] = Counter(counts or {})

    def read(self, documents: pa.Table) -> None:
        """Counts documents as they come from their source."""
        self._count("read", documents)
        for label in planted_labels(documents):
            self._counts["planted", label] += 1

    def dropped(self, dropped: pa.Table) -> None:
        """Counts rows of DROPPED."""
        for (step, reason), rows in _groups(dropped, ["step", "reason"]):
            self._count("dropped", rows, step, reason)
        for step, label in zip(dropped["step"].to_pylist(), planted_labels(dropped), strict=False):
            self._counts["planted dropped", label, step] += 1

    def add(self, other: Ledger) -> None:
        """Adds another part's counts."""
        self._counts.update(other._counts)

    def to_json(self) -> list[list[Any]]:
        """The counts as they are kept beside a finished part."""
        return [[list(key), count] for key, count in sorted(self._counts.items())]

    @classmethod
    def from_json(cls, value: list[list[Any]]) -> Ledger:
        """What `to_json` gave."""
        return cls({tuple(key): count for key, count in value})

    def summary(self, sources: Iterable[str], steps: list[str]) -> dict[str, Any]:
        """The whole account: per source what was read, what each step (in order) took in, kept and dropped."""
        by_source = {source: self._of_source(source, steps) for source in sources}
        result = {"steps": steps, "sources": by_source}
        labels = sorted({key[1] for key in self._counts if key[0] == "planted"})
        if labels != ["none"] and labels:
            result["planted"] = {label: self._of_planted(label, steps) for label in labels}
        return result

    def _of_source(self, source: str, steps: list[str]) -> dict[str, Any]:
        documents, size = (self._counts["read", what, source] for what in ("documents", "bytes"))
        account: dict[str, Any] = {"read": {"documents": documents, "bytes": size}, "steps": []}
        for step in steps:
            reasons = {
                key[4]: count
                for key, count in sorted(self._counts.items())
                if key[:4] == ("dropped", "documents", source, step)
            }
            bytes_dropped = sum(
                count for key, count in self._counts.items() if key[:4] == ("dropped", "bytes", source, step)
            )
            entry = {"step": step, "documents_in": documents, "bytes_in": size}
            documents, size = documents - sum(reasons.values()), size - bytes_dropped
            account["steps"].append({**entry, "documents_kept": documents, "bytes_kept": size, "dropped": reasons})
        account["kept"] = {"documents": documents, "bytes": size}
        return account

    def _of_planted(self, label: str, steps: list[str]) -> dict[str, Any]:
        planted = self._counts["planted", label]
        dropped = {step: self._counts["planted dropped", label, step] for step in steps}
        dropped = {step: count for step, count in dropped.items() if count}
        return {"planted": planted, "dropped_by": dropped, "kept": planted - sum(dropped.values())}

    def _count(self, what: str, documents: pa.Table, *more: str) -> None:
        for (source,), rows in _groups(documents, ["source"]):
            self._counts[what, "documents", source, *more] += rows.num_rows
            size = pc.sum(pc.binary_length(content(rows.select(DOCUMENTS.names)))).as_py()
            self._counts[what, "bytes", source, *more] += size or 0


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
