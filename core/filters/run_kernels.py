"""Compiled search for runs of certain bytes. Import inside functions: numba is heavy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.documents.compiled import compiled

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]


@compiled
def runs(data: Bytes, offsets: Numbers, kinds: Bytes, least: int) -> Numbers:
    """The longest possible runs of bytes of kinds 1 and 2 in which at least so many are of kind 2.

    data uint8[bytes] and offsets int64[rows + 1] into it are the texts; kinds: uint8[256], of each byte, 0 for what is
    part of no run. Returns row, begin and end of each, counted from the beginning of its text, int64[runs, 3].
    """
    found = np.empty((256, 3), np.int64)
    count = 0
    for row in range(len(offsets) - 1):
        begin, end = offsets[row], offsets[row + 1]
        i = begin
        while i < end:
            if kinds[data[i]] == 0:
                i += 1
                continue
            start = i
            marks = 0
            while i < end and kinds[data[i]] != 0:
                marks += kinds[data[i]] == 2
                i += 1
            if marks < least:
                continue
            if count == len(found):
                grown = np.empty((2 * count, 3), np.int64)
                grown[:count] = found
                found = grown
            found[count, 0], found[count, 1], found[count, 2] = row, start - begin, i - begin
            count += 1
    return found[:count].copy()
