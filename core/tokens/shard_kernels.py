"""The compiled loop of `core.tokens.shards`. Import it inside functions: numba is heavy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.documents.compiled import compiled


@compiled
def gathered(
    values: NDArray[np.int32], starts: NDArray[np.int64], order: NDArray[np.int64], shifts: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Lists order[0], order[1], ... one behind the other, with shifts[0], shifts[1], ... added to their values.

    values: those of all lists, with starts int64[lists + 1] into them.
    """
    total = 0
    for number in order:
        total += starts[number + 1] - starts[number]
    result = np.empty(total, np.int32)
    at = 0
    for place in range(len(order)):
        number, shift = order[place], np.int32(shifts[place])
        for source in range(starts[number], starts[number + 1]):
            result[at] = values[source] + shift
            at += 1
    return result
