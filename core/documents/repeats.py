"""Drawing with replacement, deterministic and in parts.

Every document has arrivals of its own, at the times of a Poisson process that its key alone gives: independent
exponential gaps. Seen together, in the order of time, the arrivals of all documents are draws with replacement: each
is any of the documents with the same probability, whatever came before (superposition of Poisson processes; Kingman,
Poisson Processes, 1993, section 2.2). So the first n arrivals are n draws, and fewer draws are the first of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from core.documents.ranking import CHUNK, HIGHEST, Cut, smallest
from core.errors import DataError

Keys = NDArray[np.uint64]
Weights = NDArray[np.int64]

TICKS = 1 << 40  # of the clock in the mean time between two arrivals of a document
MOST = 100_000  # draws of each document in the mean, far from where the clock runs over
GOLDEN = 0x9E3779B97F4A7C15


def smallest_draws(parts: Sequence[tuple[Keys, Weights]], budget: int, by_weight: bool) -> Cut:
    """The time until which the arrivals of all documents reach a budget: draws, or by_weight the sum of weights.

    Of no documents, or by weight of documents that weigh nothing, there are none. Raises DataError where each
    document would be drawn more than 100,000 times.
    """
    documents = sum(len(keys) for keys, _ in parts)
    size = sum(int(np.sum(weights)) for _, weights in parts) if by_weight else documents
    if budget <= 0 or size == 0:
        return Cut(0, 0, 0, 0)
    mean = budget / size  # of the draws of a document
    if mean > MOST:
        unit = "tokens" if by_weight else "documents"
        raise DataError(
            f"the source holds {size:,} {unit}; to draw {budget:,} of them would take each some {mean:,.0f} times. "
            f"Ask for less than {MOST:,} times what it holds."
        )
    end = mean + 6 * (mean / documents) ** 0.5 + 20 / documents
    while True:
        limit = int(end * TICKS)

        def items(limit: int = limit) -> Iterator[tuple[Keys, Weights]]:
            for keys, weights in parts:
                for begin, part in _portions(keys, limit):
                    times, rows = _arrivals(part, limit)
                    yield times, np.asarray(weights[begin : begin + len(part)])[rows]

        cut = smallest(items, budget, by_weight)
        if (cut.weight if by_weight else cut.items) >= budget:
            return cut
        end *= 2  # arrivals are random: so few by then are rare


def counts(parts: Sequence[Keys], cut: Cut) -> Iterator[NDArray[np.int64]]:
    """How many arrivals each document has before the cut, int64[n] for each part; the parts are all, in order."""
    ties = cut.ties
    for keys in parts:
        found = np.zeros(len(keys), np.int64)
        for begin, part in _portions(keys, cut.key):
            times, rows = _arrivals(part, cut.key)
            chosen = times < np.uint64(cut.key)
            equal = np.flatnonzero(times == np.uint64(cut.key))[:ties]
            chosen[equal] = True
            ties -= len(equal)
            found[begin : begin + len(part)] = np.bincount(rows[chosen], minlength=len(part))
        yield found


def _portions(keys: Keys, limit: int) -> Iterator[tuple[int, Keys]]:
    """Pieces of a part with about CHUNK arrivals before the limit, each with the number of its first document."""
    size = max(1, CHUNK * TICKS // (limit + TICKS))
    for begin in range(0, len(keys), size):
        yield begin, np.asarray(keys[begin : begin + size])


def _arrivals(keys: Keys, limit: int) -> tuple[Keys, NDArray[np.int64]]:
    """The times up to the limit and the row of each, by row."""
    rows = np.arange(len(keys))
    clock = np.zeros(len(keys), np.uint64)
    times, owners = [clock[:0]], [rows[:0]]
    number = 0
    while len(rows):
        number += 1
        clock = clock + _gaps(keys[rows], number)
        early = clock <= np.uint64(limit)
        rows, clock = rows[early], clock[early]
        times.append(clock)
        owners.append(rows)
    together = np.concatenate(owners)
    order = np.argsort(together, kind="stable")
    return np.concatenate(times)[order], together[order]


def _gaps(keys: Keys, number: int) -> Keys:
    """Ticks from each document's arrival before to its arrival `number`: exponential, at least one tick."""
    state = keys + np.uint64(number * GOLDEN & HIGHEST)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)  # splitmix64
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)
    uniform = ((state >> np.uint64(11)) + np.uint64(1)).astype(np.float64) / (1 << 53)  # in (0, 1]
    return (-np.log(uniform) * TICKS).astype(np.uint64) + np.uint64(1)
