from __future__ import annotations

import copy
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from core.errors import DataError
from core.tokens.chat import chat, render
from core.tokens.encoding import token_span
from core.tokens.options import PhaseData
from core.tokens.samples import SAMPLES, Account, make_samples
from core.tokens.token_bytes import spans_by_bytes, token_bytes
from core.tokens.tokenizer import train_tokenizer
from tests.tokens.conftest import dialogues, pairs, text_documents


def options(**changes):
    return PhaseData(**({"sources": ["t"], "sequence_length": 256} | changes))


def learned(sample, tokenizer) -> list[str]:
    """The text of each span that is learned."""
    ids, spans = sample["input_ids"].as_py(), np.array(sample["loss_mask"].as_py()).reshape(-1, 2)
    return [tokenizer.decode(ids[start:end]) for start, end in spans]


def test_any_text_survives_tokenizing(tokenizer):
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.text(min_size=1, max_size=80), st.sampled_from(["", "<|endoftext|>", "<|im_start|>x"]))
    def check(text, more):
        samples, _ = make_samples(text_documents([text + more]), tokenizer, options(sequence_length=4096))
        ids = samples["input_ids"][0].as_py()
        assert tokenizer.decode(ids) == text + more + "<|endoftext|>"
        assert ids.count(tokenizer.eos_token_id) == 1

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
    assert samples["input_ids"][0].as_py() == tokenizer.apply_chat_template(messages, return_dict=False)


def test_both_templates_agree_where_the_tokenizers_own_is_chatml(tokenizer):
    turns = [("user", "Fox?"), ("assistant", "Brown."), ("user", "Dog?"), ("assistant", "Lazy.")]
    chatml, _ = make_samples(dialogues([turns]), tokenizer, options())
    jinja, _ = make_samples(dialogues([turns]), tokenizer, options(chat_template="tokenizer"))
    assert chatml == jinja


def test_a_text_has_one_bos_and_one_eos(sentencepiece_tokenizer):
    samples, _ = make_samples(text_documents(["The fox", "<s>The fox</s>"]), sentencepiece_tokenizer, options())
    for sample in samples["input_ids"].to_pylist():
        assert (sample[0], sample[-1]) == (1, 2)
        assert sample.count(1) == sample.count(2) == 1
    assert samples["input_ids"][0].as_py()[:-1] == sentencepiece_tokenizer("The fox")["input_ids"]
    assert samples["loss_mask"][0].as_py() == [1, len(samples["input_ids"][0])]


