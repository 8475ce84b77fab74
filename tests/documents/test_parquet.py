"""Parquet files that are damaged."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.documents.ledger import DROPPED
from core.documents.parquet import parquet_columns
from core.documents.reading import read_shard, shards
from core.documents.source import Source
from core.errors import DataError, ResourceError
from tests.documents.conftest import Read

TEXTS = ["plain words", "Größe, 世界", "", "two\nlines", "  spaces  ", "the last"]


def parquet(texts: list[str]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"number": range(len(texts)), "body": texts}), sink, row_group_size=2)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def test_truncated_parquet_is_named(tmp_path: Path, read: Read) -> None:
    data = parquet(TEXTS)
    (tmp_path / "a.parquet").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"a.parquet: not a whole Parquet file \(.*magic bytes"):
        read(files="a.parquet", fields={"text": "body"})


def test_parquet_with_a_damaged_page_names_the_rows_and_gives_all_others(tmp_path: Path, read: Read) -> None:
    texts = [str(number) * 50 for number in range(40)]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"body": texts}), path, row_group_size=10, write_page_checksum=True)
    place = pq.read_metadata(path).row_group(2).column(0).dictionary_page_offset
    data = bytearray(path.read_bytes())
    data[place : place + 60] = b"\xff" * 60
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"a.parquet: rows 21 to 30 cannot be read \("):
        read(files="a.parquet", fields={"text": "body"})
    documents, rejected = read(files="a.parquet", fields={"text": "body"}, on_error="skip")
    assert documents["text"].to_pylist() == texts[:20] + texts[30:]
    assert documents["id"].to_pylist() == [f"s:0:{row}" for row in (*range(20), *range(30, 40))]
    assert rejected["reason"].to_pylist() == ["broken_parquet"]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["cut", "byte", "zeros", "noise"]), st.floats(0, 1), st.binary(min_size=1, max_size=40))
def test_damaged_parquet_never_crashes_and_is_never_silently_short(
    tmp_path_factory: pytest.TempPathFactory, damage: str, where: float, noise: bytes
) -> None:
    whole = parquet(TEXTS)
    place = int(where * (len(whole) - 1))
    data = {
        "cut": whole[:place],
        "byte": whole[:place] + noise[:1] + whole[place + 1 :],
        "zeros": whole[:place] + bytes(40) + whole[place + 40 :],
        "noise": b"PAR1" + noise + b"PAR1",
    }[damage]
    path = tmp_path_factory.mktemp("damaged") / "a.parquet"
    path.write_bytes(data)
    source = Source.model_validate({"files": str(path), "fields": {"text": "body"}, "on_error": "skip"})
    pairs = [pair for shard in shards("s", source, path.parent) for pair in read_shard(shard, 1)]
    count = sum(documents.num_rows for documents, _ in pairs)
    rejected = pa.concat_tables([DROPPED.empty_table(), *(rejected for _, rejected in pairs)])
    assert count == len(TEXTS) or rejected.num_rows
    assert all(str(path) in says for says in rejected["evidence"].to_pylist())


def test_parquet_whose_metadata_lost_rows_is_named(tmp_path: Path, read: Read) -> None:
    table = pa.table({"body": [f"text {row}" for row in range(200)]})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=50)
    data = bytearray(sink.getvalue().to_pybytes())
    size = int.from_bytes(data[-8:-4], "little")
    footer = len(data) - 8 - size
    place = data.rindex(b"\x16\x64", footer)  # 50 rows of the last row group, as thrift writes them
    data[place + 1] = 0x2A  # 21
    (tmp_path / "a.parquet").write_bytes(data)
    with pytest.raises(DataError, match=r"a.parquet: not a whole Parquet file \(its metadata say 171 rows"):
        read(files="a.parquet", fields={"text": "body"})


def test_too_little_memory_is_no_damage(tmp_path, monkeypatch):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"text": ["a", "b"]}), path)

    def starved(asked: int):
        def iter_batches(*_):
            raise pa.ArrowMemoryError(f"malloc of size {asked} failed")

        monkeypatch.setattr(pq.ParquetFile, "iter_batches", iter_batches)
        return list(parquet_columns(str(path), {"text"}, 0, None, 0))

    with pytest.raises(ResourceError, match="not enough memory to read rows 1 to 2"):
        starved(1000)
    [problem] = starved(1 << 40)  # more than the rows can ask for: a length that is wrong
    assert problem.reason == "broken_parquet"
