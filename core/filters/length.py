"""Drops documents that are too short or too long, or of which a part is.

Birbal bounds its questions so, counting as words what stands between single spaces: `len(text.split(" "))`
(https://github.com/Upaya07/NeurIPS-llm-efficiency-challenge, data_prep/combine_datasets.py). It joins instruction and
input by a space, also where there is no instruction, so its count is one more than that of the parts system and user:
its "fewer than 800" is max_words: 798 here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from core.documents.ledger import Verdict
from core.documents.parts import PART_WORDS, Parts, part_of
from core.filters.counting import PUNCTUATION, SPACE, characters, characters_but, count, words
from core.filters.judging import Filter, Rule, above, below, verdict


class Length(Filter):
    """Bounds on the size of a document or of a part of it. None is set by default."""

    part: Parts = Field(
        "all",
        description=f"What is measured: {PART_WORDS}; several together, a newline between them. A document without it "
        "is kept.",
    )
    words: Literal["white_space", "spaces"] = Field(
        "white_space",
        description="What a word is: a run without white_space, or each piece between single spaces, as Birbal counts: "
        "newlines do not separate, and between two spaces there is an empty one.",
    )
    min_characters: int | None = Field(None, ge=0, description="Characters (code points) at least.")
    max_characters: int | None = Field(None, ge=1, description="Characters (code points) at most.")
    min_words: int | None = Field(None, ge=0, description="Words at least.")
    max_words: int | None = Field(None, ge=1, description="Words at most.")
    min_letters: int | None = Field(
        None,
        ge=0,
        description="Characters at least once punctuation, spaces, newlines and tabs are removed. SlimPajama: 200.",
    )

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Length:
        pairs = {
            "characters": (self.min_characters, self.max_characters),
            "words": (self.min_words, self.max_words),
        }
        for what, (least, most) in pairs.items():
            if least is not None and most is not None and least > most:
                raise ValueError(f"min_{what} {least} is above max_{what} {most}: no document would be kept")
        if all(bound is None for pair in pairs.values() for bound in pair) and self.min_letters is None:
            raise ValueError(
                "no bound is given: set min_characters, max_characters, min_words, max_words or min_letters"
            )
        if self.words == "spaces" and self.min_words is None and self.max_words is None:
            raise ValueError("words: spaces goes with min_words or max_words")
        return self


def length(documents: pa.Table, options: Length) -> Verdict:
    """Judges a table of DOCUMENTS.

    Reasons: too_short, too_long (characters), too_few_words, too_many_words, too_few_letters.
    Evidence: the count.
    The rule of letters: SlimPajama, https://www.cerebras.ai/blog/slimpajama, "low-length documents".
    """

    def rules(judged: pa.Table) -> Iterator[Rule]:
        texts = part_of(judged, options.part)
        there = pc.is_valid(texts)
        for rule in _rules(pc.fill_null(texts, ""), options):
            yield replace(rule, broken=pc.and_(rule.broken, there))

    return verdict(documents, options, rules)


def _rules(texts: pa.LargeStringArray, options: Length) -> Iterator[Rule]:
    if options.min_characters is not None:
        yield below("too_short", characters(texts), options.min_characters, "characters")
    if options.max_characters is not None:
        yield above("too_long", characters(texts), options.max_characters, "characters")
    if options.min_words is not None:
        yield below("too_few_words", _words(texts, options), options.min_words, "words")
    if options.max_words is not None:
        yield above("too_many_words", _words(texts, options), options.max_words, "words")
    if options.min_letters is not None:
        letters = characters_but(texts, SPACE + PUNCTUATION)
        yield below("too_few_letters", letters, options.min_letters, "letters")


def _words(texts: pa.LargeStringArray, options: Length) -> pa.Array:
    if options.words == "spaces":
        return pc.add(pc.count_substring(texts, " "), 1).cast(pa.int64())
    return count(words(texts))
