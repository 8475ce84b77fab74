"""Token shards: packed rows in Arrow IPC files, read by memory map with random access by index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from core.artifacts.atomic import atomic_path
from core.errors import DataError
from core.tokens.packing import pack

ROWS = pa.schema(
    [
        ("input_ids", pa.list_(pa.int32())),
        ("loss_mask", pa.list_(pa.int32())),  # spans [start, end) of tokens to be predicted, flat
        ("sequence_lengths", pa.list_(pa.int32())),  # of the packed samples, which never see each other
        ("documents", pa.list_(pa.string())),  # ids of the packed samples' documents
        ("target_tokens", pa.int32()),
    ]
)
ROWS_PER_BATCH = 256  # with rows of 262,144 tokens still far from the 2^31 that a batch's offsets can count


def write_rows(samples: pa.Table, path: Path, sequence_length: int, packing: bool, samples_per_unit: int = 1) -> int:
    """Packs samples (SAMPLES) into rows and writes them atomically. Returns the number of rows.

    sequence_length: tokens that a sample has at most.
    samples_per_unit: so many consecutive samples, of one document, stay together and in their order. A row has at most
    sequence_length * samples_per_unit tokens: preference pairs, 2 samples each, lie in rows of twice the length.
    Units keep their order within a row; without packing each is a row. Any number of samples: memory is about twice
    that of the table.
    """
    from core.tokens.shard_kernels import gathered

    documents = samples["document"].combine_chunks()
    _require_units(documents, samples_per_unit)
    tokens, begins = _flat(samples["input_ids"])
    spans, span_begins = _flat(samples["loss_mask"])
    targets = samples["target_tokens"].to_numpy()
    lengths, span_lengths = np.diff(begins), np.diff(span_begins)
    unit_lengths = lengths.reshape(-1, samples_per_unit).sum(axis=1)
    row_of = pack(unit_lengths, sequence_length * samples_per_unit) if packing else np.arange(len(unit_lengths))
    order = np.argsort(np.repeat(row_of, samples_per_unit), kind="stable")
    row_ends = np.cumsum(np.bincount(row_of) * samples_per_unit)  # in `order`
    documents = documents.take(pa.array(order))
    with (
        atomic_path(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, ROWS) as writer,
    ):
        for first in range(0, len(row_ends), ROWS_PER_BATCH):
            start = row_ends[first - 1] if first else 0
            ends = row_ends[first : first + ROWS_PER_BATCH] - start
            here = order[start : start + ends[-1]]
            bounds = np.append(0, ends)
            sample_ends = np.cumsum(lengths[here])
            row_tokens = np.diff(sample_ends[ends - 1], prepend=0)
            in_row = sample_ends - lengths[here] - np.repeat(sample_ends[ends - 1] - row_tokens, np.diff(bounds))
            columns = [
                _lists(gathered(tokens, begins, here, np.zeros_like(here)), np.cumsum(row_tokens)),
                _lists(gathered(spans, span_begins, here, in_row), np.cumsum(span_lengths[here])[ends - 1]),
                _lists(lengths[here].astype(np.int32), ends),
                _lists(documents.slice(start, len(here)), ends),
                pa.array(np.add.reduceat(targets[here], bounds[:-1]), pa.int32()),
            ]
            writer.write_batch(pa.record_batch(columns, ROWS))
    return len(row_ends)


def _require_units(documents: pa.StringArray, samples_per_unit: int) -> None:
    """Raises ValueError where the samples of a unit are not of one document."""
    whole = len(documents) % samples_per_unit == 0
    firsts = np.arange(0, len(documents), samples_per_unit)
    others = (documents.take(pa.array(firsts + place)) for place in range(1, samples_per_unit) if whole)
    if not (whole and all(documents.take(pa.array(firsts)).equals(other) for other in others)):
        raise ValueError(f"the samples are not {samples_per_unit} of each document, one behind the other")


def _flat(lists: pa.ChunkedArray) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The values of all lists, and int64[lists + 1] where each begins in them. There may be more than 2^31."""
    chunks = [chunk.flatten().to_numpy() for chunk in lists.chunks]
    values = chunks[0] if len(chunks) == 1 else np.concatenate([np.empty(0, np.int32), *chunks])
    values.flags.writeable = False  # one type of arguments, so that the kernel is compiled once
    lengths = [chunk.value_lengths().to_numpy(zero_copy_only=False) for chunk in lists.chunks]
    return values, np.cumsum(np.concatenate([np.zeros(1, np.int64), *lengths]), dtype=np.int64)


def _lists(values: np.ndarray | pa.Array, ends: np.ndarray) -> pa.ListArray:
    """Lists that lie one behind the other in `values`, each up to its end."""
    return pa.ListArray.from_arrays(pa.array(np.append(0, ends), pa.int32()), pa.array(values))


@dataclass(frozen=True)
class Row:
    """A packed row: int32[tokens] ids, flat [start, end) spans to learn, int32[samples] lengths."""

    input_ids: np.ndarray
    loss_mask: np.ndarray
    sequence_lengths: np.ndarray


class TokenRows:
    """The packed rows of a phase, over all its shards: `len(rows)`, and `rows[index]` in O(log shards).

    target_tokens, lengths (tokens), samples: int32[rows], known beforehand, so that every worker knows a global batch's
    total and the heaviest step is known before the first. Nothing else is read before it is asked for.
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
        self._ends = np.cumsum([batch.num_rows for batch in self._batches], dtype=np.int64)
        self.target_tokens = _joined([batch.column("target_tokens") for batch in self._batches])
        self.lengths = _joined([batch.column("input_ids").value_lengths() for batch in self._batches])
        self.samples = _joined([batch.column("sequence_lengths").value_lengths() for batch in self._batches])

    @classmethod
    def open(cls, directory: Path, split: str) -> TokenRows:
        """All shards of a split ("train" or "validation") of a phase, as `shard_path` names them."""
        found = len(list(directory.glob(f"{split}-*.arrow")))
        return cls([shard_path(directory, split, number) for number in range(max(found, 1))])

    def __len__(self) -> int:
        return len(self.target_tokens)

    def __getitem__(self, index: int) -> Row:
        batch, position = self._locate(index)
        return Row(*(batch.column(name)[position].values.to_numpy() for name in ROWS.names[:3]))

    def documents(self, index: int) -> list[str]:
        """The ids of the documents in a row, one for each packed sample."""
        batch, position = self._locate(index)
        names: list[str] = batch.column("documents")[position].as_py()
        return names

    def _locate(self, index: int) -> tuple[pa.RecordBatch, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        number = int(np.searchsorted(self._ends, index, side="right"))
        return self._batches[number], int(index - (self._ends[number - 1] if number else 0))


def shard_path(directory: Path, split: str, number: int) -> Path:
    """Where a shard of a split lies in a phase's directory."""
    return directory / f"{split}-{number:05d}.arrow"


def _joined(columns: Sequence[pa.Array]) -> NDArray[np.int32]:
    return np.concatenate([np.empty(0, np.int32), *(column.to_numpy() for column in columns)])
