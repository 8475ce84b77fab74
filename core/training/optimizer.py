"""Gradients in one flat buffer, exchanged between workers in one call, and AdamW on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.training.options import Phase

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class World:
    """This worker among those that train together."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"


class Optimizer:
    """AdamW (Loshchilov & Hutter 2019) over the trainable parameters, data-parallel.

    Every gradient is a view into one flat fp32 buffer: zeroing, the exchange between workers and the norm are one
    operation each. The last element carries the sum of the losses along.
    """

    def __init__(self, model: torch.nn.Module, options: Phase, world: World) -> None:
        import torch

        self.world = world
        self.max_gradient_norm = options.max_gradient_norm
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        sizes = [parameter.numel() for parameter in self.parameters.values()]
        self._flat = torch.zeros(sum(sizes) + 1, device=world.device)
        for parameter, view in zip(self.parameters.values(), torch.split(self._flat[:-1], sizes), strict=True):
            parameter.grad = view.view_as(parameter)
        decayed = [parameter for parameter in self.parameters.values() if parameter.ndim >= 2]
        others = [parameter for parameter in self.parameters.values() if parameter.ndim < 2]
        groups = [
            {"params": decayed, "weight_decay": options.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        self._adamw = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=options.learning_rate,
            betas=(options.beta1, options.beta2),
            eps=options.epsilon,
            fused=True,
        )

    def zero(self) -> None:
        """Sets gradients and the loss to zero."""
        self._flat.zero_()

    def add_loss(self, loss: torch.Tensor) -> None:
        """Adds a micro-batch's summed loss, for `exchange` to return."""
        self._flat[-1] += loss.detach()

    def exchange(self, target_tokens: int) -> float:
        """Sums gradients and loss over all workers and divides by the global batch's target tokens.

        Returns the mean loss per target token of the global batch: the same on every worker.
        """
        import torch.distributed as dist

        if self.world.size > 1:
            dist.all_reduce(self._flat)
        self._flat.div_(target_tokens)
        return float(self._flat[-1])

    def gradient_norm(self) -> float:
        """The global L2 norm of the exchanged gradient."""
        return float(self._flat[:-1].norm())

    def step(self, learning_rate: float, gradient_norm: float) -> None:
        """Clips the gradient to `max_gradient_norm` and updates the weights."""
        if self.max_gradient_norm and gradient_norm > self.max_gradient_norm:
            self._flat[:-1].mul_(self.max_gradient_norm / gradient_norm)
        for group in self._adamw.param_groups:
            group["lr"] = learning_rate
        self._adamw.step()

    def state(self) -> dict[str, torch.Tensor]:
        """AdamW's moments by parameter name: `<name>.exp_avg`, `.exp_avg_sq`, `.step`."""
        return {
            f"{name}.{key}": value
            for name, parameter in self.parameters.items()
            for key, value in self._adamw.state[parameter].items()
        }

    def load_state(self, tensors: dict[str, torch.Tensor]) -> None:
        """Takes back what `state` gave."""
        for name, parameter in self.parameters.items():
            state: dict[str, Any] = self._adamw.state[parameter]
            for key in ("exp_avg", "exp_avg_sq", "step"):
                state[key] = tensors[f"{name}.{key}"].to(self.world.device)
