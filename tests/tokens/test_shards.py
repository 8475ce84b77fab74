from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import DataError
from core.tokens import shards
from core.tokens.samples import SAMPLES
from core.tokens.shards import TokenRows, shard_path, write_rows


def make_samples_table(lengths: list[int], per_document: int = 1, first: int = 0) -> pa.Table:
    """Samples whose tokens are their number; every second token is learned."""
    numbers = range(first, first + len(lengths))
    columns = {
        "document": [f"s:{number // per_document}" for number in numbers],
        "input_ids": [[number] * length for number, length in zip(numbers, lengths, strict=True)],
        "loss_mask": [[bound for at in range(1, length, 2) for bound in (at, at + 1)] for length in lengths],
        "target_tokens": [length // 2 for length in lengths],
    }
    return pa.table([pa.array(columns[field.name], field.type) for field in SAMPLES], SAMPLES)


def read_back(rows: TokenRows, longest: int, per_document: int = 1) -> list[list[int]]:
    """The numbers of the samples in each row, which must be whole and learned in the right places."""
    found = []
    for index in range(len(rows)):
        row = rows[index]
        assert row.sequence_lengths.sum() == len(row.input_ids) == rows.lengths[index] <= longest
        wanted = np.zeros(len(row.input_ids), bool)
        for start, end in row.loss_mask.reshape(-1, 2):
            wanted[start:end] = True
        assert wanted.sum() == rows.target_tokens[index]
        numbers, begin = [], 0
        for name, length in zip(rows.documents(index), row.sequence_lengths, strict=True):
            sample = slice(begin, begin + length)
            (number,) = set(row.input_ids[sample].tolist())
            assert name == f"s:{number // per_document}"
            assert wanted[sample].tolist() == [at % 2 == 1 for at in range(length)]
            numbers.append(number)
            begin += length
        found.append(numbers)
    return found


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 32), min_size=1, max_size=700), st.booleans())
def test_rows_hold_every_sample_once_with_its_own_mask(tmp_path_factory, lengths, packing):
    path = tmp_path_factory.mktemp("rows") / "train-00000.arrow"
    count = write_rows(make_samples_table(lengths), path, 32, packing)
    rows = TokenRows([path])
    assert len(rows) == count
    found = read_back(rows, 32)
    assert sorted(number for row in found for number in row) == list(range(len(lengths)))
    assert all(row == sorted(row) for row in found)
    assert packing or found == [[number] for number in range(len(lengths))]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 32), st.integers(1, 32)), min_size=1, max_size=200), st.booleans())
def test_chosen_and_rejected_lie_side_by_side_in_a_row_of_twice_the_length(tmp_path_factory, pairs, packing):
    path = tmp_path_factory.mktemp("rows") / "train-00000.arrow"
    samples = make_samples_table([length for pair in pairs for length in pair], per_document=2)
    write_rows(samples, path, 32, packing, samples_per_unit=2)
    found = read_back(TokenRows([path]), 64, per_document=2)
    for row in found:
        assert [number % 2 for number in row] == [0, 1] * (len(row) // 2)
        assert [number // 2 for number in row[::2]] == [number // 2 for number in row[1::2]]
    assert sorted(number for row in found for number in row) == list(range(2 * len(pairs)))
    assert packing or all(len(row) == 2 for row in found)


@pytest.mark.parametrize("documents", [1, 3])
def test_samples_that_are_no_pairs_are_not_packed_as_pairs(tmp_path, documents):
    samples = make_samples_table([4] * 6, per_document=documents)
    with pytest.raises(ValueError, match="not 2 of each document"):
        write_rows(samples, tmp_path / "a.arrow", 32, True, samples_per_unit=2)
    with pytest.raises(ValueError, match="not 4 of each document"):
        write_rows(samples, tmp_path / "a.arrow", 32, True, samples_per_unit=4)


def test_a_table_in_pieces_makes_the_same_rows_as_a_whole_one(tmp_path):
    lengths = np.random.default_rng(0).integers(1, 33, 1000).tolist()
    whole = make_samples_table(lengths)
    pieces = pa.concat_tables([whole.slice(start, 77) for start in range(0, 1000, 77)])
    write_rows(whole, tmp_path / "a.arrow", 64, True)
    write_rows(pieces, tmp_path / "b.arrow", 64, True)
    assert (tmp_path / "a.arrow").read_bytes() == (tmp_path / "b.arrow").read_bytes()


def test_rows_of_several_shards_are_found_by_their_index(tmp_path):
    random = np.random.default_rng(0)
    counts = [700, 0, 1, 300]
    first = 0
    for number, count in enumerate(counts):
        samples = make_samples_table(random.integers(1, 33, count).tolist(), first=first)
        write_rows(samples, shard_path(tmp_path, "train", number), 32, packing=False)
        first += count
    write_rows(make_samples_table([5]), shard_path(tmp_path, "validation", 0), 32, packing=False)
    rows = TokenRows.open(tmp_path, "train")
    assert len(rows) == 1001
    assert read_back(rows, 32) == [[number] for number in range(1001)]
    assert len(TokenRows.open(tmp_path, "validation")) == 1
    for index in (-1, 1001):
        with pytest.raises(IndexError, match=f"row {index} of 1001"):
            rows[index]


def test_a_row_is_read_without_touching_the_others(tmp_path, monkeypatch):
    path = tmp_path / "train-00000.arrow"
    write_rows(make_samples_table([32] * 600), path, 32, packing=False)
    rows = TokenRows([path])
    looked_into = []
    locate = TokenRows._locate

    def counting(self, index):
        looked_into.append(index)
        return locate(self, index)

    monkeypatch.setattr(TokenRows, "_locate", counting)
    before = pa.total_allocated_bytes()
    row = rows[599]
    assert looked_into == [599]
    assert pa.total_allocated_bytes() == before  # nothing is copied out of the mapped file
    assert not row.input_ids.flags.owndata
    assert len(row.input_ids) == 32


def test_tokens_are_counted_from_where_a_batch_begins_so_that_no_offset_outgrows_its_type(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "ROWS_PER_BATCH", 4)
    path = tmp_path / "train-00000.arrow"
    write_rows(make_samples_table([30] * 40), path, 32, packing=False)
    with pa.memory_map(str(path)) as source:
        reader = pa.ipc.open_file(source)
        batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
    assert len(batches) == 10
    assert all(batch.column("input_ids").offsets.to_pylist() == [0, 30, 60, 90, 120] for batch in batches)


def test_no_samples_make_an_empty_shard(tmp_path):
    assert write_rows(SAMPLES.empty_table(), tmp_path / "a.arrow", 32, True) == 0
    assert len(TokenRows([tmp_path / "a.arrow"])) == 0


def test_a_truncated_shard_is_named(tmp_path):
    path = tmp_path / "train-00000.arrow"
    write_rows(make_samples_table([8] * 100), path, 32, True)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"train-00000\.arrow: not a readable token shard"):
        TokenRows([path])


def test_a_missing_shard_is_named(tmp_path):
    for number in (0, 2):
        write_rows(make_samples_table([8] * 10), shard_path(tmp_path, "train", number), 32, True)
    with pytest.raises(DataError, match=r"train-00001\.arrow: not a readable token shard"):
        TokenRows.open(tmp_path, "train")
    with pytest.raises(DataError, match=r"validation-00000\.arrow: not a readable token shard"):
        TokenRows.open(tmp_path, "validation")
