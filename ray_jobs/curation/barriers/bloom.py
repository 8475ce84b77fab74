"""Paragraphs and documents that a Bloom filter has seen: one filter, all shards one after the other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from core.artifacts.atomic import atomic_path, write_json
from core.dedup.bloom import BloomDedup, BloomFilter, bloom_duplicates, count_ngrams
from core.documents.ledger import SPANS, Verdict
from core.documents.table import content
from ray_jobs.curation.passes import Corpus, Decided
from ray_jobs.progress import Reporter
from ray_jobs.session import RaySession

SAVE_EVERY = 60.0  # seconds after which the filter is saved, to go on from there


@dataclass(frozen=True)
class BloomBarrier:
    """Keys are the counts of n-grams, which tell how large the filter must be."""

    label: str
    options: BloomDedup

    def keys(self, documents: pa.Table) -> dict[str, NDArray[Any]]:
        """ngrams: int64[1], of all documents."""
        return {"ngrams": np.array([count_ngrams(content(documents), self.options)])}

    def decide(self, session: RaySession | None, corpus: Corpus, reporter: Reporter) -> list[str]:
        """Goes through all shards in this process, in input order: what is seen before depends on nothing else."""
        shards = range(len(corpus.shards))
        ngrams = sum(int(np.load(path)["ngrams"].sum()) for path in map(corpus.keys, shards) if path.exists())
        begin, known = _saved(corpus) or (0, BloomFilter.create(ngrams, self.options.false_positive_rate))
        saved = time.monotonic()
        with reporter.bar(f"curate: {self.label}", len(shards)) as bar:
            bar.at(begin)
            for shard in shards[begin:]:
                with atomic_path(corpus.part("verdict", shard, "parquet")) as path:
                    pq.write_table(self._verdict(corpus, shard, known), path)
                bar.advance()
                if time.monotonic() - saved > SAVE_EVERY:
                    _save(corpus, shard + 1, known)
                    saved = time.monotonic()
        filled = known.false_positive_rate()
        summary = {"step": self.label, "ngrams": ngrams, "bits": known.size, "probes": known.probes}
        summary |= {"false_positive_rate_at_most": self.options.false_positive_rate, "false_positive_rate": filled}
        write_json(corpus.stage / "bloom" / f"{self.label}.json", summary)
        size = f"{known.size / 8e6:,.1f} MB"
        return [f"{self.label}: a filter of {size}, false-positive rate {filled:.4g} as it is filled in the end"]

    def decided(self, corpus: Corpus, shard: int) -> Iterator[Decided]:
        """The shard's documents; a span without a beginning is a whole document."""
        table = pq.read_table(corpus.part("verdict", shard, "parquet"))
        begin = 0
        for documents in corpus.batches(shard):
            row = table["row"]
            end = begin + documents.num_rows
            here = table.filter(pc.and_(pc.greater_equal(row, begin), pc.less(row, end)))
            here = here.set_column(0, SPANS.field("row"), pc.subtract(here["row"], begin)).combine_chunks()
            whole = pc.is_null(here["begin"])
            gone = here.filter(whole)
            places = pc.index_in(pa.array(np.arange(documents.num_rows)), gone["row"].combine_chunks())
            reason, evidence = (gone[name].combine_chunks().take(places) for name in ("reason", "evidence"))
            yield documents, Verdict(reason, evidence, here.filter(pc.invert(whole))), None
            begin = end

    def _verdict(self, corpus: Corpus, shard: int, known: BloomFilter) -> pa.Table:
        """SPANS of all documents of a shard, with their number in it; a dropped document has no beginning."""
        found, begin = [SPANS.empty_table()], 0
        for documents in corpus.batches(shard):
            verdict = bloom_duplicates(content(documents), known, self.options)
            dropped = np.flatnonzero(verdict.reason.is_valid())
            whole = pa.table(
                [
                    dropped + begin,
                    *(pa.nulls(len(dropped), pa.int64()) for _ in range(2)),
                    verdict.reason.take(pa.array(dropped)),
                    pa.nulls(len(dropped), pa.large_string()),
                    verdict.evidence.take(pa.array(dropped)),
                ],
                schema=SPANS,
            )
            assert verdict.spans is not None
            spans = verdict.spans.set_column(0, SPANS.field("row"), pc.add(verdict.spans["row"], begin))
            found += [whole, spans]
            begin += documents.num_rows
        return pa.concat_tables(found)


def _save(corpus: Corpus, shard: int, known: BloomFilter) -> None:
    """Keeps the filter as it is before a shard, and none of an earlier one."""
    with atomic_path(corpus.part("filter", shard, "npy")) as path:
        known.save(path)
    for earlier in _all_saved(corpus)[:-1]:
        earlier.unlink()


def _saved(corpus: Corpus) -> tuple[int, BloomFilter] | None:
    paths = _all_saved(corpus)
    return (int(paths[-1].stem.partition("-")[2]), BloomFilter.load(paths[-1])) if paths else None


def _all_saved(corpus: Corpus) -> list[Path]:
    return sorted(corpus.path("").glob("filter-*.npy"))
