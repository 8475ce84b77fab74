"""The ledger as tables: sources, steps, reasons, cuts, and what was planted against what was found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.reporting.curation_charts import SHOW
from core.reporting.curation_files import MIXTURE, Ledger, LedgerStep, amount
from core.reporting.curation_story import alarming
from core.reporting.formats import by_reason, count, percent, size
from core.reporting.frame import Cell, Column, Table


def contradictions(ledger: Ledger) -> list[str]:
    """Where the account does not add up: a document that left without a reason, or came from nowhere."""
    problems = []
    for name, source in ledger.sources.items():
        now = source.read.documents
        for step in source.steps:
            reasons = sum(step.dropped.values())
            came = step.documents_kept - step.documents_in + reasons
            if step.documents_in != now or came < 0 or (came and step.step != MIXTURE):
                problems.append(
                    f"The ledger does not add up: {name}, {step.step}: {count(now)} documents came, "
                    f"{count(step.documents_in)} were counted in, {count(step.documents_kept)} kept, "
                    f"{count(reasons)} dropped for a reason."
                )
            now = step.documents_kept
        if now != source.kept.documents:
            problems.append(
                f"The ledger does not add up: {name}: {count(now)} documents are left after the last step, "
                f"{count(source.kept.documents)} were kept."
            )
    return problems


def sources_table(ledger: Ledger) -> Table:
    """What was read and kept of each source, and of all."""
    measures = ledger.measures
    accounts = [(name, source.read, source.kept) for name, source in ledger.sources.items()]
    rows = [
        [name, *_amounts({m: (amount(read, m), amount(kept, m)) for m in measures})] for name, read, kept in accounts
    ]
    if len(rows) > 1:
        totals = {measure: (ledger.total("read", measure), ledger.total("kept", measure)) for measure in measures}
        rows.append(["all sources", *_amounts(totals)])
    return Table("Sources", [Column("source"), *_amount_columns(measures)], rows)


def reasons_table(ledger: Ledger) -> Table | None:
    """Every reason for which documents were dropped; None where none was."""
    read = ledger.total("read", "documents")
    rows = [
        [reason, step, dropped, dropped / read if read else None]
        for step in _steps(ledger)
        for reason, dropped in sorted(ledger.dropped(step).items())
    ]
    columns = [Column("reason"), Column("step"), Column("documents", count), Column("share of all read", percent)]
    return Table("Why documents were dropped", columns, rows) if rows else None


def cuts_table(ledger: Ledger) -> Table | None:
    """Every reason for which passages were cut out of documents that stayed; None where there is none."""
    read = ledger.total("read", "bytes")
    rows = [
        [reason, step, parts.documents, parts.spans, parts.bytes, parts.bytes / read if read else None]
        for step in _steps(ledger)
        for reason, parts in sorted(ledger.cut(step).items())
    ]
    columns = [
        Column("reason"),
        Column("step"),
        Column("documents", count, "documents that passages were taken out of; they stay"),
        Column("passages", count),
        Column("bytes", size),
        Column("share of all read", percent),
    ]
    return Table("Why passages were cut or replaced", columns, rows) if rows else None


def steps_table(ledger: Ledger) -> Table:
    """Each step's account of each source; what took more than half is marked."""
    measures = ledger.measures
    rows = []
    for name, source in ledger.sources.items():
        for step in source.steps:
            amounts = _amounts({measure: (step.before(measure), step.after(measure)) for measure in measures})
            if alarming(step):
                amounts[3] = Cell(amounts[3], "bad")
            reasons = (
                Cell(said, "wordy" if len(said) > 20 else "whole") for said in (by_reason(step.dropped), _cut(step))
            )
            rows.append([step.step, name, *amounts, *reasons])
    columns = [Column("step"), Column("source"), *_amount_columns(measures), Column("reasons"), Column("cut")]
    return Table("Each step, source by source", columns, rows, folded=True)


def planted_table(ledger: Ledger) -> Table | None:
    """What generated sources planted, and what became of it; None where nothing was planted."""
    columns = [
        Column("planted as"),
        Column("planted", count),
        Column("dropped", count),
        Column("share dropped", percent),
        Column("kept", count),
        Column("dropped by"),
    ]
    rows: list[list[Any]] = []
    for label, truth in ledger.planted.items():
        dropped = sum(truth.dropped_by.values())
        name = Cell("none", text="nothing planted") if label == "none" else label
        share = dropped / truth.planted if truth.planted else None
        rows.append([name, truth.planted, dropped, share, truth.kept, by_reason(truth.dropped_by)])
    note = (
        "These sources say of each document what was planted in it, and no step reads that. Where nothing was "
        "planted, what was dropped is a false alarm, or was not drawn for the mixture."
    )
    return Table("Planted against found", columns, rows, note) if rows else None


def labels_table(step: str, labels: dict[str, dict[str, int]], most: int = 10) -> Table:
    """Each source's labels, those with the most documents first; beyond `most` of a source they are one row."""
    rows: list[list[Any]] = []
    for source, of_source in labels.items():
        whole = max(1, sum(of_source.values()))
        by_amount = sorted(of_source.items(), key=lambda item: (-item[1], item[0]))
        rows += [[source, label, documents, documents / whole] for label, documents in by_amount[:most]]
        if rest := by_amount[most:]:
            documents = sum(n for _, n in rest)
            rows.append([source, Cell("", text=f"{len(rest)} others"), documents, documents / whole])
    columns = [Column("source"), Column("label"), Column("documents", count), Column("share of the source", percent)]
    return Table(f"Labels given by {step}, source by source", columns, rows, folded=True)


def _steps(ledger: Ledger) -> list[str]:
    """In the ledger's order, and any that only an account names."""
    named = (step.step for source in ledger.sources.values() for step in source.steps)
    return list(dict.fromkeys([*ledger.steps, *named]))


def _cut(step: LedgerStep) -> str:
    return ", ".join(f"{reason} {count(cut.spans)} ({size(cut.bytes)})" for reason, cut in step.cut.items()) or "–"


def _amount_columns(measures: list[str]) -> list[Column]:
    show: dict[str, Callable[[Any], str]] = dict(SHOW)
    columns = [
        Column("documents in", count),
        Column("kept", count),
        Column("dropped", count),
        Column("share dropped", percent),
    ]
    for measure in measures[1:]:
        columns += [Column(f"{measure} in", show[measure]), Column(f"{measure} kept", show[measure])]
    return columns


def _amounts(of: dict[str, tuple[int, int]]) -> list[Any]:
    """of: before and after, by measure."""
    documents, kept = of["documents"]
    dropped = documents - kept
    row: list[Any] = [documents, kept, dropped, dropped / documents if documents else None]
    for measure, both in of.items():
        row += both if measure != "documents" else ()
    return row
