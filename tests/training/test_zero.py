from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from core.models.options import Lora, ModelConfig
from core.tokens.options import PhaseData
from core.tokens.tokenizer import train_tokenizer
from core.training.engine import World
from core.training.options import Phase
from tests.tokens.conftest import text_documents
from tests.training.two_workers import run_workers

VOCABULARY = 99
TARGETS_AT_A_TIME = 9
STEPS = [(8, 2), (8, 4), (7, 2), (3, 1), (8, 1), (5, 2), (6, 2), (8, 8)]  # rows of a step, rows of a micro-batch
ASIDE = {0: 4, 3: 2, 6: 4}  # of some steps: the first row from which on the layer beside the model is used
COMBINATIONS = [
    {"zero_stage": stage, "precision": precision, "cpu_offload": offload}
    for stage in (1, 2, 3)
    for precision in ("fp32", "bf16")
    for offload in (False, True)
]
CREATED = ModelConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4)
ADAPTERS = Lora(rank=4, alpha=8, target_modules=["q_proj", "v_proj"])

# What differs from a plain loop in fp32: the order of sums. Measured: losses 1e-7, norms 4e-7, weights 4e-6.
LOSS, NORM, WEIGHT = {"rtol": 1e-6}, {"rtol": 3e-6}, {"rtol": 0, "atol": 2e-5}


def phase(**changes: Any) -> Phase:
    data = PhaseData(sources=["d"], sequence_length=64)
    settings = {"weight_decay": 0.1, "max_gradient_norm": 0.5, "max_steps": len(STEPS), "learning_rate": 1e-2}
    settings["epsilon"] = 1e-5  # AdamW makes whole steps of what rounding leaves of a gradient, down to epsilon
    return Phase(data=data, **(settings | changes))


def model(seed: int = 1, **config: Any) -> Any:
    """A Mistral of two blocks with random weights, and a layer beside it that not every micro-batch uses."""
    from transformers import MistralConfig, MistralForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    torch.manual_seed(seed)
    made = MistralForCausalLM(
        MistralConfig(vocab_size=VOCABULARY, num_key_value_heads=2, initializer_range=0.2, **(sizes | config))
    )
    made.side = torch.nn.Linear(32, 3)
    return made


