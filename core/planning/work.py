"""How much a phase has to compute: rows, steps, tokens and FLOPs, as far as a recipe says it or a run has counted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.documents.mixture import Amount, Wanted
from core.documents.source import Source
from core.planning.shape import Shape
from core.training.options import Phase
from core.training.order import make_sampler


@dataclass(frozen=True)
class Held:
    """What a phase has to learn from. unknown: sources of which a recipe does not say how much there is."""

    rows: float | None  # None: nothing is known
    tokens_per_row: float
    samples_per_row: float
    target_share: float = 1.0
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Work:
    """What a phase computes. None: not known before there are documents."""

    steps: int | None
    tokens: float | None
    flops: float | None  # of the model, forward and backward, without anything computed again
    reference_flops: float  # of what a preference phase asks its reference model


def counted(train: Mapping[str, Any]) -> Held:
    """From a tokenized run's counts of a phase."""
    rows = train["rows"]
    return Held(rows, train["tokens"] / rows, train["samples"] / rows, train["target_tokens"] / max(1, train["tokens"]))


def declared(
    phase: Phase, sources: Mapping[str, Source], mixture: Mapping[str, Wanted] | None, document_tokens: float
) -> Held:
    """From a recipe. document_tokens: how many a document is taken to have; of a pair, each of its two."""
    known, unknown = 0.0, []
    for name in phase.data.sources:
        documents = _documents(sources[name], (mixture or {}).get(name, "all"), document_tokens)
        if documents is None:
            unknown.append(name)
        else:
            known += documents
    known -= phase.data.validation
    length = phase.data.sequence_length
    pair = 1 if phase.preference is None else 2
    per_document = min(document_tokens, length) * pair  # a longer one is cut: into rows, or off
    if not phase.data.packing:
        rows = math.ceil(known) if known > 0 else None
        return Held(rows, per_document, pair, unknown=tuple(unknown))
    per_row = length * pair
    tokens = known * (document_tokens if phase.preference is None else per_document)
    rows = math.ceil(tokens / per_row) if known > 0 else None
    return Held(rows, per_row, pair * per_row / per_document, unknown=tuple(unknown))


def work_of(phase: Phase, shape: Shape, held: Held) -> Work:
    """What a phase computes: steps of its recipe, or epochs over the rows."""
    if phase.max_steps is None and held.rows is None:
        return Work(None, None, None, 0.0)
    sampler = make_sampler(max(1, int(held.rows or 1)), phase, seed=0)
    rows = sampler.total
    reference = 0.0
    if phase.preference is not None and held.rows is not None:
        share = 2 / 6 if phase.method == "full" else 2 / 4  # forward alone
        reference = share * _flops(shape, held, held.rows)
    return Work(sampler.steps, rows * held.tokens_per_row, _flops(shape, held, rows), reference)


def recomputed(phase: Phase) -> float:
    """By how much all that is computed is more than the model's FLOPs: gradient checkpointing runs blocks again."""
    if not phase.gradient_checkpointing:
        return 1.0
    return 8 / 6 if phase.method == "full" else 6 / 4


def _flops(shape: Shape, held: Held, rows: float) -> float:
    sample = held.tokens_per_row / held.samples_per_row
    one = shape.flops.of(np.array([max(1, round(sample))]), round(sample * held.target_share))
    return one * held.samples_per_row * rows


def _documents(source: Source, wanted: Wanted, document_tokens: float) -> float | None:
    """How many a mixture takes of a source; None where that is not known before it is read."""
    held: float | None = None
    if source.skills is not None:
        held = source.skills.rows
    elif source.python_library is not None:
        held = source.python_library.max_documents
    if wanted == "all":
        return held
    amount = Amount(documents=wanted) if isinstance(wanted, int) else wanted
    if amount.fraction is not None:
        return None if held is None else amount.fraction * held
    if amount.documents is not None:
        asked: float = amount.documents
    elif amount.tokens is not None:
        asked = amount.tokens / document_tokens
    else:  # a share
        return None
    return asked if held is None or amount.replacement else min(asked, held)
