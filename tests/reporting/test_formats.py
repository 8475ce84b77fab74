from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.reporting.formats import (
    by_reason,
    count,
    cut,
    decimal,
    duration,
    moment,
    percent,
    scientific,
    short_count,
    signed,
    size,
    visible,
)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (count(12345), "12,345"),
        (short_count(99_999), "99,999"),
        (short_count(3_412_480), "3.41 M"),
        (short_count(250_000), "250 k"),
        (size(999), "999 B"),
        (size(1_234_567), "1.23 MB"),
        (decimal(0.2475), "0.248"),  # half up, though the binary number is a little less
        (decimal(math.nan), "not a number"),
        (signed(-0.5), "−0.500"),
        (percent(0.9973), "99.7 %"),
        (percent(0.0001), "< 0.1 %"),
        (percent(0), "0.0 %"),
        (scientific(0.0003), "3e-4"),
        (scientific(0), "0"),
        (duration(3.04), "3.0 s"),
        (duration(200.4), "3 min 20 s"),
        (duration(7_260), "2 h 01 min"),
        (moment("2026-01-31T10:30:00+01:00"), "2026-01-31 09:30:00 UTC"),
        (moment("yesterday"), "yesterday"),
        (by_reason({"too_short": 3, "too_long": 1200}), "too_long 1,200, too_short 3"),
        (by_reason({}), "–"),
    ],
)
def test_numbers_are_written_as_a_reader_expects(written: str, expected: str) -> None:
    assert written.replace("\u00a0", " ") == expected


def test_controls_and_bidirectional_overrides_are_named_and_surrogates_replaced() -> None:
    assert visible("a\x00b\u202ec\ud800d\te\r\nf\x85") == "a[U+0000]b[U+202E]c\ufffdd\te\nf[U+0085]"


@given(st.text(st.characters(exclude_categories=[])))
def test_visible_text_can_always_be_written_as_utf8(text: str) -> None:
    shown = visible(text).encode("utf-8").decode("utf-8")
    assert not any(ord(letter) < 32 and letter not in "\t\n" for letter in shown)


def test_a_cut_text_says_how_much_is_left_out() -> None:
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abcdef", 4) == "abcd … [2 more characters]"
    assert cut("abcdef", 4, keep_end=True) == "[2 characters before] … cdef"
