"""Cuts the lines of a web page that are no sentences, and drops the pages that are none: C4's rules."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from core.documents.ledger import SPANS, Verdict
from core.documents.table import buffers, content
from core.errors import DataError
from core.filters.judging import Filled, Filter, judge
from core.filters.sentence_ends import sentence_ends

CUT = ("long_word", "no_line_end", "few_words", "javascript", "policy", "citation")
DROPPED = ("lorem_ipsum", "curly_bracket", "few_sentences")
EVIDENCE = ("lorem ipsum", "{")
BAD_WORDS_AT_ONCE = 500  # phrases of one regular expression: RE2 has a limit of memory


class C4(Filter):
    """C4's rules (Raffel et al. 2020, arXiv:1910.10683, section 2.2) as its code has them.

    https://github.com/tensorflow/datasets/blob/master/tensorflow_datasets/text/c4_utils.py
    A rule with null is left out.
    """

    line_ends: list[Filled] | None = Field(
        [".", "?", "!", '"'],
        min_length=1,
        description="What a line must end with to be kept (but not with three dots). C4's code: these four.",
    )
    min_words_per_line: int | None = Field(
        5, ge=1, description="Words of a line at least. C4's code: 5; the paper's first version: 3."
    )
    max_word_length: int | None = Field(
        1000, ge=1, description="Characters of a line's longest word at most. C4's code: 1000."
    )
    cut_javascript: bool = Field(True, description="Whether lines with the word javascript are cut.")
    policy_phrases: list[Filled] | None = Field(
        ["terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies"],
        min_length=1,
        description="Phrases, in any case of ASCII letters, of lines that are cut. C4's code: these six.",
    )
    cut_citations: bool = Field(True, description='Whether "[1]", "[]", "[edit]" and "[citation needed]" are cut.')
    drop_lorem_ipsum: bool = Field(True, description='Whether a page with "lorem ipsum" is dropped.')
    drop_curly_brackets: bool = Field(True, description='Whether a page with "{" is dropped.')
    min_sentences: int | None = Field(
        3, ge=1, description="Sentences that are left at least. C4's code: 3; the paper's first version: 5."
    )
    bad_words: str | None = Field(
        None, min_length=1, description="Path of a file with a word or phrase a line: a page with one is dropped."
    )


def c4(documents: pa.Table, options: C4) -> Verdict:
    """Cuts lines of a table of DOCUMENTS and drops documents.

    Reasons of cuts, the first that fits a line: long_word, no_line_end, few_words, javascript, policy (all of the line
    and its end); citation. Reasons to drop: lorem_ipsum, curly_bracket, few_sentences (evidence: their number), all
    asked only of lines that are not cut; bad_word (the word, anywhere).

    As C4's code has it, but for: the white space around a line that is kept stays; sentences are counted by a rule
    (. ! ? before white space, and the ends of other scripts) instead of by a trained model of English; bad words are
    looked for in the whole text, between characters that are no letters of any script.
    Raises DataError if the file of bad words cannot be read or is empty.
    """

    def judged(chosen: pa.Table) -> Verdict:
        from core.filters import line_kernels as kernels

        texts = content(chosen)
        limits = (
            options.min_words_per_line or 0,
            options.max_word_length or np.iinfo(np.int64).max,
            options.cut_citations,
            options.drop_curly_brackets,
            options.min_sentences or 0,
        )
        phrases = [
            "lorem ipsum" if options.drop_lorem_ipsum else "",
            "javascript" if options.cut_javascript else "",
            *(options.policy_phrases or ()),
        ]
        dropped, sentences, cuts = kernels.c4_lines(
            *buffers(texts),
            np.array(limits, np.int64),
            *_packed(options.line_ends or ()),
            *_packed([phrase.lower() for phrase in phrases]),
            sentence_ends()[sentence_ends() >= 128],
        )
        rule = pa.array(dropped, mask=dropped < 0)
        counted = pc.binary_join_element_wise(pa.array(sentences).cast(pa.string()), "sentences", " ")
        fixed = pa.array([*EVIDENCE, None], pa.string()).take(rule)
        evidence = pc.if_else(pc.is_valid(rule), pc.coalesce(fixed, counted), None)
        reason = pa.array(DROPPED, pa.string()).take(rule)
        if options.bad_words is not None:
            word = _bad_word(texts, options.bad_words)
            newly = pc.and_(pc.is_null(reason), pc.is_valid(word))
            reason, evidence = pc.if_else(newly, "bad_word", reason), pc.if_else(newly, word, evidence)
        return Verdict(reason, evidence, _spans(cuts, reason))

    return judge(documents, options, judged)


def _packed(phrases: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The phrases end to end, and int64[phrases + 1] where each begins."""
    return buffers(pa.array(phrases, pa.large_string()))


def _spans(cuts: NDArray[np.int64], reason: pa.Array) -> pa.Table:
    """SPANS of cuts (row, begin, end, why) of documents that are kept."""
    cuts = cuts[pc.is_null(reason).to_numpy(zero_copy_only=False)[cuts[:, 0]]]
    columns: list[Any] = [*cuts[:, :3].T, pa.array(CUT).take(pa.array(cuts[:, 3]))]
    columns += [pa.nulls(len(cuts), SPANS.field(name).type) for name in ("replacement", "evidence")]
    return pa.table(columns, schema=SPANS)


def _bad_word(texts: pa.Array, path: str) -> pa.Array:
    """The first bad word that is found in each text, lower-cased; null where there is none."""
    lowered = pc.utf8_lower(texts)
    found = pa.nulls(len(texts), pa.string())
    for pattern in _bad_word_patterns(path):
        word = pc.struct_field(pc.extract_regex(lowered, pattern), "word").cast(pa.string())
        found = pc.coalesce(found, word)
    return found


@lru_cache(8)
def _bad_word_patterns(path: str) -> tuple[str, ...]:
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"c4.bad_words: {path} cannot be read as text ({error}): name a file with a word a line"
        ) from error
    words = list(dict.fromkeys(line.strip().lower() for line in lines if line.strip()))
    if not words:
        raise DataError(f"c4.bad_words: {path} has no word: write one a line, or leave bad_words out")
    return tuple(
        rf"(?:^|[^\pL\pM\pN_])(?P<word>{'|'.join(map(re.escape, words[i : i + BAD_WORDS_AT_ONCE]))})(?:[^\pL\pM\pN_]|$)"
        for i in range(0, len(words), BAD_WORDS_AT_ONCE)
    )
