"""The compiled loop of `core.tokens.sampler`. Import it inside functions: numba is heavy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.documents.compiled import compiled

ROUNDS = 6


@compiled
def mixed(number: np.uint64) -> np.uint64:
    """A 64-bit hash: the finaliser of SplitMix64 (Steele et al. 2014)."""
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))


@compiled
def shuffled(start: int, stop: int, size: int, key: int) -> NDArray[np.int64]:
    """Places start, ... stop - 1 of a random order of 0, ... size - 1 that the key names, int64[stop - start].

    A Feistel network permutes the smallest range of 2^bits numbers that holds the order (its two parts of the bits
    take turns in being changed by a hash of the other), and is applied again to what falls outside
    (cycle walking: Black and Rogaway 2002, https://doi.org/10.1007/3-540-45760-7_9). Every number comes exactly once,
    each is found by itself, in less than two tries on average, and nothing is kept in memory.
    """
    bits = 8  # with fewer there are too few such networks for every order to be as likely
    while size > 1 << bits:
        bits += 1
    low_bits = np.uint64(bits // 2)
    low = (np.uint64(1) << low_bits) - np.uint64(1)
    high = (np.uint64(1) << np.uint64(bits)) - np.uint64(1) - low
    keys = np.empty(ROUNDS, np.uint64)
    for turn in range(ROUNDS):
        keys[turn] = mixed(np.uint64(key) + np.uint64(turn + 1) * np.uint64(0x9E3779B97F4A7C15))
    result = np.empty(stop - start, np.int64)
    for place in range(start, stop):
        number = np.uint64(place)
        while True:
            for turn in range(0, ROUNDS, 2):
                number ^= mixed((number & low) + keys[turn]) & high
                number ^= mixed((number & high) + keys[turn + 1]) & low
            if number < np.uint64(size):
                break
        result[place - start] = np.int64(number)
    return result
