from __future__ import annotations

import pytest

from core.errors import RecipeError
from core.planning.hardware import COMMON, GIB, HERE, MEMORY_GIB, find_hardware
from core.training.devices import PEAK_TFLOPS, peak_flops


def test_every_device_with_a_peak_has_a_memory() -> None:
    assert set(MEMORY_GIB) == set(PEAK_TFLOPS)


@pytest.mark.parametrize(
    ("name", "device", "gib", "count"),
    [
        ("rtx4090", "RTX 4090", 24, None),
        ("RTX 4090", "RTX 4090", 24, None),
        ("8xa100-80gb", "A100 80 GB", 80, 8),
        ("8 x A100 40 GB", "A100 40 GB", 40, 8),
        ("a100", "A100 80 GB", 80, None),
        ("64×h100", "H100", 80, 64),
        ("h100_nvl", "H100 NVL", 94, None),
        ("2*rtx-6000-ada-48gb", "RTX 6000 ADA", 48, 2),
        ("mi300x", "MI300X", 192, None),
    ],
)
def test_names_as_people_write_them(name: str, device: str, gib: int, count: int | None) -> None:
    found = find_hardware(name)
    assert (found.name, found.memory_bytes / GIB, found.count, found.gpu) == (device, gib, count, True)


def test_the_peak_is_that_which_training_measures_itself_by() -> None:
    assert find_hardware("a100-80gb").peak_flops == peak_flops("NVIDIA A100-SXM4-80GB")
    assert find_hardware("rtx4090").peak_flops == peak_flops("NVIDIA GeForce RTX 4090")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("rtx409", "did you mean 'rtx4090'?"),
        ("8xa100-30gb", "A100 has 80 or 40 GB"),
        ("0xh100", "at least one"),
        ("abacus", "known are a10, a100"),
        ("", "no device called ''"),
    ],
)
def test_what_is_no_hardware_is_told(name: str, told: str) -> None:
    with pytest.raises(RecipeError, match="--hardware") as error:
        find_hardware(name)
    assert told in str(error.value)


def test_the_common_ones_are_known() -> None:
    assert all(find_hardware(name).gpu for name in COMMON)


def test_this_machine_is_measured() -> None:
    import psutil
    import torch

    here = find_hardware(HERE)
    assert here.gpu == torch.cuda.is_available()
    assert here.count is not None
    assert here.count >= 1
    if not here.gpu:
        assert here.memory_bytes == psutil.virtual_memory().total
        assert here.memory_of(2) == here.memory_bytes / 2
        assert 1e8 < here.peak_flops < 1e13  # FLOP/s of a core, of any CPU there is
