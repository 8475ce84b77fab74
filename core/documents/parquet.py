"""Parquet files as columns, row group by row group, and which of them cannot be read."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.documents.columns import Columns
from core.documents.files import is_remote
from core.documents.rows import Problem
from core.documents.streams import Unreadable, compression, opened, whole
from core.errors import ResourceError

BATCH = 1 << 24  # bytes of rows taken at once

# Arrow names damage in many ways: ArrowInvalid, OSError, ArrowNotImplementedError, ArrowKeyError, and now and then
# (a length that cannot be) a MemoryError or a plain ValueError or UnicodeDecodeError from the schema's text.
DAMAGE = (pa.ArrowException, OSError, MemoryError, ValueError, KeyError, OverflowError)


def parquet_columns(
    path: str, wanted: set[str], begin: int, end: int | None, first: int
) -> Iterator[Columns | Problem]:
    """The rows of row groups begin to end, the first of which is number `first`.

    wanted: the columns that are needed; all are read where one of them is not there. Rows that cannot be read are a
    Problem, and the row groups after them go on. Raises Unreadable for a file that is no Parquet as a whole.
    """
    damage = (Exception,) if is_remote(path) else DAMAGE  # a store's own errors may be any
    with opened(path) as stored:
        file = io.BytesIO(whole(path)) if compression(path) else stored
        try:
            parquet = pq.ParquetFile(file, page_checksum_verification=True)
            names = parquet.schema_arrow.names
            groups = [parquet.metadata.row_group(number).num_rows for number in range(parquet.num_row_groups)]
            size = _batch_rows(parquet.metadata)
        except damage as error:
            raise _unreadable(error) from error
        if sum(groups) != parquet.metadata.num_rows:
            found = f"{sum(groups):,} rows in its row groups, {parquet.metadata.num_rows:,} in all"
            raise Unreadable("broken_parquet", f"not a whole Parquet file (its metadata say {found})")
        columns = _needed(wanted, names)
        for group in range(begin, len(groups) if end is None else end):
            number = first
            first += groups[group]
            try:
                for batch in parquet.iter_batches(size, [group], columns):
                    if batch.num_rows:
                        yield Columns(number, path, pa.Table.from_batches([batch]))
                    number += batch.num_rows
            except damage as error:
                rows = f"rows {number + 1:,} to {first:,}"
                if isinstance(error, MemoryError) and _fits(error, parquet.metadata.row_group(group).total_byte_size):
                    raise ResourceError(
                        f"{path}: not enough memory to read {rows} ({_sentence(error)}). "
                        "Give the workers more, or write the file with smaller row groups."
                    ) from error
                yield Problem(None, "broken_parquet", f"{path}: {rows} cannot be read ({_sentence(error)})", None)
                continue
            if number != first:
                rows = f"rows {number + 1:,} to {first:,} are missing"
                yield Problem(None, "broken_parquet", f"{path}: {rows}, which its metadata have", None)


def _fits(error: MemoryError, size: int) -> bool:
    """Whether so much memory is what `size` bytes of rows may ask for; more shows that the file is damaged."""
    asked = re.search(r"of size (\d+)", str(error))
    return asked is not None and int(asked[1]) <= 4 * size + (1 << 20)


def _needed(wanted: set[str], names: list[str]) -> list[str] | None:
    """The columns to read: those that are wanted, or the first part of a path; None for all of them."""
    found = {name if name in names else name.split(".")[0] for name in wanted}
    # A name with a dot would also choose what is below the column of the name before it.
    whole_names = found <= set(names) and not any("." in name for name in names)
    return sorted(found) if found and whole_names else None


def _unreadable(error: Exception) -> Unreadable:
    if "magic bytes" in str(error):
        return Unreadable("file_truncated", f"not a whole Parquet file ({_sentence(error)})")
    return Unreadable("broken_parquet", f"not a whole Parquet file ({_sentence(error)})")


def _batch_rows(metadata: Any) -> int:
    size: int = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    return max(1, min(1 << 16, int(BATCH * metadata.num_rows // max(1, size))))


def _sentence(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(". ")
