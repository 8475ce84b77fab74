from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.filters.fineweb import FineWeb, fineweb
from core.filters.sentence_ends import sentence_ends
from tests.filters.conftest import pairs, reasons, texts

LINE = "This is a line of prose that is long enough to be no menu entry, number "
PROSE = "\n".join(f"{LINE}{number}." for number in range(5))
TEXT = st.lists(
    st.sampled_from(["a", "word ", "世", "é", "🙂", ".", "。", "!", "\n", "\n\n", " ", "\u3000", "x" * 31, "\r"]),
    max_size=40,
).map("".join)


def expected(text: str) -> str | None:
    """FineWeb's rules, counted with Python's own strings."""
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        return "empty"
    ends = {chr(code) for code in sentence_ends()}
    if sum(line[-1] in ends for line in lines) / len(lines) < 0.12:
        return "unpunctuated_lines"
    if sum(len(line) <= 30 for line in lines) / len(lines) > 0.67:
        return "short_lines"
    again = sum(len(line) for i, line in enumerate(lines) if line in lines[:i])
    if again / len(text.replace("\n", "")) > 0.01:
        return "duplicate_lines"
    return "newlines" if text.count("\n") / len(text.split()) > 0.3 else None


@settings(deadline=None)  # the first call compiles
@given(st.lists(TEXT, min_size=1, max_size=4))
def test_first_broken_rule_is_that_of_counting_in_python(contents: list[str]) -> None:
    assert reasons(fineweb(texts(*contents), FineWeb())) == [expected(text) for text in contents]


def judged(text: str, **declared: Any) -> tuple[str | None, str | None]:
    [pair] = pairs(fineweb(texts(text), FineWeb.model_validate(declared)))
    return pair


def test_prose_is_kept() -> None:
    assert judged(PROSE) == (None, None)


@pytest.mark.parametrize(
    ("text", "declared", "found"),
    [
        (PROSE.replace(".", ""), {"min_punctuated_lines": 0.0}, ("unpunctuated_lines", "0 (share of the lines)")),
        (
            PROSE + "\nHome." * 15,
            {"max_short_lines": 1.0, "max_duplicate_line_characters": 1.0},
            ("short_lines", "0.75 (share of the lines)"),
        ),
        (
            PROSE + f"\n{LINE}0.",
            {"max_duplicate_line_characters": 0.2},
            ("duplicate_lines", "0.167 (share of the characters)"),
        ),
        (PROSE + "\n" * 30, {"max_newlines_per_word": 0.5}, ("newlines", "0.4 per word")),
    ],
)
def test_each_rule_drops_and_its_limit_lets_pass(text: str, declared: Any, found: tuple[str, str]) -> None:
    assert judged(text) == found
    assert judged(text, **declared) == (None, None)


def test_a_line_is_short_up_to_the_length_given() -> None:
    text = "\n".join(f"{'word ' * 7}{number}." for number in range(9))
    assert judged(text) == (None, None)
    assert judged(text, short_line_length=37)[0] == "short_lines"


def test_sentences_end_in_every_script_or_as_told() -> None:
    for end in ".。।؟!⁇᙮":
        assert unicodedata.category(end) == "Po"
        assert judged(PROSE.replace(".", end)) == (None, None), end
    assert judged(PROSE.replace(".", ";"))[0] == "unpunctuated_lines"
    assert judged(PROSE.replace(".", ";"), sentence_ends=";:") == (None, None)
    assert judged(PROSE, sentence_ends=";:")[0] == "unpunctuated_lines"


def test_blank_documents_are_empty() -> None:
    assert pairs(fineweb(texts("", "\n \n\u3000"), FineWeb())) == [("empty", "0 lines")] * 2
