from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM

from core.models.adapters import add_adapters
from core.models.options import Lora
from core.reporting.training_files import read_phase
from core.training.batches import collate
from core.training.devices import Device, device_of, peak_flops, peak_resident_bytes
from core.training.losses import causal_lm_loss
from core.training.throughput import FlopCount, Meter, Work
from tests.training.conftest import TINY, Material

H100 = "NVIDIA H100 80GB HBM3"


def model_of(architecture: str, **settings: Any) -> Any:
    """A tiny model that computes attention as plain matrix products, which torch's counter sees: all its squares."""
    sizes = TINY | {"vocab_size": 100, "tie_word_embeddings": False} | settings
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **sizes), attn_implementation="eager")


def counted(model: Any, tokens: int, targets: int, frozen_input: bool = False) -> int:
    """What torch's own counter sees of one sample, forward and backward, with the output layer at its targets only."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    ids, positions = torch.zeros((1, tokens), dtype=torch.int64), torch.arange(tokens)[None]
    with FlopCounterMode(display=False) as counter:
        embedded = inner.get_input_embeddings()(ids)
        if frozen_input:
            embedded = embedded.detach().requires_grad_()
        hidden = inner.get_decoder()(inputs_embeds=embedded, position_ids=positions, use_cache=False)[0]
        inner.get_output_embeddings()(hidden[:, :targets]).sum().backward()
    total: int = counter.get_total_flops()
    return total


def squares(count: FlopCount, tokens: int) -> float:
    """FLOPs of the pairs that a mask throws away, which the counter sees and FlopCount leaves out: no block's window
    is reached."""
    return count.per_pair * sum(count.blocks.values()) * (tokens * tokens - tokens * (tokens + 1) / 2)


@pytest.mark.parametrize("architecture", ["mistral", "llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("tied", [False, True])
def test_flops_are_those_that_torch_counts_but_for_the_masked_half(architecture: str, tied: bool) -> None:
    model = model_of(architecture, tie_word_embeddings=tied)
    count = FlopCount.of_model(model)
    assert count.of(np.array([24]), 7) + squares(count, 24) == counted(model, 24, 7)


def test_flops_of_adapters_are_those_that_torch_counts() -> None:
    model = add_adapters(model_of("mistral"), Lora(rank=4), seed=0)
    count = FlopCount.of_model(model)
    assert count.of(np.array([24]), 7) + squares(count, 24) == counted(model, 24, 7, frozen_input=True)


def test_embeddings_trained_beside_adapters_count_once() -> None:
    model = add_adapters(model_of("mistral"), Lora(rank=4, train_embeddings=True), seed=0)
    count = FlopCount.of_model(model)
    assert count.of(np.array([24]), 7) + squares(count, 24) == counted(model, 24, 7)


def test_of_experts_those_count_that_a_token_is_sent_to() -> None:
    model = model_of("mixtral", num_local_experts=8, num_experts_per_tok=2)
    dense = model_of("mixtral", num_local_experts=2, num_experts_per_tok=2)
    router = 6 * 32 * (8 - 2) * 2  # of each block
    assert FlopCount.of_model(model).per_token == FlopCount.of_model(dense).per_token + router


def test_a_weight_in_four_bits_counts_as_the_matrix_it_stands_for() -> None:
    from bitsandbytes.nn import Linear4bit

    model = model_of("mistral").requires_grad_(False)
    whole = FlopCount.of_model(model)
    packed = Linear4bit(32, 64, bias=False).to("cpu")
    assert packed.weight.shape != (64, 32)
    model.get_decoder().layers[0].mlp.up_proj = packed
    assert FlopCount.of_model(model) == whole


def test_full_training_of_mistral_7b_takes_eight_percent_less_than_by_palms_formula() -> None:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model("mistral", sliding_window=None))
    parameters = sum(weight.numel() for weight in model.parameters())
    palm = 4096 * (6 * parameters + 12 * 32 * 4096 * 4096)
    assert FlopCount.of_model(model).of(np.array([4096]), 4096) / palm == pytest.approx(0.92, abs=0.005)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=8), st.integers(1, 40))
def test_pairs_are_those_of_the_mask(lengths: list[int], window: int) -> None:
    count = FlopCount(0.0, 0.0, 1.0, {None: 2, window: 1})
    expected = 0
    for length in lengths:
        query, key = np.arange(length)[:, None], np.arange(length)
        expected += 2 * (key <= query).sum() + ((key <= query) & (key > query - window)).sum()
    assert count.of(np.array(lengths), 0) == expected


def test_blocks_have_the_window_that_the_configuration_gives_them() -> None:
    assert FlopCount.of_model(model_of("mistral", sliding_window=8)).blocks == {8: 2}
    assert FlopCount.of_model(model_of("mistral", sliding_window=None)).blocks == {None: 2}
    mixed = model_of("qwen2", use_sliding_window=True, sliding_window=8, max_window_layers=1)
    assert FlopCount.of_model(mixed).blocks == {None: 1, 8: 1}


def test_a_batch_of_rows_counts_as_its_samples(material: Material) -> None:
    count = FlopCount.of_model(material.model())
    batch = np.array([3, 0, 5])
    lengths = np.concatenate([material.rows[number].sequence_lengths for number in (3, 0, 5)])
    assert len(lengths) > 3
    assert count.of_rows(material.rows, batch) == count.of(lengths, int(material.rows.target_tokens[batch].sum()))


def test_the_trainers_loss_takes_the_flops_that_are_counted_for_it(material: Material) -> None:
    model = material.model()  # with torch's own attention, which its counter does not see on CPUs
    with FlopCounterMode(display=False) as counter:
        causal_lm_loss(model, collate([material.rows[3]], 0)).backward()
    without_attention = dataclasses.replace(FlopCount.of_model(model), per_pair=0.0)
    assert counter.get_total_flops() == without_attention.of_rows(material.rows, np.array([3]))


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A100-PCIE-40GB", 312),
        (H100, 989.4),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H100 NVL", 835.5),
        ("NVIDIA H200", 989.4),
        ("NVIDIA B200", 2250),
        ("NVIDIA L4", 121),
        ("NVIDIA L40S", 362.05),
        ("NVIDIA A10", 125),
        ("NVIDIA A10G", 70),
        ("Tesla V100-SXM2-16GB", 125),
        ("Tesla V100-PCIE-32GB", 112),
        ("Tesla T4", 65),
        ("NVIDIA GeForce RTX 3090", 71),
        ("NVIDIA GeForce RTX 3090 Ti", 80),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("NVIDIA GeForce RTX 5090", 209.5),
        ("NVIDIA RTX A6000", 154.8),
        ("NVIDIA RTX 6000 Ada Generation", 364.25),
        ("AMD Instinct MI250X", 191.5),
        ("AMD Instinct MI300X", 1307.4),
    ],
)
def test_the_peak_is_known_by_the_name_that_the_driver_gives(name: str, tflops: float) -> None:
    assert peak_flops(name) == pytest.approx(tflops * 1e12)


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA A100-SXM4-80GB MIG 3g.40gb",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA GeForce RTX 4090 D",
        "NVIDIA GeForce RTX 4080 SUPER",
        "NVIDIA GeForce GTX 1080",
        "AMD A10-7850K Radeon R7, 12 Compute Cores 4C+8G",
        "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz",
        "",
    ],
)
def test_of_a_device_that_is_not_in_the_table_no_peak_is_made_up(name: str) -> None:
    assert peak_flops(name) is None


def test_a_cpu_has_a_name_no_peak_and_the_resident_size_of_this_process() -> None:
    device = device_of("cpu")
    assert device.name
    assert device.peak_flops is None
    before = device.memory()
    taken = np.ones(50_000_000 // 8)
    assert before <= device.memory() < 1 << 40
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text()
        peak = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
        assert peak_resident_bytes() == pytest.approx(peak, rel=0.01)
    assert taken.sum()


def test_a_gpu_is_asked_for_its_name_and_its_allocators_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", {"cuda:1": H100}.__getitem__)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", {"cuda:1": 12_345}.__getitem__)
    begun: list[str] = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", begun.append)
    device = device_of("cuda:1")
    assert begun == ["cuda:1"]
    assert (device.name, device.peak_flops, device.memory()) == (H100, 989.4e12, 12_345)


class Clock:
    """Time that passes when a test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def meter_of(clock: Clock, work: Work, peak: float | None = 100.0, memory: Iterator[int] | None = None) -> Meter:
    taken = memory or iter([7] * 100)
    return Meter(Device("gpu", peak, lambda: next(taken)), 2, work, clock)


