"""Devices by name: how much memory each has and how fast it is at most."""

from __future__ import annotations

import difflib
import math
import os
import re
import time
from dataclasses import dataclass

from core.errors import RecipeError
from core.training.devices import PEAK_TFLOPS

GIB = 2**30
# GiB of one device, the commonest first, after the same data sheets as PEAK_TFLOPS.
MEMORY_GIB = {
    "V100": (32, 16),
    "V100 PCIE": (32, 16),
    "V100S": (32,),
    "T4": (16,),
    "A10": (24,),
    "A10G": (24,),
    "A30": (24,),
    "A40": (48,),
    "A100": (80, 40),
    "A800": (80, 40),
    "L4": (24,),
    "L20": (48,),
    "L40": (48,),
    "L40S": (48,),
    "H20": (96, 141),
    "H100": (80,),
    "H100 PCIE": (80,),
    "H100 NVL": (94,),
    "H800": (80,),
    "H200": (141,),
    "H200 NVL": (141,),
    "GH200": (96, 144),
    "B200": (180,),
    "GB200": (186,),
    "B300": (288,),
    "GB300": (288,),
    "RTX A5000": (24,),
    "RTX A6000": (48,),
    "RTX 6000 ADA": (48,),
    "RTX PRO 6000 BLACKWELL": (96,),
    "RTX 3080": (10, 12),
    "RTX 3090": (24,),
    "RTX 3090 TI": (24,),
    "RTX 4080": (16,),
    "RTX 4090": (24,),
    "RTX 5080": (16,),
    "RTX 5090": (32,),
    "MI210": (64,),
    "MI250X": (64,),
    "MI300A": (128,),
    "MI300X": (192,),
    "MI325X": (256,),
    "MI350X": (288,),
    "MI355X": (288,),
}
COMMON = ("rtx3090", "rtx4090", "rtx5090", "l40s", "a100-40gb", "a100-80gb", "h100", "h200", "b200")
HERE = "here"


@dataclass(frozen=True)
class Hardware:
    """Devices of one kind. memory_bytes: of one GPU, or of all CPUs' host. peak_flops: FLOP/s of a GPU, or a core."""

    name: str
    gpu: bool
    memory_bytes: float
    peak_flops: float
    count: int | None = None  # GPUs, or the host's CPUs; None: as many as are asked for

    def node(self, wanted: int) -> dict[str, float]:
        """As Ray tells of a node that has it. wanted: GPUs, where it is not said how many there are."""
        return {"GPU": self.count or wanted, "CPU": math.inf} if self.gpu else {"CPU": self.count or 1}

    def memory_of(self, workers: int) -> float:
        """Bytes that one of so many workers may take."""
        return self.memory_bytes if self.gpu else self.memory_bytes / workers


def find_hardware(name: str, *, cpus: bool = False) -> Hardware:
    """The hardware that is called "rtx4090", "8xa100-80gb", "64 x H100", or "here": this machine.

    Without a number before the name it is as many devices as a recipe asks for. cpus: of this machine its CPUs, also
    where it has GPUs. Raises RecipeError for a name that is not known, and for a size of memory that the device is not
    made with.
    """
    if _bare(name) == HERE:
        return this_machine(cpus=cpus)
    found = re.fullmatch(r"(?:(\d+)\s*[x×*]\s*)?(.+?)(?:[\s_-]*(\d+)\s*gi?b)?", name.strip().lower())
    known = {_bare(each): each for each in MEMORY_GIB}
    device = known.get(_bare(found[2])) if found else None
    if found is None or device is None:
        nearest = difflib.get_close_matches(_bare(found[2] if found else name), [*known, HERE], n=1)
        hint = f"did you mean '{nearest[0]}'?" if nearest else f"known are {', '.join(sorted(known))} and {HERE}"
        raise RecipeError(f"--hardware: no device called '{name}'; {hint}")
    sizes = MEMORY_GIB[device]
    gib = int(found[3]) if found[3] else sizes[0]
    if gib not in sizes:
        raise RecipeError(f"--hardware: found '{name}'; a {device} has {' or '.join(map(str, sizes))} GB")
    count = int(found[1]) if found[1] else None
    if count == 0:
        raise RecipeError(f"--hardware: found '{name}', expected at least one device")
    told = f"{device} {gib} GB" if len(sizes) > 1 else device
    return Hardware(told, True, gib * GIB, PEAK_TFLOPS[device] * 1e12, count)


def this_machine(*, cpus: bool = False) -> Hardware:
    """The GPUs of this machine, or where it has none its CPUs, whose speed is measured: a product of fp32 matrices."""
    import psutil
    import torch

    from core.training.devices import device_of

    if torch.cuda.is_available() and not cpus:
        device = device_of("cuda:0")
        memory = torch.cuda.get_device_properties(0).total_memory
        peak = device.peak_flops or _measured_flops("cuda:0")
        return Hardware(device.name, True, memory, peak, torch.cuda.device_count())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    speed = _measured_flops("cpu") / min(torch.get_num_threads(), cores)
    return Hardware(device_of("cpu").name, False, psutil.virtual_memory().total, speed, cores)


def _measured_flops(device: str) -> float:
    """FLOP/s of the fastest of three products of square matrices, in the precision that training has there."""
    import torch

    size, dtype = (1024, torch.float32) if device == "cpu" else (8192, torch.bfloat16)
    left = torch.ones(size, size, device=device, dtype=dtype)
    fastest = float("inf")
    for _ in range(4):  # the first one warms up
        began = time.perf_counter()
        float((left @ left)[0, 0])  # waits for a GPU
        fastest = min(fastest, time.perf_counter() - began)
    return 2 * size**3 / fastest


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
