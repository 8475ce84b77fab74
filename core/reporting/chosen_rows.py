"""A few rows for every step and reason, out of directories of any size.

Where a file's row groups hold a single step and reason, as their statistics say, nothing of them is read to know
it; elsewhere only those two columns are, in pieces. Of the chosen rows' groups no more than that is read on to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import DataError

Key = tuple[str, str]  # step, reason
COLUMNS = ["step", "reason"]
READERS = 8  # threads that wait for files
ROWS = 1 << 20  # of two dictionary columns, read at a time
WHOLE_ROWS = 64  # with their texts, read at a time


def chosen_rows(directory: Path, per_reason: int) -> dict[Key, list[dict[str, Any]]]:
    """Rows of `directory`/*.parquet by (step, reason): at most `per_reason` of each, spread evenly over all there
    are, in the order of files (by name) and rows.

    Memory does not grow with the rows, but for the few that are chosen. Raises DataError naming a file that cannot
    be read.
    """
    files = sorted(directory.glob("*.parquet"))
    if not files or not per_reason:
        return {}
    with ThreadPoolExecutor(READERS) as pool:
        counts = list(pool.map(_counts, files))
    totals: dict[Key, int] = {}
    for of_file in counts:
        for key, number in of_file.items():
            totals[key] = totals.get(key, 0) + number
    wanted = {key: evenly(total, per_reason) for key, total in totals.items()}
    seen = dict.fromkeys(totals, 0)
    chosen: dict[Key, list[dict[str, Any]]] = {key: [] for key in totals}
    for path, of_file in zip(files, counts, strict=True):
        nths: dict[Key, list[int]] = {}
        for key, number in of_file.items():
            here = [place - seen[key] for place in wanted[key] if seen[key] <= place < seen[key] + number]
            seen[key] += number
            if here:
                nths[key] = here
        if nths:
            for key, row in _rows(path, nths):
                chosen[key].append(row)
    return chosen


def evenly(total: int, wanted: int) -> list[int]:
    """At most `wanted` of the positions 0 ... total - 1, first and last included, evenly spaced."""
    return np.unique(np.linspace(0, total - 1, min(total, wanted)).round().astype(int)).tolist() if total else []


def _counts(path: Path) -> dict[Key, int]:
    """Rows of a file by step and reason."""
    counts: dict[Key, int] = {}
    with _opened(path) as file:
        for group in range(file.metadata.num_row_groups):
            only = _only_key(file, group)
            if only:
                counts[only] = counts.get(only, 0) + file.metadata.row_group(group).num_rows
                continue
            for keys, codes in _coded(file, group):
                for key, number in zip(keys, np.bincount(codes, minlength=len(keys)).tolist(), strict=True):
                    if number:
                        counts[key] = counts.get(key, 0) + number
    return counts


def _rows(path: Path, nths: dict[Key, list[int]]) -> Iterator[tuple[Key, dict[str, Any]]]:
    """The rows of a file that are the n-th (from 0) of their step and reason."""
    seen = dict.fromkeys(nths, 0)
    with _opened(path) as file:
        for group in range(file.metadata.num_row_groups):
            places: dict[int, Key] = {}
            only, begin = _only_key(file, group), 0
            for keys, codes in _coded(file, group) if not only or only in nths else ():
                for number, key in enumerate(keys):
                    if key not in nths:
                        continue
                    rows = np.flatnonzero(codes == number)
                    here = [n - seen[key] for n in nths[key] if seen[key] <= n < seen[key] + len(rows)]
                    places |= {begin + int(rows[n]): key for n in here}
                    seen[key] += len(rows)
                begin += len(codes)
            for row, values in _whole(file, group, sorted(places)):
                yield places[row], values


def _whole(file: pq.ParquetFile, group: int, rows: Sequence[int]) -> Iterator[tuple[int, dict[str, Any]]]:
    if not rows:
        return
    begin = 0
    for batch in file.iter_batches(WHOLE_ROWS, row_groups=[group], use_threads=False):
        for row in rows:
            if begin <= row < begin + batch.num_rows:
                yield row, batch.slice(row - begin, 1).to_pylist()[0]
        begin += batch.num_rows
        if begin > rows[-1]:
            return


def _only_key(file: pq.ParquetFile, group: int) -> Key | None:
    """The step and reason of all rows of a group, where its statistics tell that there is one."""
    names = file.schema_arrow.names
    found = []
    for name in COLUMNS:
        if name not in names:
            raise KeyError(name)
        column = next(
            column
            for number in range(file.metadata.num_columns)
            if (column := file.metadata.row_group(group).column(number)).path_in_schema == name
        )
        known = column.statistics
        # What is longer may stand there cut short.
        if known is None or not known.has_min_max or known.null_count or known.min != known.max or len(known.min) > 60:
            return None
        found.append(known.min)
    return found[0], found[1]


def _coded(file: pq.ParquetFile, group: int) -> Iterator[tuple[list[Key], npt.NDArray[np.int64]]]:
    """The steps and reasons of a row group, piece by piece: those there are, and for each row its number."""
    for batch in file.iter_batches(ROWS, row_groups=[group], columns=COLUMNS, use_threads=False):
        parts = [batch.column(name).cast(pa.string()).dictionary_encode("encode") for name in COLUMNS]
        steps, reasons = (part.dictionary.to_pylist() for part in parts)
        step_codes, reason_codes = (part.indices.to_numpy().astype(np.int64) for part in parts)
        yield (
            [(str(step), str(reason)) for step in steps for reason in reasons],
            step_codes * len(reasons) + reason_codes,
        )


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path, read_dictionary=COLUMNS, pre_buffer=False, buffer_size=1 << 20) as file:
            yield file
    except (OSError, KeyError, UnicodeDecodeError, pa.ArrowException) as error:
        message = f"{path}: not readable as what curation keeps aside ({error}). Run `raycipe curate` again."
        raise DataError(message) from error
