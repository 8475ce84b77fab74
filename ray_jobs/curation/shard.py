"""One pass over one shard: read it, carry out what the pass before decided, judge, write, and leave keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from core.artifacts.atomic import atomic_path, write_bytes
from core.dedup.decontaminate import contamination, find_leaks, matches
from core.dedup.key_files import save_arrays
from core.documents.editing import carry_out
from core.documents.ledger import CUT, DROPPED, Ledger, Verdict
from core.documents.reading import Shard
from core.documents.table import DOCUMENTS, content
from core.filters.c4 import c4
from core.filters.code import code
from core.filters.fineweb import fineweb
from core.filters.heuristics import heuristics
from core.filters.language import language
from core.filters.length import length
from core.filters.lower_case import lower_case
from core.filters.metadata import metadata
from core.filters.personal_data import personal_data
from core.filters.phrases import phrases
from core.filters.quality import quality
from core.filters.refusals import refusals
from core.filters.repetition import repetition
from core.instructions.corrupted_solutions import CorruptedSolutions, corrupted_solutions
from core.instructions.preference_pairs import preference_pairs
from core.instructions.reading import read_shard
from core.instructions.worked_examples import Example
from core.recipe.schema import Step
from ray_jobs.curation.passes import Work
from ray_jobs.curation.prepare import MATCHED

FILTERS: dict[str, Callable[[pa.Table, Any], Verdict]] = {
    "length": length,
    "heuristics": heuristics,
    "repetition": repetition,
    "c4": c4,
    "fineweb": fineweb,
    "language": language,
    "code": code,
    "refusals": refusals,
    "personal_data": personal_data,
    "metadata": metadata,
    "phrases": phrases,
    "preference_pairs": preference_pairs,
}


class Judged(NamedTuple):
    """What a row-wise step says of documents."""

    verdict: Verdict
    leaks: pa.Table | None = None  # the evaluation items found in them (MATCHES), if it looked for any
    made: pa.Table | None = None  # documents that take the places of those kept, in order


def run_pass(work: Work, number: int, shard: Shard, final: Path | None) -> None:
    """Carries out a pass on shard `number`. Its ledger is written last: with it there, the shard is not done again.

    final: where the last pass writes the shard's documents.
    """
    ledger_path = work.corpus.part("ledger", number, "json")
    if ledger_path.exists():
        return
    ledger = Ledger()
    keys: list[dict[str, np.ndarray]] = []
    aside = f"pass-{work.corpus.number}-{number:05d}.parquet"
    with (
        _Writer(final or work.corpus.kept(number), DOCUMENTS) as kept,
        _Writer(work.corpus.stage / "dropped" / aside, DROPPED, only_if_filled=True) as dropped,
        _Writer(work.corpus.stage / "cut" / aside, CUT, only_if_filled=True) as cut,
        _Writer(work.corpus.stage / "contamination" / aside, MATCHED, only_if_filled=True) as matched,
    ):
        for documents, before in _incoming(work, number, shard, ledger):
            dropped.write(before[0])
            cut.write(before[1])
            for label, step in work.steps:
                judged = judge(step, documents, work.prepared[label], work.seed)
                if judged.leaks is not None:
                    matched.write(_matched(documents, label, judged.leaks))
                documents, gone, taken = carry_out(documents, label, judged.verdict, ledger)
                dropped.write(gone)
                cut.write(taken)
                if judged.made is not None:
                    ledger.replaced(documents, judged.made, label)
                    documents = judged.made
            kept.write(documents)
            if work.barrier is None:
                ledger.kept(documents)
            else:
                keys.append(work.barrier.keys(documents))
    if keys:
        merged = {name: np.concatenate([batch[name] for batch in keys]) for name in keys[0]}
        save_arrays(work.corpus.keys(number), **merged)
    write_bytes(ledger_path, orjson.dumps(ledger.to_json()))


def _incoming(
    work: Work, number: int, shard: Shard, ledger: Ledger
) -> Iterator[tuple[pa.Table, tuple[pa.Table, pa.Table]]]:
    """Batches of documents, each with the rows of DROPPED and of CUT that come before this pass's own steps."""
    if work.before is None:
        for documents, rejects in read_shard(shard, work.seed):
            ledger.read(documents)
            ledger.read(rejects.select(DOCUMENTS.names))
            ledger.dropped(rejects)
            yield documents, (rejects, CUT.empty_table())
        return
    corpus, barrier = work.before
    for documents, verdict, copies in barrier.decided(corpus, number):
        left, gone, taken = carry_out(documents, barrier.label, verdict, ledger)
        if copies is not None:
            more = _copies(left, copies[np.asarray(verdict.reason.is_null())])
            ledger.copied(more.slice(left.num_rows), barrier.label)
            left = more
        yield left, (gone, taken)


