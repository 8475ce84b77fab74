"""The steps that look at all documents: which rows of which shard go, decided from keys alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.artifacts.atomic import atomic_path
from core.artifacts.seeds import derive_seed
from core.dedup.exact import first_occurrences
from core.dedup.minhash import MinhashDedup, candidate_pairs, jaccard, near_duplicates
from core.dedup.ngrams import Shingles, shingles
from core.documents.mixture import sample
from core.documents.reading import Shard
from core.documents.table import content
from core.recipe.schema import Data
from ray_jobs.curate_shard import Work
from ray_jobs.parallel import each
from ray_jobs.session import RaySession

REMOVED = pa.schema([("row", pa.int64()), ("step", pa.string()), ("reason", pa.string()), ("evidence", pa.string())])


def decide(session: RaySession, work: Work, shards: Sequence[Shard], data: Data) -> list[str]:
    """Writes for every shard which of its rows the pass's last step removes. Returns what the user should know."""
    assert work.current.barrier is not None
    label, step = work.current.barrier
    documents = _Documents(work, shards, list(data.sources))
    notes: list[str] = []
    if step is None:
        reasons, evidence, notes = _mixture(documents, data, work.seed)
    elif step.kind == "exact_dedup":
        kept = first_occurrences(documents.keys("keys"))
        removed = np.flatnonzero(kept != np.arange(len(kept)))
        reasons, evidence = {int(row): "exact_duplicate" for row in removed}, documents.evidence(removed, kept[removed])
    else:
        reasons, evidence = _near_duplicates(session, documents, step.options)
    documents.write_removed(label, reasons, evidence)
    return notes


class _Documents:
    """All documents of a pass, numbered through the shards in their order."""

    def __init__(self, work: Work, shards: Sequence[Shard], names: Sequence[str]) -> None:
        self.work, self.shards, self.names = work, shards, names
        self.ids = [
            pq.read_table(work.part("kept", number, "parquet"), columns=["id"])["id"].combine_chunks()
            for number in range(len(shards))
        ]
        self.bounds = np.cumsum([0, *map(len, self.ids)])

    def keys(self, name: str) -> np.ndarray:
        """A key array of all shards, end to end."""
        paths = [self.work.part("keys", number, "npz") for number in range(len(self.shards))]
        arrays = [np.load(path)[name] for path in paths if path.exists()]
        return np.concatenate(arrays) if arrays else np.empty((0, 1), np.uint64)

    def sources(self) -> np.ndarray:
        """int64[documents]: the number of each document's source."""
        numbers = {name: number for number, name in enumerate(self.names)}
        return np.repeat([numbers[shard.source] for shard in self.shards], np.diff(self.bounds))

    def id(self, row: int) -> str:
        shard = int(np.searchsorted(self.bounds, row, side="right")) - 1
        return str(self.ids[shard][int(row - self.bounds[shard])].as_py())

    def evidence(self, rows: np.ndarray, partners: np.ndarray, more: Sequence[str] = ()) -> dict[int, str]:
        """For each removed row the id of the document that stayed."""
        extra = more or [""] * len(rows)
        return {
            int(row): self.id(int(partner)) + words for row, partner, words in zip(rows, partners, extra, strict=True)
        }

    def write_removed(self, label: str, reasons: dict[int, str], evidence: dict[int, str]) -> None:
        rows = np.array(sorted(reasons), np.int64)
        for number in range(len(self.shards)):
            begin, end = self.bounds[number], self.bounds[number + 1]
            here = rows[(rows >= begin) & (rows < end)]
            table = pa.table(
                [
                    here - begin,
                    [label] * len(here),
                    [reasons[row] for row in here.tolist()],
                    [evidence.get(row) for row in here.tolist()],
                ],
                schema=REMOVED,
            )
            with atomic_path(self.work.part("removed", number, "parquet")) as path:
                pq.write_table(table, path)


def _mixture(documents: _Documents, data: Data, seed: int) -> tuple[dict[int, str], dict[int, str], list[str]]:
    """Each source's documents drawn down to its count; a source that the mixture does not name is left out."""
    reasons: dict[int, str] = {}
    notes = []
    ids = pa.concat_arrays(documents.ids)
    sources = documents.sources()
    for number, name in enumerate(data.sources):
        rows = np.flatnonzero(sources == number)
        count = (data.mixture or {}).get(name, 0)
        if count == "all":
            continue
        if len(rows) < count:
            notes.append(f"mixture: {name} has {len(rows):,} documents of the {count:,} asked for")
        chosen = sample(ids.take(rows), min(count, len(rows)), derive_seed(seed, "mixture", name))
        reasons |= {int(row): "not_sampled" for row in rows[~np.asarray(chosen)]}
    return reasons, {}, notes


def _near_duplicates(
    session: RaySession, documents: _Documents, options: MinhashDedup
) -> tuple[dict[int, str], dict[int, str]]:
    keys = documents.keys("keys")
    if not len(keys):
        return {}, {}
    pairs = candidate_pairs(keys, None if options.across_sources else documents.sources())
    similarity = None
    if options.verify:
        candidates = np.unique(pairs)
        similarity = jaccard(np.searchsorted(candidates, pairs), _shingles(session, documents, candidates, options))
    removed = near_duplicates(pairs, similarity, documents.keys("lengths"), options)
    rows, kept = removed["row"].to_numpy(), removed["kept_row"].to_numpy()
    words = [f" (Jaccard {value:.3f})" if options.verify else "" for value in removed["jaccard"].to_pylist()]
    return {int(row): "near_duplicate" for row in rows}, documents.evidence(rows, kept, words)


def _shingles(session: RaySession, documents: _Documents, rows: np.ndarray, options: MinhashDedup) -> Shingles:
    """The n-grams of candidate documents, computed where their shards are, in the order of `rows`."""
    tasks: list[dict[str, Any]] = []
    for number in range(len(documents.shards)):
        begin, end = documents.bounds[number], documents.bounds[number + 1]
        here = rows[(rows >= begin) & (rows < end)] - begin
        if len(here):
            tasks.append({"number": number, "rows": here.tolist()})
    work = documents.work

    def compute(task: dict[str, Any]) -> str:
        path = work.part("shingles", task["number"], "npz")
        table = pq.read_table(work.part("kept", task["number"], "parquet")).take(pa.array(task["rows"]))
        found = shingles(content(table), options.ngram, options.unit)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, offsets=found.offsets, hashes=found.hashes)
        return str(path)

    for _ in each(session, compute, tasks):
        pass
    if not tasks:
        return Shingles(np.zeros(1, np.int64), np.empty(0, np.uint64))
    parts = [np.load(Path(work.part("shingles", task["number"], "npz"))) for task in tasks]
    sizes = np.concatenate([np.diff(part["offsets"]) for part in parts])
    return Shingles(np.concatenate([[0], np.cumsum(sizes)]), np.concatenate([part["hashes"] for part in parts]))
