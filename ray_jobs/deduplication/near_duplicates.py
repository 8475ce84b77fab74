"""Near-duplicates of any number of documents, found through files: keys travel, text never does.

Each step is a task per part or per share of the bands, whose result is a file: after a kill, what is there is not done
again. This process holds some bytes for each duplicate found, and nothing for each document. The result does not
depend on how the documents are cut into parts, nor on the number of workers.

1. copies: documents that agree in every band are left to the first of them (`first_occurrences`);
2. bands: each part's keys, sorted into shares; 3. candidates: each share's pairs (`core.dedup.candidates`);
4. n-grams of the candidates, part by part, in files that are mapped into memory;
5. comparison of each part's pairs with any other part's (`core.dedup.verification`);
6. clusters, in this process, and the pairs of removed and kept document that were not compared yet;
7. for each part a file of what is removed, with the ids of what stays.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.dedup.candidates import MOST
from core.dedup.clusters import Removed, keep_order, removals
from core.dedup.key_files import mapped
from core.dedup.minhash import MinhashDedup, priority_ranks
from core.errors import ResourceError
from ray_jobs.deduplication.band_shares import find_candidates
from ray_jobs.deduplication.candidate_comparison import Comparison
from ray_jobs.deduplication.document_parts import Part, bounds_of, part_numbers
from ray_jobs.deduplication.duplicate_files import write_duplicates
from ray_jobs.progress import Reporter
from ray_jobs.session import RaySession

__all__ = ["Part", "Summary", "find_near_duplicates"]

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Summary:
    """What was found."""

    bounds: Rows  # [parts + 1]: part i holds the documents bounds[i] to bounds[i + 1] of the global numbering
    files: tuple[Path, ...]  # for each part a Parquet file, `duplicate_files.DUPLICATES`, rows ascending
    candidate_pairs: int
    removed: int
    clusters: int  # kept documents in whose place others were removed
    seconds: dict[str, float]  # of each phase; what an earlier call had finished counts nothing


def find_near_duplicates(
    session: RaySession | None, parts: Sequence[Part], options: MinhashDedup, work_dir: Path, reporter: Reporter
) -> Summary:
    """Looks through the documents of all parts, numbered through them in their order.

    work_dir: of this call alone; a call after a kill goes on from what is there. session: None works in this process,
    one task after the other. Raises ResourceError for 2**31 documents or more.
    """
    bounds = bounds_of(parts)
    if bounds[-1] >= MOST:
        raise ResourceError(f"minhash_dedup: found {bounds[-1]:,} documents, expected fewer than 2**31 = {MOST:,}")
    seconds: dict[str, float] = {}
    with _timed(seconds, "candidates"):
        candidates = find_candidates(session, parts, options, work_dir, reporter)
    comparison = Comparison(session, parts, options, candidates, work_dir, reporter)
    with _timed(seconds, "comparison"):
        pairs, jaccards, compared = comparison.similar()

    def order(rows: Rows) -> Rows:
        lengths, ranks = _lengths_and_ranks(parts, bounds, rows, options)
        return keep_order(rows, options.keep, lengths, ranks)

    with _timed(seconds, "clusters"):
        exact = comparison.exact if options.verify else None
        found: Removed = removals(pairs, jaccards, order, options.linkage, options.threshold, exact)
    with _timed(seconds, "ids"):
        files = write_duplicates(session, parts, found, work_dir, reporter)
    return Summary(bounds, files, compared, len(found.rows), found.cluster_count, seconds)


def _lengths_and_ranks(parts: Sequence[Part], bounds: Rows, rows: Rows, options: MinhashDedup) -> tuple[Rows, Rows]:
    """Of rows, ascending: bytes, and the place of the source in `priority`; read only where `keep` goes by them."""
    lengths, ranks = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    if options.keep == "first":
        return lengths, ranks
    numbers = part_numbers(bounds, rows)
    for number in np.unique(numbers).tolist():
        here = numbers == number
        path = parts[number].keys
        if options.keep == "longest" and path is not None:
            lengths[here] = mapped(path, "lengths")[rows[here] - bounds[number]]
        ranks[here] = priority_ranks([parts[number].source], options)[0]
    return lengths, ranks


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    seconds[name] = round(time.monotonic() - began, 3)
