"""Packing groups: samples of many files dealt to groups of about one size, each packed and written by itself.

Consecutive samples go to a group in blocks, one group after the other, so that each group is a mixture of all files
and its rows are filled as well as those of the whole would be. What a group holds depends on the files alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from core.tokens.samples import SAMPLES

GROUP_TOKENS = 1 << 26  # that a group has, about: 256 MB of ids, for which a task takes less than 1 GB
BLOCK = 1024  # units in a block; fewer where a group would have ...
BLOCKS = 64  # ... less than so many blocks


@dataclass(frozen=True)
class Groups:
    """The samples of files, dealt to groups.

    paths: Arrow IPC files of SAMPLES, with samples: how many each holds.
    samples_per_unit: so many consecutive samples stay together. Each file has whole units.
    count: of groups; block: units in a block.
    """

    paths: Sequence[Path]
    samples: Sequence[int]
    samples_per_unit: int
    count: int
    block: int

    @classmethod
    def deal(
        cls,
        paths: Sequence[Path],
        samples: Sequence[int],
        tokens: int,
        samples_per_unit: int = 1,
        group_tokens: int = GROUP_TOKENS,
    ) -> Groups:
        """As many groups as `tokens`, those of all files, need."""
        units = sum(samples) // samples_per_unit
        count = max(1, min(-(-tokens // group_tokens), units))
        return cls(paths, samples, samples_per_unit, count, min(max(units // (count * BLOCKS), 1), BLOCK))

    def table(self, group: int) -> pa.Table:
        """The samples of a group in their order. Only the list of them is in memory: they lie in mapped files."""
        found: list[pa.RecordBatch] = []
        first = 0
        for path, samples in zip(self.paths, self.samples, strict=True):
            ranges = list(self._ranges(group, first, first + samples))
            if ranges:
                found += _slices(path, ranges)
            first += samples
        return pa.Table.from_batches(found, SAMPLES)

    def _ranges(self, group: int, first: int, end: int) -> Iterator[tuple[int, int]]:
        """Where the group's blocks begin and end in a file that holds the samples from `first` to before `end`."""
        size = self.block * self.samples_per_unit
        block = first // size
        block += (group - block) % self.count
        for start in range(block * size, end, self.count * size):
            yield max(start, first) - first, min(start + size, end) - first


def _slices(path: Path, ranges: Sequence[tuple[int, int]]) -> Iterator[pa.RecordBatch]:
    """The rows of a file in ascending ranges."""
    with pa.memory_map(str(path)) as source:
        reader = pa.ipc.open_file(source)
        batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
    ends = np.cumsum([batch.num_rows for batch in batches])
    for start, end in ranges:
        number = int(np.searchsorted(ends, start, side="right"))
        while start < end:
            begin = int(ends[number]) - batches[number].num_rows
            until = min(end, int(ends[number]))
            yield batches[number].slice(start - begin, until - start)
            start, number = until, number + 1
