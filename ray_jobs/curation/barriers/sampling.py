"""Draws instances of Natural Instructions by how well the base model answered them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from core.artifacts.atomic import atomic_path, write_json
from core.documents.ledger import Verdict
from core.errors import DataError
from core.instructions.answer_scores import SCORED
from core.instructions.score_sampling import Sample, sample_by_score
from core.instructions.score_sampling_counts import bucket_counts, reason_counts, shortfalls, task_counts
from core.instructions.score_sampling_options import SampleByScore
from ray_jobs.curation.passes import Corpus, Decided
from ray_jobs.progress import Reporter
from ray_jobs.session import RaySession

COLUMNS = [name for name in SCORED.names if name != "prediction"]
NOT_SCORED = "not_scored"
SAMPLED = pa.schema([("reason", pa.string()), ("evidence", pa.string())])


@dataclass(frozen=True)
class SamplingBarrier:
    """Scores are found by the documents' ids, which are the instances' own.

    scores: the file of SCORED for each source that is drawn from.
    """

    label: str
    options: SampleByScore
    scores: Mapping[str, Path]
    seed: int

    def keys(self, documents: pa.Table) -> dict[str, NDArray[Any]]:
        """rows: int64[1]. What decides is the ids, which are in the documents' file."""
        return {"rows": np.array([documents.num_rows])}

    def decide(self, session: RaySession | None, corpus: Corpus, reporter: Reporter) -> list[str]:
        """Leaves for every shard why each of its documents goes; `sampling/<label>.json` tells what was drawn."""
        shards = [
            shard for shard, source in enumerate(corpus.shards) if source in self.scores and corpus.keys(shard).exists()
        ]
        ids = {shard: pq.read_table(corpus.kept(shard), columns=["id"])["id"].combine_chunks() for shard in shards}
        there = pa.concat_arrays([pa.array([], pa.string()), *ids.values()])
        scored = self._scored()
        scored = scored.filter(pc.is_in(scored["id"], value_set=there)).combine_chunks()
        sample = sample_by_score(scored, self.options, self.seed)
        reason, evidence = sample.reason, _evidence(scored, sample)
        for shard in shards:
            place = pc.index_in(ids[shard], value_set=scored["id"].combine_chunks())
            known = pc.is_valid(place)
            table = pa.table(
                [pc.if_else(known, reason.take(place), NOT_SCORED), evidence.take(place)],
                schema=SAMPLED,
            )
            with atomic_path(corpus.part("sampled", shard, "parquet")) as path:
                pq.write_table(table, path)
        return self._told(corpus, sample, len(there) - scored.num_rows)

    def decided(self, corpus: Corpus, shard: int) -> Iterator[Decided]:
        """The shard's documents; those of a source that is not drawn from stay."""
        file = corpus.part("sampled", shard, "parquet")
        found = pq.read_table(file).combine_chunks() if file.exists() else None
        begin = 0
        for documents in corpus.batches(shard):
            if found is None:
                nothing = pa.nulls(documents.num_rows, pa.string())
                yield documents, Verdict(nothing, nothing), None
            else:
                here = found.slice(begin, documents.num_rows).combine_chunks()
                yield documents, Verdict(*(here[name].combine_chunks() for name in SAMPLED.names)), None
            begin += documents.num_rows

    def _scored(self) -> pa.Table:
        tables = [SCORED.empty_table().select(COLUMNS)]
        for path in dict.fromkeys(self.scores.values()):
            try:
                table = pq.read_table(path, columns=COLUMNS)
                tables.append(table.cast(pa.schema([SCORED.field(name) for name in COLUMNS])))
            except (OSError, KeyError, ValueError) as error:  # pyarrow's errors are of these
                raise DataError(
                    f"{self.label}.scores: {path}: no scores can be read there ({str(error).splitlines()[0]}); "
                    f"expected Parquet with {', '.join(COLUMNS)}"
                ) from error
        return pa.concat_tables(tables)

    def _told(self, corpus: Corpus, sample: Sample, unknown: int) -> list[str]:
        left_out = reason_counts(sample)
        if unknown:
            left_out[NOT_SCORED] = left_out.get(NOT_SCORED, 0) + unknown
        buckets = bucket_counts(sample, self.options).to_pylist()
        short = shortfalls(sample, self.options)
        write_json(
            corpus.stage / "sampling" / f"{self.label}.json",
            {
                "step": self.label,
                "instances": len(sample.left_out) + unknown,
                "chosen": sum(bucket["chosen"] for bucket in buckets),
                "left_out": left_out,
                "shortfalls": short,
                "buckets": buckets,
                "tasks": task_counts(sample).to_pylist(),
            },
        )
        notes = []
        for scoring in dict.fromkeys(bucket["scoring"] for bucket in buckets):
            of = [bucket for bucket in buckets if bucket["scoring"] == scoring]
            counts = {name: sum(bucket[name] for bucket in of) for name in ("instances", "pool", "chosen")}
            notes.append(
                f"{self.label}: {scoring}: {counts['chosen']:,} drawn of {counts['pool']:,} that the buckets of "
                f"{counts['instances']:,} instances gave"
            )
        return notes + [f"{self.label}: {line}" for line in short]


def _evidence(scored: pa.Table, sample: Sample) -> pa.Array:
    """ "score 0.25, bucket 2": the instance's own score, and the number of its bucket from 0."""
    score = pc.coalesce(pc.round(scored["score"], 4).cast(pa.string()), pa.scalar("none"))
    bucket = pa.array(sample.bucket, mask=sample.bucket < 0).cast(pa.string())
    shown = pc.binary_join_element_wise(pa.scalar("score"), score, pa.scalar(" "))
    with_bucket = pc.binary_join_element_wise(shown, pa.scalar(", bucket "), bucket, pa.scalar(""))
    found = pc.coalesce(with_bucket, shown)
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
