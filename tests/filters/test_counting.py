from __future__ import annotations

import re
import string

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.filters.counting import (
    PUNCTUATION,
    SPACE,
    characters,
    characters_but,
    count,
    largest,
    lines,
    matches,
    ratio,
    total,
    words,
)

WHITE = " \n\t\r\v\f\x1c\x85\u00a0\u2028\u3000"
TEXT = st.text(st.characters(codec="utf-8") | st.sampled_from(WHITE + ".,-…#a1é世🙂\u0301"))


def arrow(*contents: str) -> pa.Array:
    return pa.array(contents, pa.large_string())


@given(st.lists(TEXT, min_size=1, max_size=5))
def test_counts_are_those_of_python(contents: list[str]) -> None:
    texts = arrow(*contents)
    assert characters(texts).to_pylist() == [len(text) for text in contents]
    assert [found or [] for found in words(texts).to_pylist()] == [text.split() for text in contents]
    assert count(words(texts)).to_pylist() == [len(text.split()) for text in contents]
    without_space = [sum(not character.isspace() for character in text) for text in contents]
    assert characters_but(texts, SPACE).to_pylist() == without_space
    split = [re.sub(r"\r?\n\Z", "", text).split("\n") for text in contents]
    found = lines(texts)
    assert found.to_pylist() == split
    lengths = pc.utf8_length(pc.list_flatten(found))
    assert total(found, lengths).to_pylist() == [sum(map(len, of_text)) for of_text in split]
    assert largest(found, lengths).to_pylist() == [max(map(len, of_text)) for of_text in split]


@pytest.mark.parametrize(
    ("text", "number", "with_letters"),
    [
        ("", 0, 0),
        (" \n\t ", 0, 0),
        ("one", 1, 1),
        ("don't  stop", 2, 2),
        ("Größe naïve e\u0301te\u0301", 3, 3),
        ("我喜欢 读书。", 2, 2),
        ("हिन्दी में लिखा", 3, 3),
        ("a\u00a0b\u3000c\u2028d\u0085e", 5, 5),
        ("1 2,3 -- 🙂 x1", 5, 1),
    ],
)
def test_words_of_any_script(text: str, number: int, with_letters: int) -> None:
    found = words(arrow(text))
    assert count(found).to_pylist() == [number]
    assert total(found, pc.match_substring_regex(pc.list_flatten(found), r"\pL")).to_pylist() == [with_letters]


def test_letters_are_what_remains_without_punctuation_and_space() -> None:
    assert characters_but(arrow(string.punctuation + string.whitespace), SPACE + PUNCTUATION).to_pylist() == [0]
    assert characters_but(arrow("„So“, (1) – 世界。 🙂"), SPACE + PUNCTUATION).to_pylist() == [6]


def test_ratio_with_nothing_to_divide_by_is_zero() -> None:
    assert ratio(pa.array([0, 3], pa.int64()), pa.array([0, 4], pa.int64())).to_pylist() == [0, 0.75]


def test_matches_do_not_overlap() -> None:
    assert matches(arrow("aaaa", ""), "aa").to_pylist() == [2, 0]
