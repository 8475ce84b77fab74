from __future__ import annotations

import re
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.documents.token_counts import UNSPACED, count_tokens


def counted(texts: list[str | None]) -> list[int]:
    found: list[int] = count_tokens(pa.array(texts, pa.large_string())).tolist()
    return found


def by_definition(text: str) -> int:
    """Character by character, as the module describes it."""
    count = 0
    inside = False
    for character in text:
        word = re.fullmatch(r"\w", character) is not None
        if not word and not character.isspace() and unicodedata.category(character) in ("Mn", "Mc", "Me", "Cf"):
            continue
        alone = word and any(begin <= ord(character) <= end for begin, end in UNSPACED)
        count += not character.isspace() and not (word and inside and not alone)
        inside = word and not alone
    return count


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        (" \n\t\u3000", 0),
        ("one two_3", 2),
        ("Don't!", 4),
        ("f(x) = 3.14", 8),
        ("Größe naïve", 2),
        ("e\u0301te\u0301", 1),
        ("हिन्दी भाषा", 2),
        ("世界 hello世界", 5),
        ("カタカナ", 4),
        ("한국어 단어", 2),
        ("ภาษาไทย", 7),
        ("🙂🙂", 2),
        ("👩\u200d👩", 2),
        ("a\u00a0b", 2),
    ],
)
def test_counts_are_what_a_reader_would_count(text: str, tokens: int) -> None:
    assert counted([text]) == [tokens]


@settings(deadline=None)
@given(st.lists(st.text() | st.text("ab_1 .é世ก\u0301\u200d🙂\n"), max_size=5))
@example(["aé", "é", "\U0010ffff"])
def test_every_text_has_the_tokens_of_the_definition(texts: list[str]) -> None:
    assert counted(texts) == [by_definition(text) for text in texts]


def test_slices_nulls_and_other_types_of_strings_are_counted_alike() -> None:
    column = pa.array(["skipped", "a b", None, "世界", ""], pa.large_string())
    assert count_tokens(column[1:]).tolist() == [2, 0, 2, 0]
    assert count_tokens(column[1:].cast(pa.string())).tolist() == [2, 0, 2, 0]
    assert count_tokens(column[:0]).tolist() == []
    assert count_tokens(pa.array([None], pa.large_string())).tolist() == [0]
