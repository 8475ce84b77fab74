"""The compiled pass of `core.documents.token_counts`. Import it inside functions: numba is heavy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.documents.compiled import compiled

INSIDE, SINGLE, BETWEEN = np.uint8(1), np.uint8(2), np.uint8(0)  # of a word; a token by itself; a gap
SILENT = np.uint8(3)  # changes nothing: it belongs to what stands before it


@compiled
def counts(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    ascii_classes: NDArray[np.uint8],
    classes: NDArray[np.uint8],
) -> NDArray[np.int64]:
    """Tokens of each row, int64[rows].

    data uint8[bytes] with offsets int64[rows + 1] into it: UTF-8; ascii_classes uint8[256]: the class of each byte
    below 128, and BETWEEN; classes uint8[0x110000]: the class of each code point.
    """
    rows = len(offsets) - 1
    found = np.zeros(rows, np.int64)
    for row in range(rows):
        begin, end = offsets[row], offsets[row + 1]
        high = np.uint8(0)
        for i in range(begin, end):
            high |= data[i]
        count = np.int64(0)
        before = np.uint8(0)
        if high < 128:
            # Without a branch: words are so short that the processor would guess wrong at most of their ends.
            for i in range(begin, end):
                kind = ascii_classes[data[i]]
                count += np.int64(kind >> 1) | np.int64(kind & ~before & 1)
                before = kind
            found[row] = count
            continue
        last = end - 1
        i = begin
        while i <= last:
            first = np.int64(data[i])
            if first < 0x80:
                kind = ascii_classes[first]
                i += 1
            else:
                second = np.int64(data[min(i + 1, last)]) & 0x3F
                third = np.int64(data[min(i + 2, last)]) & 0x3F
                if first < 0xE0:
                    code = (first & 0x1F) << 6 | second
                    i += 2
                elif first < 0xF0:
                    code = (first & 0xF) << 12 | second << 6 | third
                    i += 3
                else:
                    code = (first & 7) << 18 | second << 12 | third << 6 | np.int64(data[min(i + 3, last)]) & 0x3F
                    i += 4
                kind = classes[code if code < len(classes) else 0]  # a broken one must not lead out of the table
                if kind == SILENT:
                    continue
            count += np.int64(kind >> 1) | np.int64(kind & ~before & 1)
            before = kind
        found[row] = count
    return found
