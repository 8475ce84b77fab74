from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from core.reporting.word_differences import LONGEST, word_differences

WORDS = st.lists(st.sampled_from(["red", "blue", "न", "ü", "漢字", "\n", ", ", "🙂"]), max_size=25).map(" ".join)


@settings(max_examples=100, deadline=None)
@given(WORDS, WORDS)
def test_what_stays_and_comes_is_the_removed_text_and_what_stays_and_goes_the_kept_one(kept: str, removed: str) -> None:
    pieces = word_differences(kept, removed, cut_at=LONGEST)
    assert "".join(text for text, kind in pieces if kind != "del") == removed
    assert "".join(text for text, kind in pieces if kind != "ins") == kept


def test_changed_words_are_marked() -> None:
    assert word_differences("a brown fox", "a red fox jumps", 600) == [
        ("a ", ""),
        ("brown", "del"),
        ("red", "ins"),
        (" fox", ""),
        (" jumps", "ins"),
    ]


def test_letters_of_chinese_are_words() -> None:
    assert word_differences("敏捷的狐", "敏捷的狗", 600) == [("敏捷的", ""), ("狐", "del"), ("狗", "ins")]


def test_where_texts_were_cut_short_their_ends_are_no_difference() -> None:
    text = " ".join(f"word{number}" for number in range(100))
    beginning = text[:200]  # ends within a word
    for kept, removed in ((beginning, f"new {text}"[:200]), (beginning, f"new {text}"), (text, f"new {text}"[:200])):
        pieces = word_differences(kept, removed, 200)
        assert [(piece, kind) for piece, kind in pieces if kind] == [("new ", "ins")]
        assert "".join(piece for piece, _ in pieces) == removed


def test_a_very_long_text_is_compared_at_its_beginning_and_shown_whole() -> None:
    text = "word " * 2000
    pieces = word_differences(text, text, 600)
    assert "".join(piece for piece, _ in pieces) == text
    assert {kind for _, kind in pieces} == {""}
