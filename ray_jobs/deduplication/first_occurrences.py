"""Which items occurred before, found through files: any number of keys, of which a part is held at a time.

Each part's keys are put in the order of partitions; a partition's task reads its piece of every part, so it sees all
items that have the same key, and writes those that are not the first. The number of partitions comes from the size of
the keys alone, and the result does not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.dedup.key_files import mapped, save_arrays
from ray_jobs.parallel import each
from ray_jobs.progress import Reporter
from ray_jobs.session import RaySession

PARTITION = 1 << 25  # bytes of keys in a partition; its task takes about ten times that for single columns

Rows = NDArray[np.int64]
Keys = NDArray[np.uint64]


@dataclass(frozen=True)
class FirstOccurrences:
    """Which items are not the first of their key. Paths and bounds alone, so it is cheap to send to any worker."""

    bounds: Rows  # [parts + 1]: part i holds the items bounds[i] to bounds[i + 1] of the global numbering
    files: tuple[Path, ...]  # of the partitions

    def of_part(self, number: int) -> tuple[Rows, Rows]:
        """The items of a part that are NOT the first of their key, by their number in the part, ascending, and the
        global number of the first item with the same key; both int64[items].
        """
        begin, end = self.bounds[number : number + 2]
        items, first = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for path in self.files:
            here = mapped(path, "items")
            low, high = np.searchsorted(here, [begin, end])
            items.append(np.array(here[low:high]))  # a map would keep its file open
            first.append(np.array(mapped(path, "first")[low:high]))
        all_items = np.concatenate(items)
        order = np.argsort(all_items)
        return all_items[order] - begin, np.concatenate(first)[order]


def find_first(
    session: RaySession | None,
    parts: Sequence[Path | None],
    name: str,
    work_dir: Path,
    reporter: Reporter,
    title: str = "first occurrences",
) -> FirstOccurrences:
    """Looks through the keys of all parts.

    parts: npz files as `np.savez` writes them, each with the array `name`, uint64[items, columns] or uint64[items];
    None for a part without items. work_dir: of this call alone; a call after a kill goes on from what is there.
    """
    counts = [0 if path is None else len(mapped(path, name)) for path in parts]
    width = max((_row_bytes(path, name) for path in parts if path is not None), default=8)
    return first_of(session, counts, width, partial(_array, parts, name), work_dir, reporter, title)


def first_of(
    session: RaySession | None,
    counts: Sequence[int],
    width: int,
    read: Callable[[int], Keys],
    work_dir: Path,
    reporter: Reporter,
    title: str,
) -> FirstOccurrences:
    """The same for keys that `read` gives, uint64[counts[part], columns] of a part; width: bytes of an item's key."""
    bounds = np.cumsum([0, *counts], dtype=np.int64)
    partitions = -(-int(bounds[-1]) * width // PARTITION) or 1
    found = FirstOccurrences(bounds, tuple(work_dir / f"first-{number:05d}.npz" for number in range(partitions)))
    todo = [number for number in range(partitions) if not found.files[number].exists()]
    if not todo:
        return found
    filled = [number for number, count in enumerate(counts) if count]
    split_paths = {number: work_dir / f"split-{number:05d}.npz" for number in filled}
    with reporter.bar(title, (len(filled) if partitions > 1 else 0) + len(todo)) as bar:
        if partitions > 1:
            split = partial(_split, read, split_paths, partitions)
            for _ in each(session, split, filled):
                bar.advance()
        for _ in each(session, partial(_join, read, found, filled, split_paths if partitions > 1 else None), todo):
            bar.advance()
    for path in split_paths.values():
        path.unlink(missing_ok=True)
    return found


def _array(parts: Sequence[Path | None], name: str, number: int) -> Keys:
    path = parts[number]
    assert path is not None
    keys = np.array(mapped(path, name))
    return keys.reshape(len(keys), -1)


def _row_bytes(path: Path, name: str) -> int:
    keys = mapped(path, name)
    return int(keys.itemsize * np.prod(keys.shape[1:], dtype=np.int64))


def _split(read: Callable[[int], Keys], paths: dict[int, Path], partitions: int, number: int) -> None:
    """A part's keys in the order of partitions, and which items they are."""
    from core.dedup import key_kernels as kernels

    if paths[number].exists():
        return
    keys = read(number)
    order, bounds = kernels.partitioned(keys, partitions)
    save_arrays(paths[number], keys=keys[order], items=order.astype(np.uint32), bounds=bounds)


def _join(
    read: Callable[[int], Keys],
    found: FirstOccurrences,
    filled: Sequence[int],
    split: dict[int, Path] | None,
    partition: int,
) -> None:
    """The items of a partition that are not the first of their key, ascending."""
    from core.dedup import key_kernels as kernels

    keys, items = [np.empty((0, 1), np.uint64)], [np.empty(0, np.int64)]
    for number in filled:
        if split is None:
            keys.append(read(number))
            items.append(np.arange(found.bounds[number], found.bounds[number + 1]))
            continue
        begin, end = mapped(split[number], "bounds")[partition : partition + 2]
        keys.append(np.array(mapped(split[number], "keys")[begin:end]))
        items.append(mapped(split[number], "items")[begin:end].astype(np.int64) + found.bounds[number])
    together = np.concatenate(keys[1:] or keys)
    del keys
    first = kernels.first_occurrences(together)
    again = np.flatnonzero(first != np.arange(len(first)))
    numbers = np.concatenate(items)
    save_arrays(found.files[partition], items=numbers[again], first=numbers[first[again]])
