"""Kept and removed rows of a piece, with all their columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.artifacts.atomic import atomic_path
from core.documents.streams import Unreadable
from core.errors import DataError
from ray_jobs.dedup_pieces import Piece
from ray_jobs.dedup_reading import ADDED
from ray_jobs.json_columns import conformed
from ray_jobs.parquet_rows import batches, parquet_file

TYPES = dict(zip(ADDED, (pa.string(), pa.string(), pa.float64()), strict=True))


def write_piece(
    pieces: Sequence[Piece], schema: pa.Schema | None, removed: Sequence[Path], out: Path, number: int
) -> None:
    """Writes kept/part-XXXXX.parquet and removed/part-XXXXX.parquet, unless they are there, in the order of the input.

    schema: of JSON Lines, over all pieces; removed: for each piece what `near_duplicates` wrote.
    """
    kept_path, removed_path = (out / kind / f"part-{number:05d}.parquet" for kind in ("kept", "removed"))
    if removed_path.exists() and kept_path.exists():
        return
    piece = pieces[number]
    found = pq.read_table(removed[number])
    rows = piece.array("rows")
    going = rows[found["row"].to_numpy()]
    wanted = schema if piece.data != piece.source else None
    try:
        with parquet_file(piece.data) as file, atomic_path(removed_path) as one, atomic_path(kept_path) as other:
            given = wanted or file.schema_arrow
            more = pa.schema([*given, *(pa.field(name, kind) for name, kind in TYPES.items())], given.metadata)
            with (
                pq.ParquetWriter(one, more, compression="zstd") as removed_rows,
                pq.ParquetWriter(other, given, compression="zstd") as kept_rows,
            ):
                for begin, batch in batches(file, piece.groups, None):
                    table = pa.Table.from_batches([batch])
                    table = conformed(table, wanted) if wanted is not None else table
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
