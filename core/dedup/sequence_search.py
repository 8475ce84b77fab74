"""Known sequences of words in documents, and where they are in bytes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from core.dedup.ngrams import character_tables, ordered_ngrams, text_buffers, words
from core.documents.table import buffers


@dataclass(frozen=True)
class Sequences:
    """Distinct hashes of word sequences. Arrays alone, so it is cheap to send to other processes."""

    minimum: int  # words of the shortest sequence at least
    lengths: NDArray[np.int64]  # of the sequences, in words, the longest first
    hashes: NDArray[np.uint64]  # ascending
    bits: NDArray[np.uint8]  # to pass over nearly all other sequences at once
    shift: int  # a hash's bit is the number hash >> shift

    @staticmethod
    def build(
        minimum: int, lengths: NDArray[np.int64], hashes: NDArray[np.uint64], prefixes: NDArray[np.uint64]
    ) -> Sequences:
        """lengths: of all sequences; hashes: ascending, each once; prefixes: of the first `minimum` words of each.

        There are at least 16 bits per hash and prefix.
        """
        exponent = max(16, (32 * len(hashes)).bit_length())
        shift = 64 - exponent
        bits = np.zeros(1 << (exponent - 3), np.uint8)
        for leading in (hashes >> np.uint64(shift), np.unique(prefixes >> np.uint64(shift))):
            byte, bit = (leading >> np.uint64(3)).astype(np.int64), (leading & np.uint64(7)).astype(np.uint8)
            np.bitwise_or.at(bits, byte, np.uint8(1) << bit)
        return Sequences(minimum, np.unique(lengths)[::-1].copy(), hashes, bits, shift)


@dataclass(frozen=True)
class Hits:
    """Where hashes of known sequences are, ascending by row and first word, the longest first: int64[hits] each."""

    row: NDArray[np.int64]
    entry: NDArray[np.int64]  # index into the known hashes
    begin: NDArray[np.int64]  # bytes of the row's content
    end: NDArray[np.int64]
    words: list[str]  # that are there, lower-cased and joined by single spaces


def word_hashes(content: pa.LargeStringArray) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Hashes of the words of all texts in order, and offsets int64[rows + 1] into them."""
    found = ordered_ngrams(content, 1)
    return found.hashes, found.offsets


def find(content: pa.LargeStringArray, known: Sequences) -> Hits:
    """All places of known sequences in documents, by their hashes.

    In linear time; a Python object is made for each hit only, and for each character of documents that have both hits
    and a letter of which the lower case depends on its neighbours (see core.dedup.ngrams.text_buffers).
    """
    from core.dedup import match_kernels as kernels

    lengths, hashes, bits = (_read_only(array) for array in (known.lengths, known.hashes, known.bits))
    found = kernels.hits(*word_hashes(content), known.minimum, lengths, hashes, bits, np.uint64(known.shift))
    row, place, length, entry = found.T
    rows, own = np.unique(row, return_inverse=True)
    texts = content.take(pa.array(rows, pa.int64()))
    data, offsets = text_buffers(texts)
    _, folded = character_tables()
    places = kernels.byte_places(data, offsets, np.stack([own, place, length], axis=1), folded)
    at = offsets[own][:, None] + places
    read = cache(lambda text: " ".join(words(text.decode())))  # the same words are found again and again
    there = [read(data[begin:end].tobytes()) for begin, end in at.tolist()]
    _to_original(texts, data, offsets, own, places)
    return Hits(row, entry, places[:, 0], places[:, 1], there)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    """As it is in a process that it was sent to: one type of arguments, so that the kernel is compiled once."""
    view = array.view()
    view.flags.writeable = False
    return view


def _to_original(
    texts: pa.LargeStringArray,
    lowered: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    rows: NDArray[np.int64],
    places: NDArray[np.int64],
) -> None:
    """Turns places in texts as `text_buffers` has them into places in the texts themselves; rows: ascending."""
    from core.dedup import ngram_kernels as kernels

    for row in np.flatnonzero(kernels.depends_on_context(*buffers(texts))).tolist():
        own = slice(*np.searchsorted(rows, [row, row + 1]).tolist())
        text = texts[row].as_py()
        new = _character_starts(lowered[offsets[row] : offsets[row + 1]].tobytes().decode())
        # Each character has one in lower case, but capital I with a dot has two.
        number = np.cumsum([0, *(1 + (character == "İ") for character in text)])
        original = _character_starts(text)
        first = np.searchsorted(new, places[own, 0])
        last = np.searchsorted(new, places[own, 1]) - 1
        places[own, 0] = original[np.searchsorted(number, first, "right") - 1]
        places[own, 1] = original[np.searchsorted(number, last, "right")]


def _character_starts(text: str) -> NDArray[np.int64]:
    """Where each character begins in UTF-8, and the text ends: int64[characters + 1]."""
    codes = np.frombuffer(text.encode("utf-32-le"), "<u4")
    sizes = 1 + (codes >= 0x80).astype(np.int64) + (codes >= 0x800) + (codes >= 0x10000)
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])


def unions(
    begin: NDArray[np.int64], end: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The unions of ranges of one text that overlap or touch: the number of the first range in each, begin and end.

    The ranges are ascending by begin.
    """
    reached = np.maximum.accumulate(end)
    opens = np.ones(len(begin), np.bool_)
    opens[1:] = begin[1:] > reached[:-1]
    first = np.flatnonzero(opens)
    return first, begin[first], reached[np.flatnonzero(np.roll(opens, -1))]


def widened(text: bytes, begin: int, end: int, characters: int) -> tuple[int, int]:
    """A range of bytes of a text in UTF-8 and so many characters more on either side, as far as the text goes."""
    before = text[max(0, begin - 4 * characters) : begin].decode(errors="ignore")
    after = text[end : end + 4 * characters].decode(errors="ignore")
    kept = before[max(0, len(before) - characters) :]
    return begin - len(kept.encode()), end + len(after[:characters].encode())
