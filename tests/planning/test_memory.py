from __future__ import annotations

import dataclasses
import gc
import warnings
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig

from core.models.adapters import add_adapters
from core.models.create import create_model
from core.models.options import Lora, Model, ModelConfig
from core.planning.memory import KEPT, NF4, RESERVE, kept_as, memory_of
from core.planning.shape import Shape, shape_of
from core.tokens.options import PhaseData, Tokenizer, TrainedTokenizer
from core.training import zero_settings
from core.training.batches import Batch
from core.training.engine import World
from core.training.objectives import make_objective
from core.training.options import Phase
from core.training.throughput import FlopCount
from core.training.trainer import make_engine
from tests.training.conftest import TINY, Material, phase
from tests.training.two_workers import run_workers

RANK = 8
SMALL = 300
WIDTHS = {"hidden": 64, "key_values": 32, "inner": 128}
CASES = {
    "full fp32": {},
    "full autocast": {"precision": "bf16"},
    "full bf16": {"precision": "bf16", "zero_stage": 2},
    "adapters fp32": {"method": "lora"},
    "adapters bf16": {"method": "lora", "precision": "bf16"},
    "adapters fp32 dropout": {"method": "lora", "lora": {"dropout": 0.05}},
    "adapters bf16 dropout": {"method": "qlora", "precision": "bf16", "lora": {"dropout": 0.05}},
}


def kept_bytes(options: Phase, blocks: int, tokens: int, architecture: Any) -> int:
    """Bytes that torch keeps for the backward pass of so many blocks, weights not among them."""
    config = architecture(
        hidden_size=WIDTHS["hidden"],
        intermediate_size=WIDTHS["inner"],
        num_hidden_layers=blocks,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=64,
    )
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    autocast = options.precision == "bf16" and not options.zero_stage
    if options.precision == "bf16" and (options.zero_stage or options.method != "full"):
        model = model.bfloat16()
    if options.method != "full":
        model = add_adapters(model, Lora(rank=RANK, dropout=options.lora.dropout), seed=1)
    model.train()
    weights = {each.untyped_storage().data_ptr() for each in model.parameters()}
    found: dict[int, int] = {}
    held = []  # so that no storage is given to another tensor

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            found[storage.data_ptr()] = storage.nbytes()
        held.append(tensor)
        return tensor

    embedded = model.get_input_embeddings()(torch.zeros(1, tokens, dtype=torch.int64)).detach().requires_grad_()
    decoder = (model.get_base_model() if options.method != "full" else model).get_decoder()
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=autocast),
    ):
        decoder(inputs_embeds=embedded, position_ids=torch.arange(tokens)[None], use_cache=False)
    return sum(found.values())


@pytest.mark.parametrize("architecture", [MistralConfig, LlamaConfig])
@pytest.mark.parametrize("kind", KEPT)
def test_a_block_keeps_so_many_bytes_of_a_token(kind: str, architecture: Any) -> None:
    options = phase(**CASES[kind])
    assert kept_as(options) == kind

    def of_block(tokens: int) -> int:
        return kept_bytes(options, 3, tokens, architecture) - kept_bytes(options, 2, tokens, architecture)

    found = (of_block(512) - of_block(256)) / 256
    *per_width, per_rank = KEPT[kind]
    expected = sum(each * width for each, width in zip(per_width, WIDTHS.values(), strict=True))
    expected += per_rank * RANK * 7
    assert found == pytest.approx(expected, rel=0.02)  # the norms' and the softmax's sums, 24 bytes, are not counted


def tensors() -> dict[int, int]:
    """Every storage on the CPU that a tensor is alive in."""
    gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of modules that warn when they are looked at
        alive = [each for each in gc.get_objects() if isinstance(each, torch.Tensor)]
        alive += [each.grad for each in alive if each.grad is not None]  # some are torch's own alone
    storages = [each.untyped_storage() for each in alive if each.device.type == "cpu"]
    return {storage.data_ptr(): storage.nbytes() for storage in storages}


ENGINES = [
    (method, precision, stage, offload)
    for method in ("full", "lora")
    for precision in ("fp32", "bf16")
    for stage, offload in ((0, False), (1, False), (2, False), (3, False), (1, True), (2, True), (3, True))
]
WIDER = ModelConfig(**(TINY | {"hidden_size": 128, "intermediate_size": 256}))


def of_engine(method: str, precision: str, stage: int, offload: bool) -> Phase:
    return phase(method=method, precision=precision, zero_stage=stage, cpu_offload=offload, lora={"rank": RANK})


def held_by(combination: tuple[str, str, int, bool], world: World, tokenizer: Any) -> tuple[int, int]:
    """Bytes of an engine's tensors after a backward pass, and of its largest weight in fp32."""
    options = of_engine(*combination)
    before = tensors()
    model = create_model(WIDER, tokenizer, seed=1)
    if options.method == "lora":
        model = add_adapters(model.bfloat16() if options.precision == "bf16" else model, options.lora, seed=1)
    engine = make_engine(make_objective(model, options), options, world)
    ids = torch.arange(32)[None]
    figures = engine.forward(Batch(ids, ids, ids, torch.zeros_like(ids), 1))
    engine.backward(figures[0] / 31)
    del figures
    found = sum(size for place, size in tensors().items() if place not in before)
    return found, 4 * max(each.numel() for each in engine.parameters.values())


def held(world: World, tokenizer: Any) -> list[tuple[int, int]]:
    zero_settings.BUCKET = SMALL  # what is exchanged at a time: next to nothing
    return [held_by(each, world, tokenizer) for each in ENGINES]


