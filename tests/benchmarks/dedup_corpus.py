"""Documents with planted near-duplicates from files that every machine has, and the truth about them by brute force.

The documents are pieces of the Python installation's own files, and copies of some of them with words replaced, at
Jaccard similarities from .97 to .60. The truth is every pair at or above the threshold, found without MinHash and
without the compiled kernels.
"""

from __future__ import annotations

import re
import site
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

SEED = 42
NGRAM = 5
SIMILARITIES = (0.97, 0.95, 0.9, 0.85, 0.82, 0.78, 0.75, 0.7, 0.65, 0.6)
SUFFIXES = {".py", ".pyi", ".txt", ".rst", ".md", ".h", ".c", ".json", ".html"}

Pairs = NDArray[np.int64]


def corpus(documents: int, planted: int) -> list[str]:
    """Originals and edited copies, `planted` of them, shuffled."""
    rng = np.random.default_rng(SEED)
    originals = []
    for text in pieces():
        originals.append(text)
        if len(originals) == documents - planted:
            break
    texts = list(originals)
    for number in rng.integers(0, len(originals), planted):
        texts.append(edited(originals[number], float(rng.choice(SIMILARITIES)), rng))
    return [texts[number] for number in rng.permutation(len(texts))]


def pieces() -> Iterator[str]:
    """The texts of the Python installation, cut at line ends into documents of mostly 1,000 to 5,000 characters."""
    rng = np.random.default_rng(SEED)
    roots = [Path(sysconfig.get_paths()["stdlib"]), *map(Path, site.getsitepackages())]
    files = sorted({path for root in roots for path in root.rglob("*") if path.suffix in SUFFIXES and path.is_file()})
    for number in rng.permutation(len(files)):
        text = files[number].read_bytes()[:200_000].decode("utf-8", errors="replace")
        start = 0
        while start < len(text):
            end = text.find("\n", start + int(rng.integers(1000, 5000))) + 1 or len(text)
            if end - start >= 200:
                yield text[start:end]
            start = end


def edited(text: str, similarity: float, rng: np.random.Generator) -> str:
    """A copy in which so many words are replaced that about this share of the n-grams is in both."""
    words = list(re.finditer(r"\w+", text))
    edits = round(len(words) * (1 - similarity) / (1 + similarity) / NGRAM)
    chosen = rng.choice(max(len(words) // NGRAM, 1), min(max(edits, 1), max(len(words) // NGRAM, 1)), replace=False)
    parts: list[str] = []
    end = 0
    for place in np.sort(chosen) * NGRAM:
        if place < len(words):
            parts += [text[end : words[place].start()], f"new{rng.integers(1_000_000_000)}"]
            end = words[place].end()
    return "".join([*parts, text[end:]])


def dropped(pairs: Pairs, documents: int) -> set[int]:
    """All but the first document of each cluster that the pairs connect."""
    graph = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(documents, documents))
    cluster = connected_components(graph, directed=False)[1]
    first = np.unique(cluster, return_index=True)[1]
    return set(np.flatnonzero(first[cluster] != np.arange(documents)).tolist())


def similar_pairs(texts: Iterable[str], threshold: float) -> Pairs:
    """All pairs at or above the threshold, exactly, by prefix filtering (Chaudhuri et al., 2006; Bayardo et al., 2007):
    of two sets that are similar enough, the rarest few elements have one in common.
    """
    sets = _sets(texts)
    grams, number, counts = np.unique(np.concatenate(sets), return_inverse=True, return_counts=True)
    by_rarity = np.argsort(np.lexsort((grams, counts)))[number]
    sizes = np.array([len(found) for found in sets])
    ends = np.cumsum(sizes)
    holders: dict[int, list[int]] = {}
    pairs = []
    for row in np.argsort(sizes, kind="stable").tolist():
        prefix = np.sort(by_rarity[ends[row] - sizes[row] : ends[row]])
        candidates: set[int] = set()
        for gram in prefix[: sizes[row] - int(np.ceil(threshold * sizes[row])) + 1].tolist():
            candidates.update(holders.setdefault(gram, []))
            holders[gram].append(row)
        for other in candidates:
            if sizes[other] >= threshold * sizes[row]:
                common = len(np.intersect1d(sets[row], sets[other], assume_unique=True))
                if common >= threshold * (sizes[row] + sizes[other] - common):
                    pairs.append((min(row, other), max(row, other)))
    return np.array(sorted(pairs), np.int64).reshape(-1, 2)


def _sets(texts: Iterable[str]) -> list[NDArray[np.uint64]]:
    """The n-grams of each text, as numbers."""
    vocabulary: dict[str, int] = {}
    multipliers = np.random.default_rng(SEED).integers(2**63, size=NGRAM, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    sets = []
    for text in texts:
        found = re.findall(r"\w+", text.lower())
        words = np.array([vocabulary.setdefault(word, len(vocabulary) + 1) for word in found], np.uint64)
        if 0 < len(words) < NGRAM:
            words = np.pad(words, (0, NGRAM - len(words)))
        windows = np.lib.stride_tricks.sliding_window_view(words, NGRAM) if len(words) else np.empty((0, NGRAM))
        sets.append(np.unique(_scrambled(windows.astype(np.uint64) * multipliers).sum(axis=1, dtype=np.uint64)))
    return sets


def _scrambled(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mixed, so that sums of small numbers' multiples do not coincide."""
    values = (values ^ (values >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
    return values ^ (values >> np.uint64(29))
