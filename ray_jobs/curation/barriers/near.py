"""Near-duplicates over all shards."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from core.dedup.minhash import MinhashDedup, band_keys
from core.documents.table import content
from ray_jobs.curation.barriers.duplicates import write_duplicates
from ray_jobs.curation.barriers.removal import removed_documents
from ray_jobs.curation.passes import Corpus, Decided
from ray_jobs.deduplication.near_duplicates import Part, find_near_duplicates
from ray_jobs.progress import Reporter
from ray_jobs.session import RaySession


@dataclass(frozen=True)
class NearBarrier:
    """Keys are those of the bands of MinHash signatures."""

    label: str
    options: MinhashDedup
    seed: int

    def keys(self, documents: pa.Table) -> dict[str, NDArray[Any]]:
        """keys: uint64[documents, bands]; lengths: int64[documents], in bytes."""
        text = content(documents)
        return {"keys": band_keys(text, self.options, self.seed), "lengths": pc.binary_length(text).to_numpy()}

    def decide(self, session: RaySession | None, corpus: Corpus, reporter: Reporter) -> list[str]:
        """Leaves for every shard the documents that go, each with the one that stays for it."""
        parts = [
            Part(
                corpus.keys(shard) if corpus.keys(shard).exists() else None,
                source,
                partial(_texts, corpus, shard),
                partial(corpus.ids, shard),
            )
            for shard, source in enumerate(corpus.shards)
        ]
        found = find_near_duplicates(session, parts, self.options, corpus.path(self.label), reporter)
        tables = ((shard, pq.read_table(path)) for shard, path in enumerate(found.files))
        write_duplicates(corpus, self.label, found.bounds, tables, found.candidate_pairs)
        for shard, path in enumerate(found.files):
            shutil.copyfile(path, corpus.part("removed", shard, "parquet"))
        return []

    def decided(self, corpus: Corpus, shard: int) -> Iterator[Decided]:
        """Documents go that are like one that stays."""
        return removed_documents(corpus, shard, corpus.part("removed", shard, "parquet"), "near_duplicate")


def _texts(corpus: Corpus, shard: int, rows: NDArray[np.int64]) -> Iterator[pa.LargeStringArray]:
    """The texts of rows, ascending, a row group at a time; groups without any of them are not read."""
    with pq.ParquetFile(corpus.kept(shard)) as file:
        begin = 0
        for group in range(file.num_row_groups):
            end = begin + file.metadata.row_group(group).num_rows
            first, last = np.searchsorted(rows, [begin, end])
            if first < last:
                documents = file.read_row_group(group).take(pa.array(rows[first:last] - begin))
                yield content(documents)
            begin = end
