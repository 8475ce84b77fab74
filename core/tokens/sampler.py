"""Which rows each step sees: every row once an epoch, reshuffled each epoch, the same at any world size."""

from __future__ import annotations

import math

import numpy as np

from core.artifacts.seeds import generator


class Sampler:
    """The global order of a phase's rows. It has no state: any step's rows are computed from the seed.

    rows: rows in an epoch; batch_size: rows in a step, over all workers; exactly one of epochs and max_steps.
    """

    def __init__(
        self,
        rows: int,
        batch_size: int,
        seed: int,
        *,
        epochs: float | None = None,
        max_steps: int | None = None,
    ) -> None:
        self.rows = rows
        self.batch_size = batch_size
        self.seed = seed
        self.total = max_steps * batch_size if max_steps is not None else max(1, round(rows * (epochs or 1)))
        self.steps = math.ceil(self.total / batch_size)
        self._cached: tuple[int, np.ndarray] | None = None

    def batch(self, step: int) -> np.ndarray:
        """int64[<= batch_size]: the rows of a step (0-based) in their order. The last step may have fewer."""
        start = step * self.batch_size
        positions = np.arange(start, min(start + self.batch_size, self.total))
        epochs, offsets = np.divmod(positions, self.rows)
        return np.concatenate([self._order(int(epoch))[offsets[epochs == epoch]] for epoch in np.unique(epochs)])

    def epoch(self, steps: int) -> float:
        """How many epochs the first `steps` steps are."""
        return min(steps * self.batch_size, self.total) / self.rows

    def _order(self, epoch: int) -> np.ndarray:
        if self._cached is None or self._cached[0] != epoch:
            self._cached = (epoch, generator(self.seed, "shuffle", epoch).permutation(self.rows))
        return self._cached[1]
