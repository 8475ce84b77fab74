"""A small tokenizer."""

from __future__ import annotations

from typing import Any

import pytest

from core.tokens.tokenizer import train_tokenizer
from tests.tokens.conftest import text_documents


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    texts = ["The quick brown fox jumps over the lazy dog. " * 3]
    return train_tokenizer(lambda: [text_documents(texts)], vocabulary=400, characters=10_000)
