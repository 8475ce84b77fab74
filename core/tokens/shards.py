"""Token shards: packed rows in Arrow IPC files, read by memory map with random access by index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from core.artifacts.atomic import atomic_path
from core.errors import DataError
from core.tokens.packing import best_fit

ROWS = pa.schema(
    [
        ("input_ids", pa.list_(pa.int32())),
        ("loss_mask", pa.list_(pa.int32())),  # spans [start, end) of tokens to be predicted, flat
        ("sequence_lengths", pa.list_(pa.int32())),  # of the packed samples, which never see each other
        ("documents", pa.list_(pa.string())),  # ids of the packed samples' documents
        ("target_tokens", pa.int32()),
    ]
)
ROWS_PER_BATCH = 256


def write_rows(samples: pa.Table, path: Path, sequence_length: int, packing: bool) -> int:
    """Packs samples (SAMPLES) into rows of at most `sequence_length` tokens and writes them atomically.

    Returns the number of rows. Samples keep their order within a row; without packing each is a row.
    """
    samples = samples.combine_chunks()
    lengths = samples["input_ids"].combine_chunks().value_lengths().to_numpy(zero_copy_only=False)
    row_of = best_fit(lengths, sequence_length) if packing else np.arange(len(lengths))
    order = np.argsort(row_of, kind="stable")
    starts = np.flatnonzero(np.diff(row_of[order], prepend=-1))
    groups = np.split(order, starts[1:]) if len(order) else []
    with (
        atomic_path(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, ROWS) as writer,
    ):
        for start in range(0, len(groups), ROWS_PER_BATCH):
            writer.write_batch(_batch(samples, groups[start : start + ROWS_PER_BATCH], lengths))
    return len(groups)


def _batch(samples: pa.Table, groups: Sequence[np.ndarray], lengths: np.ndarray) -> pa.RecordBatch:
    chosen = samples.take(np.concatenate(groups)).combine_chunks()
    sizes = np.array([len(group) for group in groups])
    of_row = np.repeat(np.arange(len(groups)), sizes)
    sample_lengths = lengths[np.concatenate(groups)]
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    begins = np.cumsum(sample_lengths) - sample_lengths  # of each sample in the batch, in tokens ...
    begins -= begins[bounds[:-1]][of_row]  # ... and in its row
    spans = chosen["loss_mask"].combine_chunks()
    shifted = spans.flatten().to_numpy() + np.repeat(begins, spans.value_lengths().to_numpy(zero_copy_only=False))
    tokens = chosen["input_ids"].combine_chunks().flatten()
    targets = np.add.reduceat(chosen["target_tokens"].to_numpy(), bounds[:-1])
    columns = [
        _lists(tokens, np.add.reduceat(sample_lengths, bounds[:-1])),
        _lists(pa.array(shifted, pa.int32()), np.add.reduceat(spans.value_lengths().to_numpy(False), bounds[:-1])),
        _lists(pa.array(sample_lengths, pa.int32()), sizes),
        _lists(chosen["document"].combine_chunks(), sizes),
        pa.array(targets, pa.int32()),
    ]
    return pa.record_batch(columns, ROWS)


def _lists(values: pa.Array, sizes: np.ndarray) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(np.concatenate([[0], np.cumsum(sizes)]), pa.int32()), values)


@dataclass(frozen=True)
class Row:
    """A packed row: int32[tokens] ids, flat [start, end) spans to learn, int32[samples] lengths."""

    input_ids: np.ndarray
    loss_mask: np.ndarray
    sequence_lengths: np.ndarray


class TokenRows:
    """The packed rows of a phase, over all its shards: `len(rows)`, and `rows[index]` in constant time.

    target_tokens: int32[rows], known beforehand, so that every worker knows a global batch's total.
    Raises DataError where a shard is missing or broken.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._batches: list[pa.RecordBatch] = []
        for path in paths:
            try:
                with pa.memory_map(str(path)) as source:
                    reader = pa.ipc.open_file(source)
                    self._batches += [reader.get_batch(number) for number in range(reader.num_record_batches)]
            except (OSError, pa.ArrowInvalid) as error:
                raise DataError(
                    f"{path}: not a readable token shard ({error}). Delete its stage to have it made again."
                ) from error
        self._ends = np.cumsum([batch.num_rows for batch in self._batches])
        columns = [batch.column("target_tokens").to_numpy() for batch in self._batches]
        self.target_tokens: np.ndarray = np.concatenate(columns) if columns else np.empty(0, np.int32)
        self.lengths: np.ndarray = (
            np.concatenate([batch.column("input_ids").value_lengths().to_numpy() for batch in self._batches])
            if columns
            else np.empty(0, np.int32)
        )

    def __len__(self) -> int:
        return len(self.target_tokens)

    def __getitem__(self, index: int) -> Row:
        batch, position = self._locate(index)
        return Row(*(batch.column(name)[position].values.to_numpy() for name in ROWS.names[:3]))

    def documents(self, index: int) -> list[str]:
        """The ids of the documents in a row."""
        batch, position = self._locate(index)
        names: list[str] = batch.column("documents")[position].as_py()
        return names

    def _locate(self, index: int) -> tuple[pa.RecordBatch, int]:
        number = int(np.searchsorted(self._ends, index, side="right"))
        return self._batches[number], int(index - (self._ends[number - 1] if number else 0))
