from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from core.filters.repetition import Repetition, repetition
from tests.filters.conftest import pairs, reasons, texts

NAMES = (
    *("duplicate_paragraphs", "duplicate_paragraph_characters", "duplicate_lines", "duplicate_line_characters"),
    *(f"top_{n}_gram" for n in (2, 3, 4)),
    *(f"duplicate_{n}_grams" for n in (5, 6, 7, 8, 9, 10)),
)
LIMITS = (0.3, 0.2, 0.3, 0.2, 0.2, 0.18, 0.16, 0.15, 0.14, 0.13, 0.12, 0.11, 0.1)
OFF: dict[str, Any] = {
    **{f"max_duplicate_{what}": 1.0 for what in ("paragraphs", "paragraph_characters", "lines", "line_characters")},
    "max_top_ngram_characters": {},
    "max_duplicate_ngram_characters": {},
}
TEXT = st.lists(
    st.sampled_from(["a", "b", "cc", "世", "é", "🙂", " ", "  ", "\n", "\n\n", "\n\n\n", "\t", "\u2028", "\u3000"]),
    max_size=60,
).map("".join)


def shares(text: str) -> list[float]:
    """Table A1's shares, counted with Python's own strings."""
    found: list[float] = []
    for pieces in (re.split(r"\n{2,}", text.strip()), re.split(r"\n+", text)):
        again = [piece for i, piece in enumerate(pieces) if piece in pieces[:i]]
        found += [len(again) / len(pieces), sum(map(len, again)) / max(len(text), 1)]
    words = text.split()
    for n in (2, 3, 4):
        grams = Counter(" ".join(words[i : i + n]) for i in range(len(words) - n + 1))
        [(gram, times)] = grams.most_common(1) or [("", 0)]
        found.append(len(gram) * times / max(len(text), 1))
    for n in (5, 6, 7, 8, 9, 10):
        known, length, i = set(), 0, 0
        while i <= len(words) - n:
            gram = tuple(words[i : i + n])
            if gram in known:
                length, i = length + len("".join(gram)), i + n
            else:
                known.add(gram)
                i += 1
        found.append(length / max(len(text), 1))
    return found


@settings(deadline=None)  # the first call compiles
@given(st.lists(TEXT, min_size=1, max_size=4))
def test_first_broken_rule_is_that_of_counting_in_python(contents: list[str]) -> None:
    expected = []
    for text in contents:
        broken = (name for name, share, limit in zip(NAMES, shares(text), LIMITS, strict=True) if share > limit)
        expected.append(next(broken, None))
    assert reasons(repetition(texts(*contents), Repetition())) == expected


def judged(text: str, **declared: Any) -> tuple[str | None, str | None]:
    [pair] = pairs(repetition(texts(text), Repetition.model_validate(OFF | declared)))
    return pair


@pytest.mark.parametrize(
    ("text", "declared", "found"),
    [
        (
            "x y\n\nx y\n\nz w",
            {"max_duplicate_paragraphs": 0.33},
            ("duplicate_paragraphs", "0.333 (share of the paragraphs)"),
        ),
        (
            "世界\n\n世界\n\nz",
            {"max_duplicate_paragraph_characters": 0.22},
            ("duplicate_paragraph_characters", "0.222 (share of the characters)"),
        ),
        ("a\nb\na\nc", {"max_duplicate_lines": 0.24}, ("duplicate_lines", "0.25 (share of the lines)")),
        (
            "é\nb\né\nc",
            {"max_duplicate_line_characters": 0.14},
            ("duplicate_line_characters", "0.143 (share of the characters)"),
        ),
        ("a b a b", {"max_top_ngram_characters": {2: 0.85}}, ("top_2_gram", "0.857 (share of the characters)")),
        (
            "a b c a b c",
            {"max_duplicate_ngram_characters": {3: 0.27}},
            ("duplicate_3_grams", "0.273 (share of the characters)"),
        ),
    ],
)
def test_each_limit_is_included_and_drops_beyond_it(text: str, declared: Any, found: tuple[str, str]) -> None:
    assert judged(text, **declared) == found
    higher = {
        key: ({n: share + 0.01 for n, share in limit.items()} if isinstance(limit, dict) else limit + 0.01)
        for key, limit in declared.items()
    }
    assert judged(text, **higher) == (None, None)
    assert judged(text) == (None, None)


def test_empty_documents_and_single_words_are_kept() -> None:
    assert reasons(repetition(texts("", "word"), Repetition())) == [None, None]


def test_a_long_document_does_not_change_the_verdict_on_its_neighbours() -> None:
    long = " ".join(f"w{i}" for i in range(50_000))
    alone = reasons(repetition(texts("spam " * 50, "one two three"), Repetition()))
    assert reasons(repetition(texts("spam " * 50, long, "one two three"), Repetition())) == [alone[0], None, alone[1]]


def test_keys_can_be_text_as_in_a_recipe() -> None:
    options = Repetition.model_validate({"max_top_ngram_characters": {"2": 0.3}})
    assert options.max_top_ngram_characters == {2: 0.3}
    for wrong in ("two", "0", "1.5"):
        with pytest.raises(ValidationError, match=rf"max_top_ngram_characters.`?{re.escape(wrong)}`?"):
            Repetition.model_validate({"max_top_ngram_characters": {wrong: 0.3}})
