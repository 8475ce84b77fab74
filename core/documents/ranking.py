"""The smallest of very many numbers, exactly, without sorting them: passes over parts that may lie on disk.

A pass counts the numbers by 16 of their bits; the bin in which the budget is reached gives those bits of the number
where the order is cut, and the next pass looks at that bin alone (radix selection, Knuth, TAOCP volume 3, 5.2.5 and
exercise 5.3.3). Memory is two tables of 65,536 and one chunk, whatever the number of items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]
Weights = NDArray[np.int64]
Chunks = Callable[[], Iterable[tuple[Keys, Weights]]]  # every call gives the same items in the same order

CHUNK = 1 << 20  # items looked at together
DIGIT = 16  # bits of a key looked at in one pass
HIGHEST = (1 << 64) - 1


@dataclass(frozen=True)
class Cut:
    """The beginning of an ascending order: all items below `key`, and in input order the first `ties` equal to it."""

    key: int
    ties: int
    items: int  # so many they are
    weight: int  # and so much they weigh


def chunks(parts: Sequence[tuple[Keys, Weights]]) -> Chunks:
    """The items of all parts, in order, some at a time."""

    def every() -> Iterator[tuple[Keys, Weights]]:
        for keys, weights in parts:
            for begin in range(0, len(keys), CHUNK):
                yield np.asarray(keys[begin : begin + CHUNK]), np.asarray(weights[begin : begin + CHUNK])

    return every


def smallest(items: Chunks, budget: int, by_weight: bool = False, bits: int = 64) -> Cut:
    """Where the ascending order of keys is cut so that the items before the cut reach a budget; ties by input order.

    The budget is a number of items, or by_weight a sum of weights: then the last item may go over it, and none
    follows. bits: keys are below 2**bits, a multiple of 16. All items where they do not reach the budget.
    """
    if budget <= 0:
        return Cut(0, 0, 0, 0)
    prefix = items_below = weight_below = 0
    for shift in range(bits - DIGIT, -1, -DIGIT):
        numbers, sums = _histograms(items, prefix, shift, shift == bits - DIGIT)
        reached = np.cumsum(sums if by_weight else numbers)
        left = budget - (weight_below if by_weight else items_below)
        digit = int(np.searchsorted(reached, left))
        if digit == 1 << DIGIT:  # can only be in the first pass
            return Cut(HIGHEST, int(numbers.sum()), int(numbers.sum()), int(sums.sum()))
        items_below += int(numbers[:digit].sum())
        weight_below += int(sums[:digit].sum())
        prefix = prefix << DIGIT | digit
    ties, weight = _ties(items, prefix, budget - (weight_below if by_weight else items_below), by_weight)
    return Cut(prefix, ties, items_below + ties, weight_below + weight)


def before(cut: Cut, parts: Iterable[Keys]) -> Iterator[NDArray[np.bool_]]:
    """bool[n] for each part: whether the item stands before the cut. The parts are all there are, in order."""
    ties = cut.ties
    for keys in parts:
        chosen = keys < np.uint64(cut.key)
        equal = np.flatnonzero(keys == np.uint64(cut.key))[:ties]
        chosen[equal] = True
        ties -= len(equal)
        yield chosen


def top(parts: Sequence[NDArray[np.float32]], fraction: float) -> list[NDArray[np.bool_]]:
    """bool[n] for each part: the floor(fraction * items) highest scores of all parts; of equal ones the first.

    The exact quantile, however the items are divided into parts. A score that is no number (NaN) comes last.
    `fraction` is taken as the decimal number it is written as: .29 of 100 are 29.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction is {fraction}, expected a number from 0 to 1")
    count = int(Fraction(repr(float(fraction))) * sum(map(len, parts)))

    def every() -> Iterator[tuple[Keys, Weights]]:
        for scores in parts:
            for begin in range(0, len(scores), CHUNK):
                keys = _descending(np.asarray(scores[begin : begin + CHUNK]))
                yield keys, np.zeros(len(keys), np.int64)

    cut = smallest(every, count, bits=32)
    return list(before(cut, (_descending(np.asarray(scores)) for scores in parts)))


def _descending(scores: NDArray[np.float32]) -> Keys:
    """Numbers below 2**32 in the opposite order of the scores."""
    bits = (scores.astype(np.float32) + np.float32(0)).view(np.uint32)  # + 0 makes 0 of -0
    ascending = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
    keys = (~ascending).astype(np.uint64)
    keys[np.isnan(scores)] = (1 << 32) - 1
    return keys


def _histograms(items: Chunks, prefix: int, shift: int, first: bool) -> tuple[Weights, Weights]:
    """How many keys with that prefix have each digit, and what they weigh, int64[65536] each."""
    numbers = np.zeros(1 << DIGIT, np.int64)
    sums = np.zeros(1 << DIGIT, np.int64)
    for keys, weights in items():
        if not first:
            inside = keys >> np.uint64(shift + DIGIT) == np.uint64(prefix)
            keys, weights = keys[inside], weights[inside]
        digits = (keys >> np.uint64(shift) & np.uint64((1 << DIGIT) - 1)).astype(np.int64)
        numbers += np.bincount(digits, minlength=1 << DIGIT)
        # sums of a chunk are exact as float64: they stay far below 2**53
        sums += np.bincount(digits, weights, 1 << DIGIT).astype(np.int64)
    return numbers, sums


def _ties(items: Chunks, key: int, left: int, by_weight: bool) -> tuple[int, int]:
    """How many of the items with that key, in input order, reach what is left of the budget, and what they weigh."""
    taken = weight = 0
    for keys, weights in items():
        equal = weights[keys == np.uint64(key)]
        reached = np.cumsum(equal) + weight if by_weight else np.arange(1, len(equal) + 1) + taken
        enough = int(np.searchsorted(reached, left))
        here = equal[: enough + 1]
        taken += len(here)
        weight += int(here.sum())
        if enough < len(equal):
            break
    return taken, weight
