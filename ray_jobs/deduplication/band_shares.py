"""Candidate pairs through files: the keys of each band are brought together in shares, none of which is large."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.dedup.candidates import FOLLOWING, bucket_pairs, merged, packed
from core.dedup.key_files import mapped, save_arrays
from core.dedup.minhash import MinhashDedup
from ray_jobs.deduplication.document_parts import Part, bounds_of, part_numbers, source_numbers
from ray_jobs.deduplication.first_occurrences import FirstOccurrences, first_of
from ray_jobs.parallel import each
from ray_jobs.progress import Reporter
from ray_jobs.session import RaySession

SHARE = 1 << 24  # bytes of keys that a task brings together, at least; of many keys
SHARES = 256  # make them, until a task has
LARGEST_SHARE = 1 << 29  # bytes
SOURCE_SALT = 0x9E3779B97F4A7C15  # times a source's number: added to keys where sources are not compared

Rows = NDArray[np.int64]
Keys = NDArray[np.uint64]


@dataclass(frozen=True)
class Candidates:
    """Where the pairs are: npz files with `pairs`, packed and ascending, and `rows`, of either side, ascending."""

    bounds: Rows
    files: tuple[Path, ...]

    def pairs_of_part(self, number: int) -> Rows:
        """The pairs whose smaller row is in a part, packed, ascending, each once."""
        begin, end = packed(self.bounds[number : number + 2], np.zeros(2, np.int64))
        return merged(*(_between(mapped(path, "pairs"), begin, end) for path in self.files))

    def rows_of_part(self, number: int) -> Rows:
        """The rows of a part that are in any pair, counted within the part, ascending."""
        begin, end = self.bounds[number : number + 2]
        found: Rows = merged(*(_between(mapped(path, "rows"), begin, end) for path in self.files)) - begin
        return found


def _between(ascending: Rows, begin: int, end: int) -> Rows:
    low, high = np.searchsorted(ascending, [begin, end])
    return np.array(ascending[low:high])


@dataclass(frozen=True)
class _Work:
    """What every task of this step is given."""

    parts: Sequence[Part]
    bounds: Rows
    salts: list[np.uint64]  # of the parts
    bands: int
    partitions: int  # of each band
    directory: Path
    copies: FirstOccurrences | None = field(default=None)

    def path(self, kind: str, number: int) -> Path:
        return self.directory / f"{kind}-{number:05d}.npz"

    def keys(self, number: int) -> Keys:
        path = self.parts[number].keys
        assert path is not None
        return np.array(mapped(path, "keys"))


def find_candidates(
    session: RaySession | None, parts: Sequence[Part], options: MinhashDedup, work_dir: Path, reporter: Reporter
) -> Candidates:
    """The pairs of `core.dedup.candidates.candidate_pairs`, whatever the parts and shares are."""
    bounds = bounds_of(parts)
    bands = options.banding[0]
    numbers = [0] * len(parts) if options.across_sources else source_numbers(parts)
    salts = [np.uint64(number * SOURCE_SALT % 2**64) for number in numbers]
    band_bytes = 8 * int(bounds[-1])
    share = max(SHARE, min(LARGEST_SHARE, bands * band_bytes // SHARES))
    partitions = -(-band_bytes // share) or 1
    together = max(1, share // max(1, band_bytes))  # bands of a share
    shares = [
        (list(range(band, min(band + together, bands))), partition)
        for band in range(0, bands, together)
        for partition in range(partitions)
    ]
    work = _Work(parts, bounds, salts, bands, partitions, work_dir)
    filled = [number for number, count in enumerate(np.diff(bounds)) if count]
    first = first_of(
        session, np.diff(bounds).tolist(), 16, partial(_digests, work), work_dir / "copies", reporter, "copies"
    )
    work = _Work(parts, bounds, salts, bands, partitions, work_dir, first)
    copies = tuple(work.path("copies", number) for number in range(len(first.files)))
    shared = tuple(work.path("pairs", number) for number in range(len(shares)))
    found = Candidates(bounds, copies + shared)
    if all(path.exists() for path in found.files):
        return found
    with reporter.bar("candidates", len(copies) + len(filled) + len(shares)) as bar:
        for _ in each(session, partial(_pair_copies, work), list(range(len(copies)))):
            bar.advance()
        for _ in each(session, partial(_sort_bands, work), filled):
            bar.advance()
        tasks = [(number, *share) for number, share in enumerate(shares) if not shared[number].exists()]
        for _ in each(session, partial(_pair, work, filled), tasks):
            bar.advance()
    for number in filled:
        work.path("bands", number).unlink(missing_ok=True)
    return found


def _digests(work: _Work, number: int) -> Keys:
    from core.dedup import key_kernels as kernels

    return kernels.digests(work.keys(number), work.salts[number], int(work.bounds[number]))


def _pair_copies(work: _Work, number: int) -> None:
    """Each copy with the first document that agrees with it in all bands."""
    assert work.copies is not None
    copies, first = (np.array(mapped(work.copies.files[number], name)) for name in ("items", "first"))
    save_arrays(work.path("copies", number), pairs=merged(packed(first, copies)), rows=merged(first, copies))


def _sort_bands(work: _Work, number: int) -> None:
    """The keys of a part's documents but copies: of each band, in the order of partitions."""
    from core.dedup import key_kernels as kernels

    if work.path("bands", number).exists():
        return
    assert work.copies is not None
    keys = work.keys(number)
    filled = keys[:, 0] != 0
    filled[work.copies.of_part(number)[0]] = False
    distinct = np.flatnonzero(filled)
    columns = np.ascontiguousarray(keys[distinct].T) + work.salts[number]
    order = np.broadcast_to(np.arange(len(distinct)), (1, len(distinct)))
    ends = np.broadcast_to(np.array([0, len(distinct)]), (work.bands, 2))
    if work.partitions > 1:
        sorted_bands = [kernels.partitioned(column[:, None], work.partitions) for column in columns]
        order = np.stack([found for found, _ in sorted_bands])
        ends = np.stack([found for _, found in sorted_bands])
        columns = np.take_along_axis(columns, order, axis=1)
    save_arrays(work.path("bands", number), keys=columns, rows=distinct[order].astype(np.uint32), ends=ends)


