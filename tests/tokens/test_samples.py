from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import DataError
from core.tokens.options import PhaseData
from core.tokens.samples import make_samples
from core.tokens.tokenizer import train_tokenizer
from tests.tokens.conftest import dialogues, text_documents


def options(**changes):
    return PhaseData(**({"sources": ["t"], "sequence_length": 256} | changes))


def learned(sample, tokenizer) -> list[str]:
    """The text of each span that is learned."""
    ids, spans = sample["input_ids"].as_py(), np.array(sample["loss_mask"].as_py()).reshape(-1, 2)
    return [tokenizer.decode(ids[start:end]) for start, end in spans]


def test_any_text_survives_tokenizing(tokenizer):
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.text(min_size=1, max_size=80))
    def check(text):
        if any(special in text for special in tokenizer.all_special_tokens):
            return
        samples, _ = make_samples(text_documents([text]), tokenizer, options(sequence_length=4096))
        ids = samples["input_ids"][0].as_py()
        assert tokenizer.decode(ids) == text + "<|endoftext|>"

    check()


def test_only_the_assistants_words_and_ends_are_learned(tokenizer):
    turns = [
        ("system", "Be brief."),
        ("user", "Fox?"),
        ("assistant", "Quick."),
        ("user", "Dog?"),
        ("assistant", "Lazy."),
    ]
    samples, account = make_samples(dialogues([turns]), tokenizer, options())
    assert learned(row(samples, 0), tokenizer) == [
        "Quick.<|im_end|>",
        "Lazy.<|im_end|>",
        "<|endoftext|>",
    ]
    assert samples["target_tokens"][0].as_py() == sum(
        len(tokenizer(text)["input_ids"]) for text in ("Quick.<|im_end|>", "Lazy.<|im_end|>", "<|endoftext|>")
    )
    assert (account.documents, account.samples, account.refused) == (1, 1, {})


def row(samples: pa.Table, index: int):
    return {name: samples[name][index] for name in samples.column_names}


def test_ids_are_those_of_the_chat_template(tokenizer):
    turns = [("user", "Fox? 漢字 🙂"), ("assistant", "The quick\nbrown fox.")]
    samples, _ = make_samples(dialogues([turns]), tokenizer, options())
    messages = [{"role": role, "content": content} for role, content in turns]
    expected = tokenizer.apply_chat_template(messages, return_dict=False)
    assert samples["input_ids"][0].as_py() == [*expected, tokenizer.eos_token_id]


def test_both_templates_agree_where_the_tokenizers_own_is_chatml(tokenizer):
    turns = [("user", "Fox?"), ("assistant", "Brown."), ("user", "Dog?"), ("assistant", "Lazy.")]
    chatml, _ = make_samples(dialogues([turns]), tokenizer, options())
    jinja, _ = make_samples(dialogues([turns]), tokenizer, options(chat_template="tokenizer"))
    assert chatml["input_ids"] == jinja["input_ids"]
    # the template's own turn ends with a newline after <|im_end|>, which then counts as the assistant's
    assert jinja["target_tokens"][0].as_py() == chatml["target_tokens"][0].as_py() + 2


def test_a_long_text_goes_on_in_further_samples_without_losing_a_token(tokenizer):
    text = "The quick brown fox jumps over the lazy dog. " * 20
    samples, account = make_samples(text_documents([text]), tokenizer, options(sequence_length=16))
    ids = [token for sample in samples["input_ids"].to_pylist() for token in sample]
    whole = [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
    assert ids == whole[: len(ids)]
    assert len(ids) + account.truncated_tokens == len(whole)
    assert all(len(sample) <= 16 for sample in samples["input_ids"].to_pylist())


def test_a_long_dialogue_is_truncated_and_counted_in_tokens(tokenizer):
    turns = [("user", "Fox?"), ("assistant", "The lazy dog. " * 40)]
    samples, account = make_samples(dialogues([turns]), tokenizer, options(sequence_length=32))
    whole, _ = make_samples(dialogues([turns]), tokenizer, options(sequence_length=4096))
    assert len(samples["input_ids"][0]) == 32
    assert account.truncated_tokens == len(whole["input_ids"][0]) - 32


def test_what_has_nothing_to_learn_is_refused_and_counted(tokenizer):
    unanswered = [("user", "Fox?")]
    too_long = [("user", "The lazy dog. " * 60), ("assistant", "Quick.")]
    answered = [("user", "Fox?"), ("assistant", "Quick.")]
    samples, account = make_samples(dialogues([unanswered, too_long, answered]), tokenizer, options())
    assert samples["document"].to_pylist() == ["d:2"]
    assert account.refused == {"nothing_to_learn": 2}
    empty, account = make_samples(text_documents(["", "fox"]), tokenizer, options())
    assert (empty.num_rows, account.refused) == (1, {"empty": 1})


def test_a_tokenizer_without_text_is_an_error():
    with pytest.raises(DataError, match="no text"):
        train_tokenizer(lambda: [text_documents([""])], vocabulary=400, characters=100)
