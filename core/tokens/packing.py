"""Packing: several samples in one row of fixed length, with as little room left over as can be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.errors import DataError


def pack(lengths: NDArray[np.integer], capacity: int) -> NDArray[np.int64]:
    """The row of each sample, in as few rows as the best of three ways gives: never more than `best_fit`.

    Best-fit decreasing leaves some percent of the room empty where the rows hold only few samples (GSM8K in rows of
    512 tokens: 2.5 %). There it is better to end each row with two samples that fill it exactly, and which of such
    pairs is the better choice depends on the lengths; see `exact_fit` beside the kernel of best fit.

    lengths: int[samples], tokens of each sample, from 1 to capacity. Returns int64[samples]; rows are numbered in the
    order of their first samples. O(samples + capacity) memory; about 7 million samples a second.
    Raises DataError where a sample is longer than a row.
    """
    from core.tokens import packing_kernels as kernels

    lengths = _checked(lengths, capacity)
    ways = (
        kernels.best_fit(lengths, capacity),
        kernels.exact_fit(lengths, capacity, True),
        kernels.exact_fit(lengths, capacity, False),
    )
    return min(ways, key=lambda rows: rows.max(initial=-1))


def best_fit(lengths: NDArray[np.integer], capacity: int) -> NDArray[np.int64]:
    """Best-fit decreasing bin packing (Johnson 1973): each sample, longest first, goes where least room remains.

    Takes, returns and raises what `pack` does.
    """
    from core.tokens import packing_kernels as kernels

    return kernels.best_fit(_checked(lengths, capacity), capacity)


def _checked(lengths: NDArray[np.integer], capacity: int) -> NDArray[np.int64]:
    if len(lengths) and lengths.max() > capacity:
        raise DataError(f"a sample of {lengths.max()} tokens does not fit a row of {capacity}")
    if len(lengths) and lengths.min() < 1:
        raise ValueError("a sample has no tokens")
    return np.ascontiguousarray(lengths, np.int64)
