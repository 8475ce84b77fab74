"""Compiled passes from the bytes of a text column to hashes of its n-grams. Import inside functions: numba is heavy.

All in one file, because numba's cache sees a change only in the file of the function that it compiled.
The tokens are the words that `core.dedup.ngrams.words` gives; none of them becomes a Python object:

- a character's value is a random 64-bit number with the highest bit set, or 0 if it is not part of a word;
- the hash of a word is the sum of its characters' values times powers of 9;
- the hash of an n-gram is the sum of its tokens' hashes times powers of `BASE`, rolled on and then mixed.

The text is one buffer: `data` uint8[bytes], `offsets` int64[rows + 1] into it. `letters` uint64[128] has the value
of each ASCII character, `folded` uint32[0x110000] each code point lower-cased, 0 if it is not part of a word.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.documents.compiled import compiled

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int64]
Hashes = NDArray[np.uint64]
Numbers = NDArray[np.uint32]

ZERO, ONE, NINE, HALF = np.uint64(0), np.uint64(1), np.uint64(9), np.uint64(32)
HIGHEST = np.uint64(1 << 63)
BASE = np.uint64(0x9E3779B97F4A7C15)
MULTIPLIER = np.uint64(0xD6E8FEB86659FD93)
SPACE = np.uint64(32)
EMPTY = ZERO  # the band keys of a document without n-grams
UNROLLED = 4  # n-grams that `_minima` takes at a time


@compiled
def mix(value: np.uint64) -> np.uint64:
    """Lets every bit act on all others; one to one, and 0 stays 0."""
    value = (value ^ (value >> HALF)) * MULTIPLIER
    value = (value ^ (value >> HALF)) * MULTIPLIER
    return value ^ (value >> HALF)


@compiled
def _is_ascii(text: Bytes) -> bool:
    seen = np.uint8(0)
    for byte in text:
        seen |= byte
    return bool(seen < 128)


@compiled
def depends_on_context(data: Bytes, offsets: Offsets) -> NDArray[np.bool_]:
    """bool[rows]: the document has the one letter whose lower case depends on its neighbours (capital sigma)
    or the one whose lower case is two characters (capital I with a dot).
    """
    rows = len(offsets) - 1
    found = np.zeros(rows, np.bool_)
    for row in range(rows):
        text = data[offsets[row] : offsets[row + 1]]
        if not _is_ascii(text):
            for i in range(len(text) - 1):
                sigma = (text[i] == 0xCE) & (text[i + 1] == 0xA3)
                found[row] |= sigma | ((text[i] == 0xC4) & (text[i + 1] == 0xB0))
    return found


@compiled
def _decode(first: int, second: int, third: int, fourth: int) -> tuple[int, int]:
    """The code point of a character that is not ASCII, from four bytes, and how many of them are its own.

    It takes numbers, for a compiled function that is given an array takes ten times as long as all it does here.
    """
    code = (first & 0x1F) << 18 | (second & 0x3F) << 12 | (third & 0x3F) << 6 | fourth & 0x3F
    if first < 0xE0:
        return code >> 12 & 0x7FF, 2
    if first < 0xF0:
        return code >> 6 & 0xFFFF, 3
    return min(code & 0x1FFFFF, 0x10FFFF), 4


@compiled
def _value(code: int) -> np.uint64:
    """The value of a character, from its entry in `folded`."""
    return mix(np.uint64(code)) | HIGHEST if code else ZERO


@compiled
def _ascii_words(text: Bytes, letters: Hashes, out: Hashes) -> int:
    # Without a branch: words are so short that the processor would guess wrong at most of their ends.
    count = word = before = ZERO
    for byte in text:
        letter = letters[byte]
        inside = np.uint64(np.int64(letter) >> 63)  # all ones or all zeros
        out[count] = word
        count += before & ~inside & ONE
        word = (word * NINE + letter) & inside
        before = inside
    out[count] = word
    return int(np.int64(count + (before & ONE)))


@compiled
def _words(text: Bytes, letters: Hashes, folded: Numbers, out: Hashes) -> int:
    count = word = before = ZERO
    last = len(text) - 1
    i = 0
    while i <= last:
        first = text[i]
        if first < 0x80:
            letter = letters[first]
            i += 1
        else:
            code, size = _decode(first, text[min(i + 1, last)], text[min(i + 2, last)], text[min(i + 3, last)])
            letter = _value(folded[code])
            i += size
        inside = np.uint64(np.int64(letter) >> 63)
        out[count] = word
        count += before & ~inside & ONE
        word = (word * NINE + letter) & inside
        before = inside
    out[count] = word
    return int(np.int64(count + (before & ONE)))


@compiled
def _characters(text: Bytes, letters: Hashes, folded: Numbers, out: Hashes) -> int:
    count = 0
    gap = False
    last = len(text) - 1
    i = 0
    while i <= last:
        first = text[i]
        if first < 0x80:
            letter = letters[first]
            i += 1
        else:
            code, size = _decode(first, text[min(i + 1, last)], text[min(i + 2, last)], text[min(i + 3, last)])
            letter = _value(folded[code])
            i += size
        if letter == ZERO:
            gap = count > 0
            continue
        if gap:
            out[count] = mix(SPACE)
            count += 1
            gap = False
        out[count] = letter
        count += 1
    return count


@compiled
def _tokens(text: Bytes, words: bool, letters: Hashes, folded: Numbers, out: Hashes) -> int:
    if not words:
        return _characters(text, letters, folded, out)
    if _is_ascii(text):
        return _ascii_words(text, letters, out)
    return _words(text, letters, folded, out)


@compiled
def _roll(tokens: Hashes, n: int, out: Hashes) -> int:
    """Writes the hash of every n-gram in order and tells how many there are; `out` may be `tokens`."""
    count = len(tokens) - n + 1
    if count < 1:
        return 0
    power = ONE
    gram = ZERO
    for i in range(n - 1):
        power *= BASE
        gram = gram * BASE + tokens[i]
    for i in range(count):
        oldest = tokens[i]
        gram = gram * BASE + tokens[i + n - 1]
        out[i] = mix(gram)
        gram -= oldest * power
    return count


@compiled
def _ngrams(text: Bytes, n: int, words: bool, letters: Hashes, folded: Numbers, out: Hashes) -> int:
    """The n-grams of a document in order; the whole of it where it has fewer than n tokens."""
    count = _tokens(text, words, letters, folded, out)
    return _roll(out[:count], min(n, max(count, 1)), out)


@compiled
def _scratch(offsets: Offsets, words: bool) -> Hashes:
    """Room for the tokens of the longest document: words have a byte between them."""
    longest = 0
    for row in range(len(offsets) - 1):
        longest = max(longest, offsets[row + 1] - offsets[row])
    return np.empty((longest // 2 if words else longest) + 2 + UNROLLED, np.uint64)


@compiled
def ngrams(
    data: Bytes, offsets: Offsets, n: int, words: bool, unique: bool, letters: Hashes, folded: Numbers
) -> tuple[Offsets, Hashes]:
    """Offsets int64[rows + 1] and hashes: all n-grams in order, or if `unique` the set of them, ascending."""
    rows = len(offsets) - 1
    ends = np.zeros(rows + 1, np.int64)
    grams = _scratch(offsets, words)
    buckets = np.empty(0, np.int64)
    out = np.empty(1024, np.uint64)
    for row in range(rows):
        count = _ngrams(data[offsets[row] : offsets[row + 1]], n, words, letters, folded, grams)
        start = ends[row]
        if start + count > len(out):
            grown = np.empty(max(start + count, 2 * len(out)), np.uint64)
            grown[:start] = out[:start]
            out = grown
        if unique:
            if len(buckets) < 2 * count:
                buckets = np.empty(4 * count, np.int64)
            count = _sort_unique(grams[:count], out[start : start + count], buckets)
        else:
            out[start : start + count] = grams[:count]
        ends[row + 1] = start + count
    return ends, out[: ends[rows]].copy()


@compiled
def _sort_unique(values: Hashes, out: Hashes, buckets: Offsets) -> int:
    """Writes the values in ascending order, each once, and tells how many there are; linear time.

    The leading bits of a mixed hash are spread evenly, so with as many buckets as values most hold one or two.
    """
    bits = 1
    while (1 << bits) < len(values):
        bits += 1
    shift = np.uint64(64 - bits)
    buckets = buckets[: 1 << bits]
    buckets[:] = 0
    for value in values:
        buckets[value >> shift] += 1
    start = 0
    for bucket in range(len(buckets)):
        start, buckets[bucket] = start + buckets[bucket], start
    for value in values:
        out[buckets[value >> shift]] = value
        buckets[value >> shift] += 1  # in the end where the next bucket starts
    start = end = 0
    for stop in buckets:
        begin = end
        for i in range(start, stop):
            value = out[i]
            place = end
            while place > begin and out[place - 1] > value:
                place -= 1
            if place > begin and out[place - 1] == value:
                continue
            for k in range(end, place, -1):
                out[k] = out[k - 1]
            out[place] = value
            end += 1
        start = stop
    return end


@compiled
def _minima(grams: Hashes, count: int, multipliers: Numbers, addends: Numbers, out: Numbers) -> None:
    """For each permutation, x -> a x + b modulo 2**32, the smallest image of any n-gram."""
    out[:] = np.uint32(0xFFFFFFFF)
    for i in range(count, count + UNROLLED - 1):
        grams[i] = grams[count - 1]  # a repeat changes no minimum
    for i in range(0, count, UNROLLED):
        w = np.uint32(grams[i] >> HALF)
        x = np.uint32(grams[i + 1] >> HALF)
        y = np.uint32(grams[i + 2] >> HALF)
        z = np.uint32(grams[i + 3] >> HALF)
        for p in range(len(out)):
            a, b = multipliers[p], addends[p]
            lower = min(np.uint32(a * w + b), np.uint32(a * x + b))
            lowest = min(lower, min(np.uint32(a * y + b), np.uint32(a * z + b)))
            out[p] = min(out[p], lowest)


@compiled
def band_keys(
    data: Bytes,
    offsets: Offsets,
    n: int,
    words: bool,
    multipliers: Numbers,
    addends: Numbers,
    bands: int,
    rows_per_band: int,
    letters: Hashes,
    folded: Numbers,
) -> Hashes:
    """One hash for each band of the MinHash signature, uint64[rows, bands]."""
    rows = len(offsets) - 1
    grams = _scratch(offsets, words)
    minima = np.empty(len(multipliers), np.uint32)
    keys = np.empty((rows, bands), np.uint64)
    for row in range(rows):
        count = _ngrams(data[offsets[row] : offsets[row + 1]], n, words, letters, folded, grams)
        if count == 0:
            keys[row] = EMPTY
            continue
        _minima(grams, count, multipliers, addends, minima)
        for band in range(bands):
            key = np.uint64(band + 1)
            for i in range(rows_per_band):
                key = key * BASE + np.uint64(minima[band * rows_per_band + i])
            keys[row, band] = max(mix(key), ONE)
    return keys
