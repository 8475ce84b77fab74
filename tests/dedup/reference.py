"""The words of a text, character by character: what the compiled kernels are held to."""

from __future__ import annotations

import unicodedata
from itertools import groupby

SELECTORS = (*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))


def in_word(character: str) -> bool:
    if character.isalnum() or character == "_":  # what Python's \w is
        return True
    return unicodedata.category(character) in ("Mn", "Mc") and ord(character) not in SELECTORS


def words_of(text: str) -> list[str]:
    return ["".join(run) for inside, run in groupby(text.lower(), in_word) if inside]
