"""The n-grams of documents as hashes: what similarity and overlap between documents are counted in.

Tokens are words, lower-cased and without punctuation, or the characters of these words joined by single spaces. A word
is a run of what Python's `\\w` takes and of combining marks, which `\\w` leaves out though Hindi's vowels are such.
Marks are taken as they are written: NFC and NFD differ. Scripts without spaces have long words: take characters there.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from core.documents.table import buffers

Unit = Literal["word", "character"]

SELECTORS = {*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)}  # of emoji's looks: no marks
CODE_POINTS = 0x110000
LAST_MARK = 0x20000  # there are none from here on but selectors; a test asks every code point


@dataclass(frozen=True)
class Shingles:
    """The set of n-grams of each document: row i has hashes[offsets[i]:offsets[i + 1]], ascending, each once."""

    offsets: NDArray[np.int64]  # [rows + 1]
    hashes: NDArray[np.uint64]  # [offsets[-1]]


def words(text: str) -> list[str]:
    """The words of a text, lower-cased and without punctuation."""
    return word_pattern().findall(text.lower())


@cache
def word_pattern() -> re.Pattern[str]:
    """A word of lower-cased text: letters, digits and underscores of any script with their combining marks."""
    return re.compile(rf"[\w{''.join(_marks())}]+")


@cache
def _marks() -> list[str]:
    """All combining marks."""
    every = (chr(code) for code in range(LAST_MARK) if code not in SELECTORS)
    return [character for character in every if unicodedata.category(character) in ("Mn", "Mc")]


def shingles(content: pa.LargeStringArray, ngram: int, unit: Unit = "word") -> Shingles:
    """Set of the rolling 64-bit hashes of each document's n-grams.

    A document with fewer than `ngram` tokens has one n-gram, the whole of it; one without tokens has none.
    Different n-grams have the same hash with a probability of 2**-64.
    """
    from core.dedup import ngram_kernels as kernels

    return Shingles(*kernels.ngrams(*text_buffers(content), ngram, unit == "word", True, *character_tables()))


def ordered_ngrams(content: pa.LargeStringArray, ngram: int) -> Shingles:
    """Like `shingles` of words, but every n-gram in the order of the text, repeats and all."""
    from core.dedup import ngram_kernels as kernels

    return Shingles(*kernels.ngrams(*text_buffers(content), ngram, True, False, *character_tables()))


def text_buffers(content: pa.LargeStringArray) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The bytes of all texts and offsets int64[rows + 1] into them, without a copy.

    Only texts with a letter whose lower case is not one character by itself come out lower-cased: capital sigma, which
    ends a word differently, and capital I with a dot.
    """
    from core.dedup import ngram_kernels as kernels

    data, offsets = buffers(content)
    rows = kernels.depends_on_context(data, offsets)
    if not rows.any():
        return data, offsets
    lowered = [text.lower() for text in content.filter(pa.array(rows)).to_pylist()]
    return buffers(pc.replace_with_mask(content, pa.array(rows), pa.array(lowered, content.type)))


@cache
def character_tables() -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """What the kernels know of characters: the hash value of the ASCII ones uint64[128], and each code point
    lower-cased uint32[0x110000]; 0 for what is not part of a word: by Python's own lower(), and as in `word_pattern`.
    """
    from core.dedup import ngram_kernels as kernels

    codes = np.concatenate([np.arange(0xD800), np.arange(0xE000, CODE_POINTS)])  # all but the surrogates
    codes = codes[codes != ord("İ")]  # becomes two characters, so `text_buffers` lowers it
    text = codes.astype("<u4").tobytes().decode("utf-32-le").lower()
    lowered = np.frombuffer(text.encode("utf-32-le"), "<u4")
    folded = np.zeros(CODE_POINTS, np.uint32)
    for run in re.finditer(r"\w+", text):  # without the marks, with which it takes a second
        folded[codes[run.start() : run.end()]] = lowered[run.start() : run.end()]
    marks = list(map(ord, _marks()))
    folded[marks] = marks
    letters = np.array([kernels.mix(code) | kernels.HIGHEST if code else 0 for code in folded[:128]], np.uint64)
    return letters, folded
