from __future__ import annotations

import time
import unicodedata
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from core.dedup.exact import first_occurrences, keys_by_source
from core.dedup.substring import SubstringDedup, repeated_spans, substring_verdict, window_keys
from core.documents.ledger import SPANS
from core.documents.token_counts import count_tokens

unhurried = settings(deadline=None)  # the first example waits for the compiler
TEXTS = st.lists(st.text(st.sampled_from("aaB_é中中हि🙂\u200d. .\n\u3000"), max_size=40), max_size=5)
Token = tuple[int, int, str]  # begin and end in bytes, and the text


def column(*texts: str) -> pa.LargeStringArray:
    return pa.array(texts, pa.large_string())


def repeated(
    texts: pa.LargeStringArray, options: SubstringDedup, sources: list[int] | None = None
) -> NDArray[np.bool_]:
    """What a curation finds over all its documents: which windows are repeated."""
    windows = window_keys(texts, options)
    keys = windows.keys
    if sources is not None:
        keys = keys_by_source(keys, np.repeat(sources, np.diff(windows.offsets)))
    first = first_occurrences(keys[:, None])
    found: NDArray[np.bool_] = first != np.arange(len(first))
    if options.keep == "none":
        found[first[found]] = True
    return found


def cut(texts: pa.LargeStringArray, options: SubstringDedup) -> list[list[str]]:
    """The texts of the spans of each row."""
    verdict = substring_verdict(texts, options, repeated(texts, options))
    assert verdict.spans is not None and verdict.spans.schema == SPANS
    parts: list[list[str]] = [[] for _ in range(len(texts))]
    for span in verdict.spans.to_pylist():
        parts[span["row"]].append(texts[span["row"]].as_py().encode()[span["begin"] : span["end"]].decode())
    return parts


def tokens(text: str, characters: bool = False) -> list[Token]:
    """The tokens, one character after the other."""
    found: list[Token] = []
    place, word, joined = 0, False, False
    for character in text:
        end = place + len(character.encode())
        mark = unicodedata.category(character) in ("Mn", "Mc", "Cf")
        letter = (character.isalnum() or character == "_") and character != "中"
        if character.isspace():
            word = joined = False
        elif (mark and joined) or (letter and word):
            begin, _, text_before = found.pop()
            found.append((begin, end, text_before + character))
        elif not mark:
            found.append((place, end, character))
            word, joined = letter and not characters, True
        place = end
    return found


def unions(texts: list[str], size: int, marked: list[list[bool]], characters: bool) -> list[tuple[int, int, int]]:
    """Runs of overlapping or adjoining windows that are marked: row, begin and end in bytes."""
    spans: list[tuple[int, int, int]] = []
    for row, (text, marks) in enumerate(zip(texts, marked, strict=True)):
        own = tokens(text, characters)
        inside = [any(marks[max(0, i - size + 1) : i + 1]) for i in range(len(own))]
        edges = [i for i in range(len(own) + 1) if [*inside, False][i] != [False, *inside][i]]
        spans += [(row, own[i][0], own[k - 1][1]) for i, k in zip(edges[::2], edges[1::2], strict=True)]
    return spans


def found_spans(texts: list[str], options: SubstringDedup) -> list[tuple[int, int, int]]:
    content = column(*texts)
    table, _ = repeated_spans(content, options, repeated(content, options))
    return [(span["row"], span["begin"], span["end"]) for span in table.to_pylist()]


@unhurried
@given(TEXTS, st.integers(1, 4), st.booleans(), st.booleans())
def test_spans_are_those_of_a_brute_force_search(texts: list[str], size: int, characters: bool, all_go: bool) -> None:
    windows = []
    for text in texts:
        own = [token for _, _, token in tokens(text, characters)]
        windows.append([tuple(own[i : i + size]) for i in range(len(own) - size + 1)])
    flat = [window for own in windows for window in own]
    seen = iter(flat.count(window) > 1 if all_go else window in flat[:number] for number, window in enumerate(flat))
    marked = [[next(seen) for _ in own] for own in windows]
    options = SubstringDedup(
        min_tokens=size, unit="character" if characters else "word", keep="none" if all_go else "first"
    )
    assert found_spans(texts, options) == unions(texts, size, marked, characters)


@unhurried
@given(TEXTS, st.integers(1, 4))
def test_all_occurrences_are_what_a_suffix_array_finds(texts: list[str], size: int) -> None:
    corpus: list[tuple[int, int, str]] = []  # row, token's number, text; each row ends with a token of its own
    for row, text in enumerate(texts):
        corpus += [(row, number, token) for number, (_, _, token) in enumerate(tokens(text))]
        corpus.append((row, -1, f"end of {row}"))
    suffixes = sorted(range(len(corpus)), key=lambda start: [token for _, _, token in corpus[start:]])
    inside = [[False] * len(tokens(text)) for text in texts]
    for one, other in pairwise(suffixes):
        common = 0
        while max(one, other) + common < len(corpus) and corpus[one + common][2] == corpus[other + common][2]:
            common += 1
        if common >= size:
            for start in (one, other):
                for row, number, _ in corpus[start : start + common]:
                    inside[row][number] = True
    assert found_spans(texts, SubstringDedup(min_tokens=size, keep="none")) == unions(texts, 1, inside, False)


