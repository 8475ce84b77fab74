from __future__ import annotations

import time
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from core.dedup.exact import (
    ExactDedup,
    Pieces,
    content_keys,
    document_keys,
    first_occurrences,
    keys_by_source,
    piece_keys,
    piece_spans,
    pieces,
)
from core.documents.editing import edited
from core.documents.ledger import SPANS
from core.documents.table import DOCUMENTS, content

unhurried = settings(deadline=None)  # the first example waits for the compiler
TEXT = st.text(st.sampled_from("aB é中हि🙂\n\n\r\t\u00a0\u2028\u3000"), max_size=30)


def column(*texts: str) -> pa.LargeStringArray:
    return pa.array(texts, pa.large_string())


def parts(texts: pa.LargeStringArray, found: Pieces) -> list[tuple[str, str]]:
    """Each piece with and without its separator."""
    data = [text.encode() for text in texts.to_pylist()]
    return [
        (data[row][begin:end].decode(), data[row][begin:text_end].decode())
        for row, begin, end, text_end in zip(found.row, found.begin, found.end, found.text_end, strict=True)
    ]


def after(texts: pa.LargeStringArray, options: ExactDedup) -> list[str]:
    """What is left of the texts without their repeated pieces."""
    assert options.unit != "document"
    found = pieces(texts, options.unit, options.min_words)
    first = first_occurrences(piece_keys(texts, found, options))
    spans = piece_spans(found, first != np.arange(len(found)), options)
    assert spans.schema == SPANS
    documents = pa.table(
        [
            texts if name == "text" else pa.nulls(len(texts), kind)
            for name, kind in zip(DOCUMENTS.names, DOCUMENTS.types, strict=True)
        ],
        schema=DOCUMENTS,
    )
    left: list[str] = edited(documents, spans)["text"].to_pylist()
    return left


def test_keys_are_xxh3_128_of_the_bytes() -> None:
    keys = content_keys(column("skipped", "", "Zoë 中文")[1:], ExactDedup())
    expected = [xxhash.xxh3_128_intdigest(text.encode()) for text in ("", "Zoë 中文")]
    assert [int(high) << 64 | int(low) for high, low in keys] == expected


def test_case_and_white_space_count_unless_normalised() -> None:
    texts = column("Große  Straße\n", "GROSSE\u00a0STRASSE", "grosse strasse", "grossestrasse")
    assert first_occurrences(content_keys(texts, ExactDedup())).tolist() == [0, 1, 2, 3]
    assert first_occurrences(content_keys(texts, ExactDedup(normalise=True))).tolist() == [0, 0, 0, 3]


@unhurried
@given(st.lists(st.tuples(*[st.sampled_from([0, 1, 2, 2**63, 2**64 - 1])] * 2), max_size=50))
def test_every_row_points_to_the_first_that_equals_it(rows: list[tuple[int, int]]) -> None:
    keys = np.array(rows, np.uint64).reshape(-1, 2)
    assert first_occurrences(keys).tolist() == [rows.index(row) for row in rows]


def test_keys_do_not_depend_on_how_documents_are_split() -> None:
    texts = column(*(f"document {number % 7}" for number in range(50)))
    parts = [content_keys(texts[:13], ExactDedup()), content_keys(texts[13:], ExactDedup())]
    assert np.array_equal(np.concatenate(parts), content_keys(texts, ExactDedup()))


def test_an_empty_column_has_no_keys() -> None:
    keys = content_keys(column(), ExactDedup())
    assert keys.shape == (0, 2)
    assert first_occurrences(keys).tolist() == []
    for unit in ("line", "paragraph"):
        found = pieces(column(), unit)
        assert len(found) == 0
        assert piece_keys(column(), found, ExactDedup(unit=unit)).shape == (0, 2)
        assert piece_spans(found, np.zeros(0, np.bool_), ExactDedup(unit=unit)).num_rows == 0


