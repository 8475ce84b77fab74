from __future__ import annotations

import re
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
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


def test_a_part_is_measured_alone_and_documents_without_it_are_kept() -> None:
    dialogue = {
        "source": "s",
        "messages": [
            {"role": "system", "content": "one two"},
            {"role": "user", "content": "three"},
            {"role": "assistant", "content": "four five six seven"},
        ],
    }
    pair = {"source": "s", "prompt": "one two three", "chosen": "four", "rejected": "five"}
    documents = table(dialogue, chat("one two three four"), pair, {"source": "s", "text": "one two three"})
    least = {"user": [True, False, False, False], "system": [False] * 4, "prompt": [False] * 4}
    for part, dropped in least.items():
        verdict = length(documents, Length(min_words=2, part=part))
        assert [reason is not None for reason in reasons(verdict)] == dropped
    asked = Length(max_words=2, part=["system", "user", "prompt"])
    assert pairs(length(documents, asked)) == [
        ("too_many_words", "3 words"),
        ("too_many_words", "4 words"),
        ("too_many_words", "3 words"),
        (None, None),
    ]


@given(st.lists(st.text("a \n\u00a0", max_size=8), min_size=1, max_size=4))
def test_words_between_spaces_are_counted_as_by_birbal(contents: list[str]) -> None:
    counts = [len(text.split(" ")) for text in contents]
    verdict = length(texts(*contents), Length(words="spaces", min_words=max(counts) + 1))
    assert pairs(verdict) == [("too_few_words", f"{count} words") for count in counts]


@given(st.text("a \n", max_size=8), st.text("a \n", max_size=8))
def test_birbals_count_of_a_question_is_one_more_than_that_of_its_two_turns(instruction: str, given: str) -> None:
    """Its code joins instruction and input by a space, also where there is no instruction."""
    turns = [{"role": "system", "content": instruction}] if instruction else []
    documents = table({"source": "s", "messages": [*turns, {"role": "user", "content": given}]})
    counted = len(f"{instruction} {given}".split(" ")) - 1
    options = {"part": ["system", "user"], "words": "spaces"}
    assert reasons(length(documents, Length(**options, max_words=counted))) == [None]
    assert reasons(length(documents, Length(**options, min_words=counted + 1))) == ["too_few_words"]


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
        ({"min_characters": 5, "words": "spaces"}, "words: spaces goes with min_words or max_words"),
        ({"min_words": 5, "part": "text"}, "part"),
        ({"min_words": 5, "max_words": 4}, "min_words 5 is above max_words 4"),
        ({"min_characters": -1}, "greater than or equal to 0"),
        ({"sources": [], "min_words": 1}, "at least 1 item"),
    ],
)
def test_bounds_that_cannot_be_meant_are_refused(declared: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(says)):
        Length.model_validate(declared)
