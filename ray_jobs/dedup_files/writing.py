"""Kept and removed rows of a piece, with all their columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from core.artifacts.atomic import atomic_path
from core.documents.streams import Unreadable
from core.errors import DataError
from ray_jobs.dedup_files.json_columns import table_of
from ray_jobs.dedup_files.parquet_rows import batches, parquet_file, without_views
from ray_jobs.dedup_files.pieces import Bundle, Piece, Reading, Rows
from ray_jobs.dedup_files.reading import ADDED


def id_type(pieces: Sequence[Piece], schema: pa.Schema | None, column: str | None) -> pa.DataType:
    """What ids are written as: whole numbers where all are, text else. schema: of JSON Lines, over all pieces."""
    if column is None:
        return pa.string()
    types = set()
    for piece in pieces:
        given = schema if schema is not None and piece.data != piece.source else pq.read_schema(piece.data)
        types.add(given.field(column).type)
    if not all(map(pa.types.is_integer, types)):
        return pa.string()
    return pa.uint64() if pa.uint64() in types else pa.int64()


def write_bundle(
    bundles: Sequence[Bundle],
    schema: pa.Schema | None,
    ids: pa.DataType,
    reading: Reading,
    removed: Sequence[Path],
    out: Path,
    number: int,
) -> None:
    """Writes kept/part-XXXXX.parquet and removed/part-XXXXX.parquet for each piece, numbered through all bundles.

    schema: of JSON Lines, over all pieces; ids: as of `id_type`; removed: for each bundle what `near_duplicates` wrote.
    """
    begin = sum(len(bundle.pieces) for bundle in bundles[:number])
    found = pq.read_table(removed[number])
    for place, piece, taken, rows in bundles[number].split(found["row"].to_numpy()):
        name = f"part-{begin + place:05d}.parquet"
        kept_path, removed_path = out / "kept" / name, out / "removed" / name
        if not (kept_path.exists() and removed_path.exists()):
            wanted = schema if piece.data != piece.source else None
            here = found.select(ADDED).slice(taken.start, len(rows)).cast(_added(ids))
            _write_piece(piece, wanted, reading, here, rows, kept_path, removed_path)


def _added(ids: pa.DataType) -> pa.Schema:
    return pa.schema(zip(ADDED, (ids, ids, pa.float64()), strict=True))


def _write_piece(
    piece: Piece,
    schema: pa.Schema | None,
    reading: Reading,
    found: pa.Table,
    numbers: Rows,
    kept_path: Path,
    removed_path: Path,
) -> None:
    """Kept and removed rows in the order of the input. numbers: the removed documents, `found` of duplicates."""
    rows = piece.array("rows")
    going = rows[numbers]
    try:
        with parquet_file(piece.data) as file, atomic_path(removed_path) as one, atomic_path(kept_path) as other:
            given = schema or without_views(file.schema_arrow)
            more = pa.schema([*given, *found.schema], given.metadata)
            with (
                pq.ParquetWriter(one, more, compression="zstd") as removed_rows,
                pq.ParquetWriter(other, given, compression="zstd") as kept_rows,
            ):
                for begin, batch in batches(file, piece.groups, None):
                    table = pa.Table.from_batches([batch]) if schema is None else _columns(batch, schema, reading)
                    end = begin + batch.num_rows
                    here = rows[slice(*np.searchsorted(rows, [begin, end]))] - begin
                    low, high = np.searchsorted(going, [begin, end])
                    out_of_here = going[low:high] - begin
                    kept = np.setdiff1d(here, out_of_here, assume_unique=True)
                    if len(kept):
                        kept_rows.write_table(table if len(kept) == len(table) else table.take(pa.array(kept)))
                    if len(out_of_here):
                        columns = table.take(pa.array(out_of_here)).columns
                        added = [found[name].slice(low, high - low) for name in ADDED]
                        removed_rows.write_table(pa.table([*columns, *added], schema=more))
    except Unreadable as error:
        message = f"{piece.source}: {error}.\nMend it, or go on without what cannot be read: --on-error skip"
        raise DataError(message) from error


def _columns(batch: pa.RecordBatch, schema: pa.Schema, reading: Reading) -> pa.Table:
    """Rows of JSON Lines, as `reading` left them, with the columns of all files."""
    rows = [orjson.loads(row.as_py()) for row in batch.column(reading.json)]
    for row, text in zip(rows, batch.column(reading.text).to_pylist(), strict=True):
        row[reading.text] = text
    return table_of(rows, schema)