def test_a_long_text_goes_on_in_further_samples_without_losing_a_token(tokenizer):
    text = "The quick brown fox jumps over the lazy dog. " * 20
    samples, account = make_samples(text_documents([text]), tokenizer, options(sequence_length=16))
    ids = [token for sample in samples["input_ids"].to_pylist() for token in sample]
    whole = [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
    assert ids == whole[: len(ids)]
    assert len(ids) + account.truncated_tokens == len(whole)
    assert (account.tokens, account.target_tokens) == (len(ids), len(ids) - account.samples)
    assert all(len(sample) <= 16 for sample in samples["input_ids"].to_pylist())


def test_a_long_dialogue_is_truncated_and_counted_in_tokens(tokenizer):
    turns = [("user", "Fox?"), ("assistant", "The lazy dog. " * 40)]
    samples, account = make_samples(dialogues([turns]), tokenizer, options(sequence_length=32))
    whole, _ = make_samples(dialogues([turns]), tokenizer, options(sequence_length=4096))
    assert len(samples["input_ids"][0]) == 32
    assert account.truncated_tokens == len(whole["input_ids"][0]) - 32
    assert account.truncated_samples == 1
    assert samples["loss_mask"][0].as_py() == [whole["loss_mask"][0].as_py()[0], 32]


def test_a_tokenizer_that_cuts_and_pads_by_itself_does_neither_here(tokenizer):
    turns = [("user", "Fox?"), ("assistant", "The lazy dog. " * 4)]
    expected = [
        make_samples(each, tokenizer, options()) for each in (dialogues([turns]), text_documents(["fox " * 20]))
    ]
    tokenizer.backend_tokenizer.enable_truncation(8)
    tokenizer.backend_tokenizer.enable_padding(length=300)
    assert make_samples(dialogues([turns]), tokenizer, options()) == expected[0]
    tokenizer.backend_tokenizer.enable_truncation(8)
    assert make_samples(text_documents(["fox " * 20]), tokenizer, options()) == expected[1]


def test_what_has_nothing_to_learn_is_refused_and_counted(tokenizer):
    unanswered = [("user", "Fox?")]
    too_long = [("user", "The lazy dog. " * 60), ("assistant", "Quick.")]
    answered = [("user", "Fox?"), ("assistant", "Quick.")]
    samples, account = make_samples(dialogues([unanswered, too_long, answered]), tokenizer, options())
    assert samples["document"].to_pylist() == ["d:2"]
    assert account.refused == {"nothing_to_learn": 2}
    empty, account = make_samples(text_documents(["", "fox"]), tokenizer, options())
    assert (empty.num_rows, account.refused) == (1, {"empty": 1})
    none, account = make_samples(dialogues([[], unanswered]), tokenizer, options())
    assert (none.num_rows, account.refused) == (0, {"empty": 1, "nothing_to_learn": 1})
    assert none.schema == SAMPLES


def test_texts_and_dialogues_keep_their_order(tokenizer):
    answered = [("user", "Fox?"), ("assistant", "Quick.")]
    parts = [text_documents(["fox " * 200]), dialogues([answered]), text_documents(["", "dog"])]
    samples, account = make_samples(pa.concat_tables(parts), tokenizer, options(sequence_length=48))
    assert samples.num_rows > 4
    assert samples["document"].to_pylist() == ["t:0"] * (samples.num_rows - 2) + ["d:0", "t:1"]
    assert (account.documents, account.samples) == (4, samples.num_rows)


# Preference pairs


def test_a_pair_is_two_consecutive_samples_of_which_the_completion_is_learned(tokenizer):
    documents = pairs([("Fox?", "Quick.", "Lazy."), ("Dog?", "Lazy. <|im_end|>", "")])
    samples, account = make_samples(documents, tokenizer, options(learn_roles=["user"], system_prompt="Be brief."))
    assert samples["document"].to_pylist() == ["p:0", "p:0", "p:1", "p:1"]
    expected = ["Quick.", "Lazy.", "Lazy. <|im_end|>", ""]
    assert [learned(row(samples, index), tokenizer) for index in range(4)] == [
        [f"{completion}<|im_end|>", "<|endoftext|>"] for completion in expected
    ]
    text = tokenizer.decode(samples["input_ids"][1].as_py())
    assert text.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nFox?<|im_end|>\n")
    assert (account.documents, account.samples, account.refused) == (2, 4, {})
    dialogue = [("system", "Be brief."), ("user", "Fox?"), ("assistant", "Quick.")]
    alone, _ = make_samples(dialogues([dialogue]), tokenizer, options())
    assert row(samples, 0)["input_ids"] == row(alone, 0)["input_ids"]


def test_a_pair_of_which_nothing_is_left_to_learn_or_to_prefer_is_refused_as_a_whole(tokenizer):
    long = "The lazy dog. " * 40
    kept = ("Fox?", long, "Brown.")
    prompt_too_long = (long, "Quick.", "Brown.")
    equal = ("Fox?", "Quick.", "Quick.")
    equal_when_truncated = ("Fox?", long + "Quick.", long + "Brown.")
    documents = pairs([prompt_too_long, equal, kept, equal_when_truncated])
    samples, account = make_samples(documents, tokenizer, options(sequence_length=64))
    assert samples["document"].to_pylist() == ["p:2", "p:2"]
    assert account.refused == {"completion_truncated": 1, "completions_equal": 2}
    assert account.samples + 2 * sum(account.refused.values()) == 2 * account.documents
    whole, _ = make_samples(pairs([kept]), tokenizer, options(sequence_length=4096))
    assert [len(ids) for ids in samples["input_ids"]] == [64, len(whole["input_ids"][1])]
    assert (account.truncated_samples, account.truncated_tokens) == (1, len(whole["input_ids"][0]) - 64)


def test_pairs_and_other_documents_do_not_come_together(tokenizer):
    mixed = pa.concat_tables([text_documents(["fox"]), pairs([("Fox?", "Quick.", "Lazy.")])])
    with pytest.raises(DataError, match=r"preference pairs \(of p\) and other documents \(of t\) cannot be learned"):
        make_samples(mixed, tokenizer, options())


def test_accounts_add_up(tokenizer):
    answered = [("user", "Fox?"), ("assistant", "The lazy dog. " * 9)]
    parts = [dialogues([answered, answered[:1]]), dialogues([[], answered])]
    total = Account()
    for part in parts:
        total.add(make_samples(part, tokenizer, options(sequence_length=24))[1])
    assert total == make_samples(pa.concat_tables(parts), tokenizer, options(sequence_length=24))[1]
    assert Account(**asdict(total)) == total
    assert (total.truncated_samples, total.refused) == (2, {"nothing_to_learn": 1, "empty": 1})


# Where tokens lie in a text


@pytest.mark.parametrize("kind", ["tokenizer", "sentencepiece_tokenizer"])
@pytest.mark.parametrize("begin", ["", "{eos}"])
def test_tokens_are_found_by_their_bytes_as_by_the_tokenizers_own_account(kind, begin, request):
    tokenizer = request.getfixturevalue(kind)
    backend, known = tokenizer.backend_tokenizer, token_bytes(tokenizer)
    begin = begin.format(eos=tokenizer.eos_token)
    places = st.tuples(st.integers(1, 40), st.integers(1, 40))  # the first token is never learned

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(st.tuples(st.text(max_size=40), st.lists(places, max_size=3)), min_size=1, max_size=4))
    def check(rows):
        texts = [f"{begin}{text}{tokenizer.eos_token} 🙂" for text, _ in rows]
        assume(kind == "tokenizer" or not any("▁" in text for text in texts))
        spans = [
            sorted({(start, min(start + size, len(text))) for start, size in of_text if start < len(text)})
            for text, (_, of_text) in zip(texts, rows, strict=True)
        ]
        encodings = backend.encode_batch(texts, add_special_tokens=False)
        ids = np.array([id_ for encoding in encodings for id_ in encoding.ids], np.int32)
        bounds = np.cumsum([0, *map(len, encodings)])
        expected = [
            [
                (sum(end <= start for _, end in offsets), sum(begin < stop for begin, _ in offsets))
                for start, stop in each
            ]
            for each, offsets in zip(spans, [encoding.offsets for encoding in encodings], strict=True)
        ]
        assert spans_by_bytes(texts, spans, ids, bounds, known) == expected
        assert [
            [token_span(encoding, *span, len(text)) for span in each]
            for each, encoding, text in zip(spans, encodings, texts, strict=True)
        ] == expected

    check()


