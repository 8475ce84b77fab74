from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.documents.table import DOCUMENTS
from core.tokens.decoding import decoded
from core.tokens.options import PhaseData
from core.tokens.preview import SAMPLES_OF_DOCUMENT, preview_phase
from core.tokens.samples import make_samples
from core.tokens.shards import TokenRows, write_rows
from tests.tokens.conftest import dialogues, text_documents

FAMILY = "👨‍👩‍👧"


def options(**changes):
    return PhaseData(**({"sources": ["d"], "sequence_length": 256} | changes))


def pieces_of(text, tokenizer):
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids, list(decoded(ids, np.zeros(len(ids), bool), tokenizer))


def pairs(rows):
    table = [
        {"id": f"p:{index}", "source": "p", "prompt": prompt, "chosen": chosen, "rejected": rejected}
        for index, (prompt, chosen, rejected) in enumerate(rows)
    ]
    return pa.Table.from_pylist(table, DOCUMENTS)


@pytest.fixture(scope="module")
def byte_fallback():
    """A tokenizer as Llama's: spaces are ▁, and what the vocabulary lacks is spelled in bytes."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    letters = {letter: number for number, letter in enumerate(["<unk>", "<s>", "</s>", "▁", *"abcdefghij\n"])}
    spelled = {f"<0x{byte:02X}>": len(letters) + byte for byte in range(256)}
    made = Tokenizer(models.BPE(letters | spelled, [], unk_token="<unk>", byte_fallback=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    made.decoder = decoders.Sequence(steps)
    made.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in ("<unk>", "<s>", "</s>")])
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def test_pieces_joined_are_the_text_and_its_tokens(tokenizer, byte_fallback):
    @settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.text(min_size=1, max_size=60), st.sampled_from([tokenizer, byte_fallback]))
    def check(text, tokenizer):
        if any(special in text for special in tokenizer.all_special_tokens):
            return
        ids, pieces = pieces_of(text, tokenizer)
        assert "".join(piece.text for piece in pieces) == tokenizer.backend_tokenizer.decode(ids)
        assert [token for piece in pieces for token in piece.ids] == ids

    check()


def test_a_character_of_several_tokens_is_one_piece(tokenizer, byte_fallback):
    for each in (tokenizer, byte_fallback):
        ids, pieces = pieces_of(f"a{FAMILY}の", each)
        assert len(ids) > len(pieces)
        assert not any("\ufffd" in piece.text for piece in pieces)
        assert "👩" in [piece.text for piece in pieces]


def test_words_keep_the_space_before_them_where_it_is_part_of_the_token(byte_fallback):
    _, pieces = pieces_of("ab cd", byte_fallback)
    assert [piece.text for piece in pieces] == ["", "a", "b", " ", "c", "d"]


def test_a_character_that_is_cut_off_is_shown_as_unknown_and_loses_no_token(tokenizer):
    ids = tokenizer("ab👨", add_special_tokens=False)["input_ids"][:-1]
    pieces = list(decoded(ids, np.zeros(len(ids), bool), tokenizer))
    assert pieces[-1].text == "\ufffd"
    assert sum(len(piece.ids) for piece in pieces) == len(ids)


def test_no_piece_is_both_trained_and_masked(tokenizer):
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.text(alphabet="ab👨の \n", min_size=1, max_size=12), st.data())
    def check(text, data):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        trained = np.array(data.draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids))))
        pieces = list(decoded(ids, trained, tokenizer))
        assert [piece.trained for piece in pieces for _ in piece.ids] == trained.tolist()

    check()


def test_what_the_assistant_says_is_trained_and_marks_are_special(tokenizer):
    documents = dialogues([[("user", "Fox?"), ("assistant", f"Quick {FAMILY}.")]])
    (sample,) = preview_phase(documents, tokenizer, options(), 3).samples
    trained = "".join(piece.text for piece in sample.pieces if piece.trained)
    assert trained == f"Quick {FAMILY}.<|im_end|><|endoftext|>"
    special = [piece.text for piece in sample.pieces if piece.special]
    assert special == ["<|im_start|>", "<|im_end|>", "<|im_start|>", "<|im_end|>", "<|endoftext|>"]
    assert sample.trained_tokens == sum(len(piece.ids) for piece in sample.pieces if piece.trained)
    assert sample.length == sample.trained_tokens + sample.masked_tokens == sum(len(p.ids) for p in sample.pieces)


@pytest.mark.parametrize("packing", [True, False])
def test_counts_and_fill_are_those_of_the_rows_that_a_run_writes(tokenizer, tmp_path, packing):
    turns = [[("user", "Fox? " * (1 + n % 7)), ("assistant", "Lazy dog. " * (1 + n % 11))] for n in range(60)]
    documents = dialogues([*turns, [("user", "Nobody answers.")]])
    counts = preview_phase(documents, tokenizer, options(packing=packing, sequence_length=64), 1).counts
    samples, account = make_samples(documents, tokenizer, options(sequence_length=64))
    rows = write_rows(samples, tmp_path / "rows.arrow", 64, packing)
    written = TokenRows([tmp_path / "rows.arrow"])
    assert (counts.rows, counts.tokens) == (rows, written.lengths.sum())
    assert counts.trained_tokens == written.target_tokens.sum()
    assert counts.trained_tokens + counts.masked_tokens + counts.padding_tokens == rows * 64
    assert counts.fill == pytest.approx(written.lengths.sum() / (rows * 64))
    assert (counts.documents, counts.samples, counts.refused) == (61, account.samples, {"nothing_to_learn": 1})
    assert counts.truncated_tokens == account.truncated_tokens > 0


def test_a_truncated_sample_tells_how_many_tokens_are_left_out(tokenizer):
    documents = dialogues([[("user", "Fox?"), ("assistant", "Lazy dog. " * 50)], [("user", "a"), ("assistant", "b")]])
    cut, whole = preview_phase(documents, tokenizer, options(sequence_length=64), 2).samples
    longer, _ = preview_phase(documents, tokenizer, options(sequence_length=1024), 2).samples
    assert (cut.length, cut.length + cut.truncated_tokens) == (64, longer.length)
    assert whole.truncated_tokens == longer.truncated_tokens == 0


def test_what_becomes_no_sample_is_named_with_its_reason(tokenizer):
    documents = dialogues([[("user", "Hm?")], [("user", "a"), ("assistant", "b")], [("user", "Well?")]])
    refused = preview_phase(documents, tokenizer, options(), 1).refused
    assert [(each.document, each.reason) for each in refused] == [("d:0", "nothing_to_learn")]


def test_of_each_source_the_first_documents_that_become_samples_are_shown(tokenizer):
    texts = text_documents(["", "The quick fox. ", "The lazy dog. " * 200])
    chats = dialogues([[("user", "a"), ("assistant", "b")]] * 4)
    preview = preview_phase(pa.concat_tables([texts, chats]), tokenizer, options(sources=["t", "d"]), 2)
    made = {sample.document: sample.of for sample in preview.samples}
    assert list(made) == ["t:1", "t:2", "d:0", "d:1"]
    assert made["t:2"] > SAMPLES_OF_DOCUMENT
    assert sum(sample.document == "t:2" for sample in preview.samples) == SAMPLES_OF_DOCUMENT
    assert preview.counts.documents == 7
    assert [(each.document, each.reason) for each in preview.refused] == [("t:0", "empty")]


def test_no_documents_make_an_empty_preview(tokenizer):
    preview = preview_phase(DOCUMENTS.empty_table(), tokenizer, options(), 2)
    assert (preview.samples, preview.refused, preview.pairs, preview.distances) == ([], [], [], None)
    assert (preview.counts.tokens, preview.counts.rows, preview.counts.fill) == (0, 0, None)


def test_pairs_have_their_edit_distance_and_its_median_over_all(tokenizer):
    documents = pairs([("Sum?", "1 + 1 = 2", "1 + 1 = 3"), ("Fox?", "Quick", "Lazy"), ("Dog?", "abcd", "abxy")])
    preview = preview_phase(documents, tokenizer, options(sources=["p"]), 2)
    assert [(pair.document, pair.edit_distance) for pair in preview.pairs] == [("p:0", 1), ("p:1", 5)]
    assert preview.pairs[0].share == pytest.approx(1 / 9)
    distances = preview.distances
    assert (distances.pairs, distances.of, distances.median) == (3, 3, 2)
    assert (distances.least_share, distances.median_share, distances.largest_share) == pytest.approx((1 / 9, 0.5, 1))


def test_a_pairs_samples_are_shown_by_name_and_packed_together(tokenizer, tmp_path):
    documents = pairs([(f"Fox {n}? " * (1 + n % 5), "Quick. " * (1 + n % 4), "Lazy. ") for n in range(20)])
    wanted = options(sources=["p"], sequence_length=64)
    preview = preview_phase(documents, tokenizer, wanted, 2)
    parts = [(sample.document, sample.part) for sample in preview.samples]
    assert parts == [("p:0", "chosen"), ("p:0", "rejected"), ("p:1", "chosen"), ("p:1", "rejected")]
    trained = ["".join(piece.text for piece in sample.pieces if piece.trained) for sample in preview.samples[:2]]
    assert trained[0].startswith("Quick. ")
    assert trained[1].startswith("Lazy. ")
    samples, _ = make_samples(documents, tokenizer, wanted)
    rows = write_rows(samples, tmp_path / "rows.arrow", 64, True, samples_per_unit=2)
    tokens = int(TokenRows([tmp_path / "rows.arrow"]).lengths.sum())
    assert (preview.counts.rows, preview.counts.row_length, preview.counts.tokens) == (rows, 128, tokens)


def test_what_only_looks_like_a_special_token_is_none(tokenizer):
    documents = dialogues([[("user", "Write <|im_end|>"), ("assistant", "<|endoftext|>")]])
    (sample,) = preview_phase(documents, tokenizer, options(), 1).samples
    special = [piece.text for piece in sample.pieces if piece.special]
    assert special == ["<|im_start|>", "<|im_end|>", "<|im_start|>", "<|im_end|>", "<|endoftext|>"]
    assert "<|endoftext|><|im_end|>" in "".join(piece.text for piece in sample.pieces if piece.trained)
