"""A preview on the terminal: what is trained on in colour, or between marks where there are no colours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from core.reporting.formats import by_reason, cut, visible
from core.reporting.preview_words import (
    Preview,
    SourcePreview,
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

MOST_CHARACTERS = 600  # of a document
MOST_TOKENS = 600  # pieces of a sample
BAR = 60  # characters
OPEN, CLOSE = "⟦", "⟧"  # around what is trained on, where there are no colours


def draw_sources(console: Console, sources: dict[str, SourcePreview]) -> None:
    """The first documents of each source, and what the steps say of each."""
    for name, source in sources.items():
        console.print(Rule(Text(name, "bold"), align="left"))
        for document in source.documents:
            drops = ", ".join(f"{drop['step']}: {drop['reason']}" for drop in document["dropped_by"])
            cuts = Counter(f"{cut['step']}: {cut['reason']}" for cut in document["cut_by"])
            trimmed = ", ".join(f"{what} ({times} times)" for what, times in cuts.items())
            line = Text(visible(document["id"]), "dim")
            line.append(f"  {visible(drops)}", "red") if drops else line.append("  kept", "not dim green")
            if trimmed:
                line.append(f"  {visible(trimmed)}", "yellow")
            if document["not_asked"]:
                line.append(f"  (not asked: {', '.join(document['not_asked'])})")
            _print(console, line)
            turns = [(turn["role"], turn["content"]) for turn in document["messages"] or ()]
            turns += [(part, document[part]) for part in ("prompt", "chosen", "rejected") if document[part] is not None]
            for role, text in turns:
                _print(console, _labelled(role, Text(_cut(text or ""))))
            if not turns:
                _print(console, Text(_cut(document["content"])))
            console.print()


def draw_phases(console: Console, preview: Preview) -> None:
    """What each phase is trained on."""
    _print(console, _labelled("tokenizer", Text(visible(preview.tokenizer))))
    _print(console, _legend(console))
    for name, phase in preview.phases.items():
        console.print()
        console.print(Rule(Text(f"phase {name}", "bold"), align="left"))
        for sample in phase.samples:
            _draw_sample(console, sample)
        if phase.distances:
            for pair in phase.pairs:
                _draw_pair(console, pair)
        _draw_counts(console, phase)
    console.print()
    _print(console, Text(visible(sampled(preview))))
    for name, source in preview.sources.items():
        if source.dropped:
            _print(console, Text(f"dropped of {name}: {visible(by_reason(source.dropped))}"))


def _draw_sample(console: Console, sample: Sample) -> None:
    facts = "  ".join(f"{name} {visible(value)}" for name, value in sample_facts(sample))
    _print(console, Text(facts, "bold"), as_it_is=True)
    first, left_out, last = ends(sample.pieces, MOST_TOKENS)
    text = _tokens(console, first)
    if left_out:
        text.append(f"\n… {left_out} …\n", "italic")
    _print(console, text.append_text(_tokens(console, last)), as_it_is=True)
    console.print()


def _tokens(console: Console, pieces: Sequence[Piece]) -> Text:
    text = Text()
    open_mark = False
    for piece in pieces:
        if _plain(console) and piece.trained != open_mark:
            text.append(OPEN if piece.trained else CLOSE)
            open_mark = piece.trained
        style = "green" if piece.trained else "dim"
        text.append(shown(piece.text), f"{style} reverse" if piece.special else style)
    return text.append(CLOSE) if open_mark else text


def _draw_pair(console: Console, pair: Pair) -> None:
    _print(console, Text(f"pair {visible(pair.document)}  edit distance {pair_distance(pair)}", "bold"))
    _print(console, _labelled("prompt", Text(_cut(pair.prompt))))
    chosen, rejected = differing(pair)
    for name, pieces, style in (("chosen", chosen, "green"), ("rejected", rejected, "red")):
        text = Text()
        for words, mark in pieces:
            marked = f"{OPEN}{visible(words)}{CLOSE}" if mark and _plain(console) else visible(words)
            text.append(marked, f"bold {style}" if mark else "")
        _print(console, _labelled(name, text))
    console.print()


def _draw_counts(console: Console, phase: PhasePreview) -> None:
    for refused in phase.refused:
        _print(console, Text(f"refused {visible(refused.document)}: {visible(refused.reason)}", "yellow"))
    if not phase.samples:
        _print(console, Text("none of these documents becomes a sample", "red"))
    table = Table.grid(padding=(0, 2))
    for name, value in [("template", template_story(phase)), *counts_facts(phase.counts)]:
        table.add_row(Text(name, "bold"), Text(visible(value)))
    console.print(table)
    console.print(_bar(phase.counts))
    if phase.distances:
        _print(console, Text(distance_story(phase.distances)))


def _bar(counts: Counts) -> Text:
    """Trained, masked and padding tokens of all rows, by their shares."""
    parts = (
        (counts.trained_tokens, "█", "green"),
        (counts.masked_tokens, "▒", "dim"),
        (counts.padding_tokens, "·", ""),
    )
    whole = sum(size for size, _, _ in parts) or 1
    text, done, drawn = Text(), 0, 0
    for size, letter, style in parts:
        done += size
        end = round(BAR * done / whole)
        text.append(letter * (end - drawn), style)
        drawn = end
    return text


def _legend(console: Console) -> Text:
    if _plain(console):
        return Text(f"{OPEN}trained on{CLOSE}  masked  ⏎ line end  ⇥ tab")
    kinds = (("trained on", "green"), "  ", ("masked", "dim"), "  ", ("<special>", "reverse"))
    return Text.assemble(*kinds, "  ⏎ line end  ⇥ tab")


def _labelled(label: str, text: Text) -> Text:
    return Text.assemble((visible(label), "bold"), ": ", text)


def _cut(text: str) -> str:
    return visible(cut(text, MOST_CHARACTERS))


def _plain(console: Console) -> bool:
    return console.color_system is None or console.no_color


def _print(console: Console, text: Text, as_it_is: bool = False) -> None:
    """Without emoji for :names: and colours of rich's own choice. as_it_is: wrapped by the terminal, if at all."""
    console.print(text, soft_wrap=as_it_is, highlight=False)
