"""The order in which a phase sees its rows, and how a global batch is shared out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core.artifacts.seeds import derive_seed
from core.tokens.sampler import Sampler
from core.training.options import Phase


def make_sampler(rows: int, options: Phase, seed: int) -> Sampler:
    """The order in which a phase sees its rows."""
    return Sampler(
        rows,
        options.global_batch_size,
        derive_seed(seed, "rows"),
        epochs=options.epochs,
        max_steps=options.max_steps,
    )


def micro_batches(
    rows: Sequence[int] | NDArray[np.int64], micro_batch_size: int, rank: int, workers: int
) -> list[list[int]]:
    """A worker's micro-batches of some rows: every `workers`-th row from row `rank` on.

    As many on every worker, so that all take part in every exchange; those without a row are at the end.
    """
    longest = -(-len(rows) // workers)  # of the first worker
    mine = [int(row) for row in rows[rank::workers]]
    return [mine[start : start + micro_batch_size] for start in range(0, longest, micro_batch_size)]
