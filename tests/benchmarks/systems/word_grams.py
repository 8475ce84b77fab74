"""Texts as sets of n-grams in plain Python, for systems that leave that to their user."""

from __future__ import annotations

import re

NGRAM = 5


def grams_of(text: str) -> list[str]:
    """The n-grams of lower-cased words; a text that has fewer words is one n-gram."""
    words = re.findall(r"\w+", text.lower())
    return [" ".join(words[i : i + NGRAM]) for i in range(max(len(words) - NGRAM + 1, 1 if words else 0))]