def test_where_bytes_tell_nothing_the_tokenizers_own_account_is_asked(sentencepiece_tokenizer, legacy_tokenizer):
    assert token_bytes(legacy_tokenizer) is None
    text = "The ▁ fox</s>"  # of which the tokens make a space
    encoding = sentencepiece_tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
    known = token_bytes(sentencepiece_tokenizer)
    assert spans_by_bytes([text], [[(6, 9)]], np.array(encoding.ids), np.array([0, len(encoding)]), known) is None
    turns = [("user", "Fox?"), ("assistant", "▁ 漢 ▁")]
    alone, _ = make_samples(dialogues([turns]), sentencepiece_tokenizer, options())
    assert learned(row(alone, 0), sentencepiece_tokenizer)[0].endswith("漢  <|im_end|>")


def test_white_space_that_the_tokenizer_trims_off_its_offsets_is_learned_all_the_same(tokenizer):
    """As with the post-processor of GPT-2 and RoBERTa: no token claims the space before an answer."""
    from tokenizers import processors

    turns = [("user", "Fox?"), ("assistant", "Quick 漢.")]
    bound = chat(options(chat_template="llama2"), tokenizer)
    text, spans = render(turns, bound)
    trimming = copy.deepcopy(tokenizer).backend_tokenizer
    trimming.post_processor = processors.ByteLevel(trim_offsets=True)
    encoding = trimming.encode(text, add_special_tokens=False)
    assert encoding.char_to_token(spans[0][0]) is None
    expected, _ = make_samples(dialogues([turns]), tokenizer, options(chat_template="llama2"))
    assert list(token_span(encoding, *spans[0], len(text))) == expected["loss_mask"][0].as_py()


def test_a_tokenizer_without_text_is_an_error():
    with pytest.raises(DataError, match="no text"):
        train_tokenizer(lambda: [text_documents([""])], vocabulary=400, characters=100)
