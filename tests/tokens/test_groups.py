from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.tokens import groups
from core.tokens.groups import Groups
from core.tokens.packing import pack
from core.tokens.samples import SAMPLES
from tests.tokens.test_shards import make_samples_table


def write_samples(path, lengths, first, per_document=1, batch=5):
    """A file of samples in record batches of a few."""
    table = make_samples_table(list(lengths), per_document, first)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, SAMPLES) as writer:
        writer.write_table(table, max_chunksize=batch)
    return path


def dealt(directory, files: list[list[int]], group_tokens: int, per_unit: int = 1) -> Groups:
    paths, first = [], 0
    for number, lengths in enumerate(files):
        paths.append(write_samples(directory / f"{number}.arrow", lengths, first, per_unit))
        first += len(lengths)
    tokens = sum(map(sum, files))
    return Groups.deal(paths, list(map(len, files)), tokens, per_unit, group_tokens)


def numbers(table: pa.Table) -> list[int]:
    return [ids[0] for ids in table["input_ids"].to_pylist()]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 9), max_size=60).map(lambda lengths: lengths + lengths), min_size=1, max_size=5),
    st.integers(5, 400),
    st.sampled_from([1, 2]),
    st.integers(1, 5),
)
def test_every_sample_is_in_one_group_in_its_order_and_units_are_whole(
    tmp_path_factory, files, group_tokens, per_unit, blocks
):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups, "BLOCKS", blocks)
        made = dealt(tmp_path_factory.mktemp("samples"), files, group_tokens, per_unit)
    found = [numbers(made.table(group)) for group in range(made.count)]
    assert sorted(number for group in found for number in group) == list(range(sum(map(len, files))))
    for group in found:
        assert group == sorted(group)
        assert [number // per_unit for number in group[::per_unit]] == sorted({number // per_unit for number in group})
    assert made.count <= max(1, -(-sum(map(sum, files)) // group_tokens))


def test_little_data_is_one_group_in_the_order_of_the_files(tmp_path):
    made = dealt(tmp_path, [[4, 5], [], [6] * 30], groups.GROUP_TOKENS)
    assert made.count == 1
    assert numbers(made.table(0)) == list(range(32))


def test_groups_are_of_one_size_and_each_a_mixture_filled_as_well_as_the_whole(tmp_path):
    random = np.random.default_rng(0)
    short, long = random.lognormal(3.0, 0.5, 6000), random.lognormal(5.0, 0.5, 2000)
    files = [np.clip(lengths, 2, 512).astype(int).tolist() for lengths in (short, long)]
    tokens = sum(map(sum, files))
    made = dealt(tmp_path, files, tokens // 4)
    assert made.count == 5
    tables = [made.table(group) for group in range(made.count)]
    sizes = [sum(map(len, table["input_ids"].to_pylist())) for table in tables]
    assert max(sizes) < 1.15 * min(sizes)
    for table, size in zip(tables, sizes, strict=True):
        assert 0.7 < sum(number < 6000 for number in numbers(table)) / table.num_rows < 0.8  # three in four
        lengths = np.array([len(ids) for ids in table["input_ids"].to_pylist()])
        rows = pack(lengths, 512).max() + 1
        assert rows <= 1.005 * -(-size // 512)


def test_long_samples_are_dealt_in_smaller_blocks(tmp_path):
    made = Groups.deal([], [], 0)
    assert (made.count, made.block) == (1, 1)
    # 6,400 samples of 131,072 tokens: 13 groups of about 500, in blocks of 7 and not of 1,024
    made = Groups.deal([tmp_path], [6400], 6400 * 131_072)
    assert (made.count, made.block) == (13, 7)
    made = Groups.deal([tmp_path], [10**8], 10**8 * 200)
    assert (made.count, made.block) == (299, 1024)