def step(meter: Meter, clock: Clock, seconds: float, waiting: float = 0.0) -> None:
    """1,000 tokens, 400 of them targets, 500 FLOPs."""
    with meter.waiting():
        clock.now += waiting
    clock.now += seconds - waiting
    meter.add(1000, 400, 500.0)


def test_a_reading_is_of_the_steps_since_the_last(clock: Clock) -> None:
    meter = meter_of(clock, Work())
    clock.now += 100  # before the first step: a rehearsal
    meter.begin()
    step(meter, clock, 50.0)
    meter.reading(9)
    step(meter, clock, 1.0, waiting=0.5)
    step(meter, clock, 4.0)
    assert meter.reading(7) == {
        "tokens_per_second": 400.0,
        "tokens_per_second_per_device": 200.0,
        "target_tokens_per_second": 160.0,
        "mfu": 1.0,  # 1,000 FLOPs in 5 seconds of 2 devices of 100
        "data_wait": 0.1,
        "memory_bytes": 7,
        "seconds_left": round(7 * 55 / 3, 3),
    }


def test_what_is_not_training_slows_nothing_but_is_in_the_time_left(clock: Clock) -> None:
    meter = meter_of(clock, Work())
    step(meter, clock, 2.0)
    with meter.paused():
        clock.now += 8.0
    step(meter, clock, 2.0)
    reading = meter.reading(3)
    assert reading["tokens_per_second"] == 500.0
    assert reading["seconds_left"] == 3 * 6.0


