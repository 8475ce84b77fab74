"""Compiled features of a quality classifier: hashed words and pairs of words. Import inside functions: numba is heavy.

The text is one buffer: `data` uint8[bytes], `offsets` int64[rows + 1] into it. A word is a run of ASCII letters (in
any case), digits and _ and of characters up to U+2FFF, or one further character, or one ASCII punctuation mark.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.documents.compiled import compiled

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]
Hashes = NDArray[np.uint64]

SEED = np.uint64(0xCBF29CE484222325)
PRIME = np.uint64(0x9E3779B97F4A7C15)
HALF, SIXTY_FOUR = np.uint64(32), np.uint64(64)
SPACE, ALONE, PART = 0, 1, 2  # what a byte is: white space, a word of its own, part of one


@compiled
def _mixed(value: np.uint64) -> np.uint64:
    value = (value ^ (value >> HALF)) * PRIME
    return value ^ (value >> HALF)


@compiled
def _kinds() -> tuple[Bytes, Bytes]:
    """What each byte is, and the byte in lower case."""
    kinds = np.full(256, ALONE, np.uint8)
    lower = np.arange(256).astype(np.uint8)
    for byte in range(256):
        if byte <= 32:
            kinds[byte] = SPACE
        if 48 <= byte <= 57 or 65 <= byte <= 90 or 97 <= byte <= 122 or byte == 95 or byte >= 0x80:
            kinds[byte] = PART
        if 65 <= byte <= 90:
            lower[byte] = byte + 32
    return kinds, lower


@compiled
def _words(text: Bytes, kinds: Bytes, lower: Bytes, out: Hashes) -> int:
    """Writes the hash of each word, and tells how many there are."""
    count = i = 0
    while i < len(text):
        byte = text[i]
        if kinds[byte] == SPACE:
            i += 1
            continue
        word = (SEED ^ np.uint64(lower[byte])) * PRIME
        i += 1
        if byte >= 0xE3:  # a character from U+3000 on: scripts without spaces, and pictures
            while i < len(text) and (text[i] & 0xC0) == 0x80:
                word = (word ^ np.uint64(text[i])) * PRIME
                i += 1
        elif kinds[byte] == PART:
            while i < len(text) and kinds[text[i]] == PART and text[i] < 0xE3:
                word = (word ^ np.uint64(lower[text[i]])) * PRIME
                i += 1
        out[count] = _mixed(word)
        count += 1
    return count


@compiled
def _longest(offsets: Numbers) -> int:
    longest = 0
    for row in range(len(offsets) - 1):
        longest = max(longest, offsets[row + 1] - offsets[row])
    return longest


@compiled
def features(data: Bytes, offsets: Numbers, bits: int) -> tuple[Numbers, NDArray[np.int32]]:
    """Each document's words and then its pairs, as numbers below 2**bits, repeats and all, and int64[rows + 1]."""
    rows = len(offsets) - 1
    shift = SIXTY_FOUR - np.uint64(bits)
    kinds, lower = _kinds()
    words = np.empty(_longest(offsets), np.uint64)
    ends = np.zeros(rows + 1, np.int64)
    out = np.empty(1024, np.int32)
    for row in range(rows):
        count = _words(data[offsets[row] : offsets[row + 1]], kinds, lower, words)
        place = ends[row]
        if place + 2 * count > len(out):
            grown = np.empty(2 * (place + 2 * count), np.int32)
            grown[:place] = out[:place]
            out = grown
        for i in range(count):
            out[place] = np.int64(words[i] >> shift)
            place += 1
        for i in range(1, count):
            out[place] = np.int64(_mixed(words[i - 1] * PRIME + words[i]) >> shift)
            place += 1
        ends[row + 1] = place
    return ends, out[: ends[rows]].copy()


@compiled
def mean_weights(data: Bytes, offsets: Numbers, weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """The mean weight of each document's features, float64[rows]; 0 for a document without a word.

    weights: a power of two of them.
    """
    rows = len(offsets) - 1
    shift = SIXTY_FOUR
    size = 1
    while size < len(weights):
        size *= 2
        shift -= np.uint64(1)
    kinds, lower = _kinds()
    words = np.empty(_longest(offsets), np.uint64)
    means = np.zeros(rows)
    for row in range(rows):
        count = _words(data[offsets[row] : offsets[row + 1]], kinds, lower, words)
        total = 0.0
        for i in range(count):
            total += weights[words[i] >> shift]
        for i in range(1, count):
            total += weights[_mixed(words[i - 1] * PRIME + words[i]) >> shift]
        means[row] = total / max(2 * count - 1, 1)
    return means
