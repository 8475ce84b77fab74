from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import DataError
from core.tokens.packing import best_fit
from core.tokens.samples import SAMPLES
from core.tokens.shards import TokenRows, write_rows


@settings(deadline=None)
@given(st.lists(st.integers(1, 64), max_size=200))
def test_no_row_overflows_and_no_better_row_was_passed_over(lengths):
    lengths = np.array(lengths, np.int64)
    rows = best_fit(lengths, 64)
    assert len(rows) == len(lengths)
    filled = np.bincount(rows, lengths).astype(int) if len(rows) else np.array([], int)
    assert (filled <= 64).all()
    assert (filled > 0).all()
    # any two rows could not have been one, or best fit would have made them so
    smallest = np.sort(filled)[:2]
    assert len(smallest) < 2 or smallest.sum() > 64


def test_fill_on_instruction_lengths_is_above_995_in_1000():
    lengths = np.clip(np.random.default_rng(0).lognormal(5.3, 0.8, 20_000).astype(int), 8, 2048)
    rows = best_fit(lengths, 2048)
    assert lengths.sum() / ((rows.max() + 1) * 2048) >= 0.995


def test_a_sample_longer_than_a_row_is_an_error():
    with pytest.raises(DataError, match="65 tokens does not fit a row of 64"):
        best_fit(np.array([3, 65]), 64)


def make_samples_table(lengths: list[int]) -> pa.Table:
    """Samples whose tokens are their number; every second token is learned."""
    columns = {
        "document": [f"s:{number}" for number in range(len(lengths))],
        "input_ids": [[number] * length for number, length in enumerate(lengths)],
        "loss_mask": [[bound for at in range(1, length, 2) for bound in (at, at + 1)] for length in lengths],
        "target_tokens": [length // 2 for length in lengths],
    }
    return pa.table([pa.array(columns[field.name], field.type) for field in SAMPLES], SAMPLES)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 32), min_size=1, max_size=700), st.booleans())
def test_rows_hold_every_sample_once_with_its_own_mask(tmp_path_factory, lengths, packing):
    path = tmp_path_factory.mktemp("rows") / "train-00000.arrow"
    count = write_rows(make_samples_table(lengths), path, 32, packing)
    rows = TokenRows([path])
    assert len(rows) == count
    seen = []
    for index in range(count):
        row = rows[index]
        assert row.sequence_lengths.sum() == len(row.input_ids) == rows.lengths[index] <= 32
        wanted = np.zeros(len(row.input_ids), bool)
        for start, end in row.loss_mask.reshape(-1, 2):
            wanted[start:end] = True
        assert wanted.sum() == rows.target_tokens[index]
        begin = 0
        for name, length in zip(rows.documents(index), row.sequence_lengths, strict=True):
            sample = slice(begin, begin + length)
            assert set(row.input_ids[sample]) == {int(name[2:])}
            assert wanted[sample].tolist() == [at % 2 == 1 for at in range(length)]
            seen.append(int(name[2:]))
            begin += length
    assert sorted(seen) == list(range(len(lengths)))


def test_no_samples_make_an_empty_shard(tmp_path):
    assert write_rows(SAMPLES.empty_table(), tmp_path / "a.arrow", 32, True) == 0
    assert len(TokenRows([tmp_path / "a.arrow"])) == 0


def test_a_truncated_shard_is_named(tmp_path):
    path = tmp_path / "train-00000.arrow"
    write_rows(make_samples_table([8] * 100), path, 32, True)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"train-00000\.arrow: not a readable token shard"):
        TokenRows([path])
