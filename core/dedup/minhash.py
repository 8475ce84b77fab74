"""Near-duplicates: MinHash signatures, candidates by locality-sensitive hashing, verified by their exact similarity.

Broder, "On the resemblance and containment of documents" (1997); banding as in Leskovec, Rajaraman and Ullman, "Mining
of Massive Datasets", section 3.4. The steps are functions of their own, so that keys can be computed where the
documents are and joined elsewhere; `find_near_duplicates` takes them all at once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, model_validator

from core.dedup.exact import first_occurrences
from core.dedup.ngrams import Shingles, Unit, buffers, character_tables, shingles, text_buffers
from core.options import Options

CROWD = 32  # rows of a bucket of which not all are compared with each other, and
NEIGHBOURS = 8  # how many of them each is compared with then
MERGE = 1 << 22  # pairs of several bands that are held before those found twice are left out
CHUNK = 1 << 26  # bytes of text whose n-grams are held at a time to verify pairs
LANES = 32  # permutations that the compiled loop takes at a time

DUPLICATES = pa.schema(
    [
        ("row", pa.int64()),  # the removed document
        ("kept_row", pa.int64()),  # the one of its cluster that stays
        ("cluster", pa.int64()),  # the cluster's smallest row
        ("jaccard", pa.float64()),  # see near_duplicates; null where nothing was verified
    ]
)


class MinhashDedup(Options):
    """Drops documents that share most of their n-grams with one that is kept."""

    threshold: float = Field(
        0.8, gt=0, le=1, description="Jaccard similarity of two sets of n-grams from which on they are duplicates."
    )
    ngram: int = Field(5, ge=1, description="Tokens in an n-gram; fewer tokens than that count as one n-gram.")
    unit: Unit = Field(
        "word", description="What a token is: a word, or a character of the words joined by single spaces."
    )
    permutations: int = Field(
        128, ge=1, le=4096, description="Length of a signature, in hash values. More find more, and cost time."
    )
    bands: int | None = Field(
        None, ge=1, description="Bands of the signature; two documents are compared if they agree in one of them."
    )
    rows_per_band: int | None = Field(
        None,
        ge=1,
        description="Hash values in a band. Without bands and rows_per_band the best for threshold and permutations.",
    )
    verify: bool = Field(
        True,
        description="Compute the exact similarity of every candidate. Without it documents are dropped on suspicion.",
    )
    keep: Literal["first", "longest"] = Field(
        "first",
        description="Which document of a cluster stays: the first in input order, or the one with the most bytes.",
    )
    across_sources: bool = Field(
        True, description="Compare documents of different sources; otherwise each source by itself."
    )

    @model_validator(mode="after")
    def _bands_fit_the_signature(self) -> MinhashDedup:
        if (self.bands is None) != (self.rows_per_band is None):
            given, missing = ("bands", "rows_per_band") if self.bands else ("rows_per_band", "bands")
            raise ValueError(f"{given} is given without {missing}: give both, or neither for the optimum")
        if self.bands and self.rows_per_band and self.bands * self.rows_per_band > self.permutations:
            raise ValueError(
                f"bands x rows_per_band is {self.bands} x {self.rows_per_band} = {self.bands * self.rows_per_band}, "
                f"more than permutations, {self.permutations}"
            )
        return self

    @property
    def banding(self) -> tuple[int, int]:
        """Bands and rows per band: as given, or the optimum."""
        if self.bands and self.rows_per_band:
            return self.bands, self.rows_per_band
        # A needless comparison costs microseconds where candidates are verified, a missed one a duplicate.
        return optimal_banding(self.threshold, self.permutations, 0.999 if self.verify else 0.5)


@lru_cache
def optimal_banding(threshold: float, permutations: int, miss_weight: float) -> tuple[int, int]:
    """Bands and rows per band with the least weighted error.

    The error is the area below the threshold under the probability 1 - (1 - s**rows)**bands to be compared, weighted
    1 - miss_weight, and the area above the threshold over it, weighted miss_weight. The method is that of datasketch
    (https://ekzhu.com/datasketch/lsh.html), which weighs both .5.
    """
    similarity = (np.arange(1000) + 0.5) / 1000
    weights = np.where(similarity < threshold, 1 - miss_weight, miss_weight)
    best, choice = np.inf, (1, permutations)
    for rows in range(1, permutations + 1):
        bands = np.arange(1, permutations // rows + 1)[:, None]
        compared = 1 - (1 - similarity**rows) ** bands
        errors = (weights * np.where(similarity < threshold, compared, 1 - compared)).sum(axis=1)
        if errors.min() < best:
            best, choice = errors.min(), (int(errors.argmin()) + 1, rows)
    return choice


def band_keys(content: pa.LargeStringArray, options: MinhashDedup, seed: int) -> NDArray[np.uint64]:
    """One hash per document and band, uint64[rows, bands]: documents with an equal one are candidates.

    The keys of a document depend on its text, the options and the seed alone, so they can be computed in any batches.
    They are 0 where the document has no token at all; such documents are duplicates of nothing.
    """
    from core.dedup import ngram_kernels as kernels

    bands, rows_per_band = options.banding
    return kernels.band_keys(
        *text_buffers(content),
        options.ngram,
        options.unit == "word",
        *_permutations(bands * rows_per_band, seed),
        bands,
        rows_per_band,
        *character_tables(),
    )


def _permutations(count: int, seed: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Odd multipliers and addends of x -> a x + b modulo 2**32, some more than asked for to fill the last lanes.

    From a counter by splitmix64 (Steele, Lea and Flood, 2014) rather than from numpy's generator, whose stream may
    change between versions.
    """
    padded = -(-count // LANES) * LANES
    state = np.uint64(seed % 2**64) + np.arange(1, padded + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)
    return (state >> np.uint64(32)).astype(np.uint32) | np.uint32(1), state.astype(np.uint32)


def candidate_pairs(keys: NDArray[np.uint64], sources: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Pairs of rows to compare, int64[pairs, 2], the smaller row first, in ascending order, each once.

    keys: uint64[rows, bands] of all documents; sources: a number per row, where only rows of the same are compared.

    Time and memory are linear in the rows. Rows that agree in every band, nearly always the same text, are paired with
    the first of them, which alone stands for them elsewhere. A bucket of `CROWD` rows or more is put in the order of
    the following bands' keys, and each row is paired with the next `NEIGHBOURS` ones only: a true duplicate agrees in
    many bands, so it stands nearby in one of these orders, or in a bucket that is small.
    """
    if sources is not None:
        groups = [np.flatnonzero(sources == source) for source in np.unique(sources)]
        pairs = np.concatenate([np.empty((0, 2), np.int64), *(rows[candidate_pairs(keys[rows])] for rows in groups)])
        return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    rows = np.arange(len(keys))
    first = first_occurrences(keys)
    filled = keys[:, 0] != 0
    copies = np.flatnonzero((first != rows) & filled)
    pairs = (first[copies] << 32) | copies
    distinct = np.flatnonzero((first == rows) & filled)
    unmerged: list[NDArray[np.int64]] = []
    for band in range(keys.shape[1]):
        unmerged += _pairs_of_band(keys, band, distinct)
        if sum(map(len, unmerged)) > max(len(pairs), MERGE):
            pairs, unmerged = _merged(pairs, *unmerged), []
    pairs = _merged(pairs, *unmerged)
    return np.stack([pairs >> 32, pairs & 0xFFFFFFFF], axis=1)


def _merged(*pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """All of them in ascending order, each once. Sorting is much faster than numpy's `unique`."""
    together: NDArray[np.int64] = np.concatenate(pairs)
    together.sort()
    new: NDArray[np.bool_] = np.diff(together, prepend=-1) != 0
    return together[new]


def _pairs_of_band(keys: NDArray[np.uint64], band: int, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    from core.dedup import key_kernels as kernels

    own = keys[rows, band]
    repeated = kernels.maybe_repeated(own)
    own, rows = own[repeated], rows[repeated]
    order = np.argsort(own, kind="stable")
    own, rows = own[order], rows[order]
    sizes = np.diff(np.flatnonzero(np.diff(own, prepend=~own[:1])), append=len(own))
    crowded = np.repeat(sizes >= CROWD, sizes)
    pairs = [kernels.neighbour_pairs(own[~crowded], rows[~crowded], CROWD)]
    if crowded.any():
        own, rows = own[crowded], rows[crowded]
        following = [keys[rows, (band + step) % keys.shape[1]] for step in (3, 2, 1)]
        pairs.append(kernels.neighbour_pairs(own, rows[np.lexsort((*following, own))], NEIGHBOURS))
    return pairs


def jaccard(pairs: NDArray[np.int64], shingles: Shingles) -> NDArray[np.float64]:
    """Exact Jaccard similarity of each pair of rows of `shingles`, float64[pairs]; 0 where both have no n-gram."""
    from core.dedup import key_kernels as kernels

    return kernels.jaccard(np.ascontiguousarray(pairs), shingles.offsets, shingles.hashes)


def near_duplicates(
    pairs: NDArray[np.int64],
    jaccards: NDArray[np.float64] | None,
    lengths: NDArray[np.int64],
    options: MinhashDedup,
) -> pa.Table:
    """The documents to remove, as DUPLICATES in ascending order: all of each cluster but the one that is kept.

    Clusters are the connected components of the pairs whose similarity reaches the threshold, or of all pairs where
    `jaccards` is None. So a removed document may be less similar than that to the kept one, by way of others.

    lengths: int64[rows] of all documents, by which "longest" goes; of equals the first stays.
    The column jaccard is the similarity to the kept document if that pair was compared, else the greatest of the
    document's pairs that reach the threshold; null where `jaccards` is None.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if jaccards is not None:
        similar = jaccards >= options.threshold
        pairs, jaccards = pairs[similar], jaccards[similar]
    rows = len(lengths)
    left, right = pairs.T
    graph = coo_array((np.ones(len(pairs), np.int8), (left, right)), shape=(rows, rows))
    clusters, cluster = connected_components(graph, directed=False)
    smallest = _first_of_each(cluster, np.arange(rows), clusters)
    kept = smallest
    if options.keep == "longest":
        kept = _first_of_each(cluster, np.argsort(-lengths, kind="stable"), clusters)

    removed = np.flatnonzero(kept[cluster] != np.arange(rows))
    kept_row = kept[cluster[removed]]
    similarity = pa.nulls(len(removed), pa.float64())
    if jaccards is not None:
        best = np.zeros(rows)
        np.maximum.at(best, left, jaccards)
        np.maximum.at(best, right, jaccards)
        for one, other in ((left, right), (right, left)):
            with_kept = kept[cluster[one]] == other
            best[one[with_kept]] = jaccards[with_kept]
        similarity = pa.array(best[removed])
    return pa.table([removed, kept_row, smallest[cluster[removed]], similarity], schema=DUPLICATES)


def _first_of_each(cluster: NDArray[np.int32], order: NDArray[np.int64], clusters: int) -> NDArray[np.int64]:
    """The row of each cluster that comes first in an order of all rows, int64[clusters]."""
    rank = np.full(clusters, len(order), np.int64)
    np.minimum.at(rank, cluster[order], np.arange(len(order)))
    return order[rank]


def find_near_duplicates(
    content: pa.LargeStringArray, options: MinhashDedup, seed: int, sources: pa.Array | None = None
) -> pa.Table:
    """All steps in this process: the rows to remove, as by `near_duplicates`.

    sources: the name of each document's source; needed where `across_sources` is false.
    """
    numbers = None
    if not options.across_sources:
        if sources is None:
            raise ValueError("across_sources is false, so the source of each document is needed")
        numbers = sources.dictionary_encode().indices.to_numpy().astype(np.int64)
    pairs = candidate_pairs(band_keys(content, options, seed), numbers)
    jaccards = exact_jaccards(content, pairs, options) if options.verify else None
    return near_duplicates(pairs, jaccards, np.diff(buffers(content)[1]), options)


def exact_jaccards(
    content: pa.LargeStringArray, pairs: NDArray[np.int64], options: MinhashDedup
) -> NDArray[np.float64]:
    """Exact similarity of each pair of documents, float64[pairs], holding the n-grams of `CHUNK` bytes at a time."""
    from core.dedup import key_kernels as kernels

    chunks = kernels.chunk_numbers(pairs, np.diff(buffers(content)[1]), CHUNK)
    similarities = [np.empty(0)]
    for part in np.split(pairs, np.flatnonzero(np.diff(chunks)) + 1):
        rows, local = np.unique(part, return_inverse=True)
        sets = shingles(content.take(pa.array(rows)), options.ngram, options.unit)
        similarities.append(jaccard(local.reshape(-1, 2), sets))
    return np.concatenate(similarities)
