"""What a run's page says of curation: every document that was read, and why it is kept or not."""

from __future__ import annotations

from core.reporting.curation_charts import fates, own_waterfall, waterfall
from core.reporting.curation_files import Ledger, Statistics
from core.reporting.curation_story import why_data_left
from core.reporting.curation_tables import (
    contradictions,
    cuts_table,
    labels_table,
    planted_table,
    reasons_table,
    sources_table,
    steps_table,
)
from core.reporting.duplicate_blocks import contamination_blocks, duplicate_blocks
from core.reporting.examples import CutPassage, Dropped, cut_examples, dropped_examples
from core.reporting.formats import count, cut
from core.reporting.frame import Block, Choice, Part, Quote, Quotes, Section, Text
from core.reporting.histogram_charts import label_histogram, length_histograms
from core.reporting.instruction_blocks import sampling_blocks, selection_blocks
from core.reporting.options import Report
from core.reporting.run_files import Run

OWN_WATERFALLS = 8  # sources, the largest; the others stand in the table of each step


def curation_section(run: Run, options: Report) -> Section:
    """Why data left; sources, steps, reasons, duplicates, test items, lengths and labels; examples of what left."""
    ledger = run.ledger
    if ledger is None:
        return Section("Curation", [Text("No documents have been curated.")], run.remark("curate"))
    blocks: list[Block] = [Text(problem, "bad") for problem in contradictions(ledger)]
    blocks += why_data_left(ledger)
    if ledger.sources:
        blocks += _waterfalls(ledger)
    tables = [sources_table(ledger), reasons_table(ledger), cuts_table(ledger), planted_table(ledger)]
    blocks += [table for table in tables if table]
    blocks.append(steps_table(ledger))
    for source, selected in sorted(run.selected_tasks.items()):
        blocks += selection_blocks(source, selected)
    for step in sorted(run.sampling, key=lambda step: (ledger.place(step), step)):
        blocks += sampling_blocks(run.sampling[step])
    for step in sorted(run.duplicates, key=lambda step: (ledger.place(step), step)):
        blocks += duplicate_blocks(run.duplicates[step])
    for step in sorted(run.contamination, key=lambda step: (ledger.place(step), step)):
        blocks += contamination_blocks(step, run.contamination[step])
    if run.statistics:
        blocks += _statistics(ledger, run.statistics)
    return Section("Curation", [*blocks, *_examples(run, ledger, options)], run.remark("curate"))


def _waterfalls(ledger: Ledger) -> list[Block]:
    measures = ledger.measures
    blocks: list[Block] = [
        Choice("Counted in", [(measure, waterfall(ledger, measure)) for measure in measures]),
        Choice("Counted in", [(measure, fates(ledger, measure)) for measure in measures]),
    ]
    if len(ledger.sources) > 1:
        own = [(source, own_waterfall(ledger, source)) for source in ledger.by_size[:OWN_WATERFALLS]]
        blocks.append(Choice("Source", own))
    return blocks


def _statistics(ledger: Ledger, statistics: Statistics) -> list[Block]:
    blocks: list[Block] = []
    if statistics.lengths and statistics.lengths.sources:
        blocks.append(length_histograms(statistics.lengths, ledger.by_size))
    for step in sorted(statistics.labels, key=lambda step: (ledger.place(step), step)):
        labels = {source: of_source for source, of_source in statistics.labels[step].items() if of_source}
        if labels:
            blocks += [label_histogram(step, labels), labels_table(step, labels)]
    return blocks


def _examples(run: Run, ledger: Ledger, options: Report) -> list[Block]:
    blocks: list[Block] = []
    dropped = dropped_examples(run.directory / "curate" / "dropped", options.examples_per_reason)
    if dropped:
        blocks.append(Text("Examples of what was dropped, evenly spread over all documents of a step and reason."))
    for step, reason in sorted(dropped, key=lambda key: (ledger.place(key[0]), key)):
        quotes = [_dropped(document, options.longest_example) for document in dropped[step, reason]]
        of = count(ledger.dropped(step).get(reason, 0))
        blocks.append(Quotes(f"{step}: {reason}", f"{len(quotes)} of {of}", quotes))
    passages = cut_examples(run.directory / "curate" / "cut", options.examples_per_reason)
    if passages:
        said = "Examples of what was cut out of documents that stayed, or replaced in them, spread in the same way."
        blocks.append(Text(said))
    for step, reason in sorted(passages, key=lambda key: (ledger.place(key[0]), key)):
        quotes = [_cut(passage, options.longest_example) for passage in passages[step, reason]]
        cuts = ledger.cut(step).get(reason)
        of = f"{len(quotes)} of {count(cuts.spans)} passages" if cuts else f"{len(quotes)} passages"
        blocks.append(Quotes(f"{step}: {reason}, cut", of, quotes))
    return blocks


def _dropped(document: Dropped, longest: int) -> Quote:
    facts = [("id", document.id), ("source", document.source), ("evidence", document.evidence), ("meta", document.meta)]
    known = [(name, str(value)) for name, value in facts if value]
    return Quote(known, [Part("", cut(document.text, longest))])


def _cut(passage: CutPassage, longest: int) -> Quote:
    facts = [("id", passage.id), ("source", passage.source), ("evidence", passage.evidence)]
    known = [(name, str(value)) for name, value in facts if value]
    known.append(("bytes", f"{count(passage.begin)} to {count(passage.end)} of its text"))
    if passage.text is None:
        return Quote(known, [Part("Replaced. What stood there may be personal and is not kept.", "")])
    return Quote(known, [Part("", cut(passage.text, longest))])
