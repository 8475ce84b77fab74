"""What a run's page says of curation: every document that was read, and why it is kept or not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from core.reporting.curation_charts import fates, waterfall
from core.reporting.examples import Dropped, dropped_examples
from core.reporting.formats import by_reason, count, cut, percent, size
from core.reporting.frame import Block, Cell, Column, Part, Quote, Quotes, Section, Table, Text
from core.reporting.options import Report
from core.reporting.run_files import Ledger, Run

AMOUNTS = [
    Column("documents in", count),
    Column("kept", count),
    Column("dropped", count),
    Column("share dropped", percent),
    Column("bytes in", size),
    Column("bytes kept", size),
]


def curation_section(run: Run, options: Report) -> Section:
    """Sources, steps, reasons, what was planted and what was found of it, examples of what was dropped."""
    ledger = run.ledger
    if ledger is None:
        return Section("Curation", [Text("No documents have been curated.")], run.remark("curate"))
    blocks: list[Block] = [Text(problem, "bad") for problem in contradictions(ledger)]
    if ledger.sources:
        blocks += [waterfall(ledger), fates(ledger)]
    blocks += [_sources(ledger), _reasons(ledger)]
    if ledger.planted:
        blocks.append(_planted(ledger))
    blocks.append(_steps(ledger))
    examples = dropped_examples(run.directory / "curate" / "dropped", options.examples_per_reason)
    if examples:
        text = "Examples of what was dropped, evenly spread over all documents of a step and reason."
        blocks.append(Text(text))
    for step, reason in sorted(examples, key=lambda key: (_place(ledger, key[0]), key)):
        quotes = [_quote(document, options.longest_example) for document in examples[step, reason]]
        of = count(_dropped(ledger, step, reason))
        blocks.append(Quotes(f"{step}: {reason}", f"{len(quotes)} of {of}", quotes))
    return Section("Curation", blocks, run.remark("curate"))


def contradictions(ledger: Ledger) -> list[str]:
    """Where the account does not add up: a document that left without a reason, or came from nowhere."""
    problems = []
    for name, source in ledger.sources.items():
        now = source.read.documents
        for step in source.steps:
            reasons = sum(step.dropped.values())
            if step.documents_in != now or step.documents_in - step.documents_kept != reasons:
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


def _sources(ledger: Ledger) -> Table:
    rows = [
        [name, *_amounts(s.read.documents, s.kept.documents, s.read.bytes, s.kept.bytes)]
        for name, s in ledger.sources.items()
    ]
    if len(rows) > 1:
        rows.append(["all sources", *_amounts(*(sum(row[n] for row in rows) for n in (1, 2, 5, 6)))])
    return Table("Sources", [Column("source"), *AMOUNTS], rows)


def _reasons(ledger: Ledger) -> Table:
    reasons = dict.fromkeys(
        (step.step, reason) for source in ledger.sources.values() for step in source.steps for reason in step.dropped
    )
    read = sum(source.read.documents for source in ledger.sources.values())
    rows = [
        [reason, step, dropped := _dropped(ledger, step, reason), dropped / read if read else None]
        for step, reason in sorted(reasons, key=lambda key: (_place(ledger, key[0]), key))
    ]
    columns = [Column("reason"), Column("step"), Column("documents", count), Column("share of all read", percent)]
    return Table("Why documents were dropped", columns, rows)


def _steps(ledger: Ledger) -> Table:
    rows = [
        [
            step.step,
            name,
            *_amounts(step.documents_in, step.documents_kept, step.bytes_in, step.bytes_kept),
            by_reason(step.dropped),
        ]
        for name, source in ledger.sources.items()
        for step in source.steps
    ]
    columns = [Column("step"), Column("source"), *AMOUNTS, Column("reasons")]
    return Table("Each step, source by source", columns, rows, folded=True)


def _planted(ledger: Ledger) -> Table:
    columns = [
        Column("planted as"),
        Column("planted", count),
        Column("dropped", count),
        Column("share dropped", percent),
        Column("kept", count),
        Column("dropped by"),
    ]
    rows = []
    for label, truth in ledger.planted.items():
        dropped = sum(truth.dropped_by.values())
        name = Cell("none", text="nothing planted") if label == "none" else label
        share = dropped / truth.planted if truth.planted else None
        rows.append([name, truth.planted, dropped, share, truth.kept, by_reason(truth.dropped_by)])
    note = (
        "These sources say of each document what was planted in it, and no step reads that. Where nothing was "
        "planted, what was dropped is a false alarm, or was not drawn for the mixture."
    )
    return Table("Planted against found", columns, rows, note)


def _quote(document: Dropped, longest: int) -> Quote:
    facts = [("id", document.id), ("source", document.source), ("evidence", document.evidence), ("meta", document.meta)]
    known = [(name, str(value)) for name, value in facts if value]
    return Quote(known, [Part("", cut(document.text, longest))])


def _amounts(documents: int, kept: int, size_in: int, size_kept: int) -> list[Any]:
    dropped = documents - kept
    return [documents, kept, dropped, dropped / documents if documents else None, size_in, size_kept]


def _dropped(ledger: Ledger, step: str, reason: str) -> int:
    steps: Iterable[Any] = (each for source in ledger.sources.values() for each in source.steps if each.step == step)
    return sum(each.dropped.get(reason, 0) for each in steps)


def _place(ledger: Ledger, step: str) -> int:
    steps: Sequence[str] = ledger.steps
    return steps.index(step) if step in steps else len(steps)
