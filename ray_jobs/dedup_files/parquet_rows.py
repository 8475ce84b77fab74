"""Parquet files, local or not, read a few rows at a time with columns of any type."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from core.documents.files import is_remote
from core.documents.parquet import DAMAGE
from core.documents.streams import Unreadable, compression, opened, whole

BATCH_BYTES = 1 << 24  # of rows that are taken at once


@contextmanager
def parquet_file(path: str) -> Iterator[pq.ParquetFile]:
    """The file, open. Raises Unreadable where it is missing or no whole Parquet file."""
    with opened(path) as stored:
        where: Any = path  # Arrow reads a local file faster by itself
        if compression(path):
            where = io.BytesIO(whole(path))
        elif is_remote(path):
            where = stored
        try:
            file = pq.ParquetFile(where, page_checksum_verification=True)
        except DAMAGE as error:
            reason = "file_truncated" if "magic bytes" in str(error) else "broken_parquet"
            raise Unreadable(reason, f"not a whole Parquet file ({_sentence(error)})") from error
        with file:
            yield file


def group_bounds(file: pq.ParquetFile) -> NDArray[np.int64]:
    """int64[groups + 1]: the number of the first row of each row group."""
    sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    return np.cumsum([0, *sizes], dtype=np.int64)


def batches(
    file: pq.ParquetFile, groups: Sequence[int], columns: Sequence[str] | None, rows: NDArray[np.int64] | None = None
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Batches of the row groups, each with the number of its first row.

    columns: None for all; rows: ascending numbers: row groups without any of them are left out.
    Raises Unreadable for a row group that cannot be read to its end.
    """
    bounds, size = group_bounds(file), _batch_rows(file)
    # A name with a dot would also choose what is below the column of the name before it.
    wanted = None if any("." in name for name in file.schema_arrow.names) else columns
    for group in groups:
        begin, end = bounds[group : group + 2].tolist()
        if rows is not None and np.equal(*np.searchsorted(rows, [begin, end])):
            continue
        found = file.iter_batches(size, [group], wanted)
        while begin < end:
            try:
                batch = next(found, None)
            except DAMAGE as error:
                reason = _sentence(error)
                raise Unreadable(
                    "broken_parquet", f"rows {begin + 1:,} to {end:,} cannot be read ({reason})"
                ) from error
            if batch is None:
                raise Unreadable("broken_parquet", f"rows {begin + 1:,} to {end:,} are missing")
            if batch.num_rows:
                batch = batch if columns is None else batch.select(columns)
                yield begin, batch.cast(schema) if (schema := without_views(batch.schema)) != batch.schema else batch
            begin += batch.num_rows


def without_views(schema: pa.Schema) -> pa.Schema:
    """The schema with large strings and bytes instead of views, which Arrow can neither take from nor filter."""
    fields = [field.with_type(_without_views(field.type)) for field in schema]
    return pa.schema(fields, schema.metadata)


def _without_views(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary_view(kind):
        return pa.large_binary()
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_without_views(field.type)) for field in kind])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        make = pa.list_ if pa.types.is_list(kind) else pa.large_list
        return make(kind.value_field.with_type(_without_views(kind.value_type)))
    return kind


def _batch_rows(file: pq.ParquetFile) -> int:
    size: int = sum(file.metadata.row_group(group).total_byte_size for group in range(file.num_row_groups))
    rows: int = BATCH_BYTES * file.metadata.num_rows // max(1, size)
    return max(1, min(1 << 16, rows))


def _sentence(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(". ")
