"""Draws the recipe's mixture of sources."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from core.artifacts.seeds import derive_seed
from core.dedup.key_files import mapped
from core.documents.ledger import Verdict
from core.documents.mixture import Mixture, Part, draw_mixture, keys
from core.documents.table import content
from core.documents.token_counts import count_tokens
from ray_jobs.curation.passes import Corpus, Decided
from ray_jobs.progress import Reporter
from ray_jobs.session import RaySession

MIXTURE = "mixture"
NOT_SAMPLED = "not_sampled"


@dataclass(frozen=True)
class MixtureBarrier:
    """Keys are hashes of ids, by which documents are drawn, and the tokens of each document."""

    mixture: Mixture
    tokens: int | None  # of the whole mixture
    sources: list[str]
    seed: int
    label: str = MIXTURE

    def keys(self, documents: pa.Table) -> dict[str, NDArray[Any]]:
        """keys: uint64[documents]; tokens: int64[documents]. All documents of a shard are of one source."""
        seed = derive_seed(self.seed, MIXTURE, documents["source"][0].as_py()) if documents.num_rows else 0
        return {"keys": keys(documents["id"], seed), "tokens": count_tokens(content(documents))}

    def decide(self, session: RaySession | None, corpus: Corpus, reporter: Reporter) -> list[str]:
        """Leaves for every shard how often each of its documents was drawn. A source that is not named is left out."""
        shards: dict[str, list[int]] = {name: [] for name in self.sources}
        for shard, name in enumerate(corpus.shards):
            if corpus.keys(shard).exists():
                shards[name].append(shard)
        parts: dict[str, list[Part]] = {
            name: [(mapped(corpus.keys(shard), "keys"), mapped(corpus.keys(shard), "tokens")) for shard in found]
            for name, found in shards.items()
        }
        notes = []
        for name, drawn in draw_mixture(self.mixture, parts, self.tokens).items():
            for shard, counts in zip(shards[name], drawn.counts(), strict=True):
                corpus.save("drawn", shard, counts)
            if drawn.note is not None:
                notes.append(f"{MIXTURE}: {name} {drawn.note}")
        return notes

    def decided(self, corpus: Corpus, shard: int) -> Iterator[Decided]:
        """The shard's documents, those drawn several times as often as that."""
        drawn = corpus.part("drawn", shard, "npy")
        counts = np.load(drawn, mmap_mode="r") if drawn.exists() else np.zeros(corpus.rows(shard), np.int64)
        begin = 0
        for documents in corpus.batches(shard):
            here = np.asarray(counts[begin : begin + documents.num_rows])
            reason = pc.if_else(pa.array(here == 0), pa.scalar(NOT_SAMPLED), pa.scalar(None, pa.string()))
            yield documents, Verdict(reason, pa.nulls(len(here), pa.string())), here if (here > 1).any() else None
            begin += documents.num_rows
