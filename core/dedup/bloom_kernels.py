"""Compiled passes over the bits of a Bloom filter. Import inside functions: numba is heavy.

bits: uint64[words], of which `size` bits are used; an entry sets or asks for `probes` of them. Each of their places is
a hash by itself of the entry's 64 bits and its number, which counts on as in splitmix64 (Steele, Lea and Flood, 2014).
Places at even steps would take less time, but keep no small rate of false positives in a small filter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.documents.compiled import compiled

Hashes = NDArray[np.uint64]
Offsets = NDArray[np.int64]

ONE, SIX, HALF = np.uint64(1), np.uint64(6), np.uint64(32)
IN_WORD = np.uint64(63)
MULTIPLIER = np.uint64(0xD6E8FEB86659FD93)
STEP = np.uint64(0x9E3779B97F4A7C15)


@compiled
def _mix(value: np.uint64) -> np.uint64:
    value = (value ^ (value >> HALF)) * MULTIPLIER
    value = (value ^ (value >> HALF)) * MULTIPLIER
    return value ^ (value >> HALF)


@compiled
def _contains(bits: Hashes, size: np.uint64, probes: int, value: np.uint64) -> bool:
    for _ in range(probes):
        value += STEP
        place = _mix(value) % size
        if not bits[place >> SIX] >> (place & IN_WORD) & ONE:
            return False
    return True


@compiled
def _add(bits: Hashes, size: np.uint64, probes: int, value: np.uint64) -> None:
    for _ in range(probes):
        value += STEP
        place = _mix(value) % size
        bits[place >> SIX] |= ONE << (place & IN_WORD)


@compiled
def add(bits: Hashes, size: np.uint64, probes: int, hashes: Hashes) -> None:
    """Adds all hashes."""
    for value in hashes:
        _add(bits, size, probes, value)


@compiled
def contains(bits: Hashes, size: np.uint64, probes: int, hashes: Hashes) -> NDArray[np.bool_]:
    """bool[hashes]: false where the hash was never added, true where it was, or seems so."""
    found = np.empty(len(hashes), np.bool_)
    for i in range(len(hashes)):
        found[i] = _contains(bits, size, probes, hashes[i])
    return found


@compiled
def seen_in_order(
    bits: Hashes, size: np.uint64, probes: int, offsets: Offsets, hashes: Hashes, threshold: float
) -> tuple[Offsets, NDArray[np.bool_]]:
    """For each text, of the n-grams hashes[offsets[i]:offsets[i + 1]], how many were there before, int64[texts], and
    whether that is more than the share `threshold`; where it is not, they are added before the next text's turn.
    """
    texts = len(offsets) - 1
    seen = np.zeros(texts, np.int64)
    repeated = np.zeros(texts, np.bool_)
    for text in range(texts):
        begin, end = offsets[text], offsets[text + 1]
        for i in range(begin, end):
            seen[text] += _contains(bits, size, probes, hashes[i])
        repeated[text] = seen[text] > threshold * (end - begin)
        if not repeated[text]:
            for i in range(begin, end):
                _add(bits, size, probes, hashes[i])
    return seen, repeated