@unhurried
@given(TEXTS)
def test_windows_of_one_token_are_as_many_as_tokens_are_counted(texts: list[str]) -> None:
    content = column(*texts)
    windows = window_keys(content, SubstringDedup(min_tokens=1))
    assert np.diff(windows.offsets).tolist() == count_tokens(content).tolist()


def test_windows_are_numbered_through_the_rows_and_do_not_depend_on_batches() -> None:
    texts = column("a b c d", "", "a b", "x a b c", "中文字符")
    options = SubstringDedup(min_tokens=3)
    windows = window_keys(texts, options)
    assert windows.offsets.tolist() == [0, 2, 2, 2, 4, 6]
    parts = [window_keys(part, options).keys for part in (texts[:1], texts[1:4], texts[4:])]
    assert np.array_equal(np.concatenate(parts), windows.keys)


def test_later_occurrences_are_cut_and_the_white_space_around_them_stays() -> None:
    texts = column("One two, three four. More.", "Before  One two,\nthree four. After", "One TWO, three four.")
    assert cut(texts, SubstringDedup(min_tokens=5)) == [[], ["One two,\nthree four."], []]  # case counts
    spans = substring_verdict(texts, SubstringDedup(min_tokens=5), repeated(texts, SubstringDedup(min_tokens=5))).spans
    assert spans is not None
    assert spans.select(["begin", "end", "reason", "replacement", "evidence"]).to_pylist() == [
        {"begin": 8, "end": 28, "reason": "repeated_span", "replacement": None, "evidence": "6 tokens"}
    ]


def test_shorter_sequences_do_not_count() -> None:
    texts = column("a b c d", "x a b c y")
    assert cut(texts, SubstringDedup(min_tokens=3)) == [[], ["a b c"]]
    assert cut(texts, SubstringDedup(min_tokens=4)) == [[], []]


def test_a_sequence_repeated_within_one_document_leaves_one_period() -> None:
    assert cut(column("a b c a b c a b c"), SubstringDedup(min_tokens=3)) == [["a b c a b c"]]


def test_keep_none_cuts_the_first_occurrence_too() -> None:
    texts = column("a b c d", "x a b c y", "z")
    assert cut(texts, SubstringDedup(min_tokens=3, keep="none")) == [["a b c"], ["a b c"], []]


def test_characters_as_tokens_find_parts_of_words() -> None:
    texts = column("abcdef", "xbcd ey")
    assert cut(texts, SubstringDedup(min_tokens=4)) == [[], []]
    assert cut(texts, SubstringDedup(min_tokens=4, unit="character")) == [[], ["bcd e"]]
    table, _ = repeated_spans(texts, SubstringDedup(min_tokens=4, unit="character"), np.array([0, 0, 0, 0, 1, 0], bool))
    assert table["evidence"].to_pylist() == ["4 characters"]


def test_each_source_by_itself() -> None:
    texts = column("a b c", "a b c", "a b c")
    assert repeated(texts, SubstringDedup(min_tokens=3), [0, 1, 0]).tolist() == [False, False, True]


def test_documents_are_dropped_by_the_share_of_their_tokens() -> None:
    texts = column("a b c", "a b c d e f", "a b c d", "x y", "", "...")
    for max_share, dropped in ((0.0, [1, 2]), (0.5, [2]), (0.8, [])):
        options = SubstringDedup(min_tokens=3, action="drop", max_share=max_share)
        marks = np.zeros(len(window_keys(texts, options).keys), np.bool_)
        marks[[1, 5]] = True  # "a b c" in the second and the third document
        verdict = substring_verdict(texts, options, marks)
        assert verdict.spans is not None and verdict.spans.num_rows == 0
        assert [row for row in range(6) if verdict.reason[row].as_py() == "repeated_span"] == dropped
        if dropped:
            assert verdict.evidence[2].as_py() == "0.75 of the tokens"


def test_a_wrong_number_of_windows_is_our_bug() -> None:
    with pytest.raises(ValueError, match="have 2 windows, and 3 are told of"):
        repeated_spans(column("a b c"), SubstringDedup(min_tokens=2), np.zeros(3, np.bool_))


def test_shares_that_would_change_nothing_are_refused() -> None:
    with pytest.raises(ValidationError, match="less than 1"):
        SubstringDedup(action="drop", max_share=1.0)
    with pytest.raises(ValidationError, match="max_share is for action drop"):
        SubstringDedup(max_share=0.3)


def test_nothing_and_separators_alone_have_no_windows() -> None:
    for texts in (column(), column("", " \n\t\u3000\u00a0" * 50)):
        assert len(window_keys(texts, SubstringDedup(min_tokens=1)).keys) == 0
        assert cut(texts, SubstringDedup(min_tokens=1)) == [[] for _ in texts]


def test_a_document_of_50_megabytes_takes_seconds() -> None:
    texts = column("the same line again and again\n" * 1_700_000)
    options = SubstringDedup(min_tokens=50)
    start = time.monotonic()
    assert len(window_keys(texts, options).keys) == 6 * 1_700_000 - 49
    marks = np.ones(6 * 1_700_000 - 49, np.bool_)
    marks[:6] = False
    table, share = repeated_spans(texts, options, marks)
    assert table.num_rows == 1 and table["begin"][0].as_py() == 30
    assert share[0] > 0.999
    assert time.monotonic() - start < 10
