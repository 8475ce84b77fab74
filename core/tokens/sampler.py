"""Which rows each step sees: every row once an epoch, reshuffled each epoch, the same at any world size."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
from numpy.typing import NDArray

from core.artifacts.seeds import derive_seed

AT_A_TIME = 1 << 20  # rows, where all steps are looked at


class Sampler:
    """The global order of a phase's rows.

    Its position is the number of the step and nothing else, to be stored and restored at no cost: any step's rows are
    computed from the seed, by themselves, without the order of an epoch in memory.

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

    def batch(self, step: int) -> NDArray[np.int64]:
        """int64[<= batch_size]: the rows of a step (0-based) in their order. The last step may have fewer."""
        return self._between(step * self.batch_size, (step + 1) * self.batch_size)

    def epoch(self, steps: int) -> float:
        """How many epochs the first `steps` steps are."""
        return min(steps * self.batch_size, self.total) / self.rows

    def heaviest_step(self, lengths: NDArray[np.integer], micro_batch_size: int, workers: int = 1) -> int:
        """The step that needs the most memory, so that it can be run first.

        That is the one with the micro-batch of most tokens, padding included (rows times the widest of them); of
        several, the one with most of them over all its micro-batches; of several, the first.
        lengths: int[rows], tokens of each row. Micro-batches are those of the trainer: worker w has every `workers`-th
        row of a batch from row w on. Looks at every step: 10 million rows a second.
        """
        steps_at_a_time = max(1, AT_A_TIME // self.batch_size)
        best, found = (-1, -1), 0
        for first in range(0, self.steps, steps_at_a_time):
            stop = min(first + steps_at_a_time, self.steps)
            rows = self._between(first * self.batch_size, stop * self.batch_size)
            tokens = np.zeros((stop - first) * self.batch_size, np.int64)
            tokens[: len(rows)] = lengths[rows]
            largest, whole = _padded(tokens.reshape(stop - first, self.batch_size), micro_batch_size, workers)
            step = int(np.lexsort((-whole, -largest))[0])
            if (weight := (int(largest[step]), int(whole[step]))) > best:
                best, found = weight, first + step
        return found

    def _between(self, start: int, stop: int) -> NDArray[np.int64]:
        """The rows from place `start` to before place `stop` of the order of all epochs."""
        from core.tokens.order_kernels import shuffled

        parts = []
        stop = min(stop, self.total)
        while start < stop:
            epoch, place = divmod(start, self.rows)
            length = min(stop - start, self.rows - place)
            parts.append(shuffled(place, place + length, self.rows, derive_seed(self.seed, "shuffle", epoch)))
            start += length
        return np.concatenate(parts)


def _padded(
    tokens: NDArray[np.int64], micro_batch_size: int, workers: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Tokens of the largest micro-batch and of all micro-batches with their padding, int64[steps] each.

    tokens: int64[steps, batch_size], 0 where there is no row.
    """
    largest = np.zeros(len(tokens), np.int64)
    whole = np.zeros(len(tokens), np.int64)
    for worker in range(workers):
        mine = tokens[:, worker::workers]
        for start in range(0, mine.shape[1], micro_batch_size):
            part = mine[:, start : start + micro_batch_size]
            padded = cast("NDArray[np.int64]", part.max(axis=1) * (part > 0).sum(axis=1))
            whole += padded
            largest = np.maximum(largest, padded)
    return largest, whole
