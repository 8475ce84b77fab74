"""Which steps look at all documents, and what decides for each."""

from __future__ import annotations

from typing import Any

from core.recipe.schema import Data, Step
from ray_jobs.curation.barriers.bloom import BloomBarrier
from ray_jobs.curation.barriers.exact import ExactBarrier
from ray_jobs.curation.barriers.mixture import MixtureBarrier
from ray_jobs.curation.barriers.near import NearBarrier
from ray_jobs.curation.barriers.quality import QualityBarrier
from ray_jobs.curation.barriers.sampling import SamplingBarrier
from ray_jobs.curation.barriers.substring import SubstringBarrier
from ray_jobs.curation.passes import Barrier

BARRIERS = ("exact_dedup", "minhash_dedup", "bloom_dedup", "substring_dedup", "quality", "sample_by_score")


def looks_at_all(step: Step) -> bool:
    """Whether a step cannot judge a document alone."""
    alone = step.kind == "quality" and step.options.top_fraction is None
    return not alone and step.kind in BARRIERS


def barrier_of(label: str, step: Step, sources: list[str], seed: int, prepared: Any) -> Barrier | None:
    """What decides for a step that looks at all documents; None for one that judges each alone.

    sources: their names; prepared: the classifier of `quality`, the files of scores of `sample_by_score`.
    """
    if not looks_at_all(step):
        return None
    if step.kind == "exact_dedup":
        return ExactBarrier(label, step.options, sources)
    if step.kind == "minhash_dedup":
        return NearBarrier(label, step.options, seed)
    if step.kind == "bloom_dedup":
        return BloomBarrier(label, step.options)
    if step.kind == "substring_dedup":
        return SubstringBarrier(label, step.options, sources)
    if step.kind == "sample_by_score":
        return SamplingBarrier(label, step.options, prepared, seed)
    return QualityBarrier(label, step.options, prepared)


def mixture_of(data: Data, seed: int) -> Barrier:
    """What draws the recipe's mixture."""
    assert data.mixture is not None
    return MixtureBarrier(data.mixture, data.mixture_tokens, list(data.sources), seed)
