"""Training documents that hold an evaluation item, found by the words they share.

Any sequence of 13 words of an item counts, as for GPT-3 (Brown et al., 2020, appendix C) and DataComp-LM (Li et al.,
2024); an item with fewer counts as a whole, if it has 8 or more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, model_validator

from core.dedup.ngrams import character_tables, ordered_ngrams, text_buffers, words
from core.documents.ledger import Verdict
from core.documents.source import Source
from core.options import Options

CONTAMINATED = "contaminated"


class Decontaminate(Options):
    """Drops documents that share a sequence of words with an evaluation item."""

    against: dict[str, Source] = Field(
        min_length=1, description="Sources of the evaluation items, by name. All text of an item is searched for."
    )
    ngram: int = Field(13, ge=1, description="Words in sequence, of an item and a document, that count as a leak.")
    minimum: int = Field(
        8,
        ge=1,
        description="Words of the shortest item that is searched for: from here to ngram - 1 words as a whole.",
    )

    @model_validator(mode="after")
    def _minimum_within_ngram(self) -> Decontaminate:
        if self.minimum > self.ngram:
            raise ValueError(f"minimum is {self.minimum} words, more than the {self.ngram} of ngram")
        return self


@dataclass(frozen=True)
class EvaluationIndex:
    """The word sequences that documents are searched for. Arrays alone, so it is cheap to send to other processes."""

    ngram: int
    item_ids: pa.StringArray  # [items]
    item_words: pa.LargeStringArray  # [items], lower-cased, joined by single spaces
    too_short: int  # items that are not searched for
    lengths: NDArray[np.int64]  # of the sequences, in words, the longest first
    hashes: NDArray[np.uint64]  # [sequences], ascending
    items: NDArray[np.int64]  # [sequences], the item that each sequence is from, the first of several
    places: NDArray[np.int64]  # [sequences], the number of its first word in the item
    bits: NDArray[np.uint8]  # set at the leading bits of each hash, to pass over nearly all others at once

    @staticmethod
    def build(item_ids: Sequence[str], items: pa.LargeStringArray, options: Decontaminate) -> EvaluationIndex:
        """item_ids: a name for each of the items, for the evidence."""
        item_words = [words(item) for item in items.to_pylist()]
        counts = np.array([len(item) for item in item_words], np.int64)
        searched = counts >= options.minimum
        grams = ordered_ngrams(items, options.ngram)
        item = np.repeat(np.arange(len(items)), np.diff(grams.offsets))
        place = np.arange(len(item)) - grams.offsets[item]
        long_enough = searched[item]
        hashes, first = np.unique(grams.hashes[long_enough], return_index=True)
        return EvaluationIndex(
            options.ngram,
            pa.array(item_ids, pa.string()),
            pa.array([" ".join(item) for item in item_words], pa.large_string()),
            int((~searched).sum()),
            np.unique(np.minimum(counts[searched], options.ngram))[::-1].copy(),
            hashes,
            item[long_enough][first],
            place[long_enough][first],
            _leading_bits(hashes),
        )

    def sequence(self, entry: int) -> list[str]:
        """The words of an entry."""
        place = int(self.places[entry])
        item: str = self.item_words[int(self.items[entry])].as_py()
        return item.split(" ")[place : place + self.ngram]


def _leading_bits(hashes: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """A power of two of bits, at least 16 for each hash, of which that at its leading bits is set."""
    exponent = max(16, (16 * len(hashes)).bit_length())
    bits = np.zeros(1 << (exponent - 3), np.uint8)
    leading = hashes >> np.uint64(64 - exponent)
    np.bitwise_or.at(
        bits, (leading >> np.uint64(3)).astype(np.int64), np.uint8(1) << (leading & np.uint64(7)).astype(np.uint8)
    )
    return bits


def contamination(content: pa.LargeStringArray, index: EvaluationIndex) -> Verdict:
    """Drops each document with one of the index's sequences; its evidence is "item id: words", the first in the text.

    A sequence that is found by its hash is compared word by word, so a hash that two share drops nothing.
    """
    from core.dedup import ngram_kernels as kernels

    evidence: list[str | None] = [None] * len(content)
    lengths, hashes, bits = (_read_only(array) for array in (index.lengths, index.hashes, index.bits))
    rows = np.arange(len(content))
    begins = np.zeros(len(content), np.int64)
    while len(rows):
        places, entries = kernels.first_hits(*text_buffers(content), begins, lengths, hashes, bits, *character_tables())
        refuted = []
        for hit in np.flatnonzero(places >= 0).tolist():
            place, sequence = int(places[hit]), index.sequence(int(entries[hit]))
            if words(content[hit].as_py())[place : place + len(sequence)] == sequence:
                item_id = index.item_ids[int(index.items[entries[hit]])]
                evidence[rows[hit]] = f"{item_id}: {' '.join(sequence)}"
            else:
                begins[hit] = place + 1
                refuted.append(hit)
        content, rows, begins = content.take(pa.array(refuted, pa.int64())), rows[refuted], begins[refuted]
    reason = [None if found is None else CONTAMINATED for found in evidence]
    return Verdict(pa.array(reason, pa.string()), pa.array(evidence, pa.string()))


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    """As it is in a process that it was sent to: one type of arguments, so that the kernel is compiled once."""
    view = array.view()
    view.flags.writeable = False
    return view
