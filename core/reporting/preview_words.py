"""What a preview says, in the same words on the page and on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.reporting.formats import by_reason, count, percent, visible
from core.reporting.word_differences import LONGEST, word_differences
from core.reporting.word_differences import Piece as Words
from core.tokens.decoding import Piece
from core.tokens.preview import Counts, Distances, Pair, PhasePreview, Sample


@dataclass(frozen=True)
class SourcePreview:
    """documents: the first ones, and what each step says of them; read: documents looked at, whole: which are all
    there are; dropped: how many of these by "step: reason"; kept: documents that are left, or made of those."""

    documents: Sequence[dict[str, Any]]
    read: int
    whole: bool
    dropped: dict[str, int]
    kept: int


@dataclass(frozen=True)
class Preview:
    """All that is shown. tokenizer: which, in words; not_asked: steps that look at more than one document."""

    recipe: str
    description: str
    tokenizer: str
    sources: dict[str, SourcePreview]
    phases: dict[str, PhasePreview]
    not_asked: Sequence[str]


def sampled(preview: Preview) -> str:
    """Which documents are counted, and what of the recipe they have not gone through."""
    read = ", ".join(
        f"{'all ' if source.whole else ''}{count(source.read)} of {name}" for name, source in preview.sources.items()
    )
    kept, of = (sum(getattr(source, name) for source in preview.sources.values()) for name in ("kept", "read"))
    said = f"Counted over the first documents of each source: {read}. "
    said += f"The steps that judge a document alone leave {count(kept)} of these {count(of)}."
    if preview.not_asked:
        said += f" Not asked: {', '.join(preview.not_asked)}."
    return said


def ends(pieces: Sequence[Piece], most: int) -> tuple[Sequence[Piece], str, Sequence[Piece]]:
    """A sample's first and last pieces, `most` in all, and what is left out between them, in words."""
    if len(pieces) <= most:
        return pieces, "", ()
    between = pieces[most // 2 : -(most // 2)]
    tokens, trained = (sum(len(piece.ids) for piece in some) for some in (between, [p for p in between if p.trained]))
    return pieces[: most // 2], f"{count(tokens)} tokens, {count(trained)} of them trained", pieces[-(most // 2) :]


def shown(text: str) -> str:
    """A token's text, safe to print; line ends, tabs and carriage returns can be seen."""
    return visible(text.replace("\r", "[U+000D]")).replace("\n", "⏎\n").replace("\t", "⇥\t")


def sample_facts(sample: Sample) -> list[tuple[str, str]]:
    """What is told of a sample."""
    facts = [("document", sample.document)]
    if sample.part:
        facts.append(("completion", sample.part))
    elif sample.of > 1:
        facts.append(("sample", f"{sample.number} of {count(sample.of)}"))
    facts += [
        ("tokens", count(sample.length)),
        ("trained", count(sample.trained_tokens)),
        ("masked", count(sample.masked_tokens)),
    ]
    return [*facts, ("truncated", f"{count(sample.truncated_tokens)} tokens")] if sample.truncated_tokens else facts


def counts_facts(counts: Counts) -> list[tuple[str, str]]:
    """What is told of all samples of a phase."""
    whole = counts.tokens or 1
    return [
        ("trained", f"{count(counts.trained_tokens)} tokens, {percent(counts.trained_tokens / whole)}"),
        ("masked", f"{count(counts.masked_tokens)} tokens, {percent(counts.masked_tokens / whole)}"),
        ("padding", f"{count(counts.padding_tokens)} tokens"),
        ("packing fill", "no rows" if counts.fill is None else percent(counts.fill)),
        ("rows", f"{count(counts.rows)} of {count(counts.row_length)} tokens"),
        ("samples", f"{count(counts.samples)} from {count(counts.documents)} documents"),
        ("truncated", f"{count(counts.truncated_tokens)} tokens"),
        ("refused", by_reason(counts.refused) if counts.refused else "none"),
    ]


def template_story(phase: PhasePreview) -> str:
    """How dialogues and pairs are written, and what of them is learned."""
    options = phase.options
    if phase.distances:
        return f"{options.chat_template}; learned of a pair: both completions"
    turns = "the last turn" if options.learn_turns == "last" else "every turn"
    return f"{options.chat_template}; learned of a dialogue: {turns} of {' and '.join(options.learn_roles)}"


def distance_story(distances: Distances) -> str:
    """The edit distances of a sample's pairs in a sentence."""
    first = f"the first {count(distances.pairs)} of " if distances.pairs < distances.of else ""
    return (
        f"Edit distance of chosen and rejected in {first}{count(distances.of)} pairs: "
        f"median {_characters(distances.median)}, {percent(distances.median_share)} of the longer one; "
        f"from {percent(distances.least_share)} to {percent(distances.largest_share)}."
    )


def pair_distance(pair: Pair) -> str:
    """How far a pair's completions are from each other."""
    return f"{_characters(pair.edit_distance)}, {percent(pair.share)} of the longer one"


def differing(pair: Pair) -> tuple[list[Words], list[Words]]:
    """The chosen and the rejected completion in pieces: "ins" what the other one lacks, else ""."""
    sides = ((pair.rejected, pair.chosen), (pair.chosen, pair.rejected))
    chosen, rejected = (
        [(text, mark) for text, mark in word_differences(other, own, LONGEST) if mark != "del"] for other, own in sides
    )
    return chosen, rejected


def _characters(number: float) -> str:
    return f"{count(number)} character{'' if number == 1 else 's'}"
