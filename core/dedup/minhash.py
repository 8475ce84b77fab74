"""Near-duplicates: MinHash signatures, candidates by locality-sensitive hashing, verified by their exact similarity.

Broder, "On the resemblance and containment of documents" (1997); banding as in Leskovec, Rajaraman and Ullman, "Mining
of Massive Datasets", section 3.4. The steps are functions of their own, here, in `candidates` and `clusters`, so that
keys can be computed where the documents are and joined elsewhere; `find_near_duplicates` takes them all at once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, model_validator

from core.dedup.candidates import candidate_pairs
from core.dedup.clusters import Exact, Keep, Linkage, keep_order, removals
from core.dedup.minhash_presets import PRESETS, Preset
from core.dedup.ngrams import Unit, character_tables, text_buffers
from core.dedup.verification import exact_jaccards, similar_pairs
from core.documents.table import buffers
from core.options import Options

LANES = 32  # permutations that the compiled loop takes at a time

DUPLICATES = pa.schema(
    [
        ("row", pa.int64()),  # the removed document
        ("kept_row", pa.int64()),  # the one that stays in its place
        ("cluster", pa.int64()),  # the smallest row of those that go or stay with that one
        ("jaccard", pa.float64()),  # exact similarity to kept_row; null where it was not computed
    ]
)


class MinhashDedup(Options):
    """Drops documents that share most of their n-grams with one that is kept."""

    preset: Preset | None = Field(
        None,
        description="The settings of another system, for all keys that are not given; core/dedup/minhash_presets.py "
        "has them with their sources.",
    )

    threshold: float = Field(
        0.8, gt=0, le=1, description="Jaccard similarity of two sets of n-grams from which on they are duplicates."
    )
    ngram: int = Field(
        5, ge=1, le=10_000, description="Tokens in an n-gram; fewer tokens than that count as one n-gram."
    )
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
    keep: Keep = Field(
        "first",
        description="Which document of a cluster stays: the first in input order, the one with the most bytes, or one "
        "of the source that priority names earliest; of equals the first.",
    )
    priority: list[str] = Field(
        [], description="For keep: priority, names of sources; those that are not named come last, as equals."
    )
    linkage: Linkage = Field(
        "component",
        description="component: of all documents that similar pairs connect, one stays. representative: a document "
        "goes only if it is similar to one that stays itself (The Stack's check within clusters); needs verify.",
    )
    across_sources: bool = Field(
        True, description="Compare documents of different sources; otherwise each source by itself."
    )

    @model_validator(mode="before")
    @classmethod
    def _filled_from_preset(cls, given: Any) -> Any:
        if isinstance(given, dict) and isinstance(name := given.get("preset"), str) and name in PRESETS:
            return {**PRESETS[name], **given}
        return given

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

    @model_validator(mode="after")
    def _keep_and_linkage_have_what_they_need(self) -> MinhashDedup:
        if (self.keep == "priority") != bool(self.priority):
            raise ValueError("keep: priority and priority: [source, ...] go together: give both or neither")
        if len(set(self.priority)) != len(self.priority):
            raise ValueError(f"priority names a source more than once: {', '.join(self.priority)}")
        if self.linkage == "representative" and not self.verify:
            raise ValueError("linkage: representative goes by exact similarities: it needs verify: true")
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


def near_duplicates(
    pairs: NDArray[np.int64],
    jaccards: NDArray[np.float64] | None,
    lengths: NDArray[np.int64],
    options: MinhashDedup,
    sources: pa.Array | None = None,
    exact: Exact | None = None,
) -> pa.Table:
    """The documents to remove, as DUPLICATES in ascending order, from compared pairs; see `clusters.removals`.

    pairs: int64[pairs, 2]; jaccards: their similarity, of which those below the threshold do not count; None: all do.
    lengths: int64[rows] of all documents, by which "longest" goes; sources: their names, for "priority".
    exact: compares what was not compared yet; without it, a jaccard that is not known is null.
    """
    if jaccards is not None:
        similar = jaccards >= options.threshold
        pairs, jaccards = pairs[similar], jaccards[similar]
    names = None if sources is None else np.asarray(sources.to_pylist(), object)

    def order(rows: NDArray[np.int64]) -> NDArray[np.int64]:
        priorities = np.zeros_like(rows) if names is None else priority_ranks(names[rows], options)
        return keep_order(rows, options.keep, lengths[rows], priorities)

    found = removals(pairs, jaccards, order, options.linkage, options.threshold, exact)
    similarity = pa.array(found.jaccards, pa.float64(), mask=np.isnan(found.jaccards))
    return pa.table([found.rows, found.kept, found.clusters, similarity], schema=DUPLICATES)


def priority_ranks(sources: Any, options: MinhashDedup) -> NDArray[np.int64]:
    """The place of each source's name in `options.priority`; after the last where it is not there."""
    places = {name: place for place, name in enumerate(options.priority)}
    return np.array([places.get(name, len(places)) for name in sources], np.int64)


def find_near_duplicates(
    content: pa.LargeStringArray, options: MinhashDedup, seed: int, sources: pa.Array | None = None
) -> pa.Table:
    """All steps in this process: the rows to remove, as by `near_duplicates`.

    sources: the name of each document's source; needed where `across_sources` is false or `keep` is priority.
    """
    if sources is None and (options.keep == "priority" or not options.across_sources):
        raise ValueError("across_sources is false or keep is priority, so the source of each document is needed")
    numbers = None
    if sources is not None and not options.across_sources:
        numbers = sources.dictionary_encode().indices.to_numpy().astype(np.int64)
    pairs = candidate_pairs(band_keys(content, options, seed), numbers)
    lengths = np.diff(buffers(content)[1])
    if not options.verify:
        return near_duplicates(pairs, None, lengths, options, sources)

    def exact(wanted: NDArray[np.int64]) -> NDArray[np.float64]:
        return exact_jaccards(content, wanted, options.ngram, options.unit)

    every = options.linkage == "representative"
    pairs, jaccards = similar_pairs(content, pairs, options.ngram, options.unit, options.threshold, every)
    return near_duplicates(pairs, jaccards, lengths, options, sources, exact)
