"""Packed samples learn what they learn alone: in every attention backend, in rows of different lengths."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.attention.flex_attention as torch_flex
import transformers.integrations.flex_attention as flex
import transformers.masking_utils as masking_utils
import transformers.modeling_flash_attention_utils as flash
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from core.models.attention import keep_samples_apart
from core.models.create import create_model
from core.models.options import ModelConfig
from core.tokens.shards import Row
from core.training.batches import Batch, collate
from core.training.losses import causal_lm_loss

WINDOW = 5
SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
CONFIGS = {
    "llama": {"architecture": "llama", "num_key_value_heads": 2},
    "mistral with a sliding window": {"architecture": "mistral", "num_key_value_heads": 2, "sliding_window": WINDOW},
    "qwen2": {"architecture": "qwen2", "num_key_value_heads": 4, "tie_word_embeddings": True},
}
ROWS = [[7, 30, 2, 12], [41], [3, 3, 25], [1, 8, 1]]  # lengths of samples; rows of 51, 41, 31 and 10 tokens
LIMIT = 1e-5  # relative difference


def made_row(lengths: list[int], seed: int) -> Row:
    """Random tokens, of which a random half is learned, never a sample's first."""
    random = np.random.default_rng(seed)
    tokens = random.integers(0, 300, sum(lengths)).astype(np.int32)
    wanted = random.random(len(tokens)) < 0.5
    wanted[np.cumsum([0, *lengths[:-1]])] = False
    spans = np.flatnonzero(np.diff(wanted, prepend=False, append=False)).astype(np.int32)
    return Row(tokens, spans, np.array(lengths, np.int32))


def alone(row: Row) -> Iterator[Row]:
    """A row's samples, each in a row of its own."""
    wanted = np.zeros(len(row.input_ids), bool)
    for start, end in row.loss_mask.reshape(-1, 2):
        wanted[start:end] = True
    for end, length in zip(np.cumsum(row.sequence_lengths), row.sequence_lengths, strict=True):
        mine = wanted[end - length : end]
        spans = np.flatnonzero(np.diff(mine, prepend=False, append=False)).astype(np.int32)
        yield Row(row.input_ids[end - length : end], spans, np.array([length]))


@pytest.fixture
def rows() -> list[Row]:
    return [made_row(lengths, seed) for seed, lengths in enumerate(ROWS)]


def made_model(material: Any, config: dict[str, Any], attention: str = "sdpa") -> Any:
    sizes = SIZES | {"max_position_embeddings": 128, "initializer_range": 0.1}
    return create_model(ModelConfig(**sizes | config), material.tokenizer, seed=1, attention=attention)


