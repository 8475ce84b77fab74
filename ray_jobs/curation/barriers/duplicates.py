"""What a deduplication found, for people: how much of each source repeats which, and the largest clusters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from core.artifacts.atomic import write_json
from core.documents.table import DOCUMENTS, content
from ray_jobs.curation.passes import Corpus

CLUSTERS = 10  # the largest, of which the texts are shown
MEMBERS = 5  # removed documents of each
CHARACTERS = 600  # of each text

Numbers = NDArray[np.int64]


def write_duplicates(
    corpus: Corpus, label: str, bounds: Numbers, removed: Iterable[tuple[int, pa.Table]], candidates: int | None
) -> None:
    """Writes `duplicates/<label>.json`.

    bounds: int64[shards + 1], the numbers of the documents of each shard among all;
    removed: for each shard its removed documents: row, kept and cluster (numbers among all), jaccard (may be null);
    candidates: pairs that were compared, or None.
    """
    source_of_shard = np.array(corpus.source_numbers(), np.int64)
    matrix = np.zeros((len(corpus.sources), len(corpus.sources)), np.int64)
    numbers, kept, clusters, jaccard = [], [], [], []
    for shard, table in removed:
        numbers.append(table["row"].to_numpy() + bounds[shard])
        kept.append(table["kept"].to_numpy())
        clusters.append(table["cluster"].to_numpy())
        jaccard.append(table["jaccard"].to_numpy())
        partners = source_of_shard[np.searchsorted(bounds, kept[-1], side="right") - 1]
        np.add.at(matrix[source_of_shard[shard]], partners, 1)
    found = [np.concatenate(parts or [np.empty(0)]) for parts in (numbers, kept, clusters, jaccard)]
    summary: dict[str, Any] = {
        "step": label,
        "sources": list(corpus.sources),
        "matrix": matrix.tolist(),
        "clusters": _largest(corpus, bounds, *found),
        "removed": len(found[0]),
        "candidate_pairs": candidates,
    }
    write_json(corpus.stage / "duplicates" / f"{label}.json", summary)


def _largest(
    corpus: Corpus, bounds: Numbers, numbers: Numbers, kept: Numbers, clusters: Numbers, jaccard: NDArray[np.float64]
) -> list[dict[str, Any]]:
    names, sizes = np.unique(clusters, return_counts=True)
    largest = names[np.lexsort((names, -sizes))[:CLUSTERS]]
    members = {int(name): np.flatnonzero(clusters == name) for name in largest}
    shown = {name: rows[:MEMBERS] for name, rows in members.items()}
    wanted = [
        *(kept[rows[0]] for rows in shown.values()),
        *(number for rows in shown.values() for number in numbers[rows]),
    ]
    texts = _texts(corpus, bounds, np.unique(np.array(wanted, np.int64)))
    return [
        {
            "documents": len(np.unique(kept[rows])) + len(rows),
            "kept": texts[int(kept[rows[0]])],
            "removed": [
                texts[int(numbers[row])]
                | {"jaccard": None if np.isnan(jaccard[row]) else round(float(jaccard[row]), 4)}
                for row in shown[name]
            ],
        }
        for name, rows in members.items()
    ]


def _texts(corpus: Corpus, bounds: Numbers, numbers: Numbers) -> dict[int, dict[str, Any]]:
    """Id, source and the beginning of the text of documents, by their numbers; only their row groups are read."""
    found: dict[int, dict[str, Any]] = {}
    shards = np.searchsorted(bounds, numbers, side="right") - 1
    for shard in np.unique(shards).tolist():
        rows = numbers[shards == shard] - bounds[shard]
        with pq.ParquetFile(corpus.kept(shard)) as file:
            starts = np.cumsum([0, *(file.metadata.row_group(group).num_rows for group in range(file.num_row_groups))])
            groups = np.searchsorted(starts, rows, side="right") - 1
            for group in np.unique(groups).tolist():
                here = rows[groups == group]
                documents = file.read_row_group(group).cast(DOCUMENTS).take(pa.array(here - starts[group]))
                beginnings = pc.utf8_slice_codeunits(content(documents), 0, CHARACTERS)
                shown = documents.select(["id", "source"]).append_column("text", beginnings).to_pylist()
                found |= dict(zip((here + bounds[shard]).tolist(), shown, strict=True))
    return found
