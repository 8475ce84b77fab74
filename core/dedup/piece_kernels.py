"""Compiled passes over lines and paragraphs. Import inside functions: numba is heavy.

The text is one buffer: `data` uint8[bytes], `offsets` int64[rows + 1] into it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.documents.compiled import compiled

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int64]
Hashes = NDArray[np.uint64]

LINE_FEED, RETURN = np.uint8(10), np.uint8(13)
EIGHT = np.uint64(8)
# Odd, with about as many ones as zeros: parts of the golden ratio and of the square roots of 2 and 3.
FIRST_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
SECOND_MULTIPLIER = np.uint64(0x6A09E667F3BCC909)
LAST_MULTIPLIER = np.uint64(0xBB67AE8584CAA73B)


@compiled
def _space(data: Bytes, i: int, stop: int) -> int:
    """The bytes of the white space character at `i`, as str.isspace has it; 0 where there is another."""
    first = data[i]
    if first < 0x80:
        return int((first == 32) | ((first >= 9) & (first <= 13)) | ((first >= 28) & (first <= 31)))
    if first == 0xC2 and i + 1 < stop:
        return 2 * int((data[i + 1] == 0x85) | (data[i + 1] == 0xA0))
    if i + 2 >= stop or first < 0xE1 or first > 0xE3:
        return 0
    second, third = data[i + 1], data[i + 2]
    if first == 0xE1:
        return 3 * int((second == 0x9A) & (third == 0x80))
    if first == 0xE3:
        return 3 * int((second == 0x80) & (third == 0x80))
    if second == 0x81:
        return 3 * int(third == 0x9F)
    wide = (third <= 0x8A) | (third == 0xA8) | (third == 0xA9) | (third == 0xAF)
    return 3 * int((second == 0x80) & wide)


@compiled
def _blank(data: Bytes, begin: int, end: int) -> bool:
    i = begin
    while i < end:
        size = _space(data, i, end)
        if size == 0:
            return False
        i += size
    return True


@compiled
def _has_words(data: Bytes, begin: int, end: int, words: int) -> bool:
    """Whether there are at least so many runs without white space."""
    inside = False
    i = begin
    while i < end and words > 0:
        size = _space(data, i, end)
        words -= (size == 0) & (not inside)
        inside = size == 0
        i += max(size, 1)
    return words <= 0


@compiled
def pieces(data: Bytes, offsets: Offsets, paragraphs: bool, min_words: int) -> Offsets:
    """int64[4, pieces]: the row, and the begin, the end and the end of the text in it, of its paragraphs or lines."""
    rows = len(offsets) - 1
    most = rows
    for i in range(offsets[0], offsets[rows]):
        most += data[i] == LINE_FEED
    found = np.empty((4, most), np.int64)
    count = 0
    for row in range(rows):
        start, stop = offsets[row], offsets[row + 1]
        opened = goes_on = False
        begin = end = text_end = at = start
        while at <= stop:
            line_end = at
            while line_end < stop and data[line_end] != LINE_FEED:
                line_end += 1
            blank = _blank(data, at, line_end)
            # What was opened is complete where another piece begins, and where the text is at its end.
            if opened and (at == stop or not (blank or goes_on)):
                if _has_words(data, begin, text_end, min_words):
                    found[0, count] = row
                    found[1, count], found[2, count], found[3, count] = begin - start, end - start, text_end - start
                    count += 1
                opened = False
            if at == stop:
                break
            after = min(line_end + 1, stop)
            if not blank:
                if not opened:
                    begin = at
                opened = True
                text_end = line_end - int(data[line_end - 1] == RETURN)
                end = after
            elif paragraphs:
                end = after
            goes_on = paragraphs and not blank
            at = after
    return found[:, :count].copy()


@compiled
def _key(data: Bytes, begin: int, end: int) -> tuple[np.uint64, np.uint64]:
    """Two hashes of 64 bits: eight bytes at a time, each step one to one in what came before and in the bytes."""
    first = np.uint64(end - begin) * FIRST_MULTIPLIER
    second = np.uint64(end - begin) * SECOND_MULTIPLIER
    i = begin
    while i < end:
        block = np.uint64(0)
        if i + 8 <= end:
            block = (
                np.uint64(data[i])
                | np.uint64(data[i + 1]) << np.uint64(8)
                | np.uint64(data[i + 2]) << np.uint64(16)
                | np.uint64(data[i + 3]) << np.uint64(24)
                | np.uint64(data[i + 4]) << np.uint64(32)
                | np.uint64(data[i + 5]) << np.uint64(40)
                | np.uint64(data[i + 6]) << np.uint64(48)
                | np.uint64(data[i + 7]) << np.uint64(56)
            )
        else:
            for k in range(end - 1, i - 1, -1):
                block = block << EIGHT | np.uint64(data[k])
        first = (first ^ block) * FIRST_MULTIPLIER
        first ^= first >> np.uint64(32)
        second = (second + block) * SECOND_MULTIPLIER
        second ^= second >> np.uint64(29)
        i += 8
    first, second = first * LAST_MULTIPLIER, second * LAST_MULTIPLIER
    return first ^ (first >> np.uint64(32)), second ^ (second >> np.uint64(32))


@compiled
def piece_keys(data: Bytes, begins: Offsets, ends: Offsets) -> Hashes:
    """The keys of data[begins[i]:ends[i]], uint64[pieces, 2]."""
    keys = np.empty((len(begins), 2), np.uint64)
    for i in range(len(begins)):
        keys[i, 0], keys[i, 1] = _key(data, begins[i], ends[i])
    return keys


@compiled
def normalised_keys(data: Bytes, begins: Offsets, ends: Offsets) -> tuple[Hashes, NDArray[np.bool_]]:
    """Keys of the pieces in lower case with single spaces between words, and which are ASCII: only they have one."""
    keys = np.zeros((len(begins), 2), np.uint64)
    ascii_only = np.zeros(len(begins), np.bool_)
    longest = 0
    for i in range(len(begins)):
        longest = max(longest, ends[i] - begins[i])
    text = np.empty(longest + 1, np.uint8)
    for i in range(len(begins)):
        size = 0
        seen = np.uint8(0)
        gap = False
        for k in range(begins[i], ends[i]):
            byte = data[k]
            seen |= byte
            if _space(data, k, ends[i]):
                gap = size > 0
                continue
            if gap:
                text[size] = 32
                size += 1
                gap = False
            text[size] = byte | 32 if (byte >= 65) & (byte <= 90) else byte
            size += 1
        ascii_only[i] = seen < 0x80
        if ascii_only[i]:
            keys[i, 0], keys[i, 1] = _key(text, 0, size)
    return keys, ascii_only
