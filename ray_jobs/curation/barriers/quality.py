"""Keeps the best documents by a classifier's score: the top fraction of all, by the exact quantile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from core.dedup.key_files import mapped
from core.documents.ledger import Verdict
from core.documents.ranking import top
from core.documents.table import content
from core.filters.quality import FastTextQuality, Quality, quality_scores
from core.filters.quality_model import QualityModel
from ray_jobs.curation.passes import Corpus, Decided
from ray_jobs.progress import Reporter
from ray_jobs.session import RaySession


@dataclass(frozen=True)
class QualityBarrier:
    """Keys are the scores of the documents that are judged."""

    label: str
    options: Quality
    model: QualityModel | FastTextQuality

    def keys(self, documents: pa.Table) -> dict[str, NDArray[Any]]:
        """scores: float32[judged documents]; judged: bool[documents]."""
        judged = np.ones(documents.num_rows, np.bool_)
        if self.options.sources is not None:
            among = pc.is_in(documents["source"], value_set=pa.array(self.options.sources, pa.string()))
            judged = among.to_numpy(zero_copy_only=False)
        return {"scores": quality_scores(content(documents.filter(pa.array(judged))), self.model), "judged": judged}

    def decide(self, session: RaySession | None, corpus: Corpus, reporter: Reporter) -> list[str]:
        """Leaves for every shard which of its judged documents are among the best of all."""
        assert self.options.top_fraction is not None
        shards = [shard for shard in range(len(corpus.shards)) if corpus.keys(shard).exists()]
        scores = [mapped(corpus.keys(shard), "scores") for shard in shards]
        best = top(scores, self.options.top_fraction)
        for shard, chosen in zip(shards, best, strict=True):
            corpus.save("best", shard, chosen)
        kept, judged = sum(int(chosen.sum()) for chosen in best), sum(map(len, scores))
        lowest = min(
            (float(found[chosen].min()) for found, chosen in zip(scores, best, strict=True) if chosen.any()), default=1
        )
        return [f"{self.label}: the best {kept:,} of {judged:,} documents have a score of {lowest:.4g} or more"]

    def decided(self, corpus: Corpus, shard: int) -> Iterator[Decided]:
        """The shard's documents; those judged that are not among the best go, with their score."""
        begin = 0
        if not corpus.keys(shard).exists():
            return
        judged = np.asarray(mapped(corpus.keys(shard), "judged"))
        dropped = judged.copy()
        dropped[judged] = ~np.load(corpus.part("best", shard, "npy"))
        scores = np.zeros(len(judged), np.float32)
        scores[judged] = mapped(corpus.keys(shard), "scores")
        for documents in corpus.batches(shard):
            here = slice(begin, begin + documents.num_rows)
            reason = pc.if_else(pa.array(dropped[here]), pa.scalar("low_quality"), pa.scalar(None, pa.string()))
            evidence = [
                f"{score:.4g}" if drop else None for score, drop in zip(scores[here], dropped[here], strict=True)
            ]
            yield documents, Verdict(reason, pa.array(evidence, pa.string())), None
            begin += documents.num_rows
