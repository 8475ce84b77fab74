"""Paragraphs and documents most of whose n-grams were seen before, by a Bloom filter: DataComp-LM's BFF.

Li et al., "DataComp-LM" (2024, arXiv:2406.11794), appendix on deduplication; code in
https://github.com/mlfoundations/dclm/tree/main/dedup/bff, mode `old-both`, which its README names as the paper's. It
keeps no text and no key, only bits, but goes through documents one after the other.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import ceil, log
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, model_validator

from core.dedup.exact import Pieces, pieces, spans
from core.documents.ledger import Verdict
from core.documents.table import buffers
from core.documents.token_counts import character_classes
from core.errors import DataError, ResourceError
from core.options import Options

SEEN_BEFORE = "seen_before"
MARK = 0x52414259424C4D31  # the first word of a saved filter
SMALLEST = 1024  # bits; the formula for the rate is for many


class BloomDedup(Options):
    """Cuts paragraphs, and drops documents, most of whose n-grams occurred before."""

    unit: Literal["paragraph", "document", "both"] = Field(
        "both",
        description="What is compared: paragraphs (lines, as DCLM has it), whole documents, or paragraphs first and "
        "then the document by the n-grams of all its paragraphs. DCLM: both.",
    )
    ngram: int = Field(13, ge=1, description="Tokens (words and punctuation marks) in an n-gram. DCLM: 13.")
    min_ngram: int | None = Field(
        None,
        ge=1,
        description="Tokens of the shortest paragraph or document that is compared; with fewer than ngram it counts as "
        "one n-gram. Default: ngram, as DCLM.",
    )
    threshold: float = Field(
        0.8, ge=0, lt=1, description="Share of the n-grams above which a text was seen before. DCLM: 0.8."
    )
    false_positive_rate: float = Field(
        0.01,
        gt=0,
        lt=1,
        description="Probability at most that an n-gram seems to have occurred before and did not. DCLM: 0.01.",
    )

    @model_validator(mode="after")
    def _min_within_ngram(self) -> BloomDedup:
        if self.min_ngram is not None and self.min_ngram > self.ngram:
            raise ValueError(f"min_ngram is {self.min_ngram} tokens, more than the {self.ngram} of ngram")
        return self


@dataclass(frozen=True)
class BloomFilter:
    """A set of 64-bit hashes that never forgets one and now and then takes one for known that is not (Bloom, 1970)."""

    bits: NDArray[np.uint64]  # [size / 64, rounded up]
    size: int  # in bits
    probes: int  # bits per entry

    @staticmethod
    def create(expected: int, false_positive_rate: float) -> BloomFilter:
        """The smallest empty filter that, with `expected` different entries, has at most this rate.

        With n entries of k bits in m the rate is (1 - exp(-k n / m))**k (Broder and Mitzenmacher, "Network applications
        of Bloom filters: a survey", 2004, section 2), so m = -k n / log(1 - rate**(1 / k)), least near k = -log2(rate).
        It takes about 9.6 bits per entry for a rate of .01. Raises ResourceError if that is more than the memory.
        """
        optimum = -log(false_positive_rate, 2)
        counts = range(max(1, int(optimum)), int(optimum) + 2)
        size, probes = min((ceil(-k * max(expected, 1) / log(1 - false_positive_rate ** (1 / k))), k) for k in counts)
        size = max(size, SMALLEST)
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if size // 8 > memory:
            raise ResourceError(
                f"a Bloom filter for {expected:,} n-grams with a false-positive rate of {false_positive_rate} takes "
                f"{size / 8e9:,.1f} GB, and this machine has {memory / 1e9:,.1f} GB; a higher false_positive_rate "
                "takes less, or curate the sources in several recipes"
            )
        return BloomFilter(np.zeros(-(-size // 64), np.uint64), size, probes)

    def add(self, hashes: NDArray[np.uint64]) -> None:
        """Adds uint64 hashes, in place."""
        from core.dedup import bloom_kernels as kernels

        kernels.add(self.bits, np.uint64(self.size), self.probes, hashes)

    def contains(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """bool[hashes]: false where one was never added."""
        from core.dedup import bloom_kernels as kernels

        return kernels.contains(self.bits, np.uint64(self.size), self.probes, hashes)

    def false_positive_rate(self) -> float:
        """The probability, as the filter is filled now, that it takes a hash for known that is not."""
        return float(int(np.bitwise_count(self.bits).sum()) / self.size) ** self.probes

    def save(self, path: Path) -> None:
        """Writes it as a .npy file of uint64, whatever the path's ending."""
        with path.open("wb") as file:
            header = np.array([MARK, self.size, self.probes], np.uint64)
            np.save(file, np.concatenate([header, self.bits]), allow_pickle=False)

    @staticmethod
    def load(path: Path) -> BloomFilter:
        """What `save` wrote. Raises DataError where the file is something else, or cut off."""
        try:
            words = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{path}: not a saved Bloom filter: {error}") from error
        if words.dtype != np.uint64 or words.ndim != 1 or len(words) < 4 or int(words[0]) != MARK:
            raise DataError(f"{path}: not a saved Bloom filter, but an array of {words.dtype}{list(words.shape)}")
        size, probes = int(words[1]), int(words[2])
        if len(words) != 3 + -(-size // 64):
            raise DataError(f"{path}: a Bloom filter of {size} bits in {len(words) - 3} words of 64")
        return BloomFilter(words[3:], size, probes)


def count_ngrams(content: pa.LargeStringArray, options: BloomDedup) -> int:
    """How many n-grams documents have, repeats and all: what a filter for them must hold at most."""
    return len(_ngrams(content, options)[2])


def bloom_duplicates(content: pa.LargeStringArray, known: BloomFilter, options: BloomDedup) -> Verdict:
    """Goes through documents in order; what was not seen before is added to the filter, in place.

    A paragraph is seen before if more than `threshold` of its n-grams are in the filter as its turn comes; it is cut
    with its line end, and its n-grams are not added. With `unit: both`, as in DCLM's code, a document is dropped of
    which more than `threshold` of all n-grams were there when their paragraph's turn came; its other paragraphs have
    been added then. Evidence: "112 of 120 13-grams". A text without n-grams is never seen before.

    Tokens are those of core.documents.token_counts, case and punctuation included. DCLM's are the words of Unicode
    (UAX #29) and differ little: there an apostrophe or full stop within a word does not part it. The result depends on
    the order of documents alone, not on the batches they come in.
    """
    from core.dedup import bloom_kernels as kernels

    texts, offsets, hashes = _ngrams(content, options)
    seen, repeated = kernels.seen_in_order(
        known.bits, np.uint64(known.size), known.probes, offsets, hashes, options.threshold
    )
    of_text = np.diff(offsets)
    total = np.bincount(texts.row, of_text, len(content)).astype(np.int64)
    seen_of_row = np.bincount(texts.row, seen, len(content)).astype(np.int64)
    dropped = np.zeros(len(content), np.bool_)
    if options.unit != "paragraph":
        dropped = seen_of_row > options.threshold * total
    reason, evidence = np.full((2, len(content)), None, object)
    reason[dropped] = SEEN_BEFORE
    evidence[dropped] = _evidence(seen_of_row[dropped], total[dropped], options)
    cut = repeated & ~dropped[texts.row] & (options.unit != "document")
    of_cut = _evidence(seen[cut], of_text[cut], options)
    return Verdict(
        pa.array(reason, pa.string()),
        pa.array(evidence, pa.string()),
        spans(texts.row[cut], texts.begin[cut], texts.end[cut], SEEN_BEFORE, of_cut),
    )


def _evidence(seen: NDArray[np.int64], total: NDArray[np.int64], options: BloomDedup) -> list[str]:
    pairs = zip(seen.tolist(), total.tolist(), strict=True)
    return [f"{part} of {whole} {options.ngram}-grams" for part, whole in pairs]


def _ngrams(content: pa.LargeStringArray, options: BloomDedup) -> tuple[Pieces, NDArray[np.int64], NDArray[np.uint64]]:
    """The texts that are compared, and their n-grams: offsets int64[texts + 1] and hashes."""
    from core.dedup import token_kernels as kernels

    data, offsets = buffers(content)
    if options.unit == "document":
        rows = np.arange(len(content))
        texts = Pieces(rows, np.zeros_like(rows), np.diff(offsets), np.diff(offsets))
    else:
        texts = pieces(content, "line")
    starts = offsets[texts.row]
    least = options.ngram if options.min_ngram is None else options.min_ngram
    return texts, *kernels.ngrams(
        data, starts + texts.begin, starts + texts.end, options.ngram, least, False, character_classes()[1]
    )
