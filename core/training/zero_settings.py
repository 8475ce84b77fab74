"""DeepSpeed in this process, and its configuration of a phase."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterable
from typing import Any

from core.errors import ResourceError
from core.training.engine import World
from core.training.options import Phase

BUCKET = 50_000_000  # elements exchanged at a time: 200 MB, which keeps a fast network busy


def start_deepspeed(world: World) -> Any:
    """DeepSpeed (the module), ready for this worker's device. Nothing is compiled.

    Raises ResourceError where it was loaded for another kind of device before.
    """
    import torch
    import torch.distributed as dist

    device = torch.device(world.device)
    os.environ.setdefault("DS_ACCELERATOR", device.type)  # read when it is imported
    os.environ["LOCAL_RANK"] = str(device.index or 0)  # what it takes for the device's number
    import deepspeed

    found = deepspeed.accelerator.get_accelerator().device_name()
    if found != device.type:
        raise ResourceError(
            f"ZeRO: DeepSpeed serves {found} in this process, found a worker on {device.type}. "
            f"Set DS_ACCELERATOR={device.type} in the environment."
        )
    # it would compile a kernel for workers of one CPU machine; found by its name, as deepspeed.comm.torch is torch
    sys.modules["deepspeed.comm.torch"].build_shm_op = lambda: None  # type: ignore[attr-defined]
    # of calls that DeepSpeed makes at each step
    warnings.filterwarnings("ignore", r"`torch\.distributed\.\w+` is deprecated", FutureWarning)
    backend = "gloo" if device.type == "cpu" else "nccl"
    if not dist.is_initialized():
        assert world.size == 1, "of several workers, torch.distributed is the caller's to initialise"
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)  # type: ignore[attr-defined]
    deepspeed.init_distributed(dist_backend=backend)
    groups = deepspeed.utils.groups
    if groups._WORLD_GROUP is None:  # the group that DeepSpeed would make waits for torch's time, not the caller's
        world_group: Any = dist.group.WORLD
        patience = world_group._get_backend(device).options._timeout
        groups._WORLD_GROUP = dist.new_group(timeout=patience)
    return deepspeed


def settings(options: Phase, world: World, parameters: Iterable[Any] = ()) -> dict[str, Any]:
    """DeepSpeed's configuration of a phase. parameters: the model's; what is made for loading needs none."""
    on_gpu = not world.device.startswith("cpu")
    every = list(parameters)
    bucket = min(BUCKET, sum(map(size_of, every)) or BUCKET)
    zero: dict[str, Any] = {"stage": options.zero_stage, "reduce_bucket_size": bucket}
    zero["allgather_bucket_size"] = 2 * bucket
    if options.cpu_offload:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": on_gpu}
    if options.zero_stage == 3:
        vectors = (size_of(parameter) for parameter in every if dimensions_of(parameter) < 2)
        zero["stage3_param_persistence_threshold"] = max(vectors, default=0)  # norms and biases stay whole
        zero["stage3_prefetch_bucket_size"] = bucket
        if options.cpu_offload:
            zero["offload_param"] = {"device": "cpu", "pin_memory": on_gpu}
    return {
        "train_micro_batch_size_per_gpu": 1,  # counts for its log alone
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,  # a step ends where `step` is called
        "gradient_clipping": options.max_gradient_norm,
        # immediate: stage 1 keeps no bf16 gradient beside the fp32 one
        "bf16": {"enabled": options.precision == "bf16", "immediate_grad_update": True},
        "data_types": {"grad_accum_dtype": "fp32"},
        "communication_data_type": "fp32",
        "zero_optimization": zero,
        "zero_force_ds_cpu_optimizer": False,  # torch's fused AdamW serves CPUs too, and needs no compiler
        "timers": {"throughput": {"enabled": False}},
    }


def size_of(parameter: Any) -> int:
    """Elements of a parameter, also where it is sharded."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))


def dimensions_of(parameter: Any) -> int:
    """Dimensions of a parameter, also where it is sharded."""
    return len(getattr(parameter, "ds_shape", parameter.shape))
