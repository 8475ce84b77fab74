from __future__ import annotations

import importlib.util

import pytest
import torch

from core.errors import RecipeError, ResourceError
from core.models.attention import check_attention
from core.models.create import create_model, load_model
from core.models.options import ModelConfig

CONFIG = ModelConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4)


@pytest.mark.parametrize("attention", ["sdpa", "eager", "flex_attention"])
def test_a_model_is_created_and_loaded_with_the_attention_that_is_asked_for(tokenizer, tmp_path, attention):
    created = create_model(CONFIG, tokenizer, seed=1, attention=attention)
    assert created.config._attn_implementation == attention
    created.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert load_model(tmp_path).config._attn_implementation == "sdpa"
    loaded = load_model(tmp_path, attention=attention)
    assert loaded.config._attn_implementation == attention
    for one, other in zip(created.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_what_runs_everywhere_is_never_refused(attention):
    check_attention(attention, gpu=False, precision="fp32")


@pytest.mark.parametrize("attention", ["flash_attention_2", "flex_attention"])
def test_what_needs_a_gpu_is_refused_without_one(attention):
    with pytest.raises(ResourceError, match=rf"{attention} .*GPUs only.*take model\.attention=sdpa"):
        check_attention(attention, gpu=False, precision="bf16")
    check_attention("flex_attention", gpu=True, precision="fp32")


def test_flash_attention_is_refused_in_full_precision_and_without_its_package(monkeypatch):
    with pytest.raises(RecipeError, match="computes in bf16, found precision: fp32"):
        check_attention("flash_attention_2", gpu=True, precision="fp32")
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "flash_attn" else found(name))
    with pytest.raises(ResourceError, match="needs the package flash-attn, which is not installed"):
        check_attention("flash_attention_2", gpu=True, precision="bf16")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    check_attention("flash_attention_2", gpu=True, precision="bf16")
