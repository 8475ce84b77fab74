from __future__ import annotations

from typing import Any

import pytest

from core.models.create import create_model
from core.models.generation import continuations, prompt_tokens
from core.models.options import ModelConfig
from core.tokens.tokenizer import train_tokenizer
from tests.tokens.conftest import text_documents

PROMPTS = ["The quick", "The quick brown fox jumps over the lazy dog, and then", "a", "dog " * 9, "fox\n\nfox"]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    texts = ["The quick brown fox jumps over the lazy dog.\n\nAnd then? " * 3]
    return train_tokenizer(lambda: [text_documents(texts)], vocabulary=320, characters=10_000)


@pytest.fixture(scope="module", params=["mistral", "llama", "qwen2"])
def model(request: Any, tokenizer: Any) -> Any:
    config = ModelConfig(
        architecture=request.param,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.3,  # so that what comes next hangs on all that came before
    )
    return create_model(config, tokenizer, seed=5).eval()


def written(model: Any, tokenizer: Any, prompts: list[str], batch_size: int, stop: str = "\n\n") -> list[str]:
    tokens = prompt_tokens(tokenizer, prompts)
    found = dict(
        continuations(model, tokenizer, tokens, max_new_tokens=12, stop=stop, batch_size=batch_size),
    )
    return [found[number] for number in range(len(prompts))]


def one_token_after_another(model: Any, tokenizer: Any, prompt: str) -> str:
    """Greedy search as anyone would write it: the whole text is run again for each token."""
    import torch

    ids = tokenizer(prompt)["input_ids"]
    begin = len(ids)
    while len(ids) < begin + 12:
        with torch.no_grad():
            ids.append(int(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
        if ids[-1] == tokenizer.eos_token_id or "\n\n" in tokenizer.decode(ids[begin:], skip_special_tokens=True):
            break
    return tokenizer.decode(ids[begin:], skip_special_tokens=True)


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_a_batch_writes_what_each_prompt_gives_alone(model: Any, tokenizer: Any, batch_size: int) -> None:
    expected = [one_token_after_another(model, tokenizer, prompt) for prompt in PROMPTS]
    assert len(set(expected)) > 1
    assert written(model, tokenizer, PROMPTS, batch_size) == expected


def test_a_text_ends_where_it_has_the_stop_in_it(model: Any, tokenizer: Any) -> None:
    [whole] = written(model, tokenizer, PROMPTS[:1], 1, stop="never written")
    stop = whole[len(whole) // 2]
    [ended] = written(model, tokenizer, PROMPTS[:1], 1, stop=stop)
    assert whole.startswith(ended)
    assert stop in ended
    assert len(ended) < len(whole)


def test_no_prompts_give_nothing(model: Any, tokenizer: Any) -> None:
    assert written(model, tokenizer, [], 4) == []
    assert prompt_tokens(tokenizer, []) == []
