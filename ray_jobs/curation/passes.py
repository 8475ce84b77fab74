"""What a pass over the shards is: steps that judge a document alone, then one that looks at all documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from core.artifacts.atomic import atomic_path
from core.documents.ledger import Verdict
from core.documents.table import DOCUMENTS
from core.recipe.schema import Step
from ray_jobs.progress import Reporter
from ray_jobs.session import RaySession

# A batch of documents, what is decided of them, and how often each one kept comes (None: once).
Decided = tuple[pa.Table, Verdict, NDArray[np.int64] | None]


@dataclass(frozen=True)
class Corpus:
    """The documents as a pass leaves them: a Parquet file and a file of keys for each shard.

    stage: the stage's directory; number: the pass's; sources: all names, in the recipe's order;
    shards: the name of each shard's source.
    """

    stage: Path
    number: int
    sources: Sequence[str]
    shards: Sequence[str]

    def part(self, kind: str, shard: int, suffix: str) -> Path:
        """Where a shard's file of a kind is."""
        return self.stage / ".work" / f"pass-{self.number}" / f"{kind}-{shard:05d}.{suffix}"

    def path(self, name: str) -> Path:
        """Where something of the whole pass is."""
        return self.stage / ".work" / f"pass-{self.number}" / name

    def kept(self, shard: int) -> Path:
        """The shard's documents, in row groups of some 32 MB."""
        return self.part("kept", shard, "parquet")

    def keys(self, shard: int) -> Path:
        """What the barrier's `keys` gave, as npz; not there where the shard has no documents."""
        return self.part("keys", shard, "npz")

    def batches(self, shard: int) -> Iterator[pa.Table]:
        """The shard's documents, as they were written."""
        with pq.ParquetFile(self.kept(shard)) as file:
            for group in range(file.num_row_groups):
                yield file.read_row_group(group).cast(DOCUMENTS).combine_chunks()

    def rows(self, shard: int) -> int:
        """How many documents the shard has."""
        return int(pq.read_metadata(self.kept(shard)).num_rows)

    def ids(self, shard: int, rows: NDArray[np.int64]) -> pa.Array:
        """The ids of rows of a shard."""
        return pq.read_table(self.kept(shard), columns=["id"])["id"].take(pa.array(rows)).combine_chunks()

    def save(self, kind: str, shard: int, array: NDArray[Any]) -> None:
        """Keeps what was decided of a shard, as npy."""
        with atomic_path(self.part(kind, shard, "npy")) as path, path.open("wb") as file:
            np.save(file, array)

    def source_numbers(self) -> list[int]:
        """The number of each shard's source."""
        return [self.sources.index(name) for name in self.shards]


class Barrier(Protocol):
    """A step that looks at all documents. Small, and sent to every worker.

    Keys travel, text does not: `keys` runs where a shard is, `decide` sees all keys, `decided` runs where the shard is
    read again.
    """

    @property
    def label(self) -> str:
        """The step's name in the ledger."""

    def keys(self, documents: pa.Table) -> dict[str, NDArray[Any]]:
        """What is to be known of a batch of documents; arrays of the same names for every batch."""

    def decide(self, session: RaySession | None, corpus: Corpus, reporter: Reporter) -> list[str]:
        """Leaves for every shard what becomes of it. Returns what the user should know."""

    def decided(self, corpus: Corpus, shard: int) -> Iterator[Decided]:
        """The shard's documents again, with what was decided."""


@dataclass(frozen=True)
class Work:
    """A pass's work, the same for every shard.

    prepared: what a step needs besides its options, by its label: evaluation items, a classifier.
    before: the corpus that the pass before left and the barrier that decided on it; None in the first pass.
    """

    corpus: Corpus
    steps: Sequence[tuple[str, Step]]
    barrier: Barrier | None
    prepared: Mapping[str, Any]
    seed: int
    before: tuple[Corpus, Barrier] | None
