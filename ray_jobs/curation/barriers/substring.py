"""Repeated spans over all shards: cut out of their documents, or the documents dropped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from core.dedup.exact import keys_by_source
from core.dedup.substring import SubstringDedup, substring_verdict, window_keys
from core.documents.table import content
from ray_jobs.curation.barriers.exact import flags
from ray_jobs.curation.barriers.removal import source_numbers
from ray_jobs.curation.passes import Corpus, Decided
from ray_jobs.deduplication.first_occurrences import find_first
from ray_jobs.progress import Reporter
from ray_jobs.session import RaySession


@dataclass(frozen=True)
class SubstringBarrier:
    """Keys are hashes of all windows of so many tokens, numbered through all shards."""

    label: str
    options: SubstringDedup
    sources: list[str]

    def keys(self, documents: pa.Table) -> dict[str, NDArray[Any]]:
        """keys: uint64[windows]; counts: int64[documents], the windows of each."""
        windows = window_keys(content(documents), self.options)
        counts, keys = np.diff(windows.offsets), windows.keys
        if not self.options.across_sources:
            keys = keys_by_source(keys, np.repeat(source_numbers(documents, self.sources), counts))
        return {"keys": keys, "counts": counts}

    def decide(self, session: RaySession | None, corpus: Corpus, reporter: Reporter) -> list[str]:
        """Leaves for every shard the numbers of the windows that are repeated."""
        shards = range(len(corpus.shards))
        keys = [path if path.exists() else None for path in map(corpus.keys, shards)]
        found = find_first(session, keys, "keys", corpus.path(self.label), reporter, self.label)
        firsts = np.empty(0, np.int64)  # that occur again
        if self.options.keep == "none":
            for shard in shards:
                firsts = np.union1d(firsts, found.of_part(shard)[1])
        for shard in shards:
            begin, end = np.searchsorted(firsts, found.bounds[shard : shard + 2])
            repeated = np.union1d(found.of_part(shard)[0], firsts[begin:end] - found.bounds[shard])
            corpus.save("repeated", shard, repeated)
        return []

    def decided(self, corpus: Corpus, shard: int) -> Iterator[Decided]:
        """The shard's documents with their repeated spans."""
        repeated = np.load(corpus.part("repeated", shard, "npy"), mmap_mode="r")
        if not corpus.keys(shard).exists():
            return
        with np.load(corpus.keys(shard)) as keys:
            windows = np.concatenate([[0], np.cumsum(keys["counts"])])
        row = 0
        for documents in corpus.batches(shard):
            here = flags(repeated, windows[row], windows[row + documents.num_rows])
            yield documents, substring_verdict(content(documents), self.options, here), None
            row += documents.num_rows
