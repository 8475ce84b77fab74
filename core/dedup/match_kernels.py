"""Compiled search for known sequences of words. Import inside functions: numba is heavy.

Works on the hashes of single words in order, `words` uint64, of which a text has words[offsets[i]:offsets[i + 1]]. The
hash of a sequence is the sum of its words' hashes times powers of `BASE`, rolled on and then mixed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.documents.compiled import compiled

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int64]
Hashes = NDArray[np.uint64]
Numbers = NDArray[np.uint32]

ZERO, ONE, THREE, SEVEN, HALF = np.uint64(0), np.uint64(1), np.uint64(3), np.uint64(7), np.uint64(32)
BASE = np.uint64(0x9E3779B97F4A7C15)
MULTIPLIER = np.uint64(0xD6E8FEB86659FD93)


@compiled
def _mix(value: np.uint64) -> np.uint64:
    value = (value ^ (value >> HALF)) * MULTIPLIER
    value = (value ^ (value >> HALF)) * MULTIPLIER
    return value ^ (value >> HALF)


@compiled
def _roll(words: Hashes, n: int, out: Hashes) -> int:
    """Writes the hash of every sequence of n words and tells how many there are."""
    count = len(words) - n + 1
    if count < 1:
        return 0
    power = ONE
    sequence = ZERO
    for i in range(n - 1):
        power *= BASE
        sequence = sequence * BASE + words[i]
    for i in range(count):
        sequence = sequence * BASE + words[i + n - 1]
        out[i] = _mix(sequence)
        sequence -= words[i] * power
    return count


@compiled
def sequences(words: Hashes, offsets: Offsets, ngram: int, minimum: int) -> tuple[Hashes, Hashes, Offsets]:
    """Of all sequences of `ngram` words of each text the hash, the hash of the first `minimum` words, and where it
    begins, int64[sequences, 2]: text and word.

    A text of fewer words is one sequence as a whole, or none where it has fewer than `minimum`.
    """
    total = longest = 0
    for text in range(len(offsets) - 1):
        count = offsets[text + 1] - offsets[text]
        longest = max(longest, count)
        if count >= minimum:
            total += max(1, count - ngram + 1)
    hashes = np.empty(total, np.uint64)
    prefixes = np.empty(total, np.uint64)
    places = np.empty((total, 2), np.int64)
    out = np.empty(longest, np.uint64)
    end = 0
    for text in range(len(offsets) - 1):
        own = words[offsets[text] : offsets[text + 1]]
        if len(own) < minimum:
            continue
        found = _roll(own, min(ngram, len(own)), out)
        hashes[end : end + found] = out[:found]
        _roll(own, minimum, out)
        prefixes[end : end + found] = out[:found]
        for i in range(found):
            places[end + i, 0], places[end + i, 1] = text, i
        end += found
    return hashes, prefixes, places


@compiled
def _set(bits: Bytes, shift: np.uint64, value: np.uint64) -> bool:
    bit = value >> shift
    return bool(bits[bit >> THREE] >> (bit & SEVEN) & ONE)


@compiled
def hits(
    words: Hashes, offsets: Offsets, minimum: int, lengths: Offsets, known: Hashes, bits: Bytes, shift: np.uint64
) -> Offsets:
    """int64[hits, 4]: text, word that it begins with, length in words and index into `known` of each known sequence.

    minimum: words of the shortest known sequence at least; lengths: of the known sequences, in words, the longest
    first; known: uint64, ascending; bits: uint8[2**(61 - shift)], of which that at its leading 64 - shift bits is set
    for each known hash, and for the hash of the first `minimum` words of each known sequence. At most places nothing
    but the latter is looked up. The hits are in the order of the texts, of words and of `lengths`.
    """
    longest = 0
    for text in range(len(offsets) - 1):
        longest = max(longest, offsets[text + 1] - offsets[text])
    out = np.empty(longest, np.uint64)
    found = np.empty((256, 4), np.int64)
    count = 0
    for text in range(len(offsets) - 1):
        own = words[offsets[text] : offsets[text + 1]]
        for i in range(_roll(own, minimum, out)):
            if not _set(bits, shift, out[i]):
                continue
            for n in lengths:
                if i + n > len(own):
                    continue
                value = ZERO
                for k in range(i, i + n):
                    value = value * BASE + own[k]
                value = _mix(value)
                if not _set(bits, shift, value):
                    continue
                entry = np.searchsorted(known, value)
                if entry == len(known) or known[entry] != value:
                    continue
                if count == len(found):
                    grown = np.empty((2 * count, 4), np.int64)
                    grown[:count] = found
                    found = grown
                found[count, 0], found[count, 1], found[count, 2], found[count, 3] = text, i, n, entry
                count += 1
    return found[:count].copy()


@compiled
def byte_places(data: Bytes, offsets: Offsets, found: Offsets, folded: Numbers) -> Offsets:
    """int64[found, 2]: where sequences of words begin and end, in bytes of their text.

    data, offsets: the texts; found: int64[found, 3], text, first word and length in words, ascending by text;
    folded: uint32[0x110000], 0 for code points that are not part of a word.
    """
    places = np.empty((len(found), 2), np.int64)
    longest = 0
    for i in range(len(offsets) - 1):
        longest = max(longest, offsets[i + 1] - offsets[i])
    begins = np.empty(longest // 2 + 1, np.int64)  # words have a byte between them
    ends = np.empty(longest // 2 + 1, np.int64)
    k = 0
    while k < len(found):
        text = found[k, 0]
        start, stop = offsets[text], offsets[text + 1]
        last = stop - 1
        count = 0
        inside = False
        i = start
        while i < stop:
            code = data[i]
            size = 1
            if code >= 0x80:
                second = data[min(i + 1, last)] & 0x3F
                third = data[min(i + 2, last)] & 0x3F
                if code < 0xE0:
                    code, size = (code & 0x1F) << 6 | second, 2
                elif code < 0xF0:
                    code, size = (code & 0x0F) << 12 | second << 6 | third, 3
                else:
                    fourth = data[min(i + 3, last)] & 0x3F
                    code, size = min((code & 0x07) << 18 | second << 12 | third << 6 | fourth, 0x10FFFF), 4
            was_inside = inside
            inside = folded[code] != 0
            if inside and not was_inside:
                begins[count] = i - start
                count += 1
            i += size
            if inside:
                ends[count - 1] = i - start
        while k < len(found) and found[k, 0] == text:
            places[k, 0] = begins[found[k, 1]]
            places[k, 1] = ends[found[k, 1] + found[k, 2] - 1]
            k += 1
    return places
