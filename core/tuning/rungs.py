"""Where on its way a trial is scored: shares of its optimiser steps."""

from __future__ import annotations

import math
from dataclasses import dataclass

from core.tuning.options import Sweep


@dataclass(frozen=True)
class Rungs:
    """budgets: what the scheduler counts in, the last one being the whole training."""

    budgets: tuple[int, ...]

    @classmethod
    def of(cls, sweep: Sweep) -> Rungs:
        """asha: powers of its reduction factor; median and pbt: evenly; without a scheduler the end alone."""
        if sweep.scheduler == "none":
            return cls((1,))
        if sweep.scheduler == "asha":
            return cls(tuple(sweep.reduction_factor**rung for rung in range(sweep.rungs)))
        return cls(tuple(range(1, sweep.rungs + 1)))

    def every(self, steps: int) -> int:
        """Optimiser steps from one checkpoint to the next, so that there is one at each rung of `steps`."""
        return math.ceil(steps / self.budgets[-1])

    def step_in(self, budget: int, steps: int, before: int, of_phase: int) -> int | None:
        """The checkpointed step of a phase at which a rung is reached, of `steps` in all phases and so many before it.

        None where the rung is in another phase.
        """
        every = self.every(steps)
        step = min(steps, budget * every) - before
        return min(of_phase, math.ceil(step / every) * every) if 0 < step <= of_phase else None
