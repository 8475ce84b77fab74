"""Training documents that hold an evaluation item, found by the words they share.

Any sequence of 13 words of an item counts, as for GPT-3 (Brown et al., 2020, appendix C) and DataComp-LM (Li et al.,
2024); an item with fewer counts as a whole, if it has 8 or more. What GPT-3 also did, to pass over sequences that occur
in more than 10 training documents, needs a count over the corpus and is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, model_validator

from core.dedup.ngrams import words
from core.dedup.sequence_search import Sequences, find, unions, widened, word_hashes
from core.documents.ledger import SPANS, Verdict
from core.documents.source import Source
from core.options import Options

CONTAMINATED = "contaminated"
ITEMS_PER_SEQUENCE = 100  # that are told of. What more of them share is no item's own, but a task's instruction.

MATCHES = pa.schema(
    [
        ("row", pa.int64()),
        ("item_id", pa.string()),
        ("words", pa.large_string()),  # that they share, at the first place in the document
        ("begin", pa.int64()),  # of that place, in bytes of the document's content
        ("end", pa.int64()),
    ]
)


class Decontaminate(Options):
    """Drops documents that share a sequence of words with an evaluation item, or cuts what they share."""

    against: dict[str, Source] = Field(
        min_length=1, description="Sources of the evaluation items, by name. All text of an item is searched for."
    )
    ngram: int = Field(13, ge=1, description="Words in sequence, of an item and a document, that count as a leak.")
    minimum: int = Field(
        8,
        ge=1,
        description="Words of the shortest item that is searched for: from here to ngram - 1 words as a whole.",
    )
    action: Literal["document", "span"] = Field(
        "document", description="Drop the whole document, or cut the sequences that it shares with items."
    )
    margin_characters: int = Field(
        0, ge=0, description="With action span, characters that are cut on both sides of a sequence. GPT-3: 200."
    )
    max_pieces: int | None = Field(
        None,
        ge=1,
        description="With action span, a document that would be left in more pieces is dropped. GPT-3: 10.",
    )

    @model_validator(mode="after")
    def _minimum_within_ngram(self) -> Decontaminate:
        if self.minimum > self.ngram:
            raise ValueError(f"minimum is {self.minimum} words, more than the {self.ngram} of ngram")
        return self

    @model_validator(mode="after")
    def _spans_only(self) -> Decontaminate:
        if self.action == "document" and (self.margin_characters or self.max_pieces):
            name = "margin_characters" if self.margin_characters else "max_pieces"
            raise ValueError(f"{name} is for action span; with action document nothing is cut")
        return self


@dataclass(frozen=True)
class EvaluationIndex:
    """The word sequences that documents are searched for. Arrays alone, so it is cheap to send to other processes."""

    item_ids: pa.StringArray  # [items]
    item_words: pa.LargeStringArray  # [items], lower-cased, joined by single spaces
    too_short: int  # items that are not searched for
    known: Sequences
    offsets: NDArray[np.int64]  # [sequences + 1], into the items that each sequence is from
    items: NDArray[np.int32]  # ascending within a sequence, `ITEMS_PER_SEQUENCE` of them at most
    places: NDArray[np.int32]  # the number of the sequence's first word in the item
    ngram: int
    action: str
    margin_characters: int
    max_pieces: int | None

    @staticmethod
    def build(item_ids: Sequence[str], items: pa.LargeStringArray, options: Decontaminate) -> EvaluationIndex:
        """item_ids: a name for each of the items, for the evidence.

        It takes about 28 bytes for each word of the items beside their text, and three times that while it is built.
        """
        from core.dedup import match_kernels as kernels

        hashes, offsets = word_hashes(items)
        counts = np.diff(offsets)
        searched = counts >= options.minimum
        found, prefixes, places = kernels.sequences(hashes, offsets, options.ngram, options.minimum)
        # By hash and then, as they are, by item and place; of each item's equal sequences the first.
        order = np.argsort(found, kind="stable")
        found, item, place = found[order], places[order, 0].astype(np.int32), places[order, 1].astype(np.int32)
        distinct = np.ones(len(found), np.bool_)
        distinct[1:] = (found[1:] != found[:-1]) | (item[1:] != item[:-1])
        found, item, place = found[distinct], item[distinct], place[distinct]
        first = np.flatnonzero(np.diff(found, prepend=~found[:1]))
        rank = np.arange(len(found)) - np.repeat(first, np.diff(first, append=len(found)))
        told = rank < ITEMS_PER_SEQUENCE
        bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(told)])
        return EvaluationIndex(
            pa.array(item_ids, pa.string()),
            pa.array((" ".join(words(text.as_py())) for text in items), pa.large_string()),
            int((~searched).sum()),
            Sequences.build(options.minimum, np.minimum(counts[searched], options.ngram), found[first], prefixes),
            bounds[np.append(first, len(found))],
            item[told],
            place[told],
            options.ngram,
            options.action,
            options.margin_characters,
            options.max_pieces,
        )


@dataclass(frozen=True)
class Leaks:
    """Sequences of words that documents share with items, ascending by row, place and item, the longest first."""

    row: NDArray[np.int64]
    item: NDArray[np.int64]
    begin: NDArray[np.int64]  # bytes of the row's content
    end: NDArray[np.int64]
    words: list[str]  # of each sequence, joined by single spaces


def find_leaks(content: pa.LargeStringArray, index: EvaluationIndex) -> Leaks:
    """All sequences of the index that documents hold.

    What is found by its hash is compared word by word, so a hash that two share drops nothing.
    """
    hits = find(content, index.known)
    sequence = lru_cache(1 << 16)(lambda entry: _sequence(index, entry))
    bounds = zip(index.offsets[hits.entry].tolist(), index.offsets[hits.entry + 1].tolist(), strict=True)
    hit_numbers, entries = [], []
    for number, (begin, end) in enumerate(bounds):
        for of_item in range(begin, end):
            if sequence(of_item) == hits.words[number]:
                hit_numbers.append(number)
                entries.append(of_item)
    hit = np.array(hit_numbers, np.int64)
    items = index.items[np.array(entries, np.int64)].astype(np.int64)
    return Leaks(hits.row[hit], items, hits.begin[hit], hits.end[hit], [hits.words[number] for number in hit_numbers])


def _sequence(index: EvaluationIndex, entry: int) -> str:
    place = int(index.places[entry])
    item: str = index.item_words[int(index.items[entry])].as_py()
    return " ".join(item.split(" ", place + index.ngram)[place : place + index.ngram])


def contamination(content: pa.LargeStringArray, index: EvaluationIndex, leaks: Leaks | None = None) -> Verdict:
    """Drops each document with one of the index's sequences, or cuts the sequences out.

    Evidence of a document or span: "item id: words", the first in it. leaks: what `find_leaks` found, if it is at hand.
    """
    leaks = find_leaks(content, index) if leaks is None else leaks
    evidence: list[str | None] = [None] * len(content)
    rows, first, counts = np.unique(leaks.row, return_index=True, return_counts=True)
    cut: list[dict[str, object]] = []
    for row, begin, count in zip(rows.tolist(), first.tolist(), counts.tolist(), strict=True):
        parts = _cut_parts(content[row], leaks, begin, begin + count, index)
        if parts is None:
            evidence[row] = _evidence(leaks, begin, index)
        else:
            cut += [{"row": row, "reason": CONTAMINATED} | part for part in parts]
    reason = [None if found is None else CONTAMINATED for found in evidence]
    return Verdict(pa.array(reason, pa.string()), pa.array(evidence, pa.string()), pa.Table.from_pylist(cut, SPANS))


def _cut_parts(
    document: pa.LargeStringScalar, leaks: Leaks, first: int, stop: int, index: EvaluationIndex
) -> list[dict[str, object]] | None:
    """Begin, end and evidence of what is cut of a document for its leaks first:stop; None where it is dropped."""
    if index.action == "document":
        return None
    text, own = document.as_py().encode(), slice(first, stop)
    numbers, begins, ends = unions(leaks.begin[own], leaks.end[own])
    if index.margin_characters:
        ranges = zip(begins.tolist(), ends.tolist(), strict=True)
        wide = np.array([widened(text, begin, end, index.margin_characters) for begin, end in ranges], np.int64)
        again, begins, ends = unions(wide[:, 0], wide[:, 1])
        numbers = numbers[again]
    pieces = int((np.append(begins, len(text)) > np.append(0, ends)).sum())
    if index.max_pieces is not None and pieces > index.max_pieces:
        return None
    return [
        {"begin": begin, "end": end, "evidence": _evidence(leaks, first + number, index)}
        for number, begin, end in zip(numbers.tolist(), begins.tolist(), ends.tolist(), strict=True)
    ]


def _evidence(leaks: Leaks, number: int, index: EvaluationIndex) -> str:
    return f"{index.item_ids[int(leaks.item[number])]}: {leaks.words[number]}"


def matches(content: pa.LargeStringArray, index: EvaluationIndex, leaks: Leaks | None = None) -> pa.Table:
    """The items that each document shares a sequence with, each once per document, as MATCHES in order of rows.

    Of a sequence that more than `ITEMS_PER_SEQUENCE` items share, the first of them are told alone.
    """
    leaks = find_leaks(content, index) if leaks is None else leaks
    _, first = np.unique(leaks.row * len(index.item_ids) + leaks.item, return_index=True)
    first.sort()
    columns = [
        leaks.row[first],
        index.item_ids.take(pa.array(leaks.item[first])),
        pa.array([leaks.words[number] for number in first.tolist()], pa.large_string()),
        leaks.begin[first],
        leaks.end[first],
    ]
    return pa.table(columns, schema=MATCHES)
