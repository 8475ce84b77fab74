from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.errors import RecipeError
from core.planning.disk import bytes_on_disk
from core.planning.hardware import GIB, Hardware
from core.planning.memory import memory_of
from core.planning.plan import PhasePlan, disk_needed, fitting_changes, plan_phase
from core.planning.shape import Shape
from core.planning.work import Held
from core.training.options import Phase
from core.training.throughput import FlopCount
from tests.training.conftest import phase

SHAPE = Shape(
    parameters=1_000_000_000,
    trained=1_000_000_000,
    in_blocks=0,
    hidden=2048,
    key_values=512,
    inner=8192,
    blocks=16,
    heads=16,
    vocabulary=32_000,
    longest=4096,
    plain_output=True,
    flops=FlopCount(6e9, 0.0, 0.0, {None: 16}),
)
HELD = Held(800, 128, 4)
GPU = Hardware("a GPU", True, 16 * GIB, 100e12)


def of(workers: int = 8, hardware: Hardware = GPU, **settings: Any) -> PhasePlan:
    return plan_phase(phase(precision="bf16", **settings), SHAPE, HELD, workers, hardware, 0.5)


def changes_of(plan: PhasePlan, gpu: bool = True, allowed: bool = True) -> list[dict[str, Any]]:
    return fitting_changes(plan, lambda phase: memory(plan, phase), lambda changes: allowed, gpu=gpu)


def memory(plan: PhasePlan, phase: Phase) -> float:
    """Adapters are a hundredth of the model."""
    adapted = replace(SHAPE, parameters=1_010_000_000, trained=10_000_000, in_blocks=900_000_000)
    return memory_of(SHAPE if phase.method == "full" else adapted, phase, plan.workers, gpu=True).total


def test_time_is_what_is_computed_by_what_the_devices_do() -> None:
    plan = of(workers=4, epochs=2)
    assert plan.work.flops == 1600 * 128 * 6e9
    assert plan.seconds == pytest.approx(1600 * 128 * 6e9 / (100e12 * 0.5 * 4))
    assert plan.device_hours == pytest.approx(plan.seconds * 4 / 3600)
    assert of(workers=4, epochs=2, gradient_checkpointing=True).seconds == pytest.approx(plan.seconds * 4 / 3)
    pairs = of(workers=4, epochs=2, preference={})
    assert pairs.seconds == pytest.approx(plan.seconds * (1 + 1 / 6))
    assert pairs.reference_seconds == pytest.approx(plan.seconds / 6)
    cpus = replace(GPU, gpu=False)
    one, two = (plan_phase(phase(), SHAPE, HELD, 1, cpus, 0.5, cpus_per_worker=count).seconds for count in (1, 2))
    assert one == pytest.approx(2 * two)


def test_a_gpus_peak_says_nothing_of_fp32() -> None:
    options = phase()
    assert plan_phase(options, SHAPE, HELD, 1, GPU, 0.5).seconds is None
    assert plan_phase(options, SHAPE, HELD, 1, replace(GPU, gpu=False), 0.5).seconds is not None


def test_an_unknown_amount_gives_no_time_but_a_memory() -> None:
    plan = plan_phase(phase(precision="bf16"), SHAPE, Held(None, 128, 4), 1, GPU, 0.5)
    assert (plan.seconds, plan.device_hours, plan.work.steps) == (None, None, None)
    assert plan.memory.total > 18e9


def test_what_fits_is_what_memory_says() -> None:
    assert not of(workers=8).fits
    assert of(workers=8, zero_stage=3).fits
    assert of(workers=8, hardware=replace(GPU, memory_bytes=80 * GIB)).fits


def test_changes_that_would_fit_do_fit_and_change_as_little_as_can_be() -> None:
    plan = of(workers=8)
    assert changes_of(plan) == [
        {"gradient_checkpointing": True, "zero_stage": 3},
        {"gradient_checkpointing": True, "method": "lora"},
    ]
    for changes in changes_of(plan):
        changed = plan.phase.model_copy(update=changes)
        Phase.model_validate(changed.model_dump())
        assert memory(plan, changed) <= plan.available
    assert changes_of(plan, allowed=False) == []


def test_methods_that_do_not_fit_the_model_are_not_proposed() -> None:
    plan = of(workers=8)

    def only_full(phase: Phase) -> float:
        if phase.method != "full":
            raise RecipeError("lora.target_modules: the model has no layer q_proj")
        return memory(plan, phase)

    found = fitting_changes(plan, only_full, lambda changes: True, gpu=True)
    assert found == [{"gradient_checkpointing": True, "zero_stage": 3}]


def test_smaller_micro_batches_come_before_anything_else() -> None:
    large = of(zero_stage=3, micro_batch_size=8, data={"sources": ["d"], "sequence_length": 2048})
    first = changes_of(large)[0]
    assert set(first) == {"micro_batch_size"}
    assert 8 % first["micro_batch_size"] == 0


def test_one_device_is_not_told_to_share_with_others_and_paged_state_goes_with_the_host() -> None:
    alone = of(workers=1, optimizer="adamw_8bit", hardware=replace(GPU, memory_bytes=6 * GIB))
    changes = changes_of(alone)
    assert not any("cpu_offload" in each for each in changes_of(alone, gpu=False))
    assert {"zero_stage": 3, "cpu_offload": True, "optimizer": "adamw", "gradient_checkpointing": True} in changes
    assert all(each.get("zero_stage") != 3 or each.get("cpu_offload") for each in changes)


def test_nothing_is_promised_where_nothing_fits() -> None:
    assert changes_of(of(hardware=replace(GPU, memory_bytes=GIB))) == []


def test_disk_is_the_most_that_phases_in_a_row_have() -> None:
    first, second = of(), of(checkpoints={"keep": 5})
    assert first.disk_bytes == bytes_on_disk(first.phase, 1_000_000_000, 1_000_000_000)
    assert first.export_bytes == 4_000_000_000
    assert disk_needed([first, second]) == 4_000_000_000 + second.disk_bytes
    assert disk_needed([second, first]) == max(second.disk_bytes, 4_000_000_000 + first.disk_bytes)
