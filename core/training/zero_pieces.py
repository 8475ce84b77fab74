"""Where a worker's parts of the fp32 weights and of AdamW's state lie inside DeepSpeed's optimisers.

DeepSpeed keeps, on each worker, flat fp32 tensors with parts of many parameters one after the other. Stages 1 and 2 cut
all parameters of a group, laid end to end, into equal parts; stage 3 cuts each parameter into ceil(n / workers)
elements, the last worker's part filled up. Read off here once, so that a checkpoint knows nothing of either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.training.engine import Piece

if TYPE_CHECKING:
    import torch

MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Shard:
    """This worker's part of one parameter: flat[offset : offset + size] are the whole's [start : start + size]."""

    name: str
    flat: torch.Tensor
    offset: int
    start: int
    size: int

    def of(self, flat: torch.Tensor) -> torch.Tensor:
        """The part's view in a tensor that is laid out as `self.flat`."""
        return flat.detach().narrow(0, self.offset, self.size)


class Shards:
    """This worker's parts of all trained parameters, in fp32, with AdamW's state."""

    def __init__(self, optimizer: Any, adamw: torch.optim.Optimizer, parameters: Mapping[str, Any]) -> None:
        """optimizer: DeepSpeed's, that wraps `adamw`, of any stage."""
        import torch

        find = _of_stage_3 if hasattr(optimizer, "fp16_partitioned_groups") else _of_stages_1_and_2
        self._shards = {name: shard for name, p in parameters.items() if (shard := find(optimizer, name, p))}
        self.flats: list[torch.Tensor] = _flats(optimizer)
        self._state = adamw.state
        for flat in self.flats:
            # AdamW would make them in its first step; made now, a checkpoint can be read into them
            self._state[flat] = {
                "step": torch.zeros((), dtype=torch.float32, device=flat.device),
                **{moment: torch.zeros_like(flat, requires_grad=False) for moment in MOMENTS},
            }

    def get(self, name: str) -> Shard | None:
        """None: this worker has no part of that parameter."""
        return self._shards.get(name)

    def pieces(self) -> Iterator[Piece]:
        """The parts, as views."""
        for name, shard in self._shards.items():
            yield Piece(f"{name}/weight", shard.start, shard.of(shard.flat))
            for moment in MOMENTS:
                yield Piece(f"{name}/{moment}", shard.start, shard.of(self._state[shard.flat][moment]))

    def fill(self, read: Callable[[str, int, int], torch.Tensor]) -> None:
        """Fills the parts from `read(key, start, stop)`, key and places as `pieces` gives them."""
        for piece in self.pieces():
            piece.values.copy_(read(piece.key, piece.start, piece.start + piece.values.numel()))

    def fill_weights(self, wholes: Mapping[str, tuple[int, torch.Tensor]]) -> None:
        """Fills the weights of those parameters that are in `wholes`, given from some place on, flattened."""
        for name, (start, values) in wholes.items():
            if shard := self._shards.get(name):
                shard.of(shard.flat).copy_(values.narrow(0, shard.start - start, shard.size))

    def set_steps(self, updates: int) -> None:
        """AdamW has made so many steps."""
        for flat in self.flats:
            self._state[flat]["step"].fill_(updates)


def _flats(optimizer: Any) -> list[Any]:
    for attribute in ("fp32_partitioned_groups_flat", "single_partition_of_fp32_groups", "fp32_groups_flat_partition"):
        if hasattr(optimizer, attribute):  # of stage 3; of stages 1 and 2; of stage 1 in bf16
            return list(getattr(optimizer, attribute))
    raise AssertionError(f"{type(optimizer).__name__} is none of the ZeRO optimisers of deepspeed 0.19")


def _of_stages_1_and_2(optimizer: Any, name: str, parameter: Any) -> Shard | None:
    mapping = parameter._hp_mapping
    if mapping is None:
        return None
    flat = _flats(optimizer)[mapping.param_group_index]
    inside, whole = mapping.hp_fragment_address, mapping.lp_fragment_address
    return Shard(name, flat, inside.start, whole.start, whole.numel)


def _of_stage_3(optimizer: Any, name: str, parameter: Any) -> Shard | None:
    group, offset, length = optimizer.grad_position[optimizer.get_param_id(parameter)]
    start = length * parameter.ds_zero_partition_rank
    size = min(length, parameter.ds_numel - start)
    if size <= 0:
        return None
    return Shard(name, _flats(optimizer)[group], offset, start, size)
