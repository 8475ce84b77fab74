from __future__ import annotations

import itertools
import math
import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.evaluation.memorisation import (
    auc,
    examples,
    min_k_prob,
    neighbour_score,
    neighbours,
    share_below,
    token_logps,
)

WORDS = ["<end>", "a", "b", "c", "d"]
EVEN = {word: {other: 1 / len(WORDS) for other in WORDS} for word in WORDS}


def word_tokenizer() -> Any:
    """A token for each of WORDS."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<end>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")


def bigram_model(table: dict[str, dict[str, float]], positions: int = 64) -> Any:
    """A Mistral by which the next word hangs on the last one alone, with the probabilities of the table.

    Its block adds nothing, and each word's embedding is a direction of its own, so that the output layer is the table.
    """
    from transformers import MistralConfig, MistralForCausalLM

    width = 2 * len(WORDS)
    config = MistralConfig(
        vocab_size=len(WORDS),
        hidden_size=width,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        max_position_embeddings=positions,
        rms_norm_eps=0.0,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=None,
    )
    model = MistralForCausalLM(config)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        model.model.embed_tokens.weight.copy_(torch.eye(len(WORDS), width))
        model.lm_head.weight.zero_()
        for row, word in enumerate(WORDS):
            for column, other in enumerate(WORDS):
                logp = math.log(table.get(word, EVEN[word]).get(other, 0) or 1e-30)
                model.lm_head.weight[column, row] = logp / math.sqrt(width)
    return model


def always(path: str) -> dict[str, dict[str, float]]:
    """Each word of a path is surely followed by the next one."""
    steps = path.split()
    return {word: {other: 1.0} for word, other in itertools.pairwise(steps)}


def test_min_k_prob_is_the_mean_of_the_least_likely_tokens_counted_by_hand() -> None:
    logps = [-0.1, -4.0, -0.5, -2.0, -0.2, -0.3, -1.0, -0.4, -3.0, -0.6]
    assert min_k_prob(logps, 20) == pytest.approx((-4.0 - 3.0) / 2)
    assert min_k_prob(logps, 39) == pytest.approx((-4.0 - 3.0 - 2.0) / 3)
    assert min_k_prob(logps, 100) == pytest.approx(-1.21)
    assert min_k_prob([-0.7, -0.9], 20) == pytest.approx(-0.9)
    with pytest.raises(ValueError, match="without a token"):
        min_k_prob([])


@given(st.lists(st.floats(-20, 0), min_size=1, max_size=40), st.floats(1, 100))
def test_min_k_prob_lies_between_the_least_likely_token_and_the_mean(logps: list[float], k: float) -> None:
    assert min(logps) - 1e-9 <= min_k_prob(logps, k) <= np.mean(logps) + 1e-9


def test_log_probabilities_are_those_of_the_table() -> None:
    model = bigram_model({"a": {"b": 0.5, "c": 0.25, "d": 0.25}, "b": {"c": 0.8, "a": 0.2}, "c": {"a": 1.0}})
    found = token_logps(model, word_tokenizer(), ["a b c a c", "a", "b a d", ""], batch_size=3)
    assert [len(logps) for logps in found] == [4, 0, 2, 0]
    assert found[0] == pytest.approx(np.log([0.5, 0.8, 1.0, 0.25]), abs=1e-4)
    assert found[2] == pytest.approx(np.log([0.2, 0.25]), abs=1e-4)
    # By hand: of four tokens the least likely quarter is the last one, log 1/4.
    assert min_k_prob(found[0], 25) == pytest.approx(math.log(0.25), abs=1e-4)


def test_what_is_beyond_the_models_length_or_what_was_asked_for_is_not_looked_at() -> None:
    model = bigram_model({}, positions=4)
    found = token_logps(model, word_tokenizer(), ["a b c d a b", "a b"])
    assert [len(logps) for logps in found] == [3, 1]
    assert len(token_logps(model, word_tokenizer(), ["a b c d"], most_tokens=3)[0]) == 2


def test_neighbours_go_on_from_two_fifths_of_the_words_by_as_many_tokens_as_words_are_left() -> None:
    reference = bigram_model(always("a b c d a"))
    # Of 5 words 2 are kept and 3 written; of 6 words 3 (2.4 rounded up) and 3; of one word all, and one is written.
    assert neighbours(reference, word_tokenizer(), "a b a a a", seed=0) == ["a b c d a"] * 100
    assert neighbours(reference, word_tokenizer(), "a a c a a a", seed=0) == ["a a c d a b"] * 100
    assert neighbours(reference, word_tokenizer(), "a", seed=0) == ["a b"] * 100
    with pytest.raises(ValueError, match="without words"):
        neighbours(reference, word_tokenizer(), " ", seed=0)


def test_neighbours_are_sampled_by_the_seed_alone() -> None:
    reference = bigram_model({word: dict.fromkeys("abcd", 1 / 4) for word in "abcd"})
    state = torch.random.get_rng_state()
    written = neighbours(reference, word_tokenizer(), "a b c d a b c d", seed=1)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert written == neighbours(reference, word_tokenizer(), "a b c d a b c d", seed=1)
    assert written != neighbours(reference, word_tokenizer(), "a b c d a b c d", seed=2)
    assert len(set(written)) > 20
    assert all(text.startswith("a b c d ") for text in written)


def test_a_neighbour_ends_where_the_reference_ends_it_but_has_one_token() -> None:
    reference = bigram_model({"a": {"<end>": 0.9, "b": 0.1}, "b": {"<end>": 1.0}})
    assert set(neighbours(reference, word_tokenizer(), "c a d d d", seed=0)) == {"c a b"}


def test_the_share_of_likelier_neighbours_is_that_counted_by_hand() -> None:
    model = bigram_model({"a": {"b": 0.5, "c": 0.3, "d": 0.2}, "b": {"b": 0.6, "c": 0.4}})
    # Mean losses: "a b c" -(log .5 + log .4) / 2 = 0.80; "a b b" 0.60; "a c" 1.20; "a b" 0.69; "a d" 1.61.
    others = ["a b b", "a c", "a b", "a d", "a b c"]
    assert share_below(model, word_tokenizer(), "a b c", others) == pytest.approx(2 / 5)
    assert share_below(model, word_tokenizer(), "a b b", others) == pytest.approx(0)
    assert share_below(model, word_tokenizer(), "a d", others) == pytest.approx(4 / 5)
    assert share_below(model, word_tokenizer(), "a", others) is None
    assert share_below(model, word_tokenizer(), "a b", ["a"]) is None


def test_a_model_that_knows_a_text_is_told_from_one_that_does_not() -> None:
    reference = bigram_model({"b": {"b": 0.5, "c": 0.5}, "c": {"b": 0.5, "c": 0.5}})
    text = "a b c b c b c b c b"
    written = neighbours(reference, word_tokenizer(), text, seed=3)
    knows = bigram_model({"a": {"b": 1.0}, "b": {"c": 0.99, "b": 0.01}, "c": {"b": 0.99, "c": 0.01}})
    knows_not = bigram_model({"a": {"b": 1.0}, "b": {"c": 0.3, "b": 0.7}, "c": {"b": 0.3, "c": 0.7}})
    known, unknown = (share_below(model, word_tokenizer(), text, written) for model in (knows, knows_not))
    assert known == 0
    assert unknown is not None and unknown > 0.9
    assert [neighbour_score([share]) for share in (known, unknown)] == [1.0, 0.0]


def test_the_score_is_the_share_of_examples_below_a_tenth() -> None:
    assert neighbour_score([0.0, 0.09, 0.1, 0.5]) == 0.5
    with pytest.raises(ValueError, match="no example"):
        neighbour_score([])


def test_the_examples_are_the_first_hundred_of_pythons_shuffle_with_seed_0() -> None:
    items = list(range(250))
    random.seed(0)
    shuffled = items.copy()
    random.shuffle(shuffled)
    assert examples(items) == shuffled[:100]
    assert items == list(range(250))
    assert sorted(examples(["x", "y"])) == ["x", "y"]


def test_auc_counts_pairs_by_hand() -> None:
    assert auc([3.0, 1.0], [2.0, 1.0, 0.0]) == pytest.approx((3 + 1.5) / 6)
    assert auc([], [1.0]) is None
    assert auc([1.0], []) is None
