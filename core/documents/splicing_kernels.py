"""Copies pieces of a buffer one after the other. Import inside functions: numba is heavy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.documents.compiled import compiled


@compiled
def gathered(
    data: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The bytes data[starts[i]:ends[i]] end to end, and where each begins, int64[pieces + 1]."""
    bounds = np.zeros(len(starts) + 1, np.int64)
    for i in range(len(starts)):
        bounds[i + 1] = bounds[i] + max(0, ends[i] - starts[i])
    out = np.empty(bounds[-1], np.uint8)
    for i in range(len(starts)):
        out[bounds[i] : bounds[i + 1]] = data[starts[i] : starts[i] + bounds[i + 1] - bounds[i]]
    return out, bounds
