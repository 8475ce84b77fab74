"""What the training loop asks of the thing that holds gradients and updates weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class World:
    """This worker among those that train together."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"


@dataclass(frozen=True)
class Update:
    """What came of an optimiser step, the same on every worker."""

    figures: list[float]  # sums over all workers of what each handed in
    gradient_norm: float  # global L2 norm, before clipping
    applied: bool  # False: a figure or the gradient was not finite, and weights and state are as before


@dataclass(frozen=True)
class Piece:
    """A part of a parameter's weight or of an optimiser's state for it: what one worker writes into a checkpoint.

    key: "<parameter name>/weight", "<parameter name>/exp_avg", ...; start: where `values` (1-D) begins in the whole,
    flattened.
    """

    key: str
    start: int
    values: torch.Tensor


class Pieces(Protocol):
    """A checkpoint's tensors, whoever wrote which part."""

    def read(self, key: str, start: int, stop: int) -> torch.Tensor:
        """values[start:stop] of the whole, flattened, on the CPU. Raises DataError where they are not there."""


class Engine(Protocol):
    """Gradients, their exchange between workers, and the optimiser: plain data-parallel, or ZeRO.

    A step is: `forward` and `backward` for each micro-batch, the same number on every worker, then `step`.
    """

    world: World

    @property
    def parameters(self) -> Mapping[str, torch.nn.Parameter]:
        """Those that are trained, by the model's own names."""

    def forward(self, *inputs: object) -> torch.Tensor:
        """The objective (a module) on a micro-batch."""

    def backward(self, loss: torch.Tensor) -> None:
        """Adds a micro-batch's gradient. loss: scalar; the sum over micro-batches and workers is the step's loss."""

    def step(self, figures: torch.Tensor, learning_rate: float) -> Update:
        """Exchanges gradients, clips them and updates the weights. figures: float[k], sums of this worker's."""

    def discard(self) -> None:
        """Forgets the gradients since the last step: the next step is as if they had never been."""

    def pieces(self) -> Iterator[Piece]:
        """This worker's part of weights and optimiser state; views, to be copied or written before the next step."""

    def load(self, pieces: Pieces, updates: int) -> None:
        """Takes back what all workers' `pieces` were, written at any world size. updates: optimiser steps applied."""

    def weights(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Each trained parameter, whole, on the CPU, in fp32. Every worker must take part; rank 0 alone gets tensors
        with values, the others empty ones."""
