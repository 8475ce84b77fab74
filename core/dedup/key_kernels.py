"""Compiled passes over keys and sets of hashes. Import inside functions: numba is heavy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.dedup.ngram_kernels import BASE, ONE, ZERO, Hashes, Offsets, compiled, mix


@compiled
def first_occurrences(keys: Hashes) -> Offsets:
    """int64[rows]: the first row with the same keys in all columns. A hash table with open addressing."""
    rows, columns = keys.shape
    bits = np.uint64(1)
    while (1 << bits) < 2 * rows:
        bits += ONE
    last = (ONE << bits) - ONE
    table = np.full(1 << bits, -1, np.int64)
    first = np.empty(rows, np.int64)
    for row in range(rows):
        digest = ZERO
        for column in range(columns):
            digest = digest * BASE + keys[row, column]
        slot = mix(digest) & last
        while table[slot] >= 0 and not np.array_equal(keys[table[slot]], keys[row]):
            slot = (slot + ONE) & last
        if table[slot] < 0:
            table[slot] = row
        first[row] = table[slot]
    return first


@compiled
def maybe_repeated(keys: Hashes) -> NDArray[np.bool_]:
    """bool[rows]: false only where the key occurs once. Two passes over a table of about eight bytes per key."""
    bits = 10
    while (1 << bits) < 8 * len(keys):
        bits += 1
    shift = np.uint64(64 - bits)
    counts = np.zeros(1 << bits, np.uint8)
    for key in keys:
        counts[key >> shift] = min(counts[key >> shift] + 1, 2)
    repeated = np.empty(len(keys), np.bool_)
    for i in range(len(keys)):
        repeated[i] = counts[keys[i] >> shift] > 1
    return repeated


@compiled
def neighbour_pairs(keys: Hashes, rows: Offsets, window: int) -> Offsets:
    """Each row with the next `window` rows of the same key, keys being in groups; a pair is smaller << 32 | larger."""
    count = 0
    for fill in range(2):
        pairs = np.empty(count, np.int64)
        count = 0
        for i in range(len(keys)):
            for k in range(i + 1, min(i + 1 + window, len(keys))):
                if keys[k] != keys[i]:
                    break
                if fill:
                    pairs[count] = min(rows[i], rows[k]) << 32 | max(rows[i], rows[k])
                count += 1
    return pairs


@compiled
def jaccard(pairs: Offsets, offsets: Offsets, hashes: Hashes) -> NDArray[np.float64]:
    """|intersection| / |union| of the ascending sets of each pair; two empty sets have nothing in common: 0."""
    similarity = np.zeros(len(pairs), np.float64)
    for pair in range(len(pairs)):
        left = hashes[offsets[pairs[pair, 0]] : offsets[pairs[pair, 0] + 1]]
        right = hashes[offsets[pairs[pair, 1]] : offsets[pairs[pair, 1] + 1]]
        i = k = common = 0
        while i < len(left) and k < len(right):
            a, b = left[i], right[k]
            common += a == b
            i += a <= b
            k += b <= a
        if common:
            similarity[pair] = common / (len(left) + len(right) - common)
    return similarity


@compiled
def chunk_numbers(pairs: Offsets, lengths: Offsets, budget: int) -> Offsets:
    """int64[pairs], ascending: chunks of following pairs whose rows, each counted once, are about `budget` long."""
    numbers = np.empty(len(pairs), np.int64)
    last_chunk = np.full(len(lengths), -1, np.int64)  # that each row was counted in
    chunk = total = 0
    for pair in range(len(pairs)):
        if total > budget:
            chunk += 1
            total = 0
        for row in pairs[pair]:
            if last_chunk[row] != chunk:
                last_chunk[row] = chunk
                total += lengths[row]
        numbers[pair] = chunk
    return numbers
