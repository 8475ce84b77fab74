"""Which documents to compare: those whose signatures agree in a band."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

CROWD = 256  # rows of a bucket of which not all are compared with each other, and
NEIGHBOURS = 16  # how many of them each is compared with then
MERGE = 1 << 22  # pairs of several bands that are held before those found twice are left out
FOLLOWING = (3, 2, 1)  # the bands after a crowded one by whose keys it is put in order, the first one last
MOST = 1 << 31  # documents: a pair is one number of 64 bits

Keys = NDArray[np.uint64]
Rows = NDArray[np.int64]


def candidate_pairs(keys: Keys, sources: Rows | None = None) -> Rows:
    """Pairs of rows to compare, int64[pairs, 2], the smaller row first, in ascending order, each once.

    keys: uint64[rows, bands] of all documents; sources: a number per row, where only rows of the same are compared.

    Time and memory are linear in the rows. Rows that agree in every band, nearly always the same text, are paired with
    the first of them, which alone stands for them elsewhere. A bucket of `CROWD` rows or more is put in the order of
    the following bands' keys, and each row is paired with the next `NEIGHBOURS` ones only: a true duplicate agrees in
    many bands, so it stands nearby in one of these orders, or in a bucket that is small. Where thousands of texts are
    of one template, a few duplicates in a thousand may be missed so.
    """
    if sources is not None:
        groups = [np.flatnonzero(sources == source) for source in np.unique(sources)]
        pairs = np.concatenate([np.empty((0, 2), np.int64), *(rows[candidate_pairs(keys[rows])] for rows in groups)])
        return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    from core.dedup import key_kernels as kernels

    rows = np.arange(len(keys))
    first = kernels.first_occurrences(np.ascontiguousarray(keys))
    filled = keys[:, 0] != 0
    copies = np.flatnonzero((first != rows) & filled)
    pairs = packed(first[copies], copies)
    distinct = np.flatnonzero((first == rows) & filled)
    bands = keys.shape[1]
    unmerged: list[Rows] = []
    for band in range(bands):

        def following(places: Rows, band: int = band) -> list[Keys]:
            return [keys[distinct[places], (band + step) % bands] for step in FOLLOWING]

        unmerged += bucket_pairs(keys[distinct, band], distinct, following)
        if sum(map(len, unmerged)) > max(len(pairs), MERGE):
            pairs, unmerged = merged(pairs, *unmerged), []
    return unpacked(merged(pairs, *unmerged))


def bucket_pairs(own: Keys, rows: Rows, following: Callable[[Rows], Sequence[Keys]]) -> list[Rows]:
    """The pairs of one band, packed, or of any part of it that holds buckets whole: its pairs depend on it alone.

    own: the band's key of each row, uint64[entries]; rows: int64[entries], ascending;
    following: gives the keys in the `FOLLOWING` bands of entries, by their places.
    """
    from core.dedup import key_kernels as kernels

    places = np.flatnonzero(kernels.maybe_repeated(own))
    places = places[np.argsort(own[places], kind="stable")]
    own = own[places]
    sizes = np.diff(np.flatnonzero(np.diff(own, prepend=~own[:1])), append=len(own))
    crowded = np.repeat(sizes >= CROWD, sizes)
    pairs = [kernels.neighbour_pairs(own[~crowded], rows[places[~crowded]], CROWD)]
    if crowded.any():
        own, places = own[crowded], places[crowded]
        order = np.lexsort((*following(places), own))
        pairs.append(kernels.neighbour_pairs(own, rows[places[order]], NEIGHBOURS))
    return pairs


def packed(smaller: Rows, larger: Rows) -> Rows:
    """Each pair as one number, in whose order they are by the smaller row, then the larger; rows below `MOST`."""
    return smaller << 32 | larger


def unpacked(pairs: Rows) -> Rows:
    """int64[pairs, 2] of packed pairs."""
    return np.stack([pairs >> 32, pairs & 0xFFFFFFFF], axis=1)


def merged(*pairs: Rows) -> Rows:
    """All packed pairs in ascending order, each once. Sorting is much faster than numpy's `unique`."""
    together: Rows = np.concatenate([np.empty(0, np.int64), *pairs])
    together.sort()
    new: NDArray[np.bool_] = np.diff(together, prepend=-1) != 0
    return together[new]


def numbered(pairs: Rows) -> tuple[Rows, Rows]:
    """The rows of the pairs, ascending, and the pairs by their places among these, int64[pairs, 2]."""
    lowest = int(pairs.min()) if len(pairs) else 0
    span = int(pairs.max()) - lowest + 1 if len(pairs) else 0
    if span > 4 * pairs.size:
        rows, places = np.unique(pairs, return_inverse=True)
        return rows, places.reshape(-1, 2)
    there = np.zeros(span, np.bool_)  # much faster than sorting where rows lie close together
    there[pairs - lowest] = True
    return np.flatnonzero(there) + lowest, (np.cumsum(there) - 1)[pairs - lowest]