class Objective(torch.nn.Module):
    """Sums of loss and target tokens. The output layer runs on some targets at a time: how often hangs on the data."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor, targets: torch.Tensor, aside: bool) -> torch.Tensor:
        base = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        hidden = base.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state
        wanted = targets >= 0

        def loss_of(hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            return cross_entropy(base.lm_head(hidden).float(), targets, reduction="sum")

        parts = zip(hidden[wanted].split(TARGETS_AT_A_TIME), targets[wanted].split(TARGETS_AT_A_TIME), strict=True)
        loss = torch.stack([checkpoint(loss_of, *part, use_reentrant=False) for part in parts]).sum()
        if aside:
            loss = loss + base.side(hidden[wanted]).float().square().sum()
        return torch.stack([loss, wanted.sum().float()])


def batches(step: int, world: World) -> list[tuple[torch.Tensor, torch.Tensor, bool]]:
    """A worker's micro-batches of a step: as many as any worker has, without targets where it has no rows left."""
    rows, size = STEPS[step]
    random = torch.Generator().manual_seed(step)
    ids = torch.randint(0, VOCABULARY, (rows, 12), generator=random)
    targets = torch.where(torch.rand(rows, 12, generator=random) < 0.5, ids.roll(-1, 1), -1)
    longest = -(-rows // world.size)
    size = min(size, longest)
    ids, targets = ids[world.rank :: world.size], targets[world.rank :: world.size]
    nothing = torch.zeros(1, 5, dtype=torch.int64), torch.full((1, 5), -1)
    return [
        (
            *((ids[at : at + size], targets[at : at + size]) if at < len(ids) else nothing),
            at * world.size >= ASIDE.get(step, rows),
        )
        for at in range(0, longest, size)
    ]


def target_tokens(step: int) -> int:
    return sum(int((targets >= 0).sum()) for _, targets, _ in batches(step, World()))


def rate(step: int) -> float:
    return 1e-2 / (step + 1)


def backward(engine: Any, step: int) -> torch.Tensor:
    figures = torch.zeros(2, dtype=torch.float64)
    for batch in batches(step, engine.world):
        sums = engine.forward(*batch)
        engine.backward(sums[0] / target_tokens(step))
        figures += sums.detach().double()
    return figures


def train(engine: Any, steps: Iterable[int]) -> tuple[list[float], list[float]]:
    """Losses per target token, and gradient norms."""
    losses, norms = [], []
    for step in steps:
        update = engine.step(backward(engine, step), rate(step))
        assert update.applied
        assert update.figures[1] == target_tokens(step)
        losses.append(update.figures[0] / update.figures[1])
        norms.append(update.gradient_norm)
    return losses, norms


def plain(trained: Any, steps: Iterable[int], options: Phase) -> tuple[list[float], list[float], dict[str, Any]]:
    """Losses, gradient norms and weights of a loop as one would write it on a blackboard, in one process."""
    objective = Objective(trained)
    parameters = {name: p for name, p in trained.named_parameters() if p.requires_grad}
    groups = [
        {"params": [p for p in parameters.values() if p.ndim >= 2], "weight_decay": options.weight_decay},
        {"params": [p for p in parameters.values() if p.ndim < 2], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW([group for group in groups if group["params"]], eps=options.epsilon)
    for parameter in parameters.values():
        parameter.grad = torch.zeros_like(parameter)
    losses, norms = [], []
    for step in steps:
        adamw.zero_grad(set_to_none=False)
        total = 0.0
        for batch in batches(step, World()):
            loss = objective(*batch)[0] / target_tokens(step)
            loss.backward()
            total += float(loss.detach())
        norms.append(float(torch.nn.utils.clip_grad_norm_(parameters.values(), options.max_gradient_norm)))
        for group in adamw.param_groups:
            group["lr"] = rate(step)
        adamw.step()
        losses.append(total)
    return losses, norms, {name: parameter.detach() for name, parameter in parameters.items()}


def engine(combination: Mapping[str, Any], world: World, seed: int = 1) -> Any:
    from core.training.zero import ZeRO

    return ZeRO(Objective(model(seed)), phase(**combination), world)


def parts(trained: Any) -> dict[str, tuple[int, torch.Tensor]]:
    return {piece.key: (piece.start, piece.values.clone()) for piece in trained.pieces()}


class Held:
    """A checkpoint's pieces in memory."""

    def __init__(self, *workers: dict[str, tuple[int, torch.Tensor]]) -> None:
        self.workers = workers

    def read(self, key: str, start: int, stop: int) -> torch.Tensor:
        whole = torch.full((stop,), math.nan)
        for begin, values in (worker[key] for worker in self.workers if key in worker):
            end = min(stop, begin + len(values))
            if end > begin:
                whole[begin:end] = values[: end - begin]
        assert not whole[start:].isnan().any()
        return whole[start:]


def assert_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    assert one.keys() == other.keys()
    for key, (start, values) in one.items():
        assert start == other[key][0]
        assert torch.equal(values, other[key][1]), key


def train_all(world: World) -> list[Any]:
    found = []
    for combination in COMBINATIONS:
        trained = engine(combination, world)
        found.append((*train(trained, range(8)), dict(trained.weights())))
    return found


@pytest.fixture(scope="module")
def one_process() -> Any:
    return plain(model(), range(8), phase())


def test_every_stage_trains_as_one_process_does_and_says_and_compiles_nothing(
    one_process, capfd, monkeypatch, tmp_path
):
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    first, second = run_workers(train_all)
    losses, norms, weights = one_process
    assert losses[7] < losses[1]
    for combination, (found, found_norms, found_weights) in zip(COMBINATIONS, first, strict=True):
        assert found_weights.keys() == weights.keys()
        if combination["precision"] == "bf16":
            np.testing.assert_allclose(found, losses, rtol=0.01)
            np.testing.assert_allclose(found_norms, norms, rtol=0.05)
            continue
        np.testing.assert_allclose(found, losses, **LOSS)
        np.testing.assert_allclose(found_norms, norms, **NORM)
        for name, whole in found_weights.items():
            torch.testing.assert_close(whole, weights[name], **WEIGHT)
    for one, other in zip(first, second, strict=True):
        assert one[:2] == other[:2]
        assert all(whole.numel() == 0 for whole in other[2].values())
    assert list(tmp_path.iterdir()) == []
    said = capfd.readouterr()
    assert said.out == ""
    assert "arning" not in said.err and "DeepSpeed" not in said.err


def train_and_resume(world: World) -> list[Any]:
    found = []
    for combination in COMBINATIONS:
        undisturbed = engine(combination, world)
        train(undisturbed, range(4))
        saved = parts(undisturbed)
        resumed = engine(combination, world, seed=2)
        resumed.load(Held(saved), updates=4)
        curves = train(undisturbed, range(4, 8)), train(resumed, range(4, 8))
        found.append((saved, curves, (parts(undisturbed), parts(resumed))))
    return found


@pytest.fixture(scope="module")
def two_processes() -> Any:
    return run_workers(train_and_resume)


def test_a_resumed_run_is_the_undisturbed_one_to_the_last_bit(two_processes):
    for worker in two_processes:
        for _, (undisturbed, resumed), (one, other) in worker:
            assert undisturbed == resumed
            assert_same(one, other)


def test_the_workers_parts_make_up_each_weight_and_state_once(two_processes):
    sizes = {name: parameter.numel() for name, parameter in model().named_parameters()}
    for saved in zip(*((found[0] for found in worker) for worker in two_processes), strict=True):
        assert sum(len(values) for worker in saved for _, values in worker.values()) == 3 * sum(sizes.values())
        for name, size in sizes.items():
            for kind in ("weight", "exp_avg", "exp_avg_sq"):
                assert len(Held(*saved).read(f"{name}/{kind}", 0, size)) == size


def resume_all(world: World, checkpoints: list[Held]) -> list[Any]:
    """Each checkpoint of four steps at another stage than before: the steps after it, and the parts as loaded."""
    found = []
    for number, saved in enumerate(checkpoints):
        resumed = engine({"zero_stage": (2, 3, 1)[number % 3], "cpu_offload": number >= 3}, world, seed=2)
        resumed.load(saved, updates=4)
        loaded = parts(resumed)
        found.append((*train(resumed, range(4, 8)), dict(resumed.weights()), loaded))
    return found


def test_a_run_goes_on_at_another_world_size_and_stage(two_processes, one_process):
    from core.training.data_parallel import DataParallel

    by_two = [
        Held(*(worker[number][0] for worker in two_processes))
        for number, combination in enumerate(COMBINATIONS)
        if combination["precision"] == "fp32"
    ]
    (alone,) = run_workers(resume_all, by_two, workers=1)
    data_parallel = DataParallel(Objective(model()), phase(), World())
    train(data_parallel, range(4))
    by_one = [Held(found[3]) for found in alone[:3]] + [Held(parts(data_parallel))]
    together = run_workers(resume_all, by_one)[0]
    losses, norms, weights = one_process
    for found, found_norms, found_weights, _ in (*alone, *together):
        np.testing.assert_allclose(found, losses[4:], **LOSS)
        np.testing.assert_allclose(found_norms, norms[4:], **NORM)
        for name, whole in found_weights.items():
            torch.testing.assert_close(whole, weights[name], **WEIGHT)


def disturb_all(world: World) -> list[Any]:
    found = []
    for combination in COMBINATIONS:
        undisturbed, disturbed = engine(combination, world), engine(combination, world)
        train(undisturbed, range(1)), train(disturbed, range(1))
        before = parts(disturbed)
        updates = []
        figures = backward(disturbed, 1)
        updates.append(disturbed.step(figures * (math.nan if world.rank == 1 else 1), rate(1)))
        for factor in (math.inf, math.nan):
            sums = disturbed.forward(*batches(2, world)[0])
            disturbed.backward(sums[0] * (factor if world.rank == 0 else 1))
            updates.append(disturbed.step(sums.detach(), rate(2)))
        backward(disturbed, 4)
        disturbed.discard()
        with torch.no_grad():
            disturbed.forward(*batches(5, world)[0])
        after = parts(disturbed)
        curves = train(undisturbed, range(1, 4)), train(disturbed, range(1, 4))
        found.append((updates, (before, after), curves, (parts(undisturbed), parts(disturbed))))
    return found


def test_what_is_not_finite_or_discarded_leaves_no_trace():
    for worker in run_workers(disturb_all):
        for updates, (before, after), (undisturbed, disturbed), (one, other) in worker:
            assert [update.applied for update in updates] == [False, False, False]
            assert not math.isfinite(updates[0].figures[0])
            assert all(math.isfinite(figure) for update in updates[1:] for figure in update.figures)
            assert not any(math.isfinite(update.gradient_norm) for update in updates)
            assert_same(before, after)
            assert undisturbed == disturbed
            assert_same(one, other)


def load_sharded(world: World, directory: Path, tokenizer: Any) -> Any:
    from core.models.adapters import add_adapters
    from core.models.create import create_model, load_model
    from core.training.zero import ZeRO, sharded_loading

    held, found = [], []
    for changes in ({}, {"precision": "bf16"}, {"precision": "bf16", "cpu_offload": True}, {"method": "lora"}):
        options = phase(zero_stage=3, **changes)
        with sharded_loading(options, world):
            loaded = load_model(directory, device=world.device)
        held.append(sum(p.ds_tensor.numel() + p.numel() for p in loaded.parameters()))
        if options.method == "lora":
            loaded = add_adapters(loaded, ADAPTERS, seed=7)
        loaded.activation_checkpointing_enable({"use_reentrant": False})
        loaded.enable_input_require_grads()
        trained = ZeRO(Objective(loaded.train()), options, world)
        found.append((dict(trained.weights()), *train(trained, (1, 2, 4, 5)), dict(trained.weights())))
    with sharded_loading(phase(zero_stage=2), world):
        whole = load_model(directory)
    held.append(sum(p.numel() for p in whole.parameters()))
    with sharded_loading(phase(zero_stage=3), world):
        created = create_model(CREATED, tokenizer, seed=3)
    return held, found, created.state_dict()


def test_stage_3_loads_shards_of_files_alone_and_trains_them_or_adapters_on_them(tmp_path):
    from core.models.adapters import add_adapters
    from core.models.create import create_model, load_model

    model(tie_word_embeddings=True).save_pretrained(tmp_path)
    given = load_model(tmp_path)
    size = sum(parameter.numel() for parameter in given.parameters())
    tokenizer = train_tokenizer(lambda: [text_documents(["The quick brown fox. " * 9])], 300, characters=10_000)
    (held, found, created), _ = run_workers(load_sharded, tmp_path, tokenizer)
    for name, tensor in create_model(CREATED, tokenizer, seed=3).state_dict().items():
        assert torch.equal(created[name], tensor)
    assert held == [size // 2] * 4 + [size]
    for start, *_ in found[:3]:
        assert start.keys() == dict(given.named_parameters()).keys()
        assert all(torch.equal(start[name], parameter) for name, parameter in given.named_parameters())
    steps = (1, 2, 4, 5)
    with_adapters = add_adapters(load_model(tmp_path), ADAPTERS, seed=7).train()
    for expected, (_, losses, norms, weights) in (
        (plain(load_model(tmp_path).train(), steps, phase()), found[0]),
        (plain(with_adapters, steps, phase()), found[3]),
    ):
        np.testing.assert_allclose(losses, expected[0], **LOSS)
        np.testing.assert_allclose(norms, expected[1], **NORM)
        assert weights.keys() == expected[2].keys()
        for name, whole in weights.items():
            torch.testing.assert_close(whole, expected[2][name], **WEIGHT)
    for full in found[1:3]:
        np.testing.assert_allclose(full[1], found[0][1], rtol=0.01)


def refused(world: World) -> list[str]:
    from core.errors import RecipeError, ResourceError
    from core.training.zero import ZeRO
    from core.training.zero_settings import start_deepspeed

    quantised = model()
    quantised.model.layers[0].mlp.up_proj.weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.uint8), False)
    with pytest.raises(RecipeError) as four_bit:
        ZeRO(Objective(quantised), phase(zero_stage=3), world)
    with pytest.raises(ResourceError) as device:
        start_deepspeed(World(device="cuda:0"))
    return [str(four_bit.value), str(device.value)]


def test_what_stage_3_or_the_process_cannot_serve_is_refused():
    ((four_bit, device),) = run_workers(refused, workers=1)
    assert "zero_stage 3 cannot shard 4-bit weights" in four_bit
    assert "DeepSpeed serves cpu in this process, found a worker on cuda" in device
