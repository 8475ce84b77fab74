"""The exact similarity of candidate pairs, from the sets of their n-grams, some of which are held at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from core.dedup.candidates import numbered
from core.dedup.ngrams import Shingles, Unit, shingles
from core.documents.table import buffers

CHUNK = 1 << 26  # bytes of the documents whose n-grams are held at a time
BLOCK = 1 << 18  # pairs of which those that are connected already are left out together

Rows = NDArray[np.int64]
Similarities = NDArray[np.float64]
Sets = Callable[[Rows], Shingles]  # the n-grams of given rows, ascending


def jaccard(pairs: Rows, shingles: Shingles) -> Similarities:
    """Exact Jaccard similarity of each pair of rows of `shingles`, float64[pairs]; 0 where both have no n-gram."""
    from core.dedup import key_kernels as kernels

    return kernels.jaccard(np.ascontiguousarray(pairs), shingles.offsets, shingles.hashes)


def compare(pairs: Rows, sizes: Rows, sets: Sets) -> Similarities:
    """Exact similarity of each pair, float64[pairs]. sizes: int64[rows], in bytes, by which `CHUNK` goes."""
    found = [np.empty(0)]
    for part in _chunks(pairs, sizes):
        rows, local = numbered(part)
        found.append(jaccard(local, sets(rows)))
    return np.concatenate(found)


def join_similar(pairs: Rows, sizes: Rows, sets: Sets, threshold: float) -> tuple[Rows, Similarities]:
    """Those of the pairs that reach the threshold and connect what was not connected by those before, and how similar.

    So they have the connected components of all that reach it, and there are fewer of them than documents. A pair of
    documents that are connected is not compared.
    """
    from core.dedup import key_kernels as kernels

    nodes, numbers = numbered(pairs)
    parent = np.arange(len(nodes))
    taken, similarity = [np.empty((0, 2), np.int64)], [np.empty(0)]
    for begin in range(0, len(pairs), BLOCK):
        block = numbers[begin : begin + BLOCK]
        for part in _chunks(block[kernels.unconnected(block, parent)], sizes[nodes]):
            part = part[kernels.unconnected(part, parent)]
            here, local = numbered(part)
            held = sets(nodes[here])
            found = kernels.joining_pairs(local, part, parent, held.offsets, held.hashes, threshold)
            taken.append(nodes[part[found > 0]])
            similarity.append(found[found > 0])
    return np.concatenate(taken), np.concatenate(similarity)


def _chunks(pairs: Rows, sizes: Rows) -> list[Rows]:
    from core.dedup import key_kernels as kernels

    pairs = np.ascontiguousarray(pairs)
    numbers = kernels.chunk_numbers(pairs, sizes, CHUNK)
    return np.split(pairs, np.flatnonzero(np.diff(numbers)) + 1) if len(pairs) else []


def exact_jaccards(content: pa.LargeStringArray, pairs: Rows, ngram: int, unit: Unit) -> Similarities:
    """Exact similarity of each pair of documents, float64[pairs]."""
    return compare(pairs, np.diff(buffers(content)[1]), _sets_of(content, ngram, unit))


def similar_pairs(
    content: pa.LargeStringArray, pairs: Rows, ngram: int, unit: Unit, threshold: float, every: bool
) -> tuple[Rows, Similarities]:
    """The pairs of documents that reach the threshold, and their similarity: every one, or enough to connect them."""
    sizes, sets = np.diff(buffers(content)[1]), _sets_of(content, ngram, unit)
    if not every:
        return join_similar(pairs, sizes, sets, threshold)
    found = compare(pairs, sizes, sets)
    return pairs[found >= threshold], found[found >= threshold]


def _sets_of(content: pa.LargeStringArray, ngram: int, unit: Unit) -> Sets:
    return lambda rows: shingles(content.take(pa.array(rows)), ngram, unit)
