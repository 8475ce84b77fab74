"""Candidates compared exactly, through files: n-grams are written where the texts are, and mapped by who compares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from core.artifacts.atomic import atomic_path
from core.dedup.candidates import numbered, unpacked
from core.dedup.key_files import mapped, save_arrays
from core.dedup.minhash import MinhashDedup
from core.dedup.ngrams import Shingles, shingles
from core.dedup.verification import compare, join_similar
from ray_jobs.deduplication.band_shares import Candidates
from ray_jobs.deduplication.document_parts import Part, part_numbers
from ray_jobs.parallel import each
from ray_jobs.progress import Reporter
from ray_jobs.session import RaySession

Rows = NDArray[np.int64]
Similarities = NDArray[np.float64]


class Similar(NamedTuple):
    """Similar pairs, of global rows."""

    pairs: Rows  # int64[pairs, 2]
    jaccards: Similarities | None  # None without verification
    candidates: int  # pairs that there were


class Comparison:
    """Compares candidates of all parts with each other."""

    def __init__(
        self,
        session: RaySession | None,
        parts: Sequence[Part],
        options: MinhashDedup,
        candidates: Candidates,
        work_dir: Path,
        reporter: Reporter,
    ) -> None:
        self._session, self._reporter = session, reporter
        self._work = _Work(parts, options, candidates, work_dir)
        self._filled = [number for number, count in enumerate(np.diff(candidates.bounds)) if count]

    def similar(self) -> Similar:
        """The candidate pairs that reach the threshold: every one for linkage representative, else of each part
        enough to connect what they connect. Without verification all candidates count as similar.
        """
        work = self._work
        if work.options.verify:
            self._each("n-grams", partial(_write_ngrams, work), self._filled)
        self._each("comparison", partial(_compare_part, work), self._filled)
        paths = [work.path("similar", number, "npz") for number in self._filled]
        pairs = np.concatenate([np.empty((0, 2), np.int64), *(np.array(mapped(path, "pairs")) for path in paths)])
        count = sum(int(mapped(path, "candidates")[0]) for path in paths)
        if not work.options.verify:
            return Similar(pairs, None, count)
        jaccards = np.concatenate([np.empty(0), *(np.array(mapped(path, "jaccards")) for path in paths)])
        return Similar(pairs, jaccards, count)

    def exact(self, pairs: Rows) -> Similarities:
        """The exact similarity of any pairs of candidates, int64[pairs, 2], float64[pairs]."""
        work = self._work
        order = np.lexsort((pairs[:, 1], pairs[:, 0]))
        name = xxhash.xxh3_64_hexdigest(np.ascontiguousarray(pairs[order]).tobytes())
        asked = work.directory / f"asked-{name}.npz"
        if not asked.exists():
            save_arrays(asked, pairs=pairs[order])
        numbers = np.unique(part_numbers(work.candidates.bounds, pairs[:, 0])).tolist()
        self._each("comparison", partial(_answer, work, asked), numbers)
        found = np.empty(len(pairs))
        answers = [work.path(f"answer-{name}", number, "npz") for number in numbers]
        found[order] = np.concatenate([np.empty(0), *(np.array(mapped(path, "jaccards")) for path in answers)])
        return found

    def _each(self, title: str, work: Callable[[int], None], numbers: Sequence[int]) -> None:
        with self._reporter.bar(title, len(numbers)) as bar:
            for _ in each(self._session, work, numbers):
                bar.advance()


@dataclass(frozen=True)
class _Work:
    """What every task of this step is given."""

    parts: Sequence[Part]
    options: MinhashDedup
    candidates: Candidates
    directory: Path

    def path(self, kind: str, number: int, suffix: str) -> Path:
        return self.directory / f"{kind}-{number:05d}.{suffix}"


def _write_ngrams(work: _Work, number: int) -> None:
    """The n-grams of a part's candidates: the hashes as they are, and which rows they are of."""
    places = work.path("ngrams", number, "npz")
    if places.exists():
        return
    rows = work.candidates.rows_of_part(number)
    sizes = [np.zeros(1, np.int64)]
    with atomic_path(work.path("ngrams", number, "u64")) as temporary, temporary.open("wb") as file:
        for texts in work.parts[number].texts(rows) if len(rows) else ():
            sets = shingles(texts, work.options.ngram, work.options.unit)
            sizes.append(np.diff(sets.offsets))
            file.write(sets.hashes.data)
    save_arrays(places, rows=rows, offsets=np.cumsum(np.concatenate(sizes)))


def _compare_part(work: _Work, number: int) -> None:
    """The similar ones of the pairs whose smaller row is in a part."""
    from core.dedup import key_kernels as kernels

    path = work.path("similar", number, "npz")
    if path.exists():
        return
    pairs = unpacked(work.candidates.pairs_of_part(number))
    count = np.array([len(pairs)])
    options = work.options
    if not options.verify:
        nodes, local = numbered(pairs)
        joined = kernels.join(local, np.arange(len(nodes)))
        save_arrays(path, pairs=pairs[joined], candidates=count)
        return
    held = _Ngrams(work, pairs)
    if options.linkage == "component":
        taken, jaccards = join_similar(held.pairs, held.sizes, held.sets, options.threshold)
    else:
        jaccards = compare(held.pairs, held.sizes, held.sets)
        reached = jaccards >= options.threshold
        taken, jaccards = held.pairs[reached], jaccards[reached]
    save_arrays(path, pairs=held.rows[taken], jaccards=jaccards, candidates=count)


def _answer(work: _Work, asked: Path, number: int) -> None:
    path = work.path(asked.stem.replace("asked", "answer"), number, "npz")
    if path.exists():
        return
    pairs = mapped(asked, "pairs")
    begin, end = np.searchsorted(pairs[:, 0], work.candidates.bounds[number : number + 2])
    held = _Ngrams(work, np.array(pairs[begin:end]))
    save_arrays(path, jaccards=compare(held.pairs, held.sizes, held.sets))


class _Ngrams:
    """The n-grams of the rows of some pairs, read when they are compared."""

    def __init__(self, work: _Work, pairs: Rows) -> None:
        self.rows, self.pairs = numbered(pairs)
        self.sizes = np.zeros(len(self.rows), np.int64)  # bytes
        self._begins = np.zeros(len(self.rows), np.int64)
        self._work = work
        self._part = part_numbers(work.candidates.bounds, self.rows)
        for number in np.unique(self._part).tolist():
            here = self._part == number
            path = work.path("ngrams", number, "npz")
            offsets = np.array(mapped(path, "offsets"))
            place = np.searchsorted(mapped(path, "rows"), self.rows[here] - work.candidates.bounds[number])
            self._begins[here] = offsets[place]
            self.sizes[here] = 8 * (offsets[place + 1] - offsets[place])

    def sets(self, numbers: Rows) -> Shingles:
        """The n-grams of rows by their places in `rows`, ascending; no file stays open, for there may be thousands."""
        sizes, begins, parts = self.sizes[numbers] // 8, self._begins[numbers], self._part[numbers]
        found = [np.empty(0, np.uint64)]
        for number in np.unique(parts).tolist():
            low, high = np.searchsorted(parts, [number, number + 1])
            path = self._work.path("ngrams", number, "u64")
            if path.stat().st_size:
                hashes = np.asarray(np.memmap(path, np.uint64, "r"))
                ends = (begins[low:high] + sizes[low:high]).tolist()
                found.append(
                    np.concatenate([hashes[a:b] for a, b in zip(begins[low:high].tolist(), ends, strict=True)])
                )
        return Shingles(np.cumsum([0, *sizes]), np.concatenate(found))