def learned(model: Any, batches: list[Batch]) -> tuple[float, dict[str, torch.Tensor]]:
    """The sum of the losses, and the gradients."""
    model.train()
    model.zero_grad()
    total = 0.0
    for batch in batches:
        loss = causal_lm_loss(model, batch)
        loss.backward()
        total += loss.item()
    return total, {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def assert_packed_as_alone(model: Any, rows: list[Row], model_alone: Any = None) -> None:
    """Loss and every parameter's gradient, by their relative difference. model_alone: another one for the samples."""
    loss, gradients = learned(model, [collate(rows, padding=1)])
    samples = [collate([sample], padding=1) for row in rows for sample in alone(row) if len(sample.loss_mask)]
    expected_loss, expected = learned(model_alone or model, samples)
    assert abs(loss - expected_loss) <= LIMIT * expected_loss
    for name, gradient in expected.items():
        assert float(gradient.norm()) > 0
        difference = float((gradients[name] - gradient).norm() / gradient.norm())
        assert difference <= LIMIT, f"{name}: {difference}"


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_packed_loss_and_gradients_are_the_sum_of_those_of_the_samples_alone(material, rows, config, attention):
    model = made_model(material, config, attention)
    assert model.config._attn_implementation == attention
    assert_packed_as_alone(model, rows)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_the_sliding_window_is_respected_within_packed_samples(material, rows, attention):
    wide = {**CONFIGS["mistral with a sliding window"], "sliding_window": None}
    windowed = made_model(material, CONFIGS["mistral with a sliding window"], attention)
    unlimited = made_model(material, wide, attention)
    batch = collate(rows, padding=1)
    with torch.no_grad():
        difference = (logits(windowed, batch) - logits(unlimited, batch)).abs().amax(dim=-1)
    real = torch.stack([torch.arange(batch.input_ids.shape[1]) < len(row.input_ids) for row in rows])
    assert difference[real & (batch.position_ids < WINDOW)].max() < 1e-5  # as far as the window goes, nothing changes
    assert difference[real & (batch.position_ids >= WINDOW)].min() > 1e-3


def logits(model: Any, batch: Batch) -> torch.Tensor:
    return model(input_ids=batch.input_ids, position_ids=batch.position_ids, use_cache=False).logits


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_flex_attention_is_given_masks_so_that_packed_samples_learn_as_alone(material, rows, monkeypatch, config):
    # Neither compiled nor refused on CPUs: torch's own plain way, with the masks that the kernels get on a GPU.
    monkeypatch.setattr(flex, "compile_friendly_flex_attention", plain_flex_attention)
    monkeypatch.setattr(torch_flex, "_validate_device", lambda *_: None)
    monkeypatch.setattr(masking_utils, "create_block_mask", plain_block_mask)
    assert_packed_as_alone(made_model(material, config, "flex_attention"), rows, made_model(material, config))


def plain_flex_attention(query: Any, key: Any, value: Any, training: bool, **options: Any) -> torch.Tensor:
    return torch_flex.flex_attention(query, key, value, **options)


def plain_block_mask(**options: Any) -> torch_flex.BlockMask:
    return torch_flex.create_block_mask(**options | {"_compile": False})


@pytest.mark.skipif(shutil.which("g++") is None, reason="it is compiled by g++")
def test_compiled_flex_attention_gives_packed_samples_the_logits_that_they_have_alone(material, rows):
    config = CONFIGS["mistral with a sliding window"]
    model = made_model(material, config, "flex_attention").eval()  # compiled for CPUs it has no backward pass
    plain = made_model(material, config).eval()
    with torch.no_grad():
        packed = logits(model, collate(rows, padding=1))
        for index, row in enumerate(rows):
            begin = 0
            for sample in alone(row):
                expected = logits(plain, collate([sample], padding=1))[0]
                found = packed[index, begin : begin + len(expected)]
                assert float((found - expected).norm() / expected.norm()) <= LIMIT
                begin += len(expected)


class Kernels:
    """What flash-attn's functions compute, written plainly: they run on GPUs only."""

    def __init__(self) -> None:
        self.lengths: list[list[int]] = []

    def padded(self, query: Any, key: Any, value: Any, **options: Any) -> torch.Tensor:
        raise AssertionError("attention over whole rows: packed samples see each other")

    def ragged(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        cu_seqlens_q: torch.Tensor,
        cu_seqlens_k: torch.Tensor,
        max_seqlen_q: int,
        max_seqlen_k: int,
        dropout_p: float = 0.0,
        softmax_scale: float | None = None,
        causal: bool = False,
        window_size: tuple[int, int] = (-1, -1),
        deterministic: bool = False,
    ) -> torch.Tensor:
        """q float[tokens, heads, width], k and v float[tokens, key heads, width]: attention within each sequence."""
        assert torch.equal(cu_seqlens_q, cu_seqlens_k)
        assert causal
        assert dropout_p == 0
        assert cu_seqlens_q[0] == 0
        assert cu_seqlens_q[-1] == len(q)
        lengths = cu_seqlens_q.diff().tolist()
        assert max_seqlen_q == max_seqlen_k == max(lengths)
        self.lengths.append(lengths)
        answers = []
        for query, key, value in zip(*(part.split(lengths) for part in (q, k, v)), strict=True):
            back = torch.arange(len(query))[:, None] - torch.arange(len(query))
            seen = (back >= 0) & ((back <= window_size[0]) if window_size[0] >= 0 else True)
            parts = [part.transpose(0, 1)[None] for part in (query, key, value)]
            answer = scaled_dot_product_attention(*parts, attn_mask=seen, scale=softmax_scale, enable_gqa=True)
            answers.append(answer[0].transpose(0, 1))
        return torch.cat(answers)


@pytest.fixture
def kernels(monkeypatch) -> Kernels:
    """Stand-ins for the functions of flash-attn, which Transformers calls as it would call those."""
    made = Kernels()
    monkeypatch.setattr(flash, "_lazy_imports", lambda *_, **__: (made.padded, made.ragged, None, None, None))
    for name in ("_loaded_implementation", "_flash_fn", "_flash_varlen_fn", "_flash_with_kvcache_fn"):
        monkeypatch.setattr(flash, name, None)
    return made


def with_flash_attention(material: Any, config: dict[str, Any]) -> Any:
    """A model as `create_model` makes it on a GPU; on CPUs Transformers would refuse."""
    model = made_model(material, config)
    model.config._attn_implementation = "flash_attention_2"
    keep_samples_apart(model)
    return model


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_flash_attention_is_given_the_samples_so_that_packed_they_learn_as_alone(material, rows, kernels, config):
    model = with_flash_attention(material, config)
    assert_packed_as_alone(model, rows)
    width = max(map(sum, ROWS))
    packed = [length for row in ROWS for length in (*row, width - sum(row)) if length]
    assert kernels.lengths[: SIZES["num_hidden_layers"]] == [packed] * SIZES["num_hidden_layers"]


def test_flash_attention_and_sdpa_learn_the_same(material, rows, kernels):
    config = CONFIGS["mistral with a sliding window"]
    batch = [collate(rows, padding=1)]
    loss, gradients = learned(with_flash_attention(material, config), batch)
    expected_loss, expected = learned(made_model(material, config), batch)
    assert loss == pytest.approx(expected_loss, rel=LIMIT)
    for name, gradient in expected.items():
        assert float((gradients[name] - gradient).norm() / gradient.norm()) <= LIMIT


@given(st.lists(st.lists(st.integers(1, 20), min_size=1, max_size=6), min_size=1, max_size=4))
def test_what_transformers_makes_of_our_positions_are_the_lengths_of_the_samples(lengths):
    batch = collate([made_row(each, 0) for each in lengths], padding=1)
    (ends, keys), (longest, _) = flash.prepare_fa_kwargs_from_position_ids(batch.position_ids)
    width = max(map(sum, lengths))
    expected = [length for row in lengths for length in (*row, width - sum(row)) if length]
    assert ends.diff().tolist() == keys.diff().tolist() == expected
    assert int(longest) == max(expected)