def test_without_a_known_peak_there_is_no_mfu(clock: Clock) -> None:
    meter = meter_of(clock, Work(), peak=None)
    step(meter, clock, 1.0)
    assert "mfu" not in meter.reading(0)
    assert not {"mfu", "peak_flops"} & set(meter.summary())


def test_a_resumed_run_is_told_as_one(clock: Clock) -> None:
    work = Work()
    meter = meter_of(clock, work, memory=iter([900, 900]))
    step(meter, clock, 1.0, waiting=0.25)
    meter.reading(1)
    with meter.paused():
        saved = json.loads(json.dumps(dataclasses.asdict(work)))
    step(meter, clock, 77.0)  # lost: it came after the checkpoint
    clock.now += 1e6
    resumed = meter_of(clock, Work(**saved), memory=iter([500, 500]))
    resumed.begin()
    step(resumed, clock, 3.0)
    assert resumed.reading(0)["tokens_per_second"] == 333.3
    assert resumed.summary() == {
        "tokens_per_second": 500.0,
        "tokens_per_second_per_device": 250.0,
        "target_tokens_per_second": 200.0,
        "mfu": 1.25,
        "data_wait": 0.0625,
        "peak_memory_bytes": 900,
        "device": "gpu",
        "devices": 2,
        "peak_flops": 100.0,
    }


def test_a_checkpoint_between_readings_holds_tokens_and_their_time(clock: Clock) -> None:
    meter = meter_of(clock, Work())
    step(meter, clock, 4.0)
    assert (meter.work.tokens, meter.work.training_seconds, meter.work.device_seconds) == (1000, 4.0, 8.0)


def test_training_tells_its_speed_in_log_and_summary(material: Material, tmp_path: Path) -> None:
    summary = material.run(tmp_path / "run", {"max_steps": 4, "log_every_steps": 2}).train().summary
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    logged = [line for line in lines if "loss" in line]
    assert [line["step"] for line in logged] == [2, 4]
    for line in logged:
        assert 0 < line["target_tokens_per_second"] < line["tokens_per_second"]
        assert line["tokens_per_second_per_device"] == line["tokens_per_second"]
        assert 0 <= line["data_wait"] < 1
        assert 50_000_000 < line["memory_bytes"] <= summary["peak_memory_bytes"]
    assert logged[0]["seconds_left"] > 0 == logged[1]["seconds_left"]
    assert summary["devices"] == 1
    counts = {"parameters": 10, "trainable_parameters": 10}  # which the export tells
    (tmp_path / "run" / "summary.json").write_text(json.dumps(summary | counts))
    read = read_phase(tmp_path / "run")  # as the run's page does
    assert read.summary is not None
    assert read.summary.peak_memory_bytes == summary["peak_memory_bytes"]
    assert [line.memory_bytes for line in read.log] == [line["memory_bytes"] for line in logged]