@pytest.fixture(scope="module")
def engines(material: Material) -> dict[tuple[str, str, int, bool], tuple[int, int]]:
    """What each engine holds, seen in a process of its own: DeepSpeed leaves its marks in the environment."""
    (found,) = run_workers(held, material.tokenizer, workers=1)
    return dict(zip(ENGINES, found, strict=True))


@pytest.mark.parametrize("combination", ENGINES, ids=lambda each: "-".join(map(str, each)))
def test_engines_hold_what_is_counted(
    material: Material, engines: dict[Any, tuple[int, int]], combination: tuple[str, str, int, bool]
) -> None:
    _, _, stage, offload = combination
    tokenizer = Tokenizer(train=TrainedTokenizer(vocabulary=len(material.tokenizer)))
    options = of_engine(*combination)
    planned = memory_of(shape_of(Model(config=WIDER, tokenizer=tokenizer), options), options, 1, gpu=False)
    expected = planned.weights + planned.gradients + planned.optimizer
    found, largest = engines[combination]
    passing = 2 * largest if offload and stage < 3 else 0
    assert 0.99 * expected < found < 1.01 * (expected + passing)  # the largest gradient is on its way to the host


SHAPE = Shape(
    parameters=7_000,
    trained=7_000,
    in_blocks=0,
    hidden=10,
    key_values=5,
    inner=30,
    blocks=4,
    heads=2,
    vocabulary=50,
    longest=None,
    plain_output=True,
    flops=FlopCount(0, 0, 0, {}),
)


def test_zero_divides_what_its_stage_shards() -> None:
    # Rajbhandari et al. 2020, figure 1, with fp32 gradients: 2, 4 and 12 bytes of each parameter.
    def held(stage: int, **more: Any) -> tuple[float, float, float]:
        found = memory_of(SHAPE, phase(zero_stage=stage, precision="bf16", **more), 8, gpu=True)
        return found.weights, found.gradients, found.optimizer

    assert held(1) == (14_000, 28_000, 84_000 / 8)
    assert held(2) == (14_000, 28_000 / 8, 84_000 / 8)
    assert held(3) == (14_000 / 8, 28_000 / 8, 84_000 / 8)
    assert held(1, cpu_offload=True) == (14_000, 28_000, 0)
    assert held(2, cpu_offload=True) == (14_000, 28_000 / 8, 0)
    assert held(3, cpu_offload=True) == (0, 0, 0)
    offloaded = memory_of(SHAPE, phase(zero_stage=3, precision="bf16", cpu_offload=True), 8, gpu=True)
    assert offloaded.host == (14_000 + 2 * 28_000 + 84_000) / 8
    on_cpus = memory_of(SHAPE, phase(zero_stage=3, precision="bf16", cpu_offload=True), 8, gpu=False)
    assert (on_cpus.host, on_cpus.total) == (0, offloaded.total + offloaded.host - RESERVE)


def test_optimizers_states() -> None:
    def state(optimizer: str) -> tuple[float, float]:
        found = memory_of(SHAPE, phase(optimizer=optimizer), 1, gpu=True)
        return found.optimizer, found.host

    assert state("adamw") == (56_000, 0)
    assert state("adamw_8bit") == (14_000, 0)
    assert state("paged_adamw_32bit") == (0, 56_000)
    assert state("paged_adamw_8bit") == (0, 14_000)


def test_four_bits_are_those_of_bitsandbytes() -> None:
    from bitsandbytes.nn import Linear4bit

    layer = Linear4bit(1024, 512, bias=False, quant_type="nf4", compress_statistics=True).to("cpu")
    state = layer.weight.quant_state
    parts = [layer.weight, state.absmax, state.state2.absmax]
    assert sum(each.nbytes for each in parts) == pytest.approx(NF4 * 1024 * 512, rel=1e-3)


def test_activations_grow_with_the_micro_batch_and_shrink_by_checkpointing() -> None:
    data = PhaseData(sources=["d"], sequence_length=100)

    def of(**more: Any) -> float:
        return memory_of(SHAPE, phase(data=data, **more), 1, gpu=True).activations

    whole = of(micro_batch_size=2)
    block = 32 * 10 + 8 * 5 + 16 * 30
    assert whole == 200 * (4 * block + 2 * 4 * 10)
    assert of(micro_batch_size=4) == 2 * whole
    assert of(micro_batch_size=2, gradient_checkpointing=True) == 200 * (block + 6 * 4 * 10)
    assert of(micro_batch_size=2, preference={}) == 2 * whole  # rows of pairs are twice as long
    eager = memory_of(SHAPE, phase(data=data, micro_batch_size=2), 1, gpu=True, attention="eager").activations
    assert eager == whole + 2 * 4 * 2 * 100 * 100 * 8  # rows, blocks, heads: each a matrix, twice in fp32


def test_logits_are_some_at_a_time_where_the_output_is_a_matrix_alone() -> None:
    large = dataclasses.replace(SHAPE, vocabulary=10_000_000)
    options = phase(micro_batch_size=2, data=PhaseData(sources=["d"], sequence_length=100))
    assert memory_of(large, options, 1, gpu=True).logits == 16 * 2**27
    capped = dataclasses.replace(large, plain_output=False)
    assert memory_of(capped, options, 1, gpu=True).logits == 16 * 200 * 10_000_000


def test_a_gpu_has_something_kept_free() -> None:
    on_gpu, on_cpu = (memory_of(SHAPE, phase(), 1, gpu=gpu) for gpu in (True, False))
    assert on_gpu.total - on_cpu.total == RESERVE
