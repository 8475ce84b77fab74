"""The device that a worker trains on: its name, its peak speed by that name, and how much memory it has taken."""

from __future__ import annotations

import re
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass

from core.artifacts.provenance import hardware

# Dense bf16 matrix multiplication with fp32 accumulation, in TFLOP/s, as the vendor's data sheet of the device states
# it (half of what it states "with sparsity"); fp16 where a device has no bf16 (V100, T4). The sheets are those of
# nvidia.com/en-us/data-center and nvidia.com/en-us/design-visualization, for GeForce the whitepapers of GA102, Ada and
# RTX Blackwell (appendix A), for AMD those of amd.com/en/products/accelerators/instinct.
PEAK_TFLOPS = {
    "V100": 125.0,
    "V100 PCIE": 112.0,
    "V100S": 130.0,
    "T4": 65.0,
    "A10": 125.0,
    "A10G": 70.0,
    "A30": 165.0,
    "A40": 149.7,
    "A100": 312.0,
    "A800": 312.0,
    "L4": 121.0,
    "L20": 119.5,
    "L40": 181.05,
    "L40S": 362.05,
    "H20": 148.0,
    "H100": 989.4,  # SXM
    "H100 PCIE": 756.0,
    "H100 NVL": 835.5,
    "H800": 989.4,
    "H200": 989.4,
    "H200 NVL": 835.5,
    "GH200": 989.4,
    "B200": 2250.0,
    "GB200": 2500.0,
    "B300": 2250.0,
    "GB300": 2500.0,
    "RTX A5000": 111.1,
    "RTX A6000": 154.8,
    "RTX 6000 ADA": 364.25,
    "RTX PRO 6000 BLACKWELL": 503.8,
    "RTX 3080": 59.5,
    "RTX 3090": 71.0,
    "RTX 3090 TI": 80.0,
    "RTX 4080": 97.5,
    "RTX 4090": 165.2,
    "RTX 5080": 112.6,
    "RTX 5090": 209.5,
    "MI210": 181.0,
    "MI250X": 191.5,  # one of its two dies: what torch calls a device
    "MI300A": 980.6,
    "MI300X": 1307.4,
    "MI325X": 1307.4,
    "MI350X": 2306.9,
    "MI355X": 2516.6,
}
# Words that make another device of the one named beside them: a cut-down or mobile chip, or a part of one.
OTHERWISE = {"ti", "super", "d", "laptop", "max", "mig", "vgpu", "radeon"}


@dataclass(frozen=True)
class Device:
    """What a worker trains on. peak_flops: FLOP/s, None where it is not known; memory: the most bytes taken so far."""

    name: str
    peak_flops: float | None
    memory: Callable[[], int]


def device_of(device: str) -> Device:
    """A torch device ("cpu", "cuda:0", ...; AMD's are "cuda" too), as it is on this machine.

    Memory of a GPU is the most that torch's allocator has handed out since, of a CPU this process' resident size.
    """
    import torch

    if torch.device(device).type == "cuda":
        name = torch.cuda.get_device_name(device)
        torch.cuda.reset_peak_memory_stats(device)  # of what was at work before nothing is counted
        return Device(name, peak_flops(name), lambda: torch.cuda.max_memory_allocated(device))
    return Device(str(hardware()["cpu"]), None, peak_resident_bytes)


def peak_flops(device_name: str) -> float | None:
    """Dense bf16 FLOP/s of a GPU's tensor cores, by the name its driver gives ("NVIDIA A100-SXM4-80GB").

    None for one that is not in the table, and for a part of one (MIG).
    """
    words = set(re.findall(r"[a-z0-9]+", device_name.lower()))
    fitting = {
        name: tflops
        for name, tflops in PEAK_TFLOPS.items()
        if set(name.lower().split()) <= words and words & OTHERWISE <= set(name.lower().split())
    }
    if not fitting:
        return None
    return fitting[max(fitting, key=lambda name: len(name.split()))] * 1e12


def peak_resident_bytes() -> int:
    """The most memory that this process has had in RAM at once."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB
