from __future__ import annotations

import re
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from core.filters.length import Length, length
from tests.filters.conftest import chat, pairs, reasons, table, texts


def test_bounds_are_included() -> None:
    documents = texts("a", "ab", "abcd", "abcde")
    verdict = length(documents, Length(min_characters=2, max_characters=4))
    assert pairs(verdict) == [
        ("too_short", "1 characters"),
        (None, None),
        (None, None),
        ("too_long", "5 characters"),
    ]


def test_words_are_counted_in_any_script() -> None:
    documents = texts("one", "one two", "one two three", "我喜欢读书", "एक दो")
    verdict = length(documents, Length(min_words=2, max_words=2))
    assert reasons(verdict) == ["too_few_words", None, "too_many_words", "too_few_words", None]


def test_slimpajama_rule_counts_what_is_no_punctuation_and_no_space() -> None:
    long_enough = "x" * 200
    filler = " .,;:!?\n\t()[]{}'\"-_" * 100
    documents = texts(long_enough, long_enough[1:], long_enough[1:] + filler, filler + long_enough, "")
    verdict = length(documents, Length(min_letters=200))
    assert pairs(verdict) == [
        (None, None),
        ("too_few_letters", "199 letters"),
        ("too_few_letters", "199 letters"),
        (None, None),
        ("too_few_letters", "0 letters"),
    ]


def test_turns_of_a_dialogue_and_sides_of_a_pair_count_together() -> None:
    pair = {"source": "s", "prompt": "one two", "chosen": "three", "rejected": "four"}
    documents = table(chat("one two", "three four"), chat("one", "two"), pair)
    assert reasons(length(documents, Length(min_words=4))) == [None, "too_few_words", None]


def test_first_rule_that_is_broken_gives_the_reason() -> None:
    assert pairs(length(texts("a"), Length(min_characters=5, min_words=5))) == [("too_short", "1 characters")]


def test_only_the_sources_named_are_judged() -> None:
    documents = pa.concat_tables([texts("a", source="one"), texts("b", "ccccc", source="two"), texts("d")])
    options = Length(min_characters=5, sources=["two", "s"])
    assert reasons(length(documents, options)) == [None, "too_short", None, "too_short"]
    assert reasons(length(documents, Length(min_characters=5, sources=["three"]))) == [None] * 4


def test_part_of_a_table_and_an_empty_one_are_judged_alike() -> None:
    documents = pa.concat_tables([texts("a", "bbbbb"), texts("ccccc", "d")])
    options = Length(min_characters=5)
    assert reasons(length(documents.slice(1, 3), options)) == [None, None, "too_short"]
    assert reasons(length(documents.slice(0, 0), options)) == []


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({}, "no bound is given"),
        ({"min_words": 5, "max_words": 4}, "min_words 5 is above max_words 4"),
        ({"min_characters": -1}, "greater than or equal to 0"),
        ({"sources": [], "min_words": 1}, "at least 1 item"),
    ],
)
def test_bounds_that_cannot_be_meant_are_refused(declared: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(says)):
        Length.model_validate(declared)
