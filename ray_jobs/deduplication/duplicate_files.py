"""What deduplication removes, as a file for each part, with the ids of what stays."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from core.artifacts.atomic import atomic_path
from core.dedup.clusters import Removed
from core.dedup.key_files import mapped, save_arrays
from ray_jobs.deduplication.document_parts import Part, bounds_of, part_numbers
from ray_jobs.parallel import each
from ray_jobs.progress import Reporter
from ray_jobs.session import RaySession

Rows = NDArray[np.int64]

DUPLICATES = pa.schema(
    [
        ("row", pa.int64()),  # the removed document, in its part
        ("kept", pa.int64()),  # the document that stays in its place, in the numbering through all parts
        ("kept_id", pa.string()),
        ("cluster", pa.int64()),  # the first document of all that go or stay with that one, in the same numbering
        ("cluster_id", pa.string()),
        ("jaccard", pa.float64()),  # exact, of the removed document and the kept one; null without verification
    ]
)


def write_duplicates(
    session: RaySession | None, parts: Sequence[Part], found: Removed, work_dir: Path, reporter: Reporter
) -> tuple[Path, ...]:
    """For each part a Parquet file of DUPLICATES, rows ascending. Ids are looked up where they are."""
    bounds = bounds_of(parts)
    files = tuple(work_dir / f"duplicates-{number:05d}.parquet" for number in range(len(parts)))
    if all(path.exists() for path in files):
        return files
    removed = work_dir / "removed.npz"
    named = np.union1d(found.kept, found.clusters)
    save_arrays(
        removed, rows=found.rows, kept=found.kept, clusters=found.clusters, jaccards=found.jaccards, named=named
    )
    with_names = np.unique(part_numbers(bounds, named)).tolist()
    with reporter.bar("ids of what stays", len(with_names) + len(parts)) as bar:
        for _ in each(session, partial(_write_ids, parts, bounds, removed), with_names):
            bar.advance()
        for _ in each(session, partial(_write_part, bounds, removed, files), list(range(len(parts)))):
            bar.advance()
    return files


def _ids_path(removed: Path, number: int) -> Path:
    return removed.with_name(f"ids-{number:05d}.parquet")


def _write_ids(parts: Sequence[Part], bounds: Rows, removed: Path, number: int) -> None:
    """The ids of a part's documents that are named as another's."""
    named = mapped(removed, "named")
    low, high = np.searchsorted(named, bounds[number : number + 2])
    rows = np.array(named[low:high])
    table = pa.table({"row": rows, "id": parts[number].ids(rows - bounds[number])})
    with atomic_path(_ids_path(removed, number)) as path:
        pq.write_table(table, path)


def _write_part(bounds: Rows, removed: Path, files: Sequence[Path], number: int) -> None:
    low, high = np.searchsorted(mapped(removed, "rows"), bounds[number : number + 2])
    rows, kept, clusters, jaccards = (
        np.array(mapped(removed, name)[low:high]) for name in ("rows", "kept", "clusters", "jaccards")
    )
    table = pa.table(
        [
            rows - bounds[number],
            kept,
            _ids(removed, bounds, kept),
            clusters,
            _ids(removed, bounds, clusters),
            pa.array(jaccards, pa.float64(), mask=np.isnan(jaccards)),
        ],
        schema=DUPLICATES,
    )
    with atomic_path(files[number]) as path:
        pq.write_table(table, path)


def _ids(removed: Path, bounds: Rows, rows: Rows) -> pa.Array:
    """The ids of documents, in any order, from the files of their parts."""
    wanted, places = np.unique(rows, return_inverse=True)
    numbers = np.unique(part_numbers(bounds, wanted)).tolist()
    ids = []
    for number in numbers:
        table = pq.read_table(_ids_path(removed, number))
        low, high = np.searchsorted(wanted, bounds[number : number + 2])
        there = np.searchsorted(table["row"].to_numpy(), wanted[low:high])
        ids.append(table["id"].combine_chunks().take(pa.array(there)).cast(pa.string()))
    return pa.concat_arrays([pa.array([], pa.string()), *ids]).take(pa.array(places))
