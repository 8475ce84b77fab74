"""Drops lists, menus and texts of broken lines: FineWeb's own rules."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from pydantic import Field

from core.documents.ledger import Verdict
from core.documents.table import buffers, content
from core.filters.judging import Filter, first_broken, judge
from core.filters.sentence_ends import sentence_ends

REASONS = ("empty", "unpunctuated_lines", "short_lines", "duplicate_lines", "newlines")
UNITS = ("lines", "(share of the lines)", "(share of the lines)", "(share of the characters)", "per word")


class FineWeb(Filter):
    """FineWeb's rules, chosen by ablation (Penedo et al. 2024, arXiv:2406.17557, section 3.6)."""

    min_punctuated_lines: float = Field(
        0.12, ge=0, le=1, description="Share of lines that end with a sentence's end at least. FineWeb: 0.12."
    )
    sentence_ends: str | None = Field(
        None,
        min_length=1,
        description="The characters that end a sentence; without it Unicode's Sentence_Terminal of all scripts.",
    )
    short_line_length: int = Field(30, ge=1, description="Characters up to which a line is short. FineWeb: 30.")
    max_short_lines: float = Field(0.67, ge=0, le=1, description="Share of short lines at most. FineWeb: 0.67.")
    max_duplicate_line_characters: float = Field(
        0.01, ge=0, le=1, description="Share of the characters in lines that came before, at most. FineWeb: 0.01."
    )
    max_newlines_per_word: float = Field(
        0.3, ge=0, description="Newlines per word (run without white space) at most. FineWeb's code: 0.3."
    )


def fineweb(documents: pa.Table, options: FineWeb) -> Verdict:
    """Judges a table of DOCUMENTS. Blank lines count only as newlines.

    Reasons, in the order they are asked: empty, unpunctuated_lines, short_lines, duplicate_lines, newlines;
    evidence: the value found. The limits themselves are kept. As FineWeb's code has it
    (https://github.com/huggingface/datatrove, fineweb_quality_filter.py), where a word is a token of spaCy's: with its
    punctuation apart there are more of them, so fewer newlines per word.
    """

    def judged(chosen: pa.Table) -> Verdict:
        from core.filters import line_kernels as kernels

        ends = sentence_ends(options.sentence_ends)
        limits = (
            options.min_punctuated_lines,
            options.max_short_lines,
            options.max_duplicate_line_characters,
            options.max_newlines_per_word,
        )
        rule, value = kernels.first_broken_line_rule(
            *buffers(content(chosen)), options.short_line_length, ends, np.array(limits, float)
        )
        return first_broken(rule, value, REASONS, UNITS)

    return judge(documents, options, judged)
