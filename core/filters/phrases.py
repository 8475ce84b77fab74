"""Drops documents in which a phrase stands that should not.

As Birbal leaves out rows of MathInstruct that have `print(` in their output
(https://github.com/Upaya07/NeurIPS-llm-efficiency-challenge, data_prep/combine_datasets.py).
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from core.documents.ledger import Verdict
from core.documents.parts import PART_WORDS, Parts, part_of
from core.filters.judging import Filled, Filter, Rule, verdict


class Phrases(Filter):
    """Phrases that no document may have."""

    deny: list[Filled] = Field(min_length=1, description="The phrases, letter by letter; no regular expressions.")
    part: Parts = Field("all", description=f"Where they are looked for: {PART_WORDS}.")
    ignore_case: bool = Field(False, description="Whether PRINT( counts as print(.")


def phrases(documents: pa.Table, options: Phrases) -> Verdict:
    """Judges a part of each of a table of DOCUMENTS; those without that part are kept.

    Reason: denied_phrase; evidence: the phrase, the first in the options that is found.
    """

    def rules(judged: pa.Table) -> Iterator[Rule]:
        texts = part_of(judged, options.part)
        for phrase in options.deny:
            found = pc.fill_null(pc.match_substring(texts, phrase, ignore_case=options.ignore_case), False)
            yield Rule("denied_phrase", found, pa.repeat(pa.scalar(phrase), len(texts)))

    return verdict(documents, options, rules)
