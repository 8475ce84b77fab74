"""The Levenshtein distance, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.documents.compiled import compiled


@compiled
def edit_distance(first: NDArray[np.uint32], second: NDArray[np.uint32]) -> int:
    """Insertions, deletions and substitutions from one sequence to the other.

    By rows of the table of all prefixes (Wagner and Fischer, "The string-to-string correction problem", 1974), of
    what is left without the common beginning and end, which no shortest edit needs to touch.
    """
    begin, first_end, second_end = 0, len(first), len(second)
    while begin < min(first_end, second_end) and first[begin] == second[begin]:
        begin += 1
    while first_end > begin and second_end > begin and first[first_end - 1] == second[second_end - 1]:
        first_end -= 1
        second_end -= 1
    row = np.arange(second_end - begin + 1)
    for i in range(begin, first_end):
        diagonal = row[0]
        row[0] = i - begin + 1
        for j in range(begin, second_end):
            above = row[j - begin + 1]
            cheapest = min(above, row[j - begin]) + 1
            row[j - begin + 1] = min(cheapest, diagonal + (first[i] != second[j]))
            diagonal = above
    return int(row[second_end - begin])
