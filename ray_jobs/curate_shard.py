"""One pass over one shard: read it, drop what the pass before decided, judge, write, and leave keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.artifacts.atomic import atomic_path, write_bytes
from core.documents.ledger import DROPPED, Ledger, Verdict, dropped_rows
from core.documents.reading import Shard, read_shard
from core.documents.table import DOCUMENTS, content
from core.recipe.schema import Step


@dataclass(frozen=True)
class Pass:
    """Row-wise steps, then the step that looks at all documents (None in the last pass), each with its label."""

    number: int
    steps: list[tuple[str, Step]]
    barrier: tuple[str, Step | None] | None


@dataclass(frozen=True)
class Work:
    """A pass's work, the same for every shard."""

    current: Pass
    directory: Path  # the stage's
    seed: int
    indexes: Mapping[str, Any]  # evaluation items, by the label of the decontamination step

    def part(self, kind: str, number: int, suffix: str, of: int | None = None) -> Path:
        """Where a pass (this one, or number `of`) leaves a shard's file of a kind."""
        turn = self.current.number if of is None else of
        return self.directory / ".work" / f"pass-{turn}" / f"{kind}-{number:05d}.{suffix}"


def run_pass(work: Work, number: int, shard: Shard, final: Path | None) -> None:
    """Carries out a pass on shard `number`. Its ledger is written last: with it there, the shard is not done again.

    final: where the last pass writes the shard's documents.
    """
    ledger_path = work.part("ledger", number, "json")
    if ledger_path.exists():
        return
    ledger = Ledger()
    keys: list[dict[str, np.ndarray]] = []
    kept_path = final or work.part("kept", number, "parquet")
    dropped_path = work.directory / "dropped" / f"pass-{work.current.number}-{number:05d}.parquet"
    with _writer(kept_path, DOCUMENTS) as kept, _writer(dropped_path, DROPPED) as dropped:
        for documents, already_dropped in _incoming(work, number, shard, ledger):
            for label, step in work.current.steps:
                verdict = judge(step, documents, work.indexes.get(label))
                already_dropped.append(dropped_rows(documents, label, verdict))
                documents = documents.filter(pc.is_null(verdict.reason))
            for rows in already_dropped:
                ledger.dropped(rows)
                dropped.write(rows)
            kept.write(documents)
            if work.current.barrier is not None:
                keys.append(_keys(work, documents))
    if keys:
        with atomic_path(work.part("keys", number, "npz")) as path, path.open("wb") as file:
            np.savez(
                file, allow_pickle=False, **{name: np.concatenate([each[name] for each in keys]) for name in keys[0]}
            )
    write_bytes(ledger_path, orjson.dumps(ledger.to_json()))


def judge(step: Step, documents: pa.Table, index: Any = None) -> Verdict:
    """What a row-wise step says of documents. index: the evaluation items, for `decontaminate`."""
    if step.kind == "length":
        from core.filters.length import length

        return length(documents, step.options)
    if step.kind == "heuristics":
        from core.filters.heuristics import heuristics

        return heuristics(documents, step.options)
    if step.kind == "code":
        from core.filters.code import code

        return code(documents, step.options)
    if step.kind == "refusals":
        from core.filters.refusals import refusals

        return refusals(documents, step.options)
    from core.dedup.decontaminate import contamination

    return contamination(content(documents), index)


def _incoming(work: Work, number: int, shard: Shard, ledger: Ledger) -> Iterator[tuple[pa.Table, list[pa.Table]]]:
    """Batches of documents, each with the rows of DROPPED that go before this pass's own steps."""
    if work.current.number == 0:
        for documents, rejects in read_shard(shard, work.seed):
            ledger.read(documents)
            ledger.read(rejects.select(DOCUMENTS.names))
            yield documents, [rejects]
        return
    before = work.current.number - 1
    file = pq.ParquetFile(work.part("kept", number, "parquet", of=before))
    removed = pq.read_table(work.part("removed", number, "parquet", of=before))
    begin = 0
    for batch in file.iter_batches(batch_size=16_384):
        documents = pa.Table.from_batches([batch]).cast(DOCUMENTS)
        here = removed.filter(
            pc.and_(pc.greater_equal(removed["row"], begin), pc.less(removed["row"], begin + documents.num_rows))
        )
        reasons = np.full(documents.num_rows, None, object)
        evidence = np.full(documents.num_rows, None, object)
        rows = here["row"].to_numpy() - begin
        reasons[rows], evidence[rows] = here["reason"].to_pylist(), here["evidence"].to_pylist()
        verdict = Verdict(pa.array(reasons, pa.string()), pa.array(evidence, pa.string()))
        label = here["step"][0].as_py() if here.num_rows else ""
        yield documents.filter(pc.is_null(verdict.reason)), [dropped_rows(documents, label, verdict)]
        begin += documents.num_rows


def _keys(work: Work, documents: pa.Table) -> dict[str, np.ndarray]:
    """What the pass's last step needs to know of documents; their texts stay where they are."""
    assert work.current.barrier is not None
    _, step = work.current.barrier
    if step is None:
        return {"rows": np.array([documents.num_rows])}
    text = content(documents)
    if step.kind == "exact_dedup":
        from core.dedup.exact import content_keys

        return {"keys": content_keys(text, step.options)}
    from core.dedup.minhash import band_keys

    return {"keys": band_keys(text, step.options, work.seed), "lengths": pc.binary_length(text).to_numpy()}


class _writer:
    """A Parquet file that appears when it is whole, also where it has no rows."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._atomic = atomic_path(path)
        self._schema = schema

    def __enter__(self) -> _writer:
        self._file = pq.ParquetWriter(self._atomic.__enter__(), self._schema, compression="zstd")
        return self

    def write(self, table: pa.Table) -> None:
        if table.num_rows:
            self._file.write_table(table.cast(self._schema))

    def __exit__(self, *error: Any) -> None:
        self._file.close()
        self._atomic.__exit__(*error)
