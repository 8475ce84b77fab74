"""Optimiser state (stage 1), gradients (2) and weights (3) sharded over the workers: ZeRO, by DeepSpeed.

Rajbhandari et al. 2020, https://arxiv.org/abs/1910.02054. DeepSpeed exchanges the gradients, keeps fp32 weights beside
those the model computes with, and steps torch's AdamW on this worker's part of them. What is read off its inside here
is that of deepspeed 0.19.8, the version that is pinned.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from core.errors import RecipeError
from core.training.engine import Piece, Pieces, Update, World
from core.training.optimizers import adamw_settings
from core.training.options import Phase
from core.training.zero_pieces import Shards
from core.training.zero_settings import settings, start_deepspeed

if TYPE_CHECKING:
    import torch


class ZeRO:
    """Trains the weights of `objective.model` that ask for gradients, at `options.zero_stage` 1, 2 or 3.

    With precision bf16 the model's weights are bf16, beside this worker's part of them in fp32 that begins as they were
    given: exactly, where they were fp32. Gradients add up and travel in fp32. With cpu_offload the fp32 weights, AdamW
    and its state are the host's, and at stage 3 the model's weights too, where they are not at work.
    """

    def __init__(self, objective: torch.nn.Module, options: Phase, world: World) -> None:
        """objective: a module with the model as `.model`, on any device; its weights may be sharded already (see
        `sharded_loading`). Where world.size > 1, torch.distributed must have been initialised.

        Raises RecipeError for weights that stage 3 cannot shard, ResourceError where DeepSpeed cannot serve the device.
        """
        import torch

        deepspeed = start_deepspeed(world)
        self.world = world
        self._stage = options.zero_stage
        self._synchronize = deepspeed.accelerator.get_accelerator().synchronize
        model: Any = objective.model
        self.parameters: dict[str, torch.nn.Parameter] = {
            name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad
        }
        _check_shardable(model, options)
        given = _cast(objective, self.parameters, torch.bfloat16 if options.precision == "bf16" else torch.float32)
        self._adamw = torch.optim.AdamW(**adamw_settings(self.parameters.values(), options), fused=True)
        with contextlib.redirect_stdout(io.StringIO()):  # its bf16 optimiser prints how much memory is in use
            self._engine, self._optimizer, _, _ = deepspeed.initialize(
                model=objective, optimizer=self._adamw, config=settings(options, world, model.parameters())
            )
        if self._stage == 3:
            _hold_output_layer(deepspeed, self._optimizer.parameter_offload, objective)
        self._shards = Shards(self._optimizer, self._adamw, self.parameters)
        self._shards.fill_weights(given)

    def forward(self, *inputs: object) -> torch.Tensor:
        """The objective on a micro-batch. Every worker must take part, also where nothing is learned."""
        output: torch.Tensor = self._engine(*inputs)
        return output

    def backward(self, loss: torch.Tensor) -> None:
        """Adds a micro-batch's gradient. loss: scalar; the sum over micro-batches and workers is the step's loss."""
        self._engine.backward(loss * self.world.size, scale_wrt_gas=False)  # which averages over workers

    def step(self, figures: torch.Tensor, learning_rate: float) -> Update:
        """Exchanges gradients, clips them and updates the weights. figures: float[k], sums of this worker's.

        The gradient's norm is NaN where a figure is not finite (it is not computed then), inf where it is not finite
        itself.
        """
        import torch
        import torch.distributed as dist

        sums = figures.detach().to(self.world.device, torch.float64, copy=True)
        if self.world.size > 1:
            dist.all_reduce(sums)
        if not bool(torch.isfinite(sums).all()):
            self.discard()
            return Update(sums.tolist(), math.nan, applied=False)
        for group in self._adamw.param_groups:
            group["lr"] = learning_rate
        self._engine.step()  # which leaves all as it is where the norm is not finite
        update = Update(sums.tolist(), float(self._optimizer._global_grad_norm), self._engine.was_step_applied())
        self.discard()
        return update

    def discard(self) -> None:
        """Forgets the gradients since the last step: the next step is as if they had never been.

        DeepSpeed's own zero_grad leaves what it has reduced already: the first gradient of the next step overwrites
        it, but only that of a parameter that has one, and in the step's first micro-batch.
        """
        optimizer = self._optimizer
        self._synchronize()  # gradients may be on their way to the host
        optimizer.zero_grad(set_to_none=True)
        for flat in self._shards.flats:
            if flat.grad is not None:
                flat.grad.zero_()
        if self._stage == 3:
            optimizer.grad_partitions_flat_buffer.zero_()
        elif hasattr(optimizer, "averaged_gradients"):  # all but its optimiser for stage 1 in bf16
            optimizer.averaged_gradients.clear()
            optimizer.all_grad_tensors.clear()
            for buffer in getattr(optimizer, "accumulated_grads_in_cpu", {}).values():
                buffer.zero_()

    def pieces(self) -> Iterator[Piece]:
        """This worker's part of weights and optimiser state; views, to be copied or written before the next step."""
        return self._shards.pieces()

    def load(self, pieces: Pieces, updates: int) -> None:
        """Takes back what all workers' `pieces` were, written at any world size. updates: optimiser steps applied.

        Raises DataError where `pieces` lacks something.
        """
        import torch

        self._shards.fill(pieces.read)
        self._shards.set_steps(updates)
        with torch.no_grad():
            self._refresh()

    def _refresh(self) -> None:
        """The weights that the model computes with become the fp32 weights."""
        optimizer = self._optimizer
        if self._stage < 3:
            optimizer.update_lp_params()
            return
        optimizer._partition_all_parameters()
        for group in range(len(self._shards.flats)):
            optimizer._reassign_or_swap_out_partitioned_parameters(group)
        if optimizer.persistent_parameters:
            optimizer.persistent_parameters[0].all_gather(optimizer.persistent_parameters)

    def weights(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Each trained parameter, whole, on the CPU, in fp32. Every worker must take part; rank 0 alone gets tensors
        with values, the others empty ones."""
        import torch
        import torch.distributed as dist

        for name, parameter in self.parameters.items():
            shape = getattr(parameter, "ds_shape", parameter.shape)
            whole = torch.zeros(shape.numel(), device=self.world.device)
            if shard := self._shards.get(name):
                whole.narrow(0, shard.start, shard.size).copy_(shard.of(shard.flat))
            if self.world.size > 1:
                dist.reduce(whole, dst=0)  # each element is in one worker's part, the others add zero
            yield name, whole.cpu().view(shape) if self.world.rank == 0 else torch.empty(0)


@contextlib.contextmanager
def sharded_loading(options: Phase, world: World) -> Iterator[None]:
    """Models loaded inside are sharded as they are loaded, so that no worker holds a whole one. At stage 3 only; at the
    others nothing is changed. Every worker must load the same.

    Rank 0 reads the files and hands each parameter out. `from_pretrained` takes no device_map then.
    """
    if options.zero_stage != 3:
        yield
        return
    from transformers.integrations import deepspeed as integration

    start_deepspeed(world)
    configuration = settings(options, world)
    # weights to be trained stay fp32 until ZeRO has taken its fp32 part from them
    configuration["bf16"]["enabled"] = options.precision == "bf16" and options.method != "full"
    held = integration.HfDeepSpeedConfig(configuration)  # known to transformers as long as it lives
    try:
        yield
    finally:
        integration.unset_hf_deepspeed_config()
        del held


def _cast(
    objective: torch.nn.Module, trained: Mapping[str, Any], dtype: torch.dtype
) -> dict[str, tuple[int, torch.Tensor]]:
    """Casts all weights to `dtype`. Returns what the trained ones were, where they lose by it: from which element on
    (this worker's part, where they are sharded already), flattened, on the CPU."""
    import torch

    given: dict[str, tuple[int, torch.Tensor]] = {}
    for name, parameter in trained.items():
        values = getattr(parameter, "ds_tensor", parameter).detach().flatten()
        if values.dtype == torch.float32 and dtype != torch.float32:
            start = values.numel() * parameter.ds_zero_partition_rank if hasattr(parameter, "ds_tensor") else 0
            given[name] = (start, values.cpu())
    for parameter in objective.parameters():
        tensors: list[Any] = [parameter, parameter.ds_tensor] if hasattr(parameter, "ds_tensor") else [parameter]
        for tensor in tensors:
            if tensor.is_floating_point() and tensor.dtype != dtype:
                tensor.data = tensor.data.to(dtype)
    return given


def _hold_output_layer(deepspeed: Any, offload: Any, objective: torch.nn.Module) -> None:
    """Gathers the output layer once in a forward or backward pass, not where it is called.

    A loss calls it as often as this worker's targets ask for, and workers that gather a different number of times wait
    for each other for ever.
    """
    model: Any = objective.model
    output = model.get_output_embeddings()
    hooks = {id(hooks) for part in output.modules() for hooks in (part._forward_pre_hooks, part._forward_hooks)}
    for handle in (*offload.forward_hooks, *offload.backward_hooks):
        if id(handle.hooks_dict_ref()) in hooks:
            handle.remove()
    for parameter in output.parameters():
        deepspeed.zero.register_external_parameter(objective, parameter)


def _check_shardable(model: Any, options: Phase) -> None:
    if options.zero_stage == 3 and any(not parameter.is_floating_point() for parameter in model.parameters()):
        raise RecipeError("zero_stage 3 cannot shard 4-bit weights (method qlora): take zero_stage 0, 1 or 2")