def _copies(documents: pa.Table, counts: np.ndarray) -> pa.Table:
    """The documents, then the second and further copies of those that come several times, as `id#2`, `id#3`, ..."""
    rows = np.repeat(np.arange(documents.num_rows), counts - 1)
    turns = np.arange(len(rows)) - np.repeat(np.cumsum(counts - 1) - (counts - 1), counts - 1) + 2
    again = documents.take(pa.array(rows))
    ids = [f"{name}#{turn}" for name, turn in zip(again["id"].to_pylist(), turns.tolist(), strict=True)]
    again = again.set_column(0, DOCUMENTS.field("id"), pa.array(ids, pa.string()))
    return pa.concat_tables([documents, again]).combine_chunks()


def judge(step: Step, documents: pa.Table, prepared: Any = None, seed: int = 0) -> Judged:
    """What a row-wise step says of documents.

    prepared: the evaluation items, the classifier or the worked examples that the step needs; seed: the recipe's.
    """
    if step.kind == "decontaminate":
        text = content(documents)
        leaks = find_leaks(text, prepared)
        return Judged(contamination(text, prepared, leaks), matches(text, prepared, leaks))
    if step.kind == "quality":
        return Judged(quality(documents, step.options, prepared))
    if step.kind == "corrupted_solutions":
        return _corrupted(documents, step.options, prepared or (), seed)
    if step.kind == "lower_case":
        made, verdict = lower_case(documents, step.options, seed)
        return Judged(verdict, made=made)
    return Judged(FILTERS[step.kind](documents, step.options))


def _corrupted(documents: pa.Table, options: CorruptedSolutions, examples: Sequence[Example], seed: int) -> Judged:
    """Solutions become pairs; documents (all of one source) that the step does not name stay."""
    if options.sources is not None and documents.num_rows and documents["source"][0].as_py() not in options.sources:
        nothing = pa.nulls(documents.num_rows, pa.string())
        return Judged(Verdict(nothing, nothing))
    made, verdict = corrupted_solutions(documents, options, seed, examples)
    return Judged(verdict, made=made)


def _matched(documents: pa.Table, label: str, found: pa.Table) -> pa.Table:
    """Matches with the documents that they are in, as MATCHED."""
    rows = found["row"]
    columns = [documents["id"].take(rows), documents["source"].take(rows), pa.repeat(pa.scalar(label), len(rows))]
    return pa.table([*columns, found["item_id"], found["words"]], names=MATCHED.names)


class _Writer:
    """A Parquet file that appears when it is whole; not without rows, where `only_if_filled`.

    Each table is a row group of its own, so that it is read again in the same pieces.
    """

    def __init__(self, path: Path, schema: pa.Schema, only_if_filled: bool = False) -> None:
        self._path, self._schema, self._only_if_filled = path, schema, only_if_filled
        self._rows = 0

    def __enter__(self) -> _Writer:
        self._atomic = atomic_path(self._path)
        self._file = pq.ParquetWriter(self._atomic.__enter__(), self._schema, compression="zstd")
        return self

    def write(self, table: pa.Table) -> None:
        if table.num_rows:
            self._rows += table.num_rows
            self._file.write_table(table.cast(self._schema), row_group_size=table.num_rows)

    def __exit__(self, *error: Any) -> None:
        self._file.close()
        self._atomic.__exit__(*error)
        if not self._rows and self._only_if_filled:
            self._path.unlink(missing_ok=True)
