"""A small tokenizer, trained on text in front of the reader."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from core.documents.table import DOCUMENTS
from core.tokens.tokenizer import train_tokenizer


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


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    texts = ["The quick brown fox jumps over the lazy dog. " * 3, "Fünf große Käfer, 漢字 और हिन्दी 🙂\n\tdef f(x):\n"]
    return train_tokenizer(lambda: [text_documents(texts)], vocabulary=400, characters=10_000)
