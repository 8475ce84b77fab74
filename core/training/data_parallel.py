"""Plain data-parallel training: every worker holds the whole model, and gradients are exchanged in one call."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist

from core.training.engine import Piece, Pieces, Update, World
from core.training.optimizers import make_optimizer, set_updates, state_of
from core.training.options import Phase

FIGURES = 16  # how many figures travel with the gradients at most


class DataParallel:
    """An `Engine` whose gradients are views into one flat fp32 buffer.

    Zeroing, the exchange between workers and the norm are so one operation each; the figures of a step travel at the
    buffer's end.
    """

    def __init__(self, objective: torch.nn.Module, options: Phase, world: World) -> None:
        self.world = world
        model: Any = objective.model
        self.parameters: dict[str, torch.nn.Parameter] = {
            name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad
        }
        self._objective = objective
        self._max_gradient_norm = options.max_gradient_norm
        self._bf16 = options.precision == "bf16"
        sizes = [parameter.numel() for parameter in self.parameters.values()]
        self._length = sum(sizes)
        self._flat = torch.zeros(self._length + FIGURES, device=world.device)
        for parameter, view in zip(
            self.parameters.values(), torch.split(self._flat[: self._length], sizes), strict=True
        ):
            parameter.grad = view.view_as(parameter)
        self._optimizer = make_optimizer(self.parameters.values(), options)

    def forward(self, *inputs: object) -> torch.Tensor:
        """The objective on a micro-batch, in the phase's precision."""
        with self._precision():
            figures: torch.Tensor = self._objective(*inputs)
        return figures

    def backward(self, loss: torch.Tensor) -> None:
        """Adds a micro-batch's gradient."""
        torch.autograd.backward(loss)

    def step(self, figures: torch.Tensor, learning_rate: float) -> Update:
        """Exchanges gradients and figures, clips and updates, where all is finite."""
        end = self._length + len(figures)
        self._flat[self._length : end] = figures
        if self.world.size > 1:
            dist.all_reduce(self._flat[:end])
        gradient = self._flat[: self._length]
        *sums, norm = torch.cat([self._flat[self._length : end], gradient.norm()[None]]).tolist()
        applied = all(map(math.isfinite, (*sums, norm)))
        if applied:
            if self._max_gradient_norm and norm > self._max_gradient_norm:
                gradient.mul_(self._max_gradient_norm / norm)
            for group in self._optimizer.param_groups:
                group["lr"] = learning_rate
            self._optimizer.step()
        self.discard()
        return Update(sums, norm, applied)

    def discard(self) -> None:
        """Forgets the gradients."""
        self._flat.zero_()

    def pieces(self) -> Iterator[Piece]:
        """Everything from rank 0: the others hold the same."""
        if self.world.rank:
            return
        for name, parameter in self.parameters.items():
            yield Piece(f"{name}/weight", 0, parameter.detach().flatten())
            for key, value in state_of(self._optimizer, parameter).items():
                yield Piece(f"{name}/{key}", 0, value.flatten())

    def load(self, pieces: Pieces, updates: int) -> None:
        """Takes back weights and state."""
        for name, parameter in self.parameters.items():
            targets = {"weight": parameter.data, **state_of(self._optimizer, parameter)}
            for key, target in targets.items():
                target.copy_(pieces.read(f"{name}/{key}", 0, target.numel()).view_as(target))
        set_updates(self._optimizer, updates)

    def weights(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Each trained parameter, on the CPU, in fp32."""
        for name, parameter in self.parameters.items():
            here = parameter.detach() if self.world.rank == 0 else parameter.new_empty(0)
            yield name, here.float().cpu()

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        if self._bf16:
            return torch.autocast(torch.device(self.world.device).type, torch.bfloat16)
        return contextlib.nullcontext()
