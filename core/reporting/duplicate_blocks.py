"""What was found more than once: between sources, in the largest clusters, and in test sets."""

from __future__ import annotations

from core.reporting.curation_files import Cluster, Contamination, Duplicates
from core.reporting.formats import count, cut, decimal, shortened, visible
from core.reporting.frame import Block, Cell, Column, Part, Quote, Quotes, Table, Text
from core.reporting.matrix_chart import duplication_matrix
from core.reporting.word_differences import word_differences

CUT_AT = 600  # characters: curation leaves no more of a cluster's texts
LONGEST_EXAMPLE = 240  # characters of the words that a test item shares with a document


def duplicate_blocks(duplicates: Duplicates) -> list[Block]:
    """A deduplication's matrix and its largest clusters with their texts."""
    step = duplicates.step
    if not duplicates.removed:
        return [Text(f"{step} found nothing to remove{_compared(duplicates)}.")]
    blocks: list[Block] = []
    if len(duplicates.sources) > 1:
        blocks.append(duplication_matrix(duplicates))
    if compared := _compared(duplicates):
        blocks.append(Text(f"{step} removed {count(duplicates.removed)} documents{compared}."))
    if duplicates.clusters:
        largest = max(cluster.documents for cluster in duplicates.clusters)
        title = f"{step}: the largest clusters of duplicates"
        note = f"{len(duplicates.clusters)}, up to {count(largest)} documents"
        blocks.append(Quotes(title, note, [_cluster(n, each) for n, each in enumerate(duplicates.clusters, 1)]))
    return blocks


def contamination_blocks(step: str, found: Contamination) -> list[Block]:
    """Which test items stand in which documents."""
    items = max(found.matched_items or 0, len(found.matches))
    listed = len(found.matches)
    beyond = f"; the {count(listed)} in the most documents are listed" if listed < items else ""
    said = f"{step} looked for {count(found.items)} test items"
    if found.too_short:
        said += (
            f", {count(found.too_short)} of which are too short to be told from common words and were not looked for"
        )
    if found.unreadable:
        said += f"; {count(found.unreadable)} rows of the test sets could not be read, so they were not looked for"
    if not items:
        return [Text(f"{said}. It found none of them.")]
    said += f". {count(items)} of the items stand in {count(found.documents)} documents{beyond}."
    rows = []
    for match in found.matches:
        example = match.example
        words = Cell(shortened(example.words, LONGEST_EXAMPLE), "wordy") if example else None
        rows.append([str(match.item), match.documents, example and example.id, example and example.source, words])
    columns = [
        Column("test item"),
        Column("documents", count, "documents that share words with it"),
        Column("example"),
        Column("source"),
        Column("words in common"),
    ]
    return [Text(said), Table(f"Test items found by {step}", columns, rows, folded=items > 8)]


def _cluster(number: int, cluster: Cluster) -> Quote:
    kept, shown = cluster.kept, cluster.removed
    facts = [("cluster", str(number)), ("documents", count(cluster.documents))]
    if cluster.documents - 1 > len(shown):
        facts.append(("shown", f"the kept one and {len(shown)} of {count(cluster.documents - 1)} removed"))
    parts = [Part(f"kept: {kept.id} ({kept.source})", kept.text, "good")]
    for each in shown:
        pieces = [(visible(text), kind) for text, kind in word_differences(kept.text, each.text, CUT_AT)]
        same = all(not kind for _, kind in pieces)
        likeness = "" if each.jaccard is None else f", Jaccard {decimal(each.jaccard)}"
        if same:  # the text stands above
            parts.append(Part(f"removed: {each.id} ({each.source}){likeness}, the same words as far as kept aside", ""))
            continue
        parts.append(Part(f"removed: {each.id} ({each.source}){likeness}", cut(each.text, 10 * CUT_AT), "", pieces))
    return Quote(facts, parts)


def _compared(duplicates: Duplicates) -> str:
    if duplicates.candidate_pairs is None:
        return ""
    return f"; {count(duplicates.candidate_pairs)} candidate pairs were compared"
