"""What of an answer is its own voice, and where its sentences end."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.filters.refusal_speech import SET_APART, opening, own_words, sentences

PART = SET_APART.strip()


def column(*texts: str | None) -> pa.LargeStringArray:
    return pa.array(texts, pa.large_string())


def own(text: str) -> str:
    return str(own_words(column(text))[0].as_py())


def said(text: str) -> list[str]:
    return list(sentences(own_words(column(text)))[1].to_pylist())


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        ('She said "I can\'t help you" and left.', 'She said "" and left.'),
        ("She said “I can’t help you” and left.", 'She said "" and left.'),
        ("She said «I cannot» and left.", 'She said "" and left.'),
        ("He said 'I can't help you' and left.", 'He said "" and left.'),
        ("He said ‘I can’t help you’ and left.", 'He said "" and left.'),
        ("Print `I cannot` there.", 'Print "" there.'),
        ("I can’t do that, it's the dogs' own.", "I can't do that, it's the dogs' own."),
        ('A pipe of 5" is enough.', 'A pipe of 5" is enough.'),
    ],
)
def test_quoted_words_are_nobodys_and_apostrophes_stay(answer: str, left: str) -> None:
    assert own(answer) == left


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        ('Do this:\n```python\nprint("I cannot")\n```\nDone.', ["Do this:", PART, "Done"]),
        ("~~~\nI cannot.\n", [PART]),
        ("He wrote:\n> I cannot come.\n> Sorry!\nThat was all.", ["He wrote:", PART, PART, "That was all"]),
        ("Ann: I cannot come.\nBen: Why?", [PART, PART]),
        ("**Ann:** I cannot come.\n**Ben:** Why?", [PART, PART]),
        ("Dear Ms Low,\n\nI am sorry that I cannot come.\n\nYours, Jo", [PART]),
        ("Here it is.\n\nHi Tom,\n\nI can't come.", ["Here it is", PART]),
    ],
)
def test_code_quotations_scripts_and_letters_count_as_sentences_without_their_words(
    answer: str, left: list[str]
) -> None:
    assert said(answer) == left


def test_one_line_with_a_name_is_no_script_and_a_greeting_is_no_letter() -> None:
    for answer in ("Answer: I cannot do that", "Hello! I cannot do that", "Hi there,\nI cannot do that"):
        assert "I cannot do that" in own(answer)


def test_sentences_end_with_marks_before_white_space_and_with_lines() -> None:
    rows, found = sentences(column("It is 3.5 m. (Really!) Yes\n- one\n- two...", None, " ?! ", "One?"))
    assert found.to_pylist() == ["It is 3.5 m", "(Really", "Yes", "- one", "- two", "One"]
    assert rows.tolist() == [0, 0, 0, 0, 0, 3]


@given(st.lists(st.sampled_from(["Yes. ", "No! ", "a b", "? ", "\n", "3.5 ", "é… "])).map("".join), st.integers(1, 4))
def test_an_opening_is_the_beginning_and_has_as_many_sentences(text: str, count: int) -> None:
    found = opening(column(text), count)[0].as_py()
    assert text.lstrip().startswith(found)
    own_sentences = sentences(column(text))[1].to_pylist()
    assert sentences(column(found))[1].to_pylist() == own_sentences[: len(sentences(column(found))[1])]
    assert len(sentences(column(found))[1]) <= count
    if text.lstrip() != found:  # it ends where a sentence does
        assert found == "" or found[-1].isspace() or found[-1] in ".!?"
