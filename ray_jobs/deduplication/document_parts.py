"""Documents as parts: what deduplication needs to know of each, wherever they are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from core.dedup.key_files import mapped

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """Documents that one task reads. It is sent to workers: its functions are those of modules, or partials of them."""

    keys: (
        Path | None
    )  # npz: `keys` as of `band_keys`, `lengths` int64[documents] in bytes; None: there are no documents
    source: str  # the name of its source
    texts: Callable[[Rows], Iterator[pa.LargeStringArray]]  # of given rows, ascending: in order, in pieces of any size
    ids: Callable[[Rows], pa.Array]  # strings, of given rows, ascending

    @property
    def documents(self) -> int:
        """How many there are."""
        return 0 if self.keys is None else len(mapped(self.keys, "lengths"))


def bounds_of(parts: Sequence[Part]) -> Rows:
    """int64[parts + 1]: part i holds the documents bounds[i] to bounds[i + 1] of all."""
    return np.cumsum([0, *(part.documents for part in parts)], dtype=np.int64)


def part_numbers(bounds: Rows, rows: Rows) -> Rows:
    """The part that each document is in."""
    numbers: Rows = np.searchsorted(bounds, rows, side="right") - 1
    return numbers


def source_numbers(parts: Sequence[Part]) -> list[int]:
    """A number for each part's source, by first appearance."""
    names = list(dict.fromkeys(part.source for part in parts))
    return [names.index(part.source) for part in parts]