def dialogue(*turns: str) -> dict[str, Any]:
    roles = ("system", "user", "assistant")
    return {"messages": [{"role": role, "content": text} for role, text in zip(roles, turns, strict=True)]}


def test_a_part_alone_may_be_compared_and_documents_without_it_equal_none_that_has_it() -> None:
    rows = [
        dialogue("Add.", "1 and 2", "3"),
        {"text": "1 and 2"},
        dialogue("Sum up.", "1 and 2", "It is 3."),
        dialogue("Add.", "2 and 2", "3"),
        {"text": "other"},
        {"prompt": "1 and 2", "chosen": "3", "rejected": "4"},
    ]
    documents = pa.Table.from_pylist(rows, DOCUMENTS)
    keys, there = document_keys(documents, ExactDedup(part="user"))
    assert first_occurrences(keys).tolist() == [0, 1, 0, 3, 4, 5]
    assert there.tolist() == [True, False, True, True, False, False]
    keys, there = document_keys(documents, ExactDedup(part=["user", "prompt"]))
    assert first_occurrences(keys).tolist() == [0, 1, 0, 3, 4, 0]
    keys, there = document_keys(documents, ExactDedup())
    assert np.array_equal(keys, content_keys(content(documents), ExactDedup())) and there.all()


def test_paragraphs_and_lines_are_of_all_text() -> None:
    with pytest.raises(ValidationError, match="part is for unit document"):
        ExactDedup(unit="line", part="user")


def test_keys_by_source_are_the_same_only_within_a_source() -> None:
    keys = content_keys(column("a", "a", "a", "b"), ExactDedup())
    sources = np.array([0, 1, 0, 1])
    assert first_occurrences(keys_by_source(keys, sources)).tolist() == [0, 1, 0, 3]
    assert first_occurrences(keys_by_source(keys[:, 0], sources)[:, None]).tolist() == [0, 1, 0, 3]


def test_a_line_goes_up_to_its_line_feed_and_blank_ones_are_none() -> None:
    texts = column("one\r\n two \n\n \u3000\nthree", "", "\n\n", "four\n")
    assert parts(texts, pieces(texts, "line")) == [
        ("one\r\n", "one"),
        (" two \n", " two "),
        ("three", "three"),
        ("four\n", "four"),
    ]


def test_a_paragraph_ends_at_blank_lines_and_takes_them_along() -> None:
    texts = column("\n\na\nb\r\n \u00a0\n\r\n\nc d\n", " \t\n", "e")
    assert parts(texts, pieces(texts, "paragraph")) == [
        ("a\nb\r\n \u00a0\n\r\n\n", "a\nb"),
        ("c d\n", "c d"),
        ("e", "e"),
    ]


@unhurried
@given(st.lists(TEXT, max_size=4), st.integers(0, 2))
def test_pieces_are_those_of_a_search_line_by_line(texts: list[str], min_words: int) -> None:
    lines: list[tuple[str, str]] = []
    paragraphs: list[tuple[str, str]] = []
    for text in texts:
        opened: list[str] | None = None  # lines of a paragraph that may go on
        own: list[list[str]] = []  # text and separator
        for line in text.split("\n")[:-1] + [text.split("\n")[-1]] * bool(text.split("\n")[-1]):
            ended = line + "\n"
            if line.strip():
                lines.append((ended, line.removesuffix("\r")))
                if opened is None:
                    own.append(["", ""])
                    opened = own[-1]
                opened[0] += opened[1] + ended
                opened[1] = ""
            else:
                opened = None
                if own:
                    own[-1][1] += ended
        paragraphs += [(body + blank, body.removesuffix("\n").removesuffix("\r")) for body, blank in own]
    content = column(*texts)
    units: list[tuple[Literal["line", "paragraph"], list[tuple[str, str]]]] = [
        ("line", lines),
        ("paragraph", paragraphs),
    ]
    for unit, expected in units:
        found = parts(content, pieces(content, unit, min_words))
        # Where the text ends without a line feed, the search has added one.
        assert [(whole.removesuffix("\n"), text) for whole, text in found] == [
            (whole.removesuffix("\n"), text) for whole, text in expected if len(text.split()) >= min_words
        ]


