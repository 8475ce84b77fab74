from __future__ import annotations

import numpy as np
import pyarrow as pa
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from core.dedup.exact import ExactDedup, content_keys, first_occurrences

unhurried = settings(deadline=None)  # the first example waits for the compiler


def column(*texts: str) -> pa.LargeStringArray:
    return pa.array(texts, pa.large_string())


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
