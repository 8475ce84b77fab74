"""AdamW in its kinds, with its state allocated from the start and readable by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from core.training.options import Phase
from core.training.zero_settings import dimensions_of

if TYPE_CHECKING:
    import torch

SHARED = ("qmap1", "qmap2")  # bitsandbytes' tables of what 8 bits stand for: the same in every parameter and run


def make_optimizer(parameters: Iterable[torch.nn.Parameter], options: Phase) -> torch.optim.Optimizer:
    """The phase's optimiser, its state allocated: what a first step takes is what every step takes.

    AdamW (Loshchilov & Hutter 2019) is torch's, fused; the paged ones and those with state in 8 bits by blocks
    (Dettmers et al. 2022, https://arxiv.org/abs/2110.02861) are bitsandbytes'.
    """
    import torch

    found = list(parameters)
    settings = adamw_settings(found, options)
    if options.optimizer == "adamw":
        adamw = torch.optim.AdamW(**settings, fused=True)
        for parameter in found:
            adamw.state[parameter] = {
                "step": torch.zeros((), device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
        return adamw
    import bitsandbytes

    kinds = {
        "paged_adamw_32bit": bitsandbytes.optim.PagedAdamW32bit,
        "adamw_8bit": bitsandbytes.optim.AdamW8bit,
        "paged_adamw_8bit": bitsandbytes.optim.PagedAdamW8bit,
    }
    optimizer: torch.optim.Optimizer = kinds[options.optimizer](**settings)
    for number, group in enumerate(optimizer.param_groups):
        for place, parameter in enumerate(group["params"]):
            optimizer.init_state(group, parameter, number, place)  # type: ignore[attr-defined]
    return optimizer


def adamw_settings(parameters: Iterable[torch.nn.Parameter], options: Phase) -> dict[str, Any]:
    """What every AdamW is made with; parameters may be sharded. Weight decay is on matrices only."""
    found = list(parameters)
    groups = [
        {"params": [each for each in found if dimensions_of(each) >= 2], "weight_decay": options.weight_decay},
        {"params": [each for each in found if dimensions_of(each) < 2], "weight_decay": 0.0},
    ]
    return {
        "params": [group for group in groups if group["params"]],
        "lr": options.learning_rate,
        "betas": (options.beta1, options.beta2),
        "eps": options.epsilon,
    }


def state_of(optimizer: torch.optim.Optimizer, parameter: torch.nn.Parameter) -> Mapping[str, torch.Tensor]:
    """An optimiser's tensors for a parameter, but for the count of its updates."""
    state = optimizer.state[parameter]
    return {key: value for key, value in state.items() if key != "step" and key not in SHARED}


def set_updates(optimizer: torch.optim.Optimizer, updates: int) -> None:
    """Tells an optimiser how many updates it has made."""
    import torch

    for state in optimizer.state.values():
        if isinstance(state["step"], torch.Tensor):
            state["step"].fill_(updates)
        else:
            state["step"] = updates
