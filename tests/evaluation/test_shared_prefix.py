"""Attention to a prefix and to a row's own tokens, computed apart, against torch's over both at once."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AutoModelForCausalLM, MistralConfig

from core.evaluation import shared_prefix
from core.evaluation.chunks import Likelihoods, Question, Texts
from core.evaluation.shared_prefix import Room, SharedPrefix, attention_by_products, room_for

ROWS, HEADS, SHARED, TOKENS, BEFORE, WIDTH = 3, 6, 2, 9, 21, 8
SCALE = 0.3


def states(heads: int, tokens: int, rows: int = ROWS) -> torch.Tensor:
    return torch.randn(rows, heads, tokens, WIDTH)


@pytest.fixture(autouse=True)
def seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(shared_prefix, "_prefix_states", [])


@pytest.mark.parametrize("at_once", [shared_prefix.SCORES, 4 * ROWS * HEADS * TOKENS, 1])
@pytest.mark.parametrize("kind", ["causal", "masked", "all"])
def test_attention_by_products_is_torchs(kind, at_once, monkeypatch):
    monkeypatch.setattr(shared_prefix, "SCORES", at_once)
    query, key, value = states(HEADS, TOKENS), states(HEADS, TOKENS), states(HEADS, TOKENS)
    mask = torch.rand(ROWS, 1, TOKENS, TOKENS).round().log() if kind == "masked" else None
    if mask is not None:
        mask[..., range(TOKENS), range(TOKENS)] = 0
    found, sums = attention_by_products(query, key, value, mask, kind == "causal", SCALE)
    expected = scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=kind == "causal", scale=SCALE)
    torch.testing.assert_close(found, expected)
    cpu, cpu_sums = shared_prefix._with_sum(query, key, value, mask, kind == "causal", SCALE)
    torch.testing.assert_close(cpu, expected)
    torch.testing.assert_close(sums, cpu_sums)


@pytest.mark.parametrize("prefix", [True, False])
@pytest.mark.parametrize("first", [TOKENS, 4, 0])  # tokens that are plainly causal
def test_a_prefix_and_own_tokens_are_attended_to_together(prefix, first):
    query, key, value = states(HEADS, TOKENS), states(SHARED, TOKENS), states(SHARED, TOKENS)
    seen = torch.ones(ROWS, 1, TOKENS, TOKENS, dtype=torch.bool).tril()
    for row in range(ROWS):
        seen[row, 0, 6:, first : first + row] = False  # branches do not see each other
    own = seen[:, :, first:].to(query.dtype).log() if first < TOKENS else None
    if own is None:
        seen = torch.ones_like(seen).tril()
    keys, values = key, value
    if prefix:
        before = states(SHARED, BEFORE, 1), states(SHARED, BEFORE, 1)
        shared_prefix._prefix_states[:] = [before]
        keys, values = (
            torch.cat([each.expand(ROWS, -1, -1, -1), more], 2) for each, more in zip(before, (key, value), strict=True)
        )
        seen = torch.cat([torch.ones(ROWS, 1, TOKENS, BEFORE, dtype=torch.bool), seen], 3)
    expected = scaled_dot_product_attention(query, keys, values, attn_mask=seen, scale=SCALE, enable_gqa=True)
    strided = query.transpose(1, 2).contiguous().transpose(1, 2)  # as a model's layer gives it
    found, _ = shared_prefix._attend(SimpleNamespace(layer_idx=0), strided, key, value, own, SCALE)
    torch.testing.assert_close(found.transpose(1, 2), expected)
    visible = torch.rand(ROWS, 1, 1, TOKENS) < 0.7
    visible[..., 0] = True
    one, _ = shared_prefix._attend(SimpleNamespace(layer_idx=0), strided[:, :, -1:], key, value, visible, SCALE)
    if prefix:
        visible = torch.cat([torch.ones(ROWS, 1, 1, BEFORE, dtype=torch.bool), visible], 3)
    expected = scaled_dot_product_attention(
        query[:, :, -1:], keys, values, attn_mask=visible, scale=SCALE, enable_gqa=True
    )
    torch.testing.assert_close(one.transpose(1, 2), expected)


@pytest.mark.parametrize(
    ("free", "per_token", "kept", "room"),
    [
        (6.7e9, 150e3, 131e3, Room(16384, 18820, 128)),  # of a 7B model on 24 GB
        (50e9, 60e3, 131e3, Room(65536, 190839, 128)),  # and on 80 GB: never more than 32 times the least
        (0.1e9, 150e3, 131e3, Room(2048, 2048, 128)),  # almost full: the least, which is halved where it does not fit
        (-1e9, 150e3, 131e3, Room(2048, 2048, 128)),
    ],
)
def test_a_batch_is_as_large_as_memory_has_room_for(free, per_token, kept, room):
    assert room_for(free, per_token, kept) == room


def test_a_model_whose_blocks_are_moved_about_gives_the_same_answers():
    """As one spread over several devices: each block gets what it is given on its own device, by accelerate's hooks."""
    from accelerate import cpu_offload

    config = MistralConfig(vocab_size=300, hidden_size=32, intermediate_size=64, num_hidden_layers=3)
    config.num_attention_heads, config.num_key_value_heads, config.head_dim = 4, 2, 8
    model = AutoModelForCausalLM.from_config(config).eval()
    prefix, trunk = tuple(range(20)), tuple(range(30, 40))
    questions = (Question(trunk, ((5, 6), (7, 8, 9)), ((0, (6, 1)), (1, (8, 9, 2)))),) * 2
    asked, prompts = Likelihoods(prefix, questions), Texts(prefix, (trunk, trunk[:4]), (), 12)
    tokenizer = SimpleNamespace(encode=lambda text, **named: [], decode=lambda tokens: "")
    whole = SharedPrefix(model)
    expected = whole.log_likelihoods(asked), whole.texts(prompts, tokenizer)
    moved = SharedPrefix(cpu_offload(model, execution_device="cpu"))
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    moved.device = torch.device("cpu")
    assert (moved.log_likelihoods(asked), moved.texts(prompts, tokenizer)) == expected
    assert moved.room() == Room()
