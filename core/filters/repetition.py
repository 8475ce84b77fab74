"""Drops documents that repeat themselves: Gopher's repetition rules."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import pyarrow as pa
from pydantic import Field

from core.documents.ledger import Verdict
from core.documents.table import buffers, content
from core.filters.judging import Filter, first_broken, judge

Share = Annotated[float, Field(ge=0, le=1)]
N = Annotated[int, Field(ge=1, strict=False)]  # a recipe's keys are text


class Repetition(Filter):
    """Gopher's rules against repetition within a document (Rae et al. 2021, arXiv:2112.11446, table A1)."""

    max_duplicate_paragraphs: Share = Field(0.3, description="Share of paragraphs that came before. Gopher: 0.30.")
    max_duplicate_paragraph_characters: Share = Field(
        0.2, description="Their share of the characters at most. Gopher: 0.20."
    )
    max_duplicate_lines: Share = Field(0.3, description="Share of lines that came before. Gopher: 0.30.")
    max_duplicate_line_characters: Share = Field(0.2, description="Their share of the characters. Gopher: 0.20.")
    max_top_ngram_characters: dict[N, Share] = Field(
        {2: 0.2, 3: 0.18, 4: 0.16},
        description="Share of the characters in the most frequent n-gram of words at most, by n. Gopher's table.",
    )
    max_duplicate_ngram_characters: dict[N, Share] = Field(
        {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.1},
        description="Share of the characters in n-grams of words that came before, by n. Gopher's table.",
    )


def repetition(documents: pa.Table, options: Repetition) -> Verdict:
    """Judges a table of DOCUMENTS; an empty one is kept.

    Reasons, in the order they are asked: duplicate_paragraphs, duplicate_paragraph_characters, duplicate_lines,
    duplicate_line_characters, top_{n}_gram, duplicate_{n}_grams; evidence: the share found.
    """

    def judged(chosen: pa.Table) -> Verdict:
        from core.filters import line_kernels as kernels

        top, repeated = options.max_top_ngram_characters, options.max_duplicate_ngram_characters
        limits = (
            options.max_duplicate_paragraphs,
            options.max_duplicate_paragraph_characters,
            options.max_duplicate_lines,
            options.max_duplicate_line_characters,
            *top.values(),
            *repeated.values(),
        )
        names = (
            "duplicate_paragraphs",
            "duplicate_paragraph_characters",
            "duplicate_lines",
            "duplicate_line_characters",
            *(f"top_{n}_gram" for n in top),
            *(f"duplicate_{n}_grams" for n in repeated),
        )
        units = ["(share of the paragraphs)", "(share of the characters)", "(share of the lines)"]
        units += ["(share of the characters)"] * (1 + len(top) + len(repeated))
        rule, value = kernels.first_repetition(
            *buffers(content(chosen)),
            np.array(limits, float),
            np.array([*top], np.int64),
            np.array([*repeated], np.int64),
        )
        return first_broken(rule, value, names, units)

    return judge(documents, options, judged)
