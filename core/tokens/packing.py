"""Packing: several samples in one row of fixed length, with as little room left over as can be."""

from __future__ import annotations

import bisect

import numpy as np

from core.errors import DataError


def best_fit(lengths: np.ndarray, capacity: int) -> np.ndarray:
    """Best-fit decreasing bin packing (Johnson 1973): each sample, longest first, goes where least room remains.

    lengths: int[samples], tokens of each sample, all <= capacity. Returns int64[samples], the row of each sample;
    rows are numbered in the order of their first sample. O(samples · log capacity) beside an insertion into a
    sorted list of at most `capacity` distinct rooms. Raises DataError where a sample is longer than a row.
    """
    if len(lengths) and lengths.max() > capacity:
        raise DataError(f"a sample of {lengths.max()} tokens does not fit a row of {capacity}")
    rows = np.empty(len(lengths), np.int64)
    rooms: list[int] = []  # distinct free rooms of the open rows, sorted
    open_rows: dict[int, list[int]] = {}
    count = 0
    for sample in np.argsort(-lengths, kind="stable"):
        length = int(lengths[sample])
        position = bisect.bisect_left(rooms, length)
        if position == len(rooms):
            row, room = count, capacity
            count += 1
        else:
            room = rooms[position]
            row = open_rows[room].pop()
            if not open_rows[room]:
                del open_rows[room], rooms[position]
        rows[sample] = row
        left = room - length
        if left:
            if left not in open_rows:
                open_rows[left] = []
                bisect.insort(rooms, left)
            open_rows[left].append(row)
    return _renumbered(rows)


def _renumbered(rows: np.ndarray) -> np.ndarray:
    """Row numbers in the order in which the samples first name them."""
    _, first, inverse = np.unique(rows, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    result: np.ndarray = rank[inverse]
    return result
