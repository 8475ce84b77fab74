"""Lower-cases a share of documents, so that a model learns to read what is written without capitals.

As Birbal does with three in ten questions of MathInstruct
(https://github.com/Upaya07/NeurIPS-llm-efficiency-challenge, data_prep/prepare_math_reasoning_dataset.py), from which
it takes the white space at the ends as well: a template (`fields.templates`) does that.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from core.artifacts.seeds import derive_seed
from core.documents.ledger import Verdict
from core.documents.mixture import keys
from core.documents.parts import PART_WORDS, Parts, edited_part, part_of
from core.filters.judging import Filter, judge

LOWER_CASED = "lower_cased"


class LowerCase(Filter):
    """Which documents are lower-cased, and what of them. It drops nothing."""

    probability: float = Field(
        gt=0, le=1, description="Of each document, drawn by the recipe's seed and its id. Birbal: 0.3 of MathInstruct."
    )
    part: Parts = Field("user", description=f"What is lower-cased: {PART_WORDS}.")


def lower_case(documents: pa.Table, options: LowerCase, seed: int) -> tuple[pa.Table, Verdict]:
    """The documents, some of them lower-cased, and a verdict that drops none and labels those lower_cased.

    documents: DOCUMENTS; seed: the recipe's.
    """

    def drawn(chosen: pa.Table) -> Verdict:
        draws = keys(chosen["id"], derive_seed(seed, "lower_case"))
        within = (draws >> np.uint64(11)) / 2**53 < options.probability
        there = pc.and_(pa.array(within), pc.is_valid(part_of(chosen, options.part)))
        nothing = pa.nulls(chosen.num_rows, pa.string())
        return Verdict(nothing, nothing, labels=pc.if_else(there, LOWER_CASED, pa.scalar(None, pa.string())))

    verdict = judge(documents, options, drawn)
    if verdict.labels is None:
        return documents, verdict
    return edited_part(documents, options.part, pc.is_valid(verdict.labels), pc.utf8_lower), verdict