def test_repeated_lines_are_cut_with_their_line_ends_and_runs_of_them_are_one_span() -> None:
    texts = column("a b\nc\r\nd", "a b\nc\nnew\n\nd\n", "a  b\nD\nlast")
    options = ExactDedup(unit="line")
    assert after(texts, options) == ["a b\nc\r\nd", "new\n\n", "a  b\nD\nlast"]
    found = pieces(texts, "line")
    first = first_occurrences(piece_keys(texts, found, options))
    spans = piece_spans(found, first != np.arange(len(found)), options)
    assert spans.to_pylist() == [
        {"row": 1, "begin": 0, "end": 6, "reason": "repeated_line", "replacement": None, "evidence": "2 lines"},
        {"row": 1, "begin": 11, "end": 13, "reason": "repeated_line", "replacement": None, "evidence": "1 line"},
    ]


def test_repeated_paragraphs_are_cut_and_their_lines_alone_are_not() -> None:
    options = ExactDedup(unit="paragraph")
    texts = column("a\nb\n\nc\n", "x\n\na\nb\n \n\nlast", "a\n\nc")
    assert after(texts, options) == ["a\nb\n\nc\n", "x\n\nlast", "a\n\n"]


def test_normalised_pieces_differ_neither_in_case_nor_in_white_space() -> None:
    texts = column("Große  Straße\nK 1\n", "GROSSE\u00a0STRASSE \n k\t1 \ngrossestrasse\n\u212a 1")  # Kelvin
    assert after(texts, ExactDedup(unit="line", normalise=True)) == [texts[0].as_py(), "grossestrasse\n"]
    assert after(texts, ExactDedup(unit="line")) == texts.to_pylist()


def test_a_minimum_of_words_is_refused_for_documents() -> None:
    with pytest.raises(ValidationError, match="min_words is for unit paragraph or line"):
        ExactDedup(min_words=3)


def test_pieces_of_fewer_words_are_left_alone() -> None:
    texts = column("}\na b\none two three\n", "}\na b\none two three\n")
    assert after(texts, ExactDedup(unit="line"))[1] == ""
    assert after(texts, ExactDedup(unit="line", min_words=2))[1] == "}\n"
    assert after(texts, ExactDedup(unit="line", min_words=3))[1] == "}\na b\n"


@unhurried
@given(st.lists(st.text("ab\x00é", max_size=20), max_size=8))
def test_different_pieces_have_different_keys(lines: list[str]) -> None:
    lines = [line for line in lines if line.strip()]
    texts = column("\n".join(lines))
    found = pieces(texts, "line")
    keys = piece_keys(texts, found, ExactDedup(unit="line"))
    assert first_occurrences(keys).tolist() == [lines.index(line) for line in lines]
    assert (keys[:, 0] == keys[:, 1]).sum() == 0


def test_keys_of_pieces_do_not_depend_on_how_documents_are_split_or_stand_in_their_buffer() -> None:
    texts = column(*(f"line {number % 5}\n\nthe other {number % 3} é\n" for number in range(20)))
    for normalise in (False, True):
        options = ExactDedup(unit="line", normalise=normalise)
        whole = piece_keys(texts, pieces(texts, "line"), options)
        split = [piece_keys(part, pieces(part, "line"), options) for part in (texts[:7], texts[7:])]
        assert np.array_equal(np.concatenate(split), whole)


@pytest.mark.parametrize("unit", ["line", "paragraph"])
def test_a_document_of_50_megabytes_takes_seconds(unit: Literal["line", "paragraph"]) -> None:
    text = "the same line again and again\n" * 1_700_000
    texts = column(text)
    start = time.monotonic()
    left = after(texts, ExactDedup(unit=unit))
    assert left == ["the same line again and again\n" if unit == "line" else text]
    assert time.monotonic() - start < 10
