"""What a worker computes: the passes of a step, of a validation, of the reference model and of the rehearsal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from core.errors import ResourceError
from core.models.memory import free_memory
from core.tokens.sampler import Sampler
from core.tokens.shards import TokenRows
from core.training.batches import Batch, collate, without_targets
from core.training.engine import Engine, Update, World
from core.training.health import heaviest, largest_fitting, too_large
from core.training.objectives import Objective
from core.training.options import Phase
from core.training.order import micro_batches
from core.training.reference import ReferenceLogps, compute_reference
from core.training.throughput import Meter


class Passes:
    """The passes of one worker over its share of rows; every worker must call the same, in the same order."""

    def __init__(
        self, objective: Objective, engine: Engine, options: Phase, world: World, *, padding: int, width: int | None
    ) -> None:
        """padding: the token that fills rows up; width: tokens of every batch, None for those of its longest row."""
        self._objective, self._engine, self._options, self._world = objective, engine, options, world
        self._padding, self._width = padding, width
        self._references: dict[int, ReferenceLogps] = {}

    def refer(self, rows: TokenRows, directory: Path) -> None:
        """Computes what the model gives each sample of preference pairs before it is trained, or finds it there."""
        self._objective.eval()
        compute_reference(
            self._engine.forward,
            rows,
            directory,
            micro_batch_size=self._options.micro_batch_size,
            padding=self._padding,
            world=self._world,
        )
        self._references[id(rows)] = ReferenceLogps(directory, rows)
        self._objective.train()

    def share(self, batch: Sequence[int] | np.ndarray) -> list[list[int]]:
        """This worker's micro-batches of some rows, in the order in which they are run."""
        return micro_batches(batch, self._options.micro_batch_size, self._world.rank, self._world.size)

    def step(
        self, rows: TokenRows, batch: np.ndarray, seed: int, rate: float, wish: bool, meter: Meter
    ) -> tuple[Update, bool]:
        """One optimiser step on a global batch: what came of it, and whether any worker has the wish.

        batch: int[rows]; seed: of what is random in this worker's part; rate: learning rate; wish: this worker's.
        """
        world = self._world
        torch.manual_seed(seed)
        weight = self._objective.weight(rows, batch)
        sums = torch.zeros(len(self._objective.figures) + 1, device=world.device)
        for mine in self.share(batch):
            with meter.waiting():
                inputs = self._inputs(rows, mine or [int(batch[0])], empty=not mine)
            sums[:-1] += self._forward_backward(inputs, 1 / weight)
        sums[-1] = wish
        update = self._engine.step(sums, rate)
        *figures, wishes = update.figures
        return Update(figures, update.gradient_norm, update.applied), wishes > 0

    def validate(self, rows: TokenRows) -> list[float]:
        """The objective's figures over all rows, shared out over the workers, per what they are told of."""
        world = self._world
        total = torch.zeros(len(self._objective.figures), dtype=torch.float64, device=world.device)
        self._objective.eval()
        with torch.no_grad():
            for mine in self.share(range(len(rows))):
                total += self._engine.forward(self._inputs(rows, mine or [0], empty=not mine))
        self._objective.train()
        if world.size > 1:
            dist.all_reduce(total)
        return (total / self._objective.weight(rows, np.arange(len(rows)))).tolist()

    def rehearse(self, rows: TokenRows, sampler: Sampler) -> None:
        """Runs the phase's largest micro-batch and forgets it: what does not fit is known in the first seconds.

        Raises ResourceError that names what would fit.
        """
        options, world = self._options, self._world
        batch = sampler.batch(sampler.heaviest_step(rows.lengths, options.micro_batch_size, world.size))
        numbers = heaviest(self.share(batch), rows.lengths) or [int(batch[0])]
        torch.manual_seed(0)
        if not self._fits(rows, numbers):
            alone = world.size == 1  # otherwise the other workers would have to try the same
            fitting = largest_fitting(lambda few: self._fits(rows, numbers[:few]), len(numbers)) if alone else None
            tokens = int(rows.lengths[list(numbers)].max())
            raise ResourceError(too_large(options, len(numbers), tokens, fitting, _memory(world.device)))
        self._engine.discard()

    def _fits(self, rows: TokenRows, numbers: Sequence[int]) -> bool:
        """Whether a micro-batch does. The error is forgotten here: it would hold what did not fit."""
        self._engine.discard()
        free_memory(self._world.device)
        try:
            self._forward_backward(self._inputs(rows, numbers), 0.0)
        except ResourceError:
            return False
        return True

    def _forward_backward(self, inputs: Batch, scale: float) -> torch.Tensor:
        try:
            figures = self._engine.forward(inputs)
            self._engine.backward(figures[0] * scale)
        except torch.OutOfMemoryError as error:
            rows, tokens = inputs.input_ids.shape
            raise ResourceError(too_large(self._options, rows, tokens, None, _memory(self._world.device))) from error
        return figures.detach()

    def _inputs(self, rows: TokenRows, numbers: Sequence[int], *, empty: bool = False) -> Batch:
        reference = self._references.get(id(rows))
        logps = [reference.of(number) for number in numbers] if reference else None
        found = [rows[number] for number in numbers]
        batch = collate(found, self._padding, self._world.device, width=self._width, reference_logps=logps)
        return without_targets(batch) if empty else batch


def _memory(device: str) -> str:
    if not device.startswith("cuda"):
        return "of the host"
    free, whole = torch.cuda.mem_get_info()
    return f"{whole / 2**30:.0f} GiB, {free / 2**30:.1f} free"
