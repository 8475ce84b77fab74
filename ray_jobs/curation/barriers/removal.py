"""Documents that go because another one stays: what exact and near deduplication have in common."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from core.documents.ledger import Verdict
from ray_jobs.curation.passes import Corpus, Decided

Numbers = NDArray[np.int64]


def source_numbers(documents: pa.Table, sources: list[str]) -> Numbers:
    """int64[documents]: the place of each document's source among all."""
    found: Numbers = pc.index_in(documents["source"], pa.array(sources, pa.string())).to_numpy().astype(np.int64)
    return found


def ids_of(corpus: Corpus, bounds: Numbers, numbers: Numbers) -> pa.Array:
    """The ids of documents by their numbers among all (ascending); the ids of one shard are held at a time."""
    found = [pa.array([], pa.string())]
    places = np.searchsorted(numbers, bounds)
    for shard in range(len(bounds) - 1):
        rows = numbers[places[shard] : places[shard + 1]] - bounds[shard]
        if len(rows):
            found.append(corpus.ids(shard, rows))
    return pa.concat_arrays(found)


def removed_documents(corpus: Corpus, shard: int, removed: Path, reason: str) -> Iterator[Decided]:
    """The shard's documents, of which those go that a Parquet file names: row, kept_id and jaccard (may be null)."""
    table = pq.read_table(removed, columns=["row", "kept_id", "jaccard"])
    rows = table["row"].to_numpy()
    words = [
        name if jaccard is None else f"{name} (Jaccard {jaccard:.3f})"
        for name, jaccard in zip(table["kept_id"].to_pylist(), table["jaccard"].to_pylist(), strict=True)
    ]
    begin = 0
    for documents in corpus.batches(shard):
        first, last = np.searchsorted(rows, [begin, begin + documents.num_rows])
        evidence = np.full(documents.num_rows, None, object)
        evidence[rows[first:last] - begin] = words[first:last]
        shown = pa.array(evidence, pa.string())
        why = pc.if_else(pc.is_valid(shown), pa.scalar(reason), pa.scalar(None, pa.string()))
        yield documents, Verdict(why, shown), None
        begin += documents.num_rows
