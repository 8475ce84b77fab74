"""Small tokenizers of three kinds, trained on text in front of the reader."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from core.documents.table import DOCUMENTS
from core.tokens.tokenizer import train_tokenizer

TEXTS = ["The quick brown fox jumps over the lazy dog. " * 3, "Fünf große Käfer, 漢字 और हिन्दी 🙂\n\tdef f(x):\n"]


def text_documents(texts: list[str]) -> pa.Table:
    """Documents of plain text, with ids t:0, t:1, ..."""
    rows = [{"id": f"t:{index}", "source": "t", "text": text} for index, text in enumerate(texts)]
    return pa.Table.from_pylist(rows, DOCUMENTS)


def dialogues(turns: list[list[tuple[str, str]]]) -> pa.Table:
    """Documents of messages, from (role, content) pairs."""
    rows = [
        {"id": f"d:{index}", "source": "d", "messages": [{"role": role, "content": content} for role, content in each]}
        for index, each in enumerate(turns)
    ]
    return pa.Table.from_pylist(rows, DOCUMENTS)


def pairs(triples: list[tuple[str, str, str]]) -> pa.Table:
    """Preference pairs, from (prompt, chosen, rejected)."""
    rows = [
        {"id": f"p:{index}", "source": "p", "prompt": prompt, "chosen": chosen, "rejected": rejected}
        for index, (prompt, chosen, rejected) in enumerate(triples)
    ]
    return pa.Table.from_pylist(rows, DOCUMENTS)


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """Byte-level BPE with ChatML's tokens, which puts no BOS before a text."""
    return train_tokenizer(lambda: [text_documents(TEXTS)], vocabulary=400, characters=10_000)


@pytest.fixture(params=["tokenizer", "sentencepiece_tokenizer", "legacy_tokenizer"])
def any_tokenizer(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def sentencepiece_tokenizer() -> Any:
    """As Mistral's and newer ones of Llama 2: a space is put before a text, but not after BOS."""
    from tokenizers import pre_tokenizers

    return sentencepiece(None, pre_tokenizers.Metaspace(prepend_scheme="first"))


@pytest.fixture(scope="session")
def legacy_tokenizer() -> Any:
    """As Llama 2's at first: a space is put before a text, and after every special token."""
    from tokenizers import normalizers

    return sentencepiece(normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), None)


def sentencepiece(normalizer: Any, pre_tokenizer: Any) -> Any:
    """BPE with spaces as ▁ and byte fallback, BOS before every text, without ChatML's tokens.

    Its padding is its EOS, as is usual for tokenizers that have no padding token.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.Metaspace()
    learned.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=150, show_progress=False))
    pieces = learned.get_vocab()
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *sorted(pieces, key=pieces.get)]
    merges = [tuple(merge) for merge in json.loads(learned.to_str())["model"]["merges"]]
    vocabulary = {name: index for index, name in enumerate(names)}
    made = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if normalizer is not None:
        made.normalizer = normalizer
    if pre_tokenizer is not None:
        made.pre_tokenizer = pre_tokenizer
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.add_special_tokens(["<unk>", "<s>", "</s>"])
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="</s>"
    )
