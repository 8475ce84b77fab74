"""The page of a preview: what each phase would be trained on, token by token, before anything is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from core.reporting.formats import by_reason, count, cut, percent
from core.reporting.frame import (
    Block,
    Card,
    Cell,
    Column,
    Facts,
    OpenQuotes,
    Page,
    Part,
    Quote,
    Quotes,
    Section,
    Table,
    Text,
    render,
)
from core.reporting.preview_words import (
    Preview,
    counts_facts,
    differing,
    distance_story,
    ends,
    pair_distance,
    sample_facts,
    sampled,
    shown,
    template_story,
)
from core.tokens.decoding import Piece
from core.tokens.preview import Counts, Pair, PhasePreview, Sample

MOST_TOKENS = 4096  # pieces of a sample that are shown
MOST_CHARACTERS = 4000  # of a document, or of a part of a pair


@dataclass(frozen=True)
class TokenPart(Part):
    """A sample's tokens in runs of which all is trained, or all is masked: text, hint and whether it is special.

    left_out: said between the runs and the last_runs, where a long sample is shown by its ends."""

    runs: Sequence[tuple[bool, Sequence[tuple[str, str, bool]]]] = ()
    left_out: str = ""
    last_runs: Sequence[tuple[bool, Sequence[tuple[str, str, bool]]]] = ()


@dataclass(frozen=True)
class ShareBar(Facts):
    """Facts of which the first are parts of a whole, drawn as one bar. parts: (role, size)."""

    parts: Sequence[tuple[str, int]] = ()


def preview_page(preview: Preview) -> bytes:
    """The page as UTF-8 HTML, one file that makes no request."""
    return render(
        Page(
            title=preview.recipe,
            kind="preview",
            lead=f"{preview.description} What each phase would be trained on, before anything is run.".strip(),
            cards=[_card(name, phase.counts) for name, phase in preview.phases.items()],
            sections=[
                _counts_section(preview),
                *(_phase_section(name, phase) for name, phase in preview.phases.items()),
                _documents_section(preview),
            ],
            footer="Raycipe preview. This page is one file and makes no request.",
        )
    )


def _card(name: str, counts: Counts) -> Card:
    if not counts.samples:
        return Card(f"{name}: trained on", "nothing", "no sample", "bad")
    note = f"of {count(counts.tokens)} tokens; rows {percent(counts.fill or 0)} full"
    return Card(f"{name}: trained on", percent(counts.trained_tokens / counts.tokens), note)


def _counts_section(preview: Preview) -> Section:
    columns = [
        Column("phase"),
        Column("samples", count),
        Column("tokens", count),
        Column("trained", count, "tokens to be predicted"),
        Column("masked", count, "tokens that are seen, but not to be predicted"),
        Column("truncated", count, "tokens beyond the sequence length that are left out"),
        Column("rows", count, "packed rows"),
        Column("fill", percent, "share of the rows' room that holds tokens"),
        Column("documents refused"),
    ]
    rows = [[name, *_cells(phase.counts)] for name, phase in preview.phases.items()]
    return Section(
        "Counts",
        [
            Text(sampled(preview)),
            Text(f"Tokenizer: {preview.tokenizer}."),
            Table("Tokens of each phase", columns, rows),
        ],
    )


def _cells(counts: Counts) -> list[Any]:
    refused = Cell(by_reason(counts.refused), "wordy") if counts.refused else "none"
    truncated = Cell(counts.truncated_tokens, "bad" if counts.truncated_tokens else "")
    return [
        counts.samples,
        counts.tokens,
        counts.trained_tokens,
        counts.masked_tokens,
        truncated,
        counts.rows,
        counts.fill,
        refused,
    ]


def _phase_section(name: str, phase: PhasePreview) -> Section:
    counts, options = phase.counts, phase.options
    parts = [("trained", counts.trained_tokens), ("masked", counts.masked_tokens), ("padding", counts.padding_tokens)]
    packed = "packed" if options.packing else "one sample a row"
    template = f"Template: {template_story(phase)}. Rows of {count(counts.row_length)} tokens, {packed}."
    blocks: list[Block] = [Text(template), ShareBar(counts_facts(counts), parts=parts)]
    if phase.samples:
        blocks.append(OpenQuotes("Samples", "", [_legend(), *map(_sample, phase.samples)]))
    else:
        blocks.append(Text("None of these documents becomes a sample.", "bad"))
    if phase.refused:
        columns = [Column("document"), Column("source"), Column("reason")]
        rows = [[each.document, each.source, each.reason] for each in phase.refused]
        blocks.append(Table("Documents that become no sample", columns, rows, "The first of each source."))
    if phase.distances:
        blocks += [
            Text(distance_story(phase.distances)),
            OpenQuotes("Pairs", "", [_pair(pair) for pair in phase.pairs]),
        ]
    return Section(f"Phase {name}", blocks)


def _legend() -> Quote:
    runs = [
        (True, [("trained on", "", False)]),
        (False, [("  ", "", False), ("masked: seen, not predicted", "", False), ("  ", "", False)]),
        (True, [("<special token>", "", True)]),
        (False, [("  ", "", False), ("<special token>", "", True), ("  ⏎ line end  ⇥ tab", "", False)]),
    ]
    return Quote([], [TokenPart("", "legend", "legend", runs=runs)])


def _sample(sample: Sample) -> Quote:
    first, left_out, last = ends(sample.pieces, MOST_TOKENS)
    return Quote(sample_facts(sample), [TokenPart("", "tokens", "", (), _runs(first), left_out, _runs(last))])


def _runs(pieces: Sequence[Piece]) -> list[tuple[bool, list[tuple[str, str, bool]]]]:
    return [
        (trained, [(shown(piece.text), " ".join(map(str, piece.ids)), piece.special) for piece in run])
        for trained, run in groupby(pieces, lambda piece: piece.trained)
    ]


def _pair(pair: Pair) -> Quote:
    chosen, rejected = differing(pair)
    return Quote(
        [("document", pair.document), ("edit distance", pair_distance(pair))],
        [
            Part("prompt", cut(pair.prompt, MOST_CHARACTERS)),
            Part("chosen", cut(pair.chosen, MOST_CHARACTERS), "good", chosen),
            Part(
                "rejected",
                cut(pair.rejected, MOST_CHARACTERS),
                "bad",
                [(text, mark and "del") for text, mark in rejected],
            ),
        ],
    )


def _documents_section(preview: Preview) -> Section:
    rows = [
        [name, source.read, source.kept, Cell(by_reason(source.dropped), "wordy")]
        for name, source in preview.sources.items()
    ]
    columns = [Column("source"), Column("looked at", count), Column("kept", count), Column("dropped by")]
    blocks: list[Block] = [Table("Documents of each source", columns, rows)]
    for name, source in preview.sources.items():
        quotes = [_document(document) for document in source.documents]
        blocks.append(Quotes(f"{name}: first documents", count(len(quotes)), quotes))
    return Section("Documents", blocks)


def _document(document: dict[str, Any]) -> Quote:
    drops = ", ".join(f"{drop['step']}: {drop['reason']}" for drop in document["dropped_by"])
    facts = [("id", document["id"]), ("dropped by" if drops else "kept", drops or "by every step asked")]
    cuts: dict[str, int] = {}
    for each in document["cut_by"]:
        name = f"{each['step']}: {each['reason']}"
        cuts[name] = cuts.get(name, 0) + 1
    if cuts:
        facts.append(("cut by", by_reason(cuts)))
    turns = [(turn["role"], turn["content"]) for turn in document["messages"] or ()]
    turns += [(name, document[name]) for name in ("prompt", "chosen", "rejected") if document[name] is not None]
    parts = [Part(role, cut(text or "", MOST_CHARACTERS)) for role, text in turns or [("", document["content"])]]
    return Quote(facts, parts)
