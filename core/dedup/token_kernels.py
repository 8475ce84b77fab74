"""Compiled passes from the bytes of a text column to hashes of its exact tokens. Import inside functions.

All in one file, because numba's cache sees a change only in the file of the function that it compiled.

- the hash of a token is the mixed sum of its characters times powers of `BASE`;
- the hash of an n-gram is the sum of its tokens' hashes times powers of `BASE`, rolled on and then mixed.

The text is one buffer: `data` uint8[bytes], `offsets` int64[rows + 1] into it. `classes` uint8[0x110000] has the class
of each code point, as core.documents.token_counts gives it, and the tokens are those that it counts. `characters`: each
character is a token, not each word.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.documents.compiled import compiled
from core.documents.token_count_kernels import BETWEEN, INSIDE, SILENT

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int64]
Hashes = NDArray[np.uint64]

ZERO, ONE, HALF = np.uint64(0), np.uint64(1), np.uint64(32)
BASE = np.uint64(0x9E3779B97F4A7C15)
MULTIPLIER = np.uint64(0xD6E8FEB86659FD93)


@compiled
def _mix(value: np.uint64) -> np.uint64:
    value = (value ^ (value >> HALF)) * MULTIPLIER
    value = (value ^ (value >> HALF)) * MULTIPLIER
    return value ^ (value >> HALF)


@compiled
def _decode(first: int, second: int, third: int, fourth: int) -> tuple[int, int]:
    """The code point of a character that is not ASCII, from four bytes, and how many of them are its own."""
    if first < 0xE0:
        return (first & 0x1F) << 6 | second & 0x3F, 2
    if first < 0xF0:
        return (first & 0x0F) << 12 | (second & 0x3F) << 6 | third & 0x3F, 3
    code = (first & 0x07) << 18 | (second & 0x3F) << 12 | (third & 0x3F) << 6 | fourth & 0x3F
    return min(code, 0x10FFFF), 4


@compiled
def _tokens(
    data: Bytes,
    start: int,
    stop: int,
    characters: bool,
    classes: Bytes,
    places: bool,
    values: Hashes,
    begins: Offsets,
    ends: Offsets,
) -> int:
    """Writes the hash of each token, and if `places` where it begins and ends, in bytes from `start`; their number."""
    count = 0
    word = joined = False  # whether what comes before is part of a word, or of any token
    value = ZERO
    last = stop - 1
    i = start
    while i < stop:
        code = data[i]
        size = 1
        if code >= 0x80:
            code, size = _decode(code, data[min(i + 1, last)], data[min(i + 2, last)], data[min(i + 3, last)])
        kind = classes[code]
        if kind == BETWEEN or (kind == SILENT and not joined):
            word = joined = False
            i += size
            continue
        goes_on = kind == SILENT or (word and kind == INSIDE)
        if not goes_on:
            if places:
                begins[count] = i - start
            count += 1
            value = ZERO
            word = kind == INSIDE and not characters
            joined = True
        value = value * BASE + np.uint64(code + 1)
        values[count - 1] = value
        i += size
        if places:
            ends[count - 1] = i - start
    for k in range(count):
        values[k] = _mix(values[k])
    return count


@compiled
def _roll(values: Hashes, count: int, n: int) -> int:
    """Writes the hash of every n-gram in the place of the tokens' and tells how many there are."""
    windows = count - n + 1
    if windows < 1:
        return 0
    power = ONE
    gram = ZERO
    for i in range(n - 1):
        power *= BASE
        gram = gram * BASE + values[i]
    for i in range(windows):
        oldest = values[i]
        gram = gram * BASE + values[i + n - 1]
        values[i] = _mix(gram)
        gram -= oldest * power
    return windows


@compiled
def _longest(starts: Offsets, stops: Offsets) -> int:
    longest = 0
    for i in range(len(starts)):
        longest = max(longest, stops[i] - starts[i])
    return longest


@compiled
def ngrams(
    data: Bytes, starts: Offsets, stops: Offsets, n: int, least: int, characters: bool, classes: Bytes
) -> tuple[Offsets, Hashes]:
    """Offsets int64[texts + 1] and hashes of the n-grams of each data[starts[i]:stops[i]] in order.

    A text of fewer than n tokens has one n-gram, the whole of it, or none where it has fewer than `least`.
    """
    values = np.empty(_longest(starts, stops), np.uint64)
    nowhere = np.empty(0, np.int64)
    offsets = np.zeros(len(starts) + 1, np.int64)
    out = np.empty(1024, np.uint64)
    for i in range(len(starts)):
        count = _tokens(data, starts[i], stops[i], characters, classes, False, values, nowhere, nowhere)
        count = _roll(values, count, min(n, max(count, 1))) if count >= least else 0
        begin = offsets[i]
        if begin + count > len(out):
            grown = np.empty(max(begin + count, 2 * len(out)), np.uint64)
            grown[:begin] = out[:begin]
            out = grown
        out[begin : begin + count] = values[:count]
        offsets[i + 1] = begin + count
    return offsets, out[: offsets[len(starts)]].copy()


@compiled
def repeated_spans(
    data: Bytes, offsets: Offsets, n: int, characters: bool, classes: Bytes, repeated: NDArray[np.bool_]
) -> tuple[Offsets, Offsets, int]:
    """The unions of repeated windows of n tokens: int64[4, spans] of row, begin and end in bytes, and tokens; how many
    tokens each row has, int64[rows]; and how many windows there are.

    repeated: bool[windows], windows being numbered through the rows; what is beyond its end is not repeated.
    """
    rows = len(offsets) - 1
    longest = _longest(offsets[:-1], offsets[1:])
    values = np.empty(longest, np.uint64)
    begins = np.empty(longest, np.int64)
    ends = np.empty(longest, np.int64)
    tokens = np.zeros(rows, np.int64)
    out = np.empty((4, 1024), np.int64)
    spans = windows = 0
    for row in range(rows):
        count = _tokens(data, offsets[row], offsets[row + 1], characters, classes, True, values, begins, ends)
        tokens[row] = count
        open_to = 0  # the token that the row's last span ends before
        for first in range(count - n + 1):
            if windows + first >= len(repeated) or not repeated[windows + first]:
                continue
            if open_to and first <= open_to:
                out[3, spans - 1] += first + n - open_to
            else:
                if spans == out.shape[1]:
                    grown = np.empty((4, 2 * spans), np.int64)
                    grown[:, :spans] = out
                    out = grown
                out[0, spans], out[1, spans], out[3, spans] = row, begins[first], n
                spans += 1
            open_to = first + n
            out[2, spans - 1] = ends[open_to - 1]
        windows += max(0, count - n + 1)
    return out[:, :spans].copy(), tokens, windows