def _pair(work: _Work, filled: Sequence[int], task: tuple[int, list[int], int]) -> None:
    """The pairs of a share: of some bands, or of a partition of one."""
    number, bands, partition = task
    found: list[Rows] = []
    for band in bands:
        keys, rows = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
        for part in filled:
            path = work.path("bands", part)
            begin, end = mapped(path, "ends")[band, partition : partition + 2]
            keys.append(np.array(mapped(path, "keys")[band, begin:end]))  # a map would keep its file open
            local = mapped(path, "rows")
            rows.append(local[band % len(local), begin:end].astype(np.int64) + work.bounds[part])
        own, numbers = np.concatenate(keys), np.concatenate(rows)
        del keys, rows
        found = [merged(*found, *bucket_pairs(own, numbers, partial(_following, work, band, numbers)))]
    pairs = merged(*found)
    save_arrays(work.path("pairs", number), pairs=pairs, rows=merged(pairs >> 32, pairs & 0xFFFFFFFF))


def _following(work: _Work, band: int, numbers: Rows, places: Rows) -> list[Keys]:
    """The keys of the bands after one, of crowded documents: only these are looked up where the part left them."""
    rows = numbers[places]
    found = [np.empty(len(rows), np.uint64) for _ in FOLLOWING]
    of_part = part_numbers(work.bounds, rows)
    for part in np.unique(of_part).tolist():
        here = np.flatnonzero(of_part == part)
        path = work.parts[part].keys
        assert path is not None
        keys = mapped(path, "keys")[np.sort(rows[here]) - work.bounds[part]]
        rank = np.argsort(np.argsort(rows[here]))
        for step, column in zip(FOLLOWING, found, strict=True):
            column[here] = keys[rank, (band + step) % work.bands]
    return found
