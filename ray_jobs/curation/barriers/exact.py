"""Exact duplicates over all shards: documents that are dropped, paragraphs and lines that are cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from core.artifacts.atomic import atomic_path
from core.dedup.exact import ExactDedup, document_keys, keys_by_source, piece_keys, piece_spans, pieces
from core.dedup.key_files import mapped
from core.documents.ledger import Verdict
from core.documents.table import content
from ray_jobs.curation.barriers.duplicates import write_duplicates
from ray_jobs.curation.barriers.removal import ids_of, removed_documents, source_numbers
from ray_jobs.curation.passes import Corpus, Decided
from ray_jobs.deduplication.duplicate_files import DUPLICATES
from ray_jobs.deduplication.first_occurrences import FirstOccurrences, find_first
from ray_jobs.progress import Reporter
from ray_jobs.session import RaySession


@dataclass(frozen=True)
class ExactBarrier:
    """Keys are hashes of documents, or of their paragraphs or lines, numbered through all shards."""

    label: str
    options: ExactDedup
    sources: list[str]

    def keys(self, documents: pa.Table) -> dict[str, NDArray[Any]]:
        """keys: uint64[documents or pieces, 2]; comparable: bool[documents], whether they have the part compared."""
        numbers = source_numbers(documents, self.sources)
        if self.options.unit == "document":
            found, comparable = document_keys(documents, self.options)
            return {"keys": self._of_sources(found, numbers), "comparable": comparable}
        text = content(documents)
        parts = pieces(text, self.options.unit, self.options.min_words)
        return {"keys": self._of_sources(piece_keys(text, parts, self.options), numbers[parts.row])}

    def decide(self, session: RaySession | None, corpus: Corpus, reporter: Reporter) -> list[str]:
        """Leaves for every shard the items that occurred before."""
        shards = range(len(corpus.shards))
        keys = [path if path.exists() else None for path in map(corpus.keys, shards)]
        first = find_first(session, keys, "keys", corpus.path(self.label), reporter, self.label)
        if self.options.unit != "document":
            for shard in shards:
                corpus.save("repeated", shard, first.of_part(shard)[0])
            return []
        self._save_documents(corpus, first)
        tables = ((shard, pq.read_table(corpus.part("removed", shard, "parquet"))) for shard in shards)
        write_duplicates(corpus, self.label, first.bounds, tables, None)
        return []

    def decided(self, corpus: Corpus, shard: int) -> Iterator[Decided]:
        """Documents whose copy came before go; so do paragraphs and lines, out of their documents."""
        if self.options.unit == "document":
            yield from removed_documents(corpus, shard, corpus.part("removed", shard, "parquet"), "exact_duplicate")
            return
        repeated = np.load(corpus.part("repeated", shard, "npy"), mmap_mode="r")
        begin = 0
        for documents in corpus.batches(shard):
            text = content(documents)
            parts = pieces(text, self.options.unit, self.options.min_words)
            here = flags(repeated, begin, begin + len(parts))
            nothing = pa.nulls(documents.num_rows, pa.string())
            yield documents, Verdict(nothing, nothing, piece_spans(parts, here, self.options)), None
            begin += len(parts)

    def _of_sources(self, keys: NDArray[np.uint64], numbers: NDArray[np.int64]) -> NDArray[np.uint64]:
        return keys if self.options.across_sources else keys_by_source(keys, numbers)

    def _save_documents(self, corpus: Corpus, first: FirstOccurrences) -> None:
        shards = range(len(corpus.shards))
        kept = np.unique(np.concatenate([_repeated(corpus, first, shard)[1] for shard in shards]))
        ids = ids_of(corpus, first.bounds, kept)
        for shard in shards:
            rows, partners = _repeated(corpus, first, shard)
            kept_ids = ids.take(pa.array(np.searchsorted(kept, partners)))
            nothing = pa.nulls(len(rows), pa.float64())
            table = pa.table([rows, partners, kept_ids, partners, kept_ids, nothing], schema=DUPLICATES)
            with atomic_path(corpus.part("removed", shard, "parquet")) as path:
                pq.write_table(table, path)


def _repeated(corpus: Corpus, first: FirstOccurrences, shard: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows of a shard that have a part to compare which occurred before, and the number of its first document."""
    rows, partners = first.of_part(shard)
    if not len(rows):
        return rows, partners
    comparable = mapped(corpus.keys(shard), "comparable")[rows]
    return rows[comparable], partners[comparable]


def flags(numbers: NDArray[np.int64], begin: int, end: int) -> NDArray[np.bool_]:
    """bool[end - begin]: whether each item from begin to end is among the numbers, which are ascending."""
    found = np.zeros(end - begin, np.bool_)
    first, last = np.searchsorted(numbers, [begin, end])
    found[numbers[first:last] - begin] = True
    return found
