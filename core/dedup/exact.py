"""Documents, paragraphs or lines that are the same, found by a hash of their bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from numpy.typing import NDArray
from pydantic import Field, model_validator

from core.documents.ledger import SPANS
from core.documents.parts import PART_WORDS, Parts, part_of
from core.documents.table import buffers, content
from core.options import Options

EXACT_DUPLICATE = "exact_duplicate"
REPEATED = {"paragraph": "repeated_paragraph", "line": "repeated_line"}


class ExactDedup(Options):
    """Drops documents whose content occurred before, or cuts paragraphs or lines that did.

    The first in the order of the sources stays. Of equal inputs Birbal keeps the first of a random order
    (https://github.com/Upaya07/NeurIPS-llm-efficiency-challenge, data_prep/combine_datasets.py).
    """

    unit: Literal["document", "paragraph", "line"] = Field(
        "document",
        description="What is compared: whole documents, paragraphs (the text between blank lines) or lines. "
        "Documents are dropped, paragraphs and lines cut out of their document.",
    )
    part: Parts = Field(
        "all",
        description=f"What is compared of documents: {PART_WORDS}. One without it is no duplicate. Birbal compares "
        "inputs alone: part: user, where instructions are turns of their own.",
    )
    normalise: bool = Field(
        False,
        description="Count texts as the same that differ only in case (Unicode case folding) or in white space.",
    )
    min_words: int = Field(
        0,
        ge=0,
        description="Words of the shortest paragraph or line that is compared, a word being a run without white space. "
        "Blank lines always stay. 0 as in CCNet (arXiv:1911.00359) and Dolma (arXiv:2402.00159).",
    )
    across_sources: bool = Field(
        True, description="Compare texts of different sources; otherwise those of each source by themselves."
    )

    @model_validator(mode="after")
    def _keys_of_their_unit(self) -> ExactDedup:
        if self.min_words and self.unit == "document":
            raise ValueError(
                "min_words is for unit paragraph or line; whole documents are compared whatever their length"
            )
        if self.part != "all" and self.unit != "document":
            raise ValueError("part is for unit document; paragraphs and lines are looked for in all text")
        return self


def document_keys(documents: pa.Table, options: ExactDedup) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """The keys of the documents' part, uint64[rows, 2], and whether each has that part, bool[rows].

    Those without it have keys that are equal only to each other's, by their whole content: they are no duplicates, and
    many of them are not put together under one key.
    """
    texts = part_of(documents, options.part)
    there = np.asarray(pc.is_valid(texts))
    found = content_keys(pc.coalesce(texts, content(documents)) if texts.null_count else texts, options)
    return np.where(there[:, None], found, ~found), there


def content_keys(content: pa.LargeStringArray, options: ExactDedup) -> NDArray[np.uint64]:
    """XXH3 of each document's bytes in UTF-8, 128 bits: uint64[rows, 2]."""
    data, offsets = buffers(content)
    view = memoryview(data.data)
    texts = (view[start:stop] for start, stop in pairwise(offsets.tolist()))
    as_hashed = map(_normalised, texts) if options.normalise else texts
    digests = b"".join(map(xxhash.xxh3_128_digest, as_hashed))
    return np.frombuffer(digests, ">u8").astype(np.uint64).reshape(-1, 2)


def _normalised(text: memoryview) -> bytes:
    return " ".join(str(text, "utf-8").casefold().split()).encode()


def first_occurrences(keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The first row with the same keys, int64[rows]: the row that is kept for each, itself where it is kept.

    keys: uint64[rows, columns]. Time and memory are linear in the rows, however many of them are the same.
    """
    from core.dedup import key_kernels as kernels

    return kernels.first_occurrences(np.ascontiguousarray(keys))


def keys_by_source(keys: NDArray[np.uint64], sources: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Keys that are the same only within a source, for `across_sources: false`.

    keys: uint64[items] or uint64[items, columns]; sources: a number per item, from 0.
    """
    salt = (sources.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    salt = (salt ^ (salt >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    return keys ^ (salt if keys.ndim == 1 else salt[:, None])


@dataclass(frozen=True)
class Pieces:
    """Parts of documents in order: byte offsets into the UTF-8 content of their row, int64[pieces] each."""

    row: NDArray[np.int64]
    begin: NDArray[np.int64]
    end: NDArray[np.int64]  # with the separator that follows: the line's end, or all blank lines
    text_end: NDArray[np.int64]  # without it

    def __len__(self) -> int:
        return len(self.row)


def pieces(content: pa.LargeStringArray, unit: Literal["paragraph", "line"], min_words: int = 0) -> Pieces:
    """The paragraphs or lines of documents that have at least `min_words` words and are not blank.

    A line ends with a line feed; one of white space alone (that of Unicode) is blank. A paragraph ends where blank
    lines, or the text, do: it takes the blank lines after it along. Those before the first one belong to none.
    """
    from core.dedup import piece_kernels as kernels

    return Pieces(*kernels.pieces(*buffers(content), unit == "paragraph", min_words))


def piece_keys(content: pa.LargeStringArray, found: Pieces, options: ExactDedup) -> NDArray[np.uint64]:
    """A hash of 128 bits of each piece's bytes without its separator: uint64[pieces, 2].

    Different pieces have the same key with a probability of about 2**-128. It is a hash of our own, made of
    multiplications, and no defence against texts that are written to collide.
    """
    from core.dedup import piece_kernels as kernels

    data, offsets = buffers(content)
    starts = offsets[found.row]
    begins, ends = starts + found.begin, starts + found.text_end
    if not options.normalise:
        return kernels.piece_keys(data, begins, ends)
    keys, ascii_only = kernels.normalised_keys(data, begins, ends)
    others = np.flatnonzero(~ascii_only)
    view = memoryview(data.data)
    texts = [_normalised(view[begin:end]) for begin, end in zip(begins[others], ends[others], strict=True)]
    stops = np.cumsum([0, *map(len, texts)])
    joined = np.frombuffer(b"".join(texts), np.uint8)
    keys[others] = kernels.piece_keys(joined, stops[:-1], stops[1:])
    return keys


def piece_spans(found: Pieces, repeated: NDArray[np.bool_], options: ExactDedup) -> pa.Table:
    """The repeated pieces as SPANS to be cut; those that follow each other without a gap are one.

    repeated: bool[pieces]. Evidence: how many pieces the span takes, "3 lines".
    """
    row, begin, end = (each[repeated] for each in (found.row, found.begin, found.end))
    opens = np.ones(len(row), np.bool_)
    opens[1:] = (row[1:] != row[:-1]) | (begin[1:] != end[:-1])
    first, last = np.flatnonzero(opens), np.flatnonzero(np.roll(opens, -1))
    evidence = _counted(last - first + 1, options.unit)
    return spans(row[first], begin[first], end[last], REPEATED[options.unit], evidence)


def _counted(counts: NDArray[np.int64], unit: str) -> Iterator[str]:
    return (f"{count} {unit}{'s' if count > 1 else ''}" for count in counts.tolist())


def spans(
    row: NDArray[np.int64], begin: NDArray[np.int64], end: NDArray[np.int64], reason: str, evidence: Iterable[str]
) -> pa.Table:
    """A table of SPANS to be cut for one reason."""
    reasons = pa.repeat(pa.scalar(reason), len(row))
    nothing = pa.nulls(len(row), pa.large_string())
    return pa.table([row, begin, end, reasons, nothing, pa.array(evidence, pa.string())], schema=SPANS)
